//! HyperLogLog sketches: the number of distinct elements of a stream, within about 0.8 %, in at most 12 KiB.
//!
//! An element's hash selects one of 16,384 registers and a rank, the length of a run of zero bits. Each register stores
//! the highest rank so far. Many distinct elements produce high ranks, repeated ones change nothing, and the sketch of
//! a union is the maximum of each register.
//!
//! ```text
//!  [ "HYLL" | form 1 | 0 0 0 | cached cardinality 8, little-endian | registers … ]
//!                                                  highest bit: the cache is not valid
//! ```
//!
//! A sketch is a string value, byte for byte Redis's (format of 2.8.9 and later): clients can read it with `GET`, copy
//! it to another server and set it there. So these are functions over untrusted bytes: [`form`] reads the header, and
//! inconsistent registers after it are refused.
//!
//! | file | contents |
//! |---|---|
//! | [`hash`] | the register and rank of an element |
//! | [`dense`] | 6 bits per register, 12,288 bytes |
//! | [`sparse`] | runs of equal registers, for small sketches |
//! | [`estimate`] | the cardinality of registers |

pub mod dense;
pub mod estimate;
pub mod hash;
mod selftest;
pub mod sparse;

pub use hash::Observation;
pub use selftest::self_test;

use estimate::RankCounts;
use sparse::{Cursor, Raise};

/// The bits of the hash that form the register's index.
const INDEX_BITS: usize = 14;
/// The number of registers of a sketch.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// The bits of a dense register.
const REGISTER_BITS: usize = 6;

const MAGIC: &[u8; 4] = b"HYLL";
const FORM: usize = 4;
const CACHE: usize = 8;
const CACHE_TOP: usize = 15;
const NOT_CACHED: u8 = 0x80;
/// The bytes before the registers.
pub const HEADER: usize = 16;
/// The length of a dense sketch.
pub const DENSE_LEN: usize = HEADER + dense::PACKED;

/// A sketch does not have exactly 16,384 registers, or an opcode is truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

/// How the registers of a sketch are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Packed, see [`dense`].
    Dense = 0,
    /// Runs, see [`sparse`].
    Sparse = 1,
}

/// The form of the sketch in `value`; `None` if it is not a sketch. A sparse one can still be corrupted.
pub fn form(value: &[u8]) -> Option<Form> {
    if value.len() < HEADER || !value.starts_with(MAGIC) {
        return None;
    }
    match value[FORM] {
        0 if value.len() == DENSE_LEN => Some(Form::Dense),
        1 => Some(Form::Sparse),
        _ => None,
    }
}

/// The sparse sketch of no elements, with a valid cache.
pub fn empty() -> Vec<u8> {
    let mut value = vec![0; HEADER];
    value[..MAGIC.len()].copy_from_slice(MAGIC);
    value[FORM] = Form::Sparse as u8;
    value.extend_from_slice(&[0x7f, 0xff]);
    value
}

/// The cardinality in the header of a sketch, if it is valid.
pub fn cached(value: &[u8]) -> Option<u64> {
    let (cache, _) = value[CACHE..].split_first_chunk::<8>()?;
    if cache[7] & NOT_CACHED == 0 { Some(u64::from_le_bytes(*cache)) } else { None }
}

/// Writes the cardinality into the header. A value of 2^63 or more reads as not valid.
pub fn set_cached(value: &mut [u8], cardinality: u64) {
    value[CACHE..HEADER].copy_from_slice(&cardinality.to_le_bytes());
}

/// Marks the cardinality in the header as not valid; the rest of it stays.
pub fn invalidate(value: &mut [u8]) {
    value[CACHE_TOP] |= NOT_CACHED;
}

/// Raises a register of a sketch and returns whether it was lower. A sparse sketch may grow up to `max_sparse_bytes`;
/// beyond that it becomes dense. Raising a register invalidates the cache.
pub fn raise(value: &mut Vec<u8>, place: Observation, max_sparse_bytes: usize) -> Result<bool, Corrupted> {
    let raised = if form(value) == Some(Form::Sparse) {
        match sparse::plan(value, &mut Cursor::START.clone(), place.register, place.rank, max_sparse_bytes)? {
            Raise::None => false,
            Raise::Edit(edit) => {
                sparse::apply(value, edit);
                true
            }
            Raise::Promote => {
                to_dense(value)?;
                dense::raise(&mut value[HEADER..], place.register, place.rank)
            }
        }
    } else {
        dense::raise(&mut value[HEADER..], place.register, place.rank)
    };
    if raised {
        invalidate(value);
    }
    Ok(raised)
}

