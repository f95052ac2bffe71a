//! Untrusted bytes as an intset: either the check refuses them or every operation is safe on them.
//!
//! The first byte is the number of bytes that are steps of nine bytes; the rest is the intset. One that passes is read and
//! changed beside a sorted set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::types::block::Block;
use redstart::types::intset::{self, Intset};
use std::collections::BTreeSet;

fn check(bytes: &[u8], model: &BTreeSet<i64>) {
    assert!(intset::is_valid(bytes));
    let set = Intset::new(bytes);
    assert_eq!(set.len(), model.len());
    assert!(set.iter().eq(model.iter().copied()));
    assert!(set.iter().rev().eq(model.iter().rev().copied()));
    for (i, value) in model.iter().enumerate() {
        assert_eq!(set.search(*value), Ok(i));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&steps, rest)) = data.split_first() else { return };
    let (steps, bytes) = rest.split_at(usize::from(steps).min(rest.len()));
    if !intset::is_valid(bytes) {
        return;
    }
    let mut model: BTreeSet<i64> = Intset::new(bytes).iter().collect();
    check(bytes, &model);
    let mut block = Block::from(bytes);
    for step in steps.chunks_exact(9) {
        let value = i64::from_le_bytes(step[1..].try_into().expect("eight bytes"));
        match step[0] % 4 {
            0 | 1 => assert_eq!(intset::insert(&mut block, value), model.insert(value)),
            2 => assert_eq!(intset::remove(&mut block, value), model.remove(&value)),
            _ if model.is_empty() => {}
            _ => {
                let index = value.rem_euclid(model.len() as i64) as usize;
                assert!(model.remove(&intset::remove_index(&mut block, index)));
            }
        }
        check(&block, &model);
    }
});
