//! Dense registers: 16,384 of 6 bits each, packed without gaps from the lowest bit of the first byte on.
//!
//! ```text
//!  byte 0      byte 1      byte 2
//!  11000000    22221111    33333322        four registers in three bytes, eight in six
//! ```
//!
//! Eight registers are 48 bits of one word, and three rounds of shifting halves apart convert them to eight bytes (and
//! back). With one byte per register a processor computes sixteen maxima at a time, so whole sketches are unpacked,
//! merged and packed, never walked bit by bit. A sketch is 2,048 words; unpacking takes about 12 operations for each, a
//! few microseconds in total.

use super::{REGISTER_BITS, REGISTERS};

/// The bytes of all registers.
pub const PACKED: usize = REGISTERS * REGISTER_BITS / 8;

const _: () = assert!(PACKED == 12_288 && PACKED.is_multiple_of(6));

/// The first of the three bytes that contain a register, and its distance in bits from their lowest bit.
fn place(register: usize) -> (usize, usize) {
    (register / 4 * 3, register % 4 * REGISTER_BITS)
}

/// The value of one register; `packed` are [`PACKED`] bytes.
pub fn get(packed: &[u8], register: usize) -> u8 {
    let (at, shift) = place(register);
    let four = u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], 0]);
    (four >> shift & 0x3f) as u8
}

/// Raises one register to `rank` and returns whether it was lower.
pub fn raise(packed: &mut [u8], register: usize, rank: u8) -> bool {
    let raises = get(packed, register) < rank;
    if raises {
        let (at, shift) = place(register);
        let three = &mut packed[at..at + 3];
        let mut four = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        four = four & !(0x3f << shift) | u32::from(rank) << shift;
        three.copy_from_slice(&four.to_le_bytes()[..3]);
    }
    raises
}

/// Eight registers of 6 bits, spread to one byte each.
#[inline(always)]
fn spread(six: &[u8; 6]) -> u64 {
    let low = u32::from_le_bytes([six[0], six[1], six[2], 0]);
    let high = u32::from_le_bytes([six[3], six[4], six[5], 0]);
    let word = u64::from(high) << 32 | u64::from(low);
    let word = word & 0x0000_0fff_0000_0fff | (word & 0x00ff_f000_00ff_f000) << 4;
    word & 0x003f_003f_003f_003f | (word & 0x0fc0_0fc0_0fc0_0fc0) << 2
}

/// The inverse of [`spread`]; the upper two bits of every byte are zero.
#[inline(always)]
fn squeeze(word: u64) -> [u8; 6] {
    let word = word & 0x003f_003f_003f_003f | (word & 0x3f00_3f00_3f00_3f00) >> 2;
    let word = word & 0x0000_0fff_0000_0fff | (word & 0x0fff_0000_0fff_0000) >> 4;
    let bytes = (word & 0x00ff_ffff | word >> 8 & 0xffff_ff00_0000).to_le_bytes();
    std::array::from_fn(|at| bytes[at])
}

/// Groups that are unpacked before they are compared, so that each loop does one thing and vectorizes.
const GROUPS: usize = 16;

/// Raises each byte of `values` to the value of its register if that is higher.
pub fn merge_into(packed: &[u8], values: &mut [u8; REGISTERS]) {
    let (packed, _) = packed.as_chunks::<6>();
    let (values, _) = values.as_chunks_mut::<{ 8 * GROUPS }>();
    for (groups, values) in packed.chunks_exact(GROUPS).zip(values) {
        let mut bytes = [0; 8 * GROUPS];
        for (group, bytes) in groups.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *bytes = spread(group).to_le_bytes();
        }
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = byte.max(*value);
        }
    }
}

/// Packs a byte for each register, all below 64, into `packed`.
pub fn pack(values: &[u8; REGISTERS], packed: &mut [u8]) {
    for (eight, six) in values.as_chunks::<8>().0.iter().zip(packed.as_chunks_mut::<6>().0) {
        *six = squeeze(u64::from_le_bytes(*eight));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> [u8; REGISTERS] {
        std::array::from_fn(|register| (register * 31 % 64) as u8)
    }

    #[test]
    fn registers_come_back_one_by_one_and_all_at_once() {
        let values = counting();
        let mut one_by_one = vec![0; PACKED];
        for (register, value) in values.into_iter().enumerate() {
            assert_eq!(raise(&mut one_by_one, register, value), value > 0);
            assert!(!raise(&mut one_by_one, register, value));
        }
        let mut at_once = vec![0xff; PACKED];
        pack(&values, &mut at_once);
        assert_eq!(one_by_one, at_once);
        let mut unpacked = [0; REGISTERS];
        merge_into(&at_once, &mut unpacked);
        assert_eq!(unpacked, values);
        assert!((0..REGISTERS).all(|register| get(&at_once, register) == values[register]));
    }

    #[test]
    fn raising_a_register_leaves_its_neighbours() {
        for fill in [0, 63] {
            for register in [0, 1, 2, 3, 4, 5, 8191, 16_380, 16_381, 16_382, 16_383] {
                let mut values = [fill; REGISTERS];
                values[register] = 0;
                let mut packed = vec![0; PACKED];
                pack(&values, &mut packed);
                assert!(raise(&mut packed, register, 41));
                values[register] = 41;
                let mut after = [0; REGISTERS];
                merge_into(&packed, &mut after);
                assert_eq!(after, values);
            }
        }
    }

    #[test]
    fn merging_takes_the_maximum() {
        let mut packed = vec![0; PACKED];
        pack(&counting(), &mut packed);
        let mut values: [u8; REGISTERS] = std::array::from_fn(|register| (register % 64) as u8);
        let expected: [u8; REGISTERS] = std::array::from_fn(|at| values[at].max(counting()[at]));
        merge_into(&packed, &mut values);
        assert_eq!(values, expected);
    }
}