/// Makes a sketch dense; only the form in the header changes. On error nothing changes.
pub fn to_dense(value: &mut Vec<u8>) -> Result<(), Corrupted> {
    if form(value) == Some(Form::Dense) {
        return Ok(());
    }
    let mut registers = Registers::new();
    registers.merge(value)?;
    registers.become_dense(value);
    Ok(())
}

/// The cardinality of a sketch, computed without its cache.
pub fn cardinality(value: &[u8]) -> Result<u64, Corrupted> {
    if form(value) == Some(Form::Sparse) {
        let mut histogram = RankCounts::new();
        sparse::for_each_run(value, |_, run| histogram.add(run.value, run.len))?;
        return Ok(histogram.cardinality());
    }
    let mut registers = Registers::new();
    registers.merge(value)?;
    Ok(registers.cardinality())
}

/// All registers of a union of sketches, one byte each.
pub struct Registers {
    values: [u8; REGISTERS],
}

impl Registers {
    /// The registers of no elements.
    #[expect(clippy::new_without_default, reason = "16 KiB are not made by default")]
    pub fn new() -> Self {
        Registers { values: [0; REGISTERS] }
    }

    /// The values.
    pub fn values(&self) -> &[u8; REGISTERS] {
        &self.values
    }

    /// Adds the sketch `value` to the union. After an error the union is invalid.
    pub fn merge(&mut self, value: &[u8]) -> Result<(), Corrupted> {
        match form(value) {
            Some(Form::Dense) => dense::merge_into(&value[HEADER..], &mut self.values),
            Some(Form::Sparse) => sparse::for_each_run(value, |register, run| {
                if run.value > 0 {
                    for value in &mut self.values[register..register + run.len] {
                        *value = run.value.max(*value);
                    }
                }
            })?,
            None => return Err(Corrupted),
        }
        Ok(())
    }

    /// The cardinality of the union.
    pub fn cardinality(&self) -> u64 {
        RankCounts::of(&self.values).cardinality()
    }

    /// Turns `value` into a dense sketch of these registers; only the form in its header changes.
    pub fn become_dense(&self, value: &mut Vec<u8>) {
        value.resize(DENSE_LEN, 0);
        value[FORM] = Form::Dense as u8;
        self.write_dense(value);
    }

    /// Overwrites the registers of a dense sketch.
    pub fn write_dense(&self, value: &mut [u8]) {
        dense::pack(&self.values, &mut value[HEADER..]);
    }

    /// Raises the registers of the valid sparse sketch `value` to these, each of which is at least as high. Gives the same
    /// bytes as raising one after the other in ascending order.
    pub fn raise_sparse(&self, value: &mut Vec<u8>, max_sparse_bytes: usize) -> Result<(), Corrupted> {
        let mut cursor = Cursor::START;
        if self.sparse_len() > max_sparse_bytes.max(value.len()) {
            self.become_dense(value);
            return Ok(());
        }
        for (register, rank) in self.values.iter().enumerate().filter(|(_, rank)| **rank > 0) {
            match sparse::plan(value, &mut cursor, register, *rank, max_sparse_bytes)? {
                Raise::None => {}
                Raise::Edit(edit) => sparse::apply(value, edit),
                Raise::Promote => {
                    self.become_dense(value);
                    break;
                }
            }
        }
        Ok(())
    }

