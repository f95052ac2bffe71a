//! The ring against a model: any sequence of writes, consumptions, truncations and growth leaves the bytes that a plain
//! queue would have, in a mirrored ring and in a compacting one of the same capacity.
//!
//! Input: three bytes per step, the operation and a 16-bit size, which is scaled to what the operation allows. The bytes
//! written are a running count, so the content needs no input.

#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use redstart::sys::ring::Ring;

fn check(ring: &mut Ring, model: &VecDeque<u8>) {
    assert_eq!(ring.len(), model.len());
    assert_eq!(ring.is_empty(), model.is_empty());
    assert_eq!(ring.writable().len(), ring.capacity() - model.len());
    let (head, tail) = model.as_slices();
    let readable = ring.readable();
    assert_eq!(&readable[..head.len()], head);
    assert_eq!(&readable[head.len()..], tail);
}

fn step(ring: &mut Ring, model: &mut VecDeque<u8>, next: &mut u8, operation: u8, size: usize) {
    match operation % 5 {
        // Two of four, so that the ring fills as readily as it drains.
        0 | 1 => {
            let room = ring.writable();
            let size = size % (room.len() + 1);
            for byte in &mut room[..size] {
                *byte = *next;
                model.push_back(*next);
                // A period that does not divide the page size, so that a copy shifted by a page looks wrong.
                *next = (*next + 1) % 251;
            }
            ring.commit(size);
        }
        2 => {
            let size = size % (ring.len() + 1);
            ring.consume(size);
            model.drain(..size);
        }
        3 => {
            let size = size % (ring.len() + 1);
            ring.truncate(size);
            model.truncate(size);
        }
        _ => {
            let wanted = ring.capacity() + size % 5000;
            // Far below the size that a system refuses, unless very many steps are growth.
            if wanted < 1 << 20 {
                ring.grow(wanted).expect("a megabyte");
                assert!(ring.capacity() >= wanted);
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mirrored = Ring::new(1);
    let compacting = Ring::compacting(mirrored.capacity());
    let odd = Ring::compacting(1 + input.first().map_or(0, |&byte| usize::from(byte)));
    for mut ring in [mirrored, compacting, odd] {
        let mut model = VecDeque::new();
        let mut next = 0;
        for bytes in input.chunks_exact(3) {
            let size = usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
            step(&mut ring, &mut model, &mut next, bytes[0], size);
            check(&mut ring, &model);
        }
    }
});
