//! Untrusted bytes as a HyperLogLog: every operation is safe on them, and a sketch with 16,384 registers keeps the
//! right values.
//!
//! The first byte is the number of bytes that are steps of three (a register and a rank), the second the limit of a
//! sparse sketch in units of 16 bytes; the third says whether the rest is a whole value or the opcodes of a sparse one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::types::hyperloglog::{self, Form, HEADER, Observation, REGISTERS, Registers, dense, sparse};

fn registers(sketch: &[u8]) -> Option<Box<[u8; REGISTERS]>> {
    let mut registers = Registers::new();
    registers.merge(sketch).ok()?;
    Some(Box::new(*registers.values()))
}

fn check(sketch: &[u8], model: Option<&[u8; REGISTERS]>) {
    let read = registers(sketch);
    assert_eq!(read.as_deref(), model);
    assert_eq!(hyperloglog::cardinality(sketch).is_ok(), model.is_some());
    let mut dense = sketch.to_vec();
    assert_eq!(hyperloglog::to_dense(&mut dense).is_ok(), model.is_some());
    if model.is_some() {
        assert_eq!(hyperloglog::form(&dense), Some(Form::Dense));
        assert_eq!(registers(&dense), read);
        assert_eq!(hyperloglog::cardinality(&dense), hyperloglog::cardinality(sketch));
    } else {
        assert_eq!(dense, sketch);
    }
}

fn get(sketch: &[u8], register: usize) -> Option<u8> {
    match hyperloglog::form(sketch)? {
        Form::Dense => Some(dense::get(&sketch[HEADER..], register)),
        Form::Sparse => sparse::get(sketch, register),
    }
}

/// Checks that raising all registers at once is the same as raising one after the other.
fn check_union(sketch: &[u8], other: &[u8], limit: usize) {
    let mut union = Registers::new();
    if hyperloglog::form(sketch) != Some(Form::Sparse)
        || union.merge(sketch).is_err()
        || union.merge(other).is_err()
    {
        return;
    }
    let (mut at_once, mut one_by_one) = (sketch.to_vec(), sketch.to_vec());
    union.raise_sparse(&mut at_once, limit).expect("a valid sketch");
    for (register, rank) in union.values().iter().enumerate().filter(|(_, rank)| **rank > 0) {
        hyperloglog::raise(&mut one_by_one, Observation { register, rank: *rank }, limit)
            .expect("a valid sketch");
    }
    hyperloglog::invalidate(&mut at_once);
    hyperloglog::invalidate(&mut one_by_one);
    assert_eq!(at_once, one_by_one);
}

fuzz_target!(|data: &[u8]| {
    let [steps, limit, dressed, rest @ ..] = data else { return };
    let (steps, bytes) = rest.split_at(usize::from(*steps).min(rest.len()));
    let mut sketch = bytes.to_vec();
    if dressed & 1 == 1 {
        sketch.splice(..0, hyperloglog::empty()[..HEADER].iter().copied());
    }
    let Some(form) = hyperloglog::form(&sketch) else { return };
    let limit = usize::from(*limit) * 16;
    let original = sketch.clone();
    if form == Form::Sparse {
        let cut_off = sparse::runs(&sketch).any(|run| run.is_err());
        assert_eq!(sparse::describe(&sketch).is_err(), cut_off);
    }
    let mut model = registers(&sketch);
    check(&sketch, model.as_deref());
    for step in steps.chunks_exact(3) {
        let register = usize::from(u16::from_le_bytes([step[0], step[1]])) % REGISTERS;
        let rank = step[2] % 51 + 1;
        let before = get(&sketch, register);
        let raised = hyperloglog::raise(&mut sketch, Observation { register, rank }, limit);
        if let Some(model) = &mut model {
            assert_eq!(before, Some(model[register]));
            assert_eq!(raised, Ok(model[register] < rank));
            model[register] = rank.max(model[register]);
        } else if raised.is_ok() {
            assert_eq!(get(&sketch, register), before.max(Some(rank)));
        }
    }
    check(&sketch, model.as_deref());
    check_union(&original, &sketch, limit);
});
