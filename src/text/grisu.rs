//! The decimal digits of a double, by Grisu2.
//!
//! Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers" (2010), section 5: the
//! double and the boundaries of the interval that rounds to it are multiplied by a 64-bit power of ten, and the digits
//! are read off 64-bit integers. The power is rounded, so the interval is narrowed by the possible error. The digits
//! therefore always parse back to the double, and are the fewest possible for all but about one double in a thousand,
//! which gets one more. Redis prints doubles this way, and these digits are part of its replies and files; a method
//! that always finds the fewest would differ.
//!
//! About 30 ns per double, without bignum tables or allocation.

/// A number `fraction` × 2^`exponent`.
#[derive(Clone, Copy, Debug)]
struct Float {
    fraction: u64,
    exponent: i32,
}

impl Float {
    /// The same number with the highest bit of its fraction set.
    fn normalized(self) -> Float {
        let shift = self.fraction.leading_zeros();
        Float { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// The same number with another, smaller exponent.
    fn with_exponent(self, exponent: i32) -> Float {
        Float { fraction: self.fraction << (self.exponent - exponent), exponent }
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Float) -> Float {
        let product = u128::from(self.fraction) * u128::from(other.fraction) + (1 << 63);
        Float { fraction: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// The number of fraction bits that a double stores.
const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
/// The leading fraction bit, which a double does not store.
const HIDDEN: u64 = 1 << FRACTION_BITS;
/// Subtracted from the stored exponent when the fraction is read as an integer.
const BIAS: i32 = f64::MAX_EXP - 1 + FRACTION_BITS as i32;

/// The exponents that a product must have for its whole part to have 32 bits, so that the digits can be read off.
const EXPONENTS: std::ops::RangeInclusive<i32> = -60..=-32;

/// The maximum number of digits.
pub const MAX_DIGITS: usize = 18;

/// Returns the digits of a positive finite double, their count, and the power of ten of the last one.
pub fn digits(value: f64) -> ([u8; MAX_DIGITS], usize, i32) {
    let (low, exact, high) = interval(value);
    let (power, decimal) = power_for(high.exponent);
    let (low, exact, high) = (low.times(power), exact.times(power), high.times(power));
    let low = Float { fraction: low.fraction + 1, ..low };
    let high = Float { fraction: high.fraction - 1, ..high };
    let mut found = Digits { bytes: [0; MAX_DIGITS], count: 0 };
    let last = found.generate(low, exact, high);
    (found.bytes, found.count, last - decimal)
}

/// Returns the double and the boundaries half way to its neighbours, all with the same exponent.
fn interval(value: f64) -> (Float, Float, Float) {
    let bits = value.to_bits();
    let (stored, fraction) = ((bits >> FRACTION_BITS) as i32 & 0x7ff, bits & (HIDDEN - 1));
    let exact = match stored {
        0 => Float { fraction, exponent: 1 - BIAS },
        _ => Float { fraction: fraction | HIDDEN, exponent: stored - BIAS },
    };
    let high = Float { fraction: exact.fraction * 2 + 1, exponent: exact.exponent - 1 }.normalized();
    // Below a power of two the neighbour is half as far away.
    let low = if exact.fraction == HIDDEN {
        Float { fraction: exact.fraction * 4 - 1, exponent: exact.exponent - 2 }
    } else {
        Float { fraction: exact.fraction * 2 - 1, exponent: exact.exponent - 1 }
    };
    (low.with_exponent(high.exponent), exact.normalized(), high)
}

/// Returns a power of ten that brings a number with this exponent into [`EXPONENTS`], and its decimal exponent.
fn power_for(exponent: i32) -> (Float, i32) {
    const LOG10_OF_2: f64 = std::f64::consts::LOG10_2;
    let estimate = (-f64::from(exponent + POWERS.len() as i32) * LOG10_OF_2) as i32;
    let mut index = (estimate - FIRST_POWER) / POWER_STEP;
    loop {
        let decimal = FIRST_POWER + index * POWER_STEP;
        // The binary logarithm in fixed point; exact for all powers in the table.
        let power = Float { fraction: POWERS[index as usize], exponent: ((decimal * 1_741_647) >> 19) - 63 };
        let product = exponent + power.exponent + 64;
        if product < *EXPONENTS.start() {
            index += 1;
        } else if product > *EXPONENTS.end() {
            index -= 1;
        } else {
            return (power, decimal);
        }
    }
}

struct Digits {
    bytes: [u8; MAX_DIGITS],
    count: usize,
}

impl Digits {
    fn push(&mut self, digit: u64) {
        if self.count > 0 || digit > 0 {
            self.bytes[self.count] = b'0' + digit as u8;
            self.count += 1;
        }
    }

    /// Reads digits off `high` until the rest does not matter: the digits then denote a number in the interval. Returns
    /// the power of ten of the last one.
    fn generate(&mut self, low: Float, exact: Float, high: Float) -> i32 {
        let (off, mut width) = (high.fraction - exact.fraction, high.fraction - low.fraction);
        let shift = -high.exponent;
        let one = 1u64 << shift;
        let (mut whole, mut part) = (high.fraction >> shift, high.fraction & (one - 1));
        for place in (0..10).rev() {
            let unit = 10u64.pow(place);
            self.push(whole / unit);
            whole %= unit;
            let rest = (whole << shift) + part;
            if rest <= width {
                self.round(width, rest, unit << shift, off);
                return place as i32;
            }
        }
        let mut place = 0;
        let mut scale = 1u64;
        loop {
            (part, width, scale) = (part * 10, width * 10, scale * 10);
            place -= 1;
            self.push(part >> shift);
            part &= one - 1;
            if part < width {
                self.round(width, part, one, off.wrapping_mul(scale));
                return place;
            }
        }
    }

    /// Decrements the last digit while that brings the number, which is `rest` below the high boundary, closer to the
    /// exact one, which is `off` below it, and keeps it in the interval. `unit` is the size of one step.
    fn round(&mut self, width: u64, mut rest: u64, unit: u64, off: u64) {
        while rest < off && width - rest >= unit && (rest + unit < off || off - rest > rest + unit - off) {
            self.bytes[self.count - 1] -= 1;
            rest += unit;
        }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// Every eighth power of ten from 10^-348 to 10^340: its 64 highest bits, rounded.
const POWERS: [u64; 87] = [
    0xfa8f_d5a0_081c_0288,
    0xbaae_e17f_a23e_bf76,
    0x8b16_fb20_3055_ac76,
    0xcf42_894a_5dce_35ea,
    0x9a6b_b0aa_5565_3b2d,
    0xe61a_cf03_3d1a_45df,
    0xab70_fe17_c79a_c6ca,
    0xff77_b1fc_bebc_dc4f,
    0xbe56_91ef_416b_d60c,
    0x8dd0_1fad_907f_fc3c,
    0xd351_5c28_3155_9a83,
    0x9d71_ac8f_ada6_c9b5,
    0xea9c_2277_23ee_8bcb,
    0xaecc_4991_4078_536d,
    0x823c_1279_5db6_ce57,
    0xc210_9436_4dfb_5637,
    0x9096_ea6f_3848_984f,
    0xd774_85cb_2582_3ac7,
    0xa086_cfcd_97bf_97f4,
    0xef34_0a98_172a_ace5,
    0xb238_67fb_2a35_b28e,
    0x84c8_d4df_d2c6_3f3b,
    0xc5dd_4427_1ad3_cdba,
    0x936b_9fce_bb25_c996,
    0xdbac_6c24_7d62_a584,
    0xa3ab_6658_0d5f_daf6,
    0xf3e2_f893_dec3_f126,
    0xb5b5_ada8_aaff_80b8,
    0x8762_5f05_6c7c_4a8b,
    0xc9bc_ff60_34c1_3053,
    0x964e_858c_91ba_2655,
    0xdff9_7724_7029_7ebd,
    0xa6df_bd9f_b8e5_b88f,
    0xf8a9_5fcf_8874_7d94,
    0xb944_7093_8fa8_9bcf,
    0x8a08_f0f8_bf0f_156b,
    0xcdb0_2555_6531_31b6,
    0x993f_e2c6_d07b_7fac,
    0xe45c_10c4_2a2b_3b06,
    0xaa24_2499_6973_92d3,
    0xfd87_b5f2_8300_ca0e,
    0xbce5_0864_9211_1aeb,
    0x8cbc_cc09_6f50_88cc,
    0xd1b7_1758_e219_652c,
    0x9c40_0000_0000_0000,
    0xe8d4_a510_0000_0000,
    0xad78_ebc5_ac62_0000,
    0x813f_3978_f894_0984,
    0xc097_ce7b_c907_15b3,
    0x8f7e_32ce_7bea_5c70,
    0xd5d2_38a4_abe9_8068,
    0x9f4f_2726_179a_2245,
    0xed63_a231_d4c4_fb27,
    0xb0de_6538_8cc8_ada8,
    0x83c7_088e_1aab_65db,
    0xc45d_1df9_4271_1d9a,
    0x924d_692c_a61b_e758,
    0xda01_ee64_1a70_8dea,
    0xa26d_a399_9aef_774a,
    0xf209_787b_b47d_6b85,
    0xb454_e4a1_79dd_1877,
    0x865b_8692_5b9b_c5c2,
    0xc835_53c5_c896_5d3d,
    0x952a_b45c_fa97_a0b3,
    0xde46_9fbd_99a0_5fe3,
    0xa59b_c234_db39_8c25,
    0xf6c6_9a72_a398_9f5c,
    0xb7dc_bf53_54e9_bece,
    0x88fc_f317_f222_41e2,
    0xcc20_ce9b_d35c_78a5,
    0x9816_5af3_7b21_53df,
    0xe2a0_b5dc_971f_303a,
    0xa8d9_d153_5ce3_b396,
    0xfb9b_7cd9_a4a7_443c,
    0xbb76_4c4c_a7a4_4410,
    0x8bab_8eef_b640_9c1a,
    0xd01f_ef10_a657_842c,
    0x9b10_a4e5_e991_3129,
    0xe710_9bfb_a19c_0c9d,
    0xac28_20d9_623b_f429,
    0x8044_4b5e_7aa7_cf85,
    0xbf21_e440_03ac_dd2d,
    0x8e67_9c2f_5e44_ff8f,
    0xd433_179d_9c8c_b841,
    0x9e19_db92_b4e3_1ba9,
    0xeb96_bf6e_badf_77d9,
    0xaf87_023b_9bf0_ee6b,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats as `digits`, `e` and the power of the last digit.
    fn told(value: f64) -> String {
        let (bytes, count, last) = digits(value);
        format!("{}e{last}", std::str::from_utf8(&bytes[..count]).expect("digits"))
    }

    #[test]
    fn digits_are_those_that_redis_prints() {
        for (value, expected) in [
            (0.1, "1e-1"),
            (1.5, "15e-1"),
            (2.75, "275e-2"),
            (5e-324, "5e-324"),
            (f64::MIN_POSITIVE, "22250738585072014e-324"),
            (f64::MAX, "17976931348623157e292"),
            (1e22, "1e22"),
            // The nearest double is the lower boundary itself.
            (1e23, "9999999999999999e7"),
            (9_007_199_254_740_992.0, "9007199254740992e0"),
            // The fewest digits would be 831242734981803.
            (831_242_734.981_803, "8312427349818031e-7"),
            // Of two equally short numbers, not the nearer one.
            (906_437_199_396_511.3, "9064371993965112e-1"),
        ] {
            assert_eq!(told(value), expected, "{value}");
        }
    }

    #[test]
    fn digits_parse_back_to_the_same_double() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..200_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = f64::from_bits(state & (i64::MAX as u64));
            if value.is_finite() && value > 0.0 {
                assert_eq!(
                    told(value).parse::<f64>().expect("a number").to_bits(),
                    value.to_bits(),
                    "{value:e}"
                );
            }
        }
    }
}
