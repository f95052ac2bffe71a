//! Size classes: eight between each power of two and the next, sixteen of 4 bytes each up to 64, and thirty-two between
//! each power of two and the next for the wide ones.
//!
//! ```text
//!  8 12 16 … 60 64 │ 72 80 … 128 │ 144 … 256 │ 288 … 512 │ … │ 2304 … 4096       narrow
//!     step 4       │   step 8    │  step 16  │  step 32  │   │  step 256
//!
//!  64 more than:  4096 │ 4224 4352 … 8192 │ 8448 … 16384 │ 16896 … 32768 │ 33792 … 65536      wide
//!                      │     step 128     │   step 256   │   step 512    │   step 1024
//! ```
//!
//! The step below a power of two is a sixteenth of it (of a wide one, a sixty-fourth), so class and size come from one
//! count of leading zeros and a few shifts. At most a ninth of a narrow block above 64 bytes is lost to rounding, and a
//! thirty-second of a wide one. Wide classes are 64 bytes beyond the round numbers, because large values often have a
//! round size and always a header of a few bytes before them.

/// The number of classes. The first, of 4 bytes, is not used: a free block holds a pointer.
pub const CLASSES: usize = NARROW + WIDE;

/// The number of narrow classes.
pub const NARROW: usize = 64;

/// The largest size of a narrow class.
pub const LARGEST_NARROW: usize = 4096;

/// The largest size that has a class.
pub const LARGEST: usize = (64 << 10) + WIDE_EXTRA;

/// How much a wide class exceeds a round number.
const WIDE_EXTRA: usize = 64;

const WIDE: usize = 129;

/// The smallest block.
const SMALLEST: usize = size_of::<*mut u8>();

const _: () = assert!(SMALLEST == 8, "a free block's link fits the smallest class");
const _: () = assert!(of(LARGEST_NARROW) == NARROW - 1 && rounded(LARGEST_NARROW) == LARGEST_NARROW);
const _: () = assert!(rounded(26) == 28 && rounded(30) == 32 && rounded(55) == 56 && rounded(123) == 128);
const _: () = assert!(of_wide(LARGEST_NARROW + 1) == NARROW && of_wide(LARGEST) == CLASSES - 1);
const _: () = assert!(rounded_wide(LARGEST) == LARGEST && rounded_wide(8192 + 20) == 8256);

/// Returns `size - 1`, and the exponent of the step between classes at that size.
#[inline(always)]
const fn last_and_step(size: usize) -> (usize, u32) {
    let last = if size < SMALLEST { SMALLEST - 1 } else { size - 1 };
    (last, (last | 32).ilog2() - 3)
}

/// The class of a size up to [`LARGEST_NARROW`].
#[inline(always)]
pub const fn of(size: usize) -> usize {
    let (last, step) = last_and_step(size);
    (step as usize - 2) * 8 + (last >> step)
}

/// The size of the blocks of a narrow size's class.
#[inline(always)]
pub const fn rounded(size: usize) -> usize {
    let (last, step) = last_and_step(size);
    (last | ((1 << step) - 1)) + 1
}

/// [`last_and_step`] for a wide size.
const fn wide_last_and_step(size: usize) -> (usize, u32) {
    let last = size - 1 - WIDE_EXTRA;
    (last, last.ilog2() - 5)
}

/// The class of a size above [`LARGEST_NARROW`] and up to [`LARGEST`].
pub const fn of_wide(size: usize) -> usize {
    let (last, step) = wide_last_and_step(size);
    // The first wide class is the last below 4096 in this numbering.
    NARROW + (step as usize - 6) * 32 + (last >> step) - 63
}

/// The size of the blocks of a wide size's class.
pub const fn rounded_wide(size: usize) -> usize {
    let (last, step) = wide_last_and_step(size);
    (last | ((1 << step) - 1)) + 1 + WIDE_EXTRA
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_and_size(size: usize) -> (usize, usize) {
        if size <= LARGEST_NARROW { (of(size), rounded(size)) } else { (of_wide(size), rounded_wide(size)) }
    }

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        let mut before = (0, 0);
        for size in 0..=LARGEST {
            let (class, rounded) = class_and_size(size);
            assert!(class < CLASSES);
            assert!(rounded >= size && class_and_size(rounded) == (class, rounded));
            assert!((class, rounded) >= before);
            if class == before.0 {
                assert_eq!(rounded, before.1, "one class, one size");
            } else if size > 0 {
                assert!(class <= before.0 + 2, "no class is left out but the unused first");
                assert_eq!(before.1, size - 1, "a class ends where the next begins");
            }
            before = (class, rounded);
        }
    }

    #[test]
    fn classes_from_64_bytes_on_keep_blocks_aligned_to_8() {
        for size in 61..=LARGEST {
            assert_eq!(class_and_size(size).1 % 8, 0);
        }
        for size in 0..=60 {
            assert_eq!(rounded(size) % 4, 0);
        }
    }

    #[test]
    fn a_wide_class_loses_a_thirty_second_at_most() {
        for size in LARGEST_NARROW + 1..=LARGEST {
            assert!(rounded_wide(size) - size <= size / 32, "{size}");
        }
    }
}