    /// The fewest bytes that a sparse sketch of these registers can take.
    fn sparse_len(&self) -> usize {
        let raised = self.values.iter().filter(|rank| **rank > 0).count();
        HEADER + raised / sparse::VAL_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(elements: std::ops::Range<u32>, max_sparse_bytes: usize) -> Vec<u8> {
        let mut value = empty();
        for n in elements {
            raise(&mut value, Observation::of(n.to_string().as_bytes()), max_sparse_bytes).unwrap();
        }
        value
    }

    #[test]
    fn a_sparse_sketch_and_a_dense_one_agree() {
        for count in [0, 1, 2, 10, 100, 1000, 5000] {
            let sparse = sketch(0..count, usize::MAX);
            let dense = sketch(0..count, 0);
            assert_eq!(form(&sparse), Some(Form::Sparse));
            assert_eq!(form(&dense), Some(if count == 0 { Form::Sparse } else { Form::Dense }));
            let estimate = cardinality(&sparse).unwrap();
            assert_eq!(cardinality(&dense), Ok(estimate));
            assert!(estimate.abs_diff(u64::from(count)) <= u64::from(count / 30), "{estimate} of {count}");
            let mut promoted = sparse.clone();
            to_dense(&mut promoted).unwrap();
            assert_eq!(
                promoted[HEADER..],
                {
                    let mut d = dense;
                    to_dense(&mut d).unwrap();
                    d
                }[HEADER..]
            );
        }
    }

    #[test]
    fn the_union_counts_what_is_in_both_once() {
        let (a, b) = (sketch(0..6000, 3000), sketch(3000..9000, 3000));
        let mut union = Registers::new();
        union.merge(&a).unwrap();
        union.merge(&b).unwrap();
        let mut whole = Registers::new();
        whole.merge(&sketch(0..9000, 0)).unwrap();
        assert_eq!(union.values(), whole.values());
        assert_eq!(union.cardinality(), whole.cardinality());
    }

    #[test]
    fn raising_all_registers_is_raising_one_after_the_other() {
        for (mine, other, max) in
            [(0, 500, 3000), (300, 500, 3000), (300, 900, 1500), (2000, 2100, 3000), (50, 60, 0)]
        {
            let target = sketch(0..mine, usize::MAX);
            let mut union = Registers::new();
            union.merge(&target).unwrap();
            union.merge(&sketch(mine / 2..other, usize::MAX)).unwrap();
            let mut one_by_one = target.clone();
            for (register, rank) in union.values().iter().enumerate().filter(|(_, rank)| **rank > 0) {
                raise(&mut one_by_one, Observation { register, rank: *rank }, max).unwrap();
            }
            let mut at_once = target;
            union.raise_sparse(&mut at_once, max).unwrap();
            assert_eq!(at_once[HEADER..], one_by_one[HEADER..], "{mine} {other} {max}");
            assert_eq!(at_once[FORM], one_by_one[FORM]);
        }
    }

    #[test]
    fn the_cache_is_valid_until_a_register_rises() {
        let mut value = empty();
        assert_eq!(cached(&value), Some(0));
        let place = Observation::of(b"a");
        assert_eq!(raise(&mut value, place, 3000), Ok(true));
        assert_eq!(cached(&value), None);
        set_cached(&mut value, 0x0102_0304);
        assert_eq!(raise(&mut value, place, 3000), Ok(false));
        assert_eq!(cached(&value), Some(0x0102_0304));
        invalidate(&mut value);
        assert_eq!(value[CACHE..HEADER], [4, 3, 2, 1, 0, 0, 0, 0x80]);
        set_cached(&mut value, 1 << 63);
        assert_eq!(cached(&value), None);
    }

    #[test]
    fn bytes_that_are_not_a_sketch_are_refused_by_their_header() {
        let good = empty();
        assert_eq!(form(&good), Some(Form::Sparse));
        assert_eq!(form(&good[..HEADER]), Some(Form::Sparse));
        assert_eq!(form(&good[..HEADER - 1]), None);
        assert_eq!(form(b""), None);
        let with = |at: usize, byte: u8| {
            let mut value = good.clone();
            value[at] = byte;
            form(&value)
        };
        assert_eq!(with(0, b'h'), None);
        assert_eq!(with(3, b'l'), None);
        assert_eq!(with(FORM, 2), None);
        assert_eq!(with(FORM, 0), None, "dense has a single length");
        assert_eq!(with(5, 9), Some(Form::Sparse));
        let mut dense = good;
        to_dense(&mut dense).unwrap();
        assert_eq!(form(&dense), Some(Form::Dense));
        dense.push(0);
        assert_eq!(form(&dense), None);
    }

    #[test]
    fn a_corrupted_sketch_stays_as_it_is() {
        let mut value = empty();
        value.extend_from_slice(b"\x00");
        let before = value.clone();
        assert_eq!(to_dense(&mut value), Err(Corrupted));
        assert_eq!(cardinality(&value), Err(Corrupted));
        assert_eq!(raise(&mut value, Observation::of(b"a"), 0), Err(Corrupted));
        assert_eq!(value, before);
    }
}
