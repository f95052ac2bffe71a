//! Size classes: eight between each power of two and the next, sixteen of 4 bytes each up to 64.
//!
//! ```text
//!  8 12 16 … 60 64 │ 72 80 … 128 │ 144 … 256 │ 288 … 512 │ … │ 2304 … 4096
//!     step 4       │   step 8    │  step 16  │  step 32  │   │  step 256
//! ```
//!
//! The step below a power of two is a sixteenth of it, so class and size come from one count of leading zeros and a
//! few shifts, and at most a ninth of a block above 64 bytes is lost to rounding.

/// How many classes there are. The first, of 4 bytes, is not used: a free block holds a pointer.
pub const CLASSES: usize = 64;

/// The largest size that has a class.
pub const LARGEST: usize = 4096;

/// The smallest block.
const SMALLEST: usize = size_of::<*mut u8>();

const _: () = assert!(SMALLEST == 8, "a free block's link fits the smallest class");
const _: () = assert!(of(LARGEST) == CLASSES - 1 && rounded(LARGEST) == LARGEST);
const _: () = assert!(rounded(26) == 28 && rounded(30) == 32 && rounded(55) == 56 && rounded(123) == 128);

/// `size - 1`, and the exponent of the step between classes there.
#[inline(always)]
const fn last_and_step(size: usize) -> (usize, u32) {
    let last = if size < SMALLEST { SMALLEST - 1 } else { size - 1 };
    (last, (last | 32).ilog2() - 3)
}

/// The class of a size up to [`LARGEST`].
#[inline(always)]
pub const fn of(size: usize) -> usize {
    let (last, step) = last_and_step(size);
    (step as usize - 2) * 8 + (last >> step)
}

/// The size of the blocks of a size's class.
#[inline(always)]
pub const fn rounded(size: usize) -> usize {
    let (last, step) = last_and_step(size);
    (last | ((1 << step) - 1)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        let mut before = (0, 0);
        for size in 0..=LARGEST {
            let (class, rounded) = (of(size), rounded(size));
            assert!(class < CLASSES);
            assert!(rounded >= size && of(rounded) == class);
            assert!((class, rounded) >= before);
            if class == before.0 {
                assert_eq!(rounded, before.1, "one class, one size");
            } else if size > 0 {
                assert_eq!(before.1, size - 1, "a class ends where the next begins");
            }
            before = (class, rounded);
        }
    }

    #[test]
    fn classes_from_64_bytes_on_keep_blocks_aligned_to_8() {
        for size in 61..=LARGEST {
            assert_eq!(rounded(size) % 8, 0);
        }
        for size in 0..=60 {
            assert_eq!(rounded(size) % 4, 0);
        }
    }
}
