//! The decimal digits of a double, by Grisu2.
//!
//! Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers" (2010), section 5: the double and
//! the boundaries of the interval that rounds to it are multiplied by a power of ten of 64 bits, so that the digits can be
//! read off integers of 64 bits. The power is rounded, hence the interval is narrowed by what that may cost. So the
//! digits always parse back to the double, and are the fewest possible for all but about one double in a thousand,
//! which gets a digit more. Redis prints doubles so, and these digits are part of its replies and of its files; a
//! method that always finds the fewest would differ.
//!
//! About 30 ns a double, without a table of bignums and without an allocation.

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

/// Bits of a double's fraction that are stored.
const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
/// The bit that is not stored.
const HIDDEN: u64 = 1 << FRACTION_BITS;
/// What is subtracted from the stored exponent of a fraction that is taken for an integer.
const BIAS: i32 = f64::MAX_EXP - 1 + FRACTION_BITS as i32;

/// The exponents between which a product has to be, so that its whole part has 32 bits and its digits can be read off.
const EXPONENTS: std::ops::RangeInclusive<i32> = -60..=-32;

/// The most digits that there may be.
pub const MAX_DIGITS: usize = 18;

/// The digits of a positive finite double, how many there are, and the power of ten of the last one.
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

/// The double, and the boundaries half way to its neighbours, with one exponent.
fn interval(value: f64) -> (Float, Float, Float) {
    let bits = value.to_bits();
    let (stored, fraction) = ((bits >> FRACTION_BITS) as i32 & 0x7ff, bits & (HIDDEN - 1));
    let exact = match stored {
        0 => Float { fraction, exponent: 1 - BIAS },
        _ => Float { fraction: fraction | HIDDEN, exponent: stored - BIAS },
    };
    let high = Float { fraction: exact.fraction * 2 + 1, exponent: exact.exponent - 1 }.normalized();
    // Below a power of two the neighbours are half as far.
    let low = if exact.fraction == HIDDEN {
        Float { fraction: exact.fraction * 4 - 1, exponent: exact.exponent - 2 }
    } else {
        Float { fraction: exact.fraction * 2 - 1, exponent: exact.exponent - 1 }
    };
    (low.with_exponent(high.exponent), exact.normalized(), high)
}

/// A power of ten that brings a number with this exponent into [`EXPONENTS`], and which power it is.
fn power_for(exponent: i32) -> (Float, i32) {
    const LOG10_OF_2: f64 = std::f64::consts::LOG10_2;
    let estimate = (-f64::from(exponent + POWERS.len() as i32) * LOG10_OF_2) as i32;
    let mut index = (estimate - FIRST_POWER) / POWER_STEP;
    loop {
        let decimal = FIRST_POWER + index * POWER_STEP;
        // The binary logarithm in fixed point; exact for all powers of the table.
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

    /// Reads off digits of `high` until what is left does not matter: then they denote a number of the interval. Returns the
    /// power of ten of the last one.
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

    /// Lowers the last digit while that brings the number, which is `rest` below the high boundary, closer to the exact one,
    /// which is `off` below it, and keeps it in the interval. `unit` is what one step is.
    fn round(&mut self, width: u64, mut rest: u64, unit: u64, off: u64) {
        while rest < off && width - rest >= unit && (rest + unit < off || off - rest > rest + unit - off) {
            self.bytes[self.count - 1] -= 1;
            rest += unit;
        }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// The powers of ten from 10^-348 to 10^340, each eighth: the 64 highest bits, rounded.
const POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288,
    0xbaaee17fa23ebf76,
    0x8b16fb203055ac76,
    0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d,
    0xe61acf033d1a45df,
    0xab70fe17c79ac6ca,
    0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c,
    0x8dd01fad907ffc3c,
    0xd3515c2831559a83,
    0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb,
    0xaecc49914078536d,
    0x823c12795db6ce57,
    0xc21094364dfb5637,
    0x9096ea6f3848984f,
    0xd77485cb25823ac7,
    0xa086cfcd97bf97f4,
    0xef340a98172aace5,
    0xb23867fb2a35b28e,
    0x84c8d4dfd2c63f3b,
    0xc5dd44271ad3cdba,
    0x936b9fcebb25c996,
    0xdbac6c247d62a584,
    0xa3ab66580d5fdaf6,
    0xf3e2f893dec3f126,
    0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b,
    0xc9bcff6034c13053,
    0x964e858c91ba2655,
    0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f,
    0xf8a95fcf88747d94,
    0xb94470938fa89bcf,
    0x8a08f0f8bf0f156b,
    0xcdb02555653131b6,
    0x993fe2c6d07b7fac,
    0xe45c10c42a2b3b06,
    0xaa242499697392d3,
    0xfd87b5f28300ca0e,
    0xbce5086492111aeb,
    0x8cbccc096f5088cc,
    0xd1b71758e219652c,
    0x9c40000000000000,
    0xe8d4a51000000000,
    0xad78ebc5ac620000,
    0x813f3978f8940984,
    0xc097ce7bc90715b3,
    0x8f7e32ce7bea5c70,
    0xd5d238a4abe98068,
    0x9f4f2726179a2245,
    0xed63a231d4c4fb27,
    0xb0de65388cc8ada8,
    0x83c7088e1aab65db,
    0xc45d1df942711d9a,
    0x924d692ca61be758,
    0xda01ee641a708dea,
    0xa26da3999aef774a,
    0xf209787bb47d6b85,
    0xb454e4a179dd1877,
    0x865b86925b9bc5c2,
    0xc83553c5c8965d3d,
    0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3,
    0xa59bc234db398c25,
    0xf6c69a72a3989f5c,
    0xb7dcbf5354e9bece,
    0x88fcf317f22241e2,
    0xcc20ce9bd35c78a5,
    0x98165af37b2153df,
    0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396,
    0xfb9b7cd9a4a7443c,
    0xbb764c4ca7a44410,
    0x8bab8eefb6409c1a,
    0xd01fef10a657842c,
    0x9b10a4e5e9913129,
    0xe7109bfba19c0c9d,
    0xac2820d9623bf429,
    0x80444b5e7aa7cf85,
    0xbf21e44003acdd2d,
    0x8e679c2f5e44ff8f,
    0xd433179d9c8cb841,
    0x9e19db92b4e31ba9,
    0xeb96bf6ebadf77d9,
    0xaf87023b9bf0ee6b,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// As `digits` and the power of the last one.
    fn told(value: f64) -> String {
        let (bytes, count, last) = digits(value);
        format!("{}e{last}", std::str::from_utf8(&bytes[..count]).expect("digits"))
    }

    #[test]
    fn digits_are_those_that_redis_prints() {
        for (value, expected) in [
            (0.1, "1e-1"),
            (1.5, "15e-1"),
            (3.14, "314e-2"),
            (5e-324, "5e-324"),
            (f64::MIN_POSITIVE, "22250738585072014e-324"),
            (f64::MAX, "17976931348623157e292"),
            (1e22, "1e22"),
            // The nearest double is the lower boundary itself.
            (1e23, "9999999999999999e7"),
            (9_007_199_254_740_993.0, "9007199254740992e0"),
            // The fewest digits would be 831242734981803.
            (831_242_734.981_803, "8312427349818031e-7"),
            // Of two numbers that are as short, not the nearest.
            (906_437_199_396_511.25, "9064371993965112e-1"),
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
