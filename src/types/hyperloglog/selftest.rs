//! `PFSELFTEST`: checks packed registers against plain ones, and sketches of up to a million elements, sparse and
//! dense, against the true count. Takes a few tens of milliseconds.

use super::{
    Form, HEADER, Observation, REGISTERS, Registers, cardinality, dense, empty, form, raise, to_dense,
};

const ROUNDS: usize = 100;
const ELEMENTS: u64 = 1_000_000;
/// The standard error of an estimate is 1.04 / √16384; a deviation of six of them practically never occurs.
const MOST_DEVIATION: f64 = 6.0 * 1.04 / 128.0;

/// Runs the tests with random numbers from `random`. The error is a sentence that describes the failure.
pub fn self_test(random: &mut impl FnMut() -> u64, max_sparse_bytes: usize) -> Result<(), String> {
    registers(random)?;
    estimates(random(), max_sparse_bytes)
}

fn registers(random: &mut impl FnMut() -> u64) -> Result<(), String> {
    let mut sketch = empty();
    to_dense(&mut sketch).map_err(|_| "an empty sketch cannot be made dense")?;
    for _ in 0..ROUNDS {
        let mut values = [0; REGISTERS];
        for eight in values.as_chunks_mut::<8>().0 {
            *eight = (random() & 0x3f3f_3f3f_3f3f_3f3f).to_le_bytes();
        }
        sketch[HEADER..].fill(0);
        for (register, value) in values.iter().enumerate() {
            dense::raise(&mut sketch[HEADER..], register, *value);
        }
        let mut read = Registers::new();
        read.merge(&sketch).map_err(|_| "a dense sketch cannot be read")?;
        if let Some(at) = (0..REGISTERS).find(|at| read.values()[*at] != values[*at]) {
            return Err(format!("Register {at} should be {} but is {}", values[at], read.values()[at]));
        }
    }
    Ok(())
}

fn estimates(seed: u64, max_sparse_bytes: usize) -> Result<(), String> {
    let (mut sparse, mut plain) = (empty(), empty());
    to_dense(&mut plain).map_err(|_| "an empty sketch cannot be made dense")?;
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let place = Observation::of(&(n ^ seed).to_ne_bytes());
        dense::raise(&mut plain[HEADER..], place.register, place.rank);
        raise(&mut sparse, place, max_sparse_bytes).map_err(|_| "a sketch got corrupted")?;
        if n != checkpoint {
            continue;
        }
        // An element adds at most four bytes: a split of a long run, and a value.
        if n < max_sparse_bytes as u64 / 4 && form(&sparse) != Some(Form::Sparse) {
            return Err("sparse encoding not used".into());
        }
        let estimate = cardinality(&plain).map_err(|_| "a dense sketch cannot be read")?;
        if cardinality(&sparse) != Ok(estimate) {
            return Err("dense/sparse disagree".into());
        }
        let deviation = estimate.abs_diff(n);
        // Even with few elements, two can share a register.
        let allowed = ((MOST_DEVIATION * n as f64).ceil() as u64).max(u64::from(n >= 10) * 2);
        if deviation > allowed {
            return Err(format!("Too big error. card:{n} abserr:{deviation}"));
        }
        checkpoint *= 10;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_passes_with_any_numbers() {
        for seed in [1, 0x1234_5678_9abc_def0] {
            let mut state: u64 = seed;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.rotate_left(32)
            };
            assert_eq!(estimates(random(), 3000), Ok(()));
        }
    }

    #[test]
    fn registers_that_are_told_apart_pass() {
        assert_eq!(registers(&mut || 0x3f3f_0001_0203_3f00), Ok(()));
    }
}
