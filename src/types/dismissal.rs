//! Tests of dismissal: a forked child that returns the pages of values it has read to the kernel spares its parent
//! their copy, and returns nothing else.

use std::io::{Read, Write};

use super::block::Block;
use super::entry::Entry;
use super::hash::{self, Condition, FieldExpiry, HashMut};
use super::list::{self, End};
use super::{Shapes, Text};
use crate::dict::Seed;
use crate::sys::fork::{Forked, fork};

const LARGE: usize = 100_000;

fn shapes() -> Shapes {
    Shapes::new(Seed::new([1, 2]))
}

fn list(elements: usize, size: usize) -> Entry {
    let mut entry = list::create(b"list");
    (0..elements).for_each(|i| list::push(&mut entry, End::Back, &vec![i as u8; size], &shapes()));
    entry
}

fn hash(fields: usize, size: usize) -> Entry {
    let shapes = shapes();
    let mut entry = hash::create(b"hash", &shapes, 0, std::iter::empty());
    let mut writer = HashMut::new(&mut entry, &shapes, 0);
    for i in 0..fields {
        let value = vec![i as u8; size];
        writer.set(&i.to_le_bytes(), Text::Bytes(&value), None, FieldExpiry::Remove);
        writer.set_expiry(&i.to_le_bytes(), 1000 + i as i64, Condition::Always);
    }
    entry
}

#[test]
fn whole_pages_of_a_value_are_given_back_and_nothing_beside_it() {
    let blocks: Vec<Block> = (0..60).map(|i| Block::from(&vec![i; 5000 + 977 * i as usize][..])).collect();
    for block in blocks.iter().step_by(2) {
        let (bytes, len) = (block.dismiss(), block.len());
        assert!(bytes + 2 * 4096 > block.capacity() && bytes <= block.capacity());
        assert_eq!(block.len(), len, "its header stays");
        let zeroes: usize = block.iter().map(|byte| usize::from(*byte == 0)).sum();
        assert!(zeroes + (block.capacity() - len) >= bytes);
    }
    for (i, block) in blocks.iter().enumerate().skip(1).step_by(2) {
        assert!(block.iter().all(|byte| usize::from(*byte) == i), "a neighbour stays what it was");
    }
    assert_eq!(Block::from(&[1; 3000][..]).dismiss(), 0, "nothing is done where there is no whole page");
}

#[test]
fn what_is_also_part_of_another_value_stays() {
    let (original, other) = (Entry::string(b"a", &vec![7; LARGE], None), list(50, 9000));
    let copies = [original.duplicate(b"b"), other.duplicate(b"c")];
    let before: Vec<Vec<u8>> = vec![copies[0].value().to_vec(), list_bytes(&copies[1])];
    let given = [original.dismiss(), other.dismiss()];
    assert_eq!(vec![copies[0].value().to_vec(), list_bytes(&copies[1])], before, "{given:?}");
    // Without the other owner it is dismissed.
    drop(copies);
    assert!(other.dismiss() > 50 * 4096);
}

fn list_bytes(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    list::forwards(entry, 0, &mut |element| {
        bytes.extend_from_slice(&element.to_vec());
        true
    });
    bytes
}

#[test]
fn of_collections_the_large_parts_are_given_back() {
    for (entry, large) in [
        (Entry::string(b"string", &vec![1; LARGE], None), true),
        (list(100, 7000), true),
        (hash(100, 9000), true),
        (Entry::string(b"string", b"small", None), false),
        (list(10_000, 2), false),
        (hash(10_000, 20), false),
    ] {
        let (bytes, all) = (entry.dismiss(), entry.memory_bytes());
        assert!(bytes <= all);
        if large {
            assert!(bytes * 3 > all, "{bytes} of {all} for {entry:?}");
        }
        // It can be dropped as usual.
        drop(entry);
    }
}

/// The number of bytes copied because the parent overwrote all values after the child had read them, and returned them
/// to the kernel if `dismiss`.
fn copies(dismiss: bool) -> u64 {
    let mut values: Vec<Entry> = (0..300).map(|_| Entry::string(b"key", &vec![1; LARGE], None)).collect();
    let pipes = || (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let ((mut is_read, mut tell_read), (mut is_written, mut tell_written)) = pipes();
    let mut child = match fork().unwrap().0 {
        Forked::Parent(child) => child,
        Forked::Child(mut link) => {
            let given: usize = if dismiss { values.iter().map(Entry::dismiss).sum() } else { 0 };
            let enough = !dismiss || given > 300 * (LARGE - 2 * 4096);
            let told = tell_read.write_all(b"x").and_then(|()| is_written.read_exact(&mut [0]));
            link.finish(0);
            link.exit(i32::from(!(enough && told.is_ok())))
        }
    };
    is_read.read_exact(&mut [0]).unwrap();
    for value in &mut values {
        value.set_string(&vec![2; LARGE]);
    }
    tell_written.write_all(b"x").unwrap();
    let exit = loop {
        match child.poll().unwrap() {
            Some(exit) => break exit,
            None => std::thread::yield_now(),
        }
    };
    assert_eq!(exit, crate::sys::fork::Exit::Status(0));
    child.next_report().unwrap().cow_bytes
}

#[test]
fn what_a_child_has_given_back_is_not_copied_when_the_parent_writes() {
    // In a separate process: writes of other tests would be copied as well.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "types::dismissal::copies_with_and_without"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn copies_with_and_without() {
    let (kept, given) = (copies(false), copies(true));
    let all = 300 * LARGE as u64;
    assert!(kept > all * 9 / 10, "{kept} of {all} were copied");
    assert!(given < kept / 2, "{given} were copied, and {kept} without giving back");
}
