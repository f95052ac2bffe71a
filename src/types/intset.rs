//! An intset: a small set of integers as a sorted array, Redis's format byte for byte.
//!
//! ```text
//!  [ width u32: 2, 4 or 8 | count u32 | integer | integer | … ]      little endian, ascending, no two equal
//! ```
//!
//! All integers have the width that the widest one needs. A wider one widens them all, and goes to one end, since it is
//! less or greater than all others. Removal never narrows.
//!
//! Costs: search O(log n); insert and remove move the integers behind; widening rewrites everything. All code here is
//! safe Rust: on bytes that are not an intset it may panic, but reads nothing else. [`is_valid`] must first check bytes
//! from outside.

use super::packed::Buffer;

/// The bytes before the first integer.
pub const HEADER: usize = 8;

/// An intset without integers.
pub const EMPTY: [u8; HEADER] = [2, 0, 0, 0, 0, 0, 0, 0];

/// An intset, for reading. See the module's head.
#[derive(Clone, Copy)]
pub struct Intset<'a> {
    width: usize,
    array: &'a [u8],
}

impl<'a> Intset<'a> {
    /// Returns the intset in `bytes`, which this module has written or checked.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Intset<'a> {
        let (header, array) = bytes.split_first_chunk::<HEADER>().expect("an intset has a header");
        let width = usize::from(header[0]);
        debug_assert!(array.len() == width * u32_at(*header, 4) as usize);
        Intset { width, array }
    }

    /// Returns the bytes of the whole intset, for a file.
    ///
    /// # Panics
    /// If its header contradicts its length.
    pub fn whole(bytes: &[u8]) -> &[u8] {
        let (header, array) = bytes.split_first_chunk::<HEADER>().expect("an intset has a header");
        let announced = u32_at(*header, 0) as usize * u32_at(*header, 4) as usize;
        assert!(array.len() == announced, "an intset says how long it is");
        bytes
    }

    /// The number of integers.
    #[inline]
    pub fn len(&self) -> usize {
        match self.width {
            2 => self.array.len() / 2,
            4 => self.array.len() / 4,
            _ => self.array.len() / 8,
        }
    }

    /// Whether there is no integer.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// The bytes of each integer: 2, 4 or 8.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The integer at this index, in ascending order. Panics past the end.
    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        read(self.width, &self.array[index * self.width..])
    }

    /// The least integer.
    #[inline]
    pub fn first(&self) -> Option<i64> {
        (!self.is_empty()).then(|| self.get(0))
    }

    /// The greatest integer.
    #[inline]
    pub fn last(&self) -> Option<i64> {
        (!self.is_empty()).then(|| self.get(self.len() - 1))
    }

    /// Whether `value` is in the set. O(log n).
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// Returns the index of `value`, or as an error the index at which to insert it. O(log n).
    #[inline]
    pub fn search(&self, value: i64) -> Result<usize, usize> {
        // Most new values are greater or less than all others, which needs no search.
        match (self.first(), self.last()) {
            (Some(_), Some(last)) if value > last => Err(self.len()),
            (Some(first), _) if value < first => Err(0),
            (None, _) => Err(0),
            _ => match self.width {
                2 => search::<2>(self.array, value),
                4 => search::<4>(self.array, value),
                _ => search::<8>(self.array, value),
            },
        }
    }

    /// Iterates over all integers, ascending; from either end.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { width: self.width, array: self.array }
    }
}

