//! Untrusted bytes as a listpack: either the check refuses them or every operation is safe on them.
//!
//! The first byte is the number of bytes that are steps of two bytes; the rest is the listpack. So that most inputs get
//! past the header, the total length and the end mark are corrected if the number of steps is odd. A listpack that passes
//! is normalized, read in both directions, searched for each of its own elements, and changed by the steps, beside a
//! vector of its elements.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::types::block::Block;
use redstart::types::listpack::{self, Builder, Element, HEADER, Listpack};
use redstart::types::packed::Buffer;

fn elements(bytes: &[u8]) -> Vec<Vec<u8>> {
    Listpack::new(bytes).iter().map(|text| text.to_vec()).collect()
}

fn check(bytes: &[u8], model: &[Vec<u8>]) {
    assert!(listpack::is_valid(bytes));
    let listpack = Listpack::new(bytes);
    assert_eq!(listpack.len(), model.len());
    assert_eq!(elements(bytes), model);
    let mut backwards: Vec<Vec<u8>> = listpack.iter().rev().map(|text| text.to_vec()).collect();
    backwards.reverse();
    assert_eq!(backwards, model);
}

/// A string or an integer, of each length that the format treats differently.
fn made_of(byte: u8) -> Vec<u8> {
    match byte % 8 {
        0 => vec![b'x'; usize::from(byte)],
        1 => vec![b'y'; usize::from(byte) * 20],
        2 => (i64::from(byte) << (byte % 56)).to_string().into_bytes(),
        3 => (-i64::from(byte) << (byte % 56)).to_string().into_bytes(),
        _ => vec![byte; usize::from(byte % 7)],
    }
}

fn apply(buffer: &mut impl Buffer, model: &mut Vec<Vec<u8>>, op: u8, with: u8) {
    let value = made_of(with);
    let listpack = Listpack::new(buffer.bytes());
    let index = usize::from(op >> 3) % (model.len() + 1);
    let at = listpack.seek(index as i64).unwrap_or(listpack.end());
    match op & 7 {
        0 => {
            listpack::push_back(buffer, &value[..]);
            model.push(value);
        }
        1 => {
            listpack::push_front(buffer, &value[..]);
            model.insert(0, value);
        }
        2 | 3 => {
            listpack::insert(buffer, at, &[Element::from(&value[..]), Element::integer(7)]);
            model.splice(index..index, [value, b"7".to_vec()]);
        }
        4 | 5 if index < model.len() => {
            listpack::replace(buffer, at, &value[..]);
            model[index] = value;
        }
        6 => {
            let number = usize::from(with % 8).min(model.len() - index);
            assert_eq!(listpack::remove_indices(buffer, index as i64, number), number);
            model.drain(index..index + number);
        }
        _ => {
            let mut builder = Builder::with_capacity(0);
            builder.push(&value[..]);
            listpack::merge(buffer, Listpack::new(&builder.finish()));
            model.push(value);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&steps, rest)) = data.split_first() else { return };
    let (steps, bytes) = rest.split_at(usize::from(steps).min(rest.len()));
    let mut bytes = bytes.to_vec();
    if steps.len() % 2 == 1 && bytes.len() > HEADER {
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes[total as usize - 1] = 0xff;
    }
    let Ok(normal) = listpack::normalize(&bytes) else {
        assert!(!listpack::is_valid(&bytes));
        return;
    };
    assert!(listpack::is_valid(&bytes));
    let mut model = elements(&bytes);
    check(&normal, &model);
    let listpack = Listpack::new(&normal);
    for element in model.iter().take(64) {
        let found = listpack.find(HEADER, &Element::from(&element[..]), 0).expect("it is there");
        assert_eq!(listpack.get(found).to_vec(), *element);
    }
    let distinct: std::collections::HashSet<_> = model.iter().step_by(2).collect();
    assert_eq!(listpack::has_duplicates(listpack, 2), distinct.len() < model.len().div_ceil(2));
    let mut block = Block::from(&*normal);
    for step in steps.chunks_exact(2) {
        apply(&mut block, &mut model, step[0], step[1]);
        check(&block, &model);
    }
});
