//! The order in which buckets follow each other: the probe order, which is also the scan order.
//!
//! Buckets are counted with the *highest* index bit changing first. Read an index of `k` bits backwards as a binary
//! fraction, 0.b₀b₁b₂…: the buckets lie on the interval [0, 1) in the order of that fraction, and a hash, whose low bits
//! are the index, is a point of the interval that no resize moves. Doubling a table cuts each bucket's stretch into two
//! halves that stay neighbours; halving it joins them again:
//!
//! ```text
//!   2 buckets   [      0      |      1      )
//!   4 buckets   [  0   |  2   |  1   |  3   )
//!   8 buckets   [ 0| 4 | 2| 6 | 1| 5 | 3| 7 )
//! ```
//!
//! So "everything left of this point" means the same in a table of any size, which `scan` relies on, and entries that
//! overflow to the next bucket stay close to home when the table changes size. (Pieter Noordhuis invented the
//! reverse-binary cursor for Redis's SCAN; an open-addressing table can use it because it probes in the same order.)

/// The bucket after `index` in a table of `mask + 1` buckets; after the last one comes bucket 0.
///
/// Adding one to the reversed number means: find the highest bit that is clear, set it, clear all above it.
#[inline]
pub(super) fn next(index: usize, mask: usize) -> usize {
    let clear = !index & mask;
    if clear == 0 {
        return 0;
    }
    let top = 1 << clear.ilog2();
    (index & (top - 1)) | top
}

/// The bucket `steps` before `index` in a table of `1 << bits` buckets, wrapping around if necessary.
#[inline]
pub(super) fn back(index: usize, steps: usize, bits: u32) -> usize {
    if steps == 0 || bits == 0 {
        return index;
    }
    let unit = usize::BITS - bits;
    index.reverse_bits().wrapping_sub(steps << unit).reverse_bits()
}

/// The number of steps from bucket `from` to bucket `to`, wrapping around if necessary.
#[inline]
pub(super) fn distance(from: usize, to: usize, bits: u32) -> usize {
    if bits == 0 {
        return 0;
    }
    to.reverse_bits().wrapping_sub(from.reverse_bits()) >> (usize::BITS - bits)
}

/// Whether bucket `a` comes before bucket `b`.
#[inline]
pub(super) fn is_before(a: usize, b: usize) -> bool {
    a.reverse_bits() < b.reverse_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_visits_every_bucket_once_and_returns_to_the_first() {
        for bits in 0..12 {
            let mask = (1 << bits) - 1;
            let mut seen = vec![false; mask + 1];
            let mut at = 0;
            for _ in 0..=mask {
                assert!(!std::mem::replace(&mut seen[at], true), "bucket {at} of {} came twice", mask + 1);
                let after = next(at, mask);
                assert_eq!(is_before(at, after), after != 0, "{at} and {after} of {} buckets", mask + 1);
                at = after;
            }
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn the_order_is_that_of_the_reversed_index() {
        let order: Vec<usize> = std::iter::successors(Some(0), |&at| Some(next(at, 7))).take(8).collect();
        assert_eq!(order, [0, 4, 2, 6, 1, 5, 3, 7]);
    }

    #[test]
    fn doubling_a_table_puts_the_two_halves_of_a_bucket_next_to_each_other() {
        for bits in 0..10 {
            let mask = (1 << bits) - 1;
            for index in 0..=mask {
                assert_eq!(next(index, 2 * mask + 1), index + mask + 1);
                assert_eq!(next(index + mask + 1, 2 * mask + 1), next(index, mask));
            }
        }
    }

    #[test]
    fn stepping_back_undoes_stepping_on() {
        for bits in 0..10_u32 {
            let mask = (1 << bits) - 1;
            for home in 0..=mask {
                let mut at = home;
                for steps in 0..15 {
                    assert_eq!(back(at, steps, bits), home, "{steps} steps back of {} buckets", mask + 1);
                    assert_eq!(distance(home, at, bits), steps & mask);
                    at = next(at, mask);
                }
            }
        }
    }
}