impl<'a> IntoIterator for Intset<'a> {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl std::fmt::Debug for Intset<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Iterator over the integers, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    width: usize,
    array: &'a [u8],
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        if self.array.is_empty() {
            return None;
        }
        let value = read(self.width, self.array);
        self.array = &self.array[self.width..];
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.array.len() / self.width;
        (len, Some(len))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<i64> {
        let start = self.array.len().checked_sub(self.width)?;
        let value = read(self.width, &self.array[start..]);
        self.array = &self.array[..start];
        Some(value)
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl std::iter::FusedIterator for Iter<'_> {}

/// Inserts `value` and returns whether it was new.
pub fn insert(buffer: &mut impl Buffer, value: i64) -> bool {
    let set = Intset::new(buffer.bytes());
    let width = width_of(value);
    if width > set.width {
        widen(buffer, width, value);
        return true;
    }
    let Err(index) = set.search(value) else { return false };
    let (width, count) = (set.width, set.len() + 1);
    let at = HEADER + index * width;
    let bytes = buffer.splice(at, 0, width);
    write(width, &mut bytes[at..], value);
    set_header(bytes, width, count);
    true
}

/// Gives every integer `width` bytes and inserts `value`, which requires that width and so belongs at one of the ends.
fn widen(buffer: &mut impl Buffer, width: usize, value: i64) {
    let set = Intset::new(buffer.bytes());
    let (old, count) = (set.width, set.len());
    let end = buffer.bytes().len();
    let bytes = buffer.splice(end, 0, (count + 1) * width - count * old);
    let shift = usize::from(value < 0);
    // From the last one back, so that no integer is overwritten before it is read.
    for i in (0..count).rev() {
        let moved = read(old, &bytes[HEADER + i * old..]);
        write(width, &mut bytes[HEADER + (i + shift) * width..], moved);
    }
    let index = if value < 0 { 0 } else { count };
    write(width, &mut bytes[HEADER + index * width..], value);
    set_header(bytes, width, count + 1);
}

/// Removes `value` and returns whether the set had it.
pub fn remove(buffer: &mut impl Buffer, value: i64) -> bool {
    let found = Intset::new(buffer.bytes()).search(value);
    if let Ok(index) = found {
        remove_index(buffer, index);
    }
    found.is_ok()
}

/// Removes the integer at this index and returns it. Panics past the end.
pub fn remove_index(buffer: &mut impl Buffer, index: usize) -> i64 {
    let set = Intset::new(buffer.bytes());
    let (width, count, value) = (set.width, set.len() - 1, set.get(index));
    let bytes = buffer.splice(HEADER + index * width, width, 0);
    set_header(bytes, width, count);
    value
}

/// The intset of strictly ascending integers, in the narrowest width.
pub fn from_sorted(values: &[i64]) -> Vec<u8> {
    debug_assert!(values.is_sorted_by(|a, b| a < b));
    let ends = [values.first(), values.last()];
    let width = ends.into_iter().flatten().map(|value| width_of(*value)).max().unwrap_or(2);
    let mut bytes = vec![0; HEADER + values.len() * width];
    for (chunk, value) in bytes[HEADER..].chunks_exact_mut(width).zip(values) {
        write(width, chunk, *value);
    }
    set_header(&mut bytes, width, values.len());
    bytes
}

/// Whether arbitrary `bytes` are an intset: checks the width, the length, the order. O(n).
pub fn is_valid(bytes: &[u8]) -> bool {
    let Some((header, array)) = bytes.split_first_chunk::<HEADER>() else { return false };
    let width = u32_at(*header, 0);
    if !matches!(width, 2 | 4 | 8) || array.len() as u64 != u64::from(width) * u64::from(u32_at(*header, 4)) {
        return false;
    }
    let mut values = Iter { width: width as usize, array };
    let Some(mut before) = values.next() else { return true };
    values.all(|value| std::mem::replace(&mut before, value) < value)
}

/// The bytes that an integer needs: 2, 4 or 8.
#[inline]
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn set_header(bytes: &mut [u8], width: usize, count: usize) {
    let count = u32::try_from(count).expect("an intset of at most 2^32 integers");
    bytes[..4].copy_from_slice(&(width as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&count.to_le_bytes());
}

fn u32_at(header: [u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// The integer of `width` bytes that begins `bytes`.
#[inline(always)]
fn read(width: usize, bytes: &[u8]) -> i64 {
    match width {
        2 => i64::from(i16::from_le_bytes(*bytes.first_chunk().expect("two bytes"))),
        4 => i64::from(i32::from_le_bytes(*bytes.first_chunk().expect("four bytes"))),
        _ => i64::from_le_bytes(*bytes.first_chunk().expect("eight bytes")),
    }
}

/// Writes the integer, which must fit, to the first `width` bytes of `bytes`.
#[inline(always)]
fn write(width: usize, bytes: &mut [u8], value: i64) {
    bytes[..width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// Binary search without mispredictable branches, in integers of `WIDTH` bytes.
fn search<const WIDTH: usize>(array: &[u8], value: i64) -> Result<usize, usize> {
    let (integers, _) = array.as_chunks::<WIDTH>();
    let mut base = 0;
    let mut size = integers.len();
    while size > 1 {
        let half = size / 2;
        let middle = read(WIDTH, &integers[base + half]);
        base = if middle <= value { base + half } else { base };
        size -= half;
    }
    match read(WIDTH, &integers[base]).cmp(&value) {
        std::cmp::Ordering::Equal => Ok(base),
        std::cmp::Ordering::Less => Err(base + 1),
        std::cmp::Ordering::Greater => Err(base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::block::Block;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn integer() -> impl Strategy<Value = i64> {
        let edges = [
            0,
            -1,
            1,
            0x7fff,
            0x8000,
            -0x8000,
            -0x8001,
            0x7fff_ffff,
            0x8000_0000,
            -0x8000_0000,
            -0x8000_0001,
        ];
        prop_oneof![
            4 => -40_i64..40,
            2 => any::<i16>().prop_map(i64::from),
            1 => any::<i32>().prop_map(i64::from),
            1 => any::<i64>(),
            1 => prop::sample::select(edges.to_vec()),
            1 => prop::sample::select(vec![i64::MIN, i64::MAX]),
        ]
    }

    fn check(bytes: &[u8], model: &BTreeSet<i64>, probe: i64) {
        assert!(is_valid(bytes));
        let set = Intset::new(bytes);
        assert_eq!(set.len(), model.len());
        assert_eq!(set.is_empty(), model.is_empty());
        assert_eq!((set.first(), set.last()), (model.first().copied(), model.last().copied()));
        assert!(set.iter().eq(model.iter().copied()));
        assert!(set.iter().rev().eq(model.iter().rev().copied()));
        assert_eq!(set.contains(probe), model.contains(&probe));
        let below = model.range(..probe).count();
        assert_eq!(set.search(probe), if model.contains(&probe) { Ok(below) } else { Err(below) });
        for (i, value) in model.iter().enumerate() {
            assert_eq!(set.get(i), *value);
        }
    }

    proptest! {
        #[test]
        fn an_intset_behaves_like_a_sorted_set(
            steps in prop::collection::vec((any::<bool>(), integer()), 1..60),
        ) {
            let mut model = BTreeSet::new();
            let (mut vec, mut block) = (EMPTY.to_vec(), Block::from(&EMPTY[..]));
            let mut widest = 2;
            for (add, value) in steps {
                if add {
                    let new = model.insert(value);
                    prop_assert_eq!(insert(&mut vec, value), new);
                    prop_assert_eq!(insert(&mut block, value), new);
                    widest = widest.max(width_of(value));
                } else {
                    let there = model.remove(&value);
                    prop_assert_eq!(remove(&mut vec, value), there);
                    prop_assert_eq!(remove(&mut block, value), there);
                }
                check(&vec, &model, value);
                prop_assert_eq!(&*block, &vec[..]);
                prop_assert_eq!(Intset::new(&vec).width(), widest);
            }
            let sorted: Vec<i64> = model.iter().copied().collect();
            check(&from_sorted(&sorted), &model, 0);
        }

        #[test]
        fn bytes_that_pass_the_check_can_be_read_and_changed(
            width in prop::sample::select(vec![0_u32, 2, 2, 2, 4, 8, 3]),
            count in 0_u32..5,
            rest in prop::collection::vec(any::<u8>(), 0..40),
            value in integer(),
        ) {
            let mut bytes = [&width.to_le_bytes()[..], &count.to_le_bytes(), &rest].concat();
            if is_valid(&bytes) {
                let model: BTreeSet<i64> = Intset::new(&bytes).iter().collect();
                check(&bytes, &model, value);
                let new = insert(&mut bytes, value);
                prop_assert_eq!(new, !model.contains(&value));
                prop_assert!(is_valid(&bytes));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut bytes = EMPTY.to_vec();
        for value in [3, -1, 2] {
            insert(&mut bytes, value);
        }
        assert_eq!(bytes, *b"\x02\0\0\0\x03\0\0\0\xff\xff\x02\0\x03\0");
        insert(&mut bytes, 70_000);
        let wide = b"\x04\0\0\0\x04\0\0\0\xff\xff\xff\xff\x02\0\0\0\x03\0\0\0\x70\x11\x01\0";
        assert_eq!(bytes, *wide);
    }

    #[test]
    fn bytes_that_are_almost_an_intset_are_refused() {
        let good = from_sorted(&[1, 2, 300]);
        assert!(is_valid(&good) && is_valid(&EMPTY));
        let bad = |change: fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            !is_valid(&bytes)
        };
        assert!(bad(|b| b[0] = 3));
        assert!(bad(|b| b[1] = 1));
        assert!(bad(|b| b[4] = 2));
        assert!(bad(|b| b[7] = 0x80));
        assert!(bad(|b| b.push(0)));
        assert!(bad(|b| b.truncate(7)));
        assert!(bad(|b| b[8] = 2), "two are equal");
        assert!(bad(|b| b[8] = 9), "not ascending");
    }

    #[test]
    fn an_integer_can_be_removed_by_its_index() {
        let mut bytes = from_sorted(&[-5, 0, 100_000]);
        assert_eq!(remove_index(&mut bytes, 1), 0);
        assert!(Intset::new(&bytes).iter().eq([-5, 100_000]));
    }
}
