//! `math`. The functions call the platform's C library, as the reference implementation does, so results agree to the
//! last bit. `frexp` and `ldexp`, which Rust's standard library lacks, are exact.

use std::f64::consts::PI;

use super::check_int;
use crate::lua::machine::{Call, Machine, Native, Outcome, Raised};
use crate::lua::value::Value;

/// Functions of one argument.
const UNARY: [(&str, Native); 19] = [
    ("abs", |m, call| unary(m, call, f64::abs)),
    ("acos", |m, call| unary(m, call, f64::acos)),
    ("asin", |m, call| unary(m, call, f64::asin)),
    ("atan", |m, call| unary(m, call, f64::atan)),
    ("ceil", |m, call| unary(m, call, f64::ceil)),
    ("cos", |m, call| unary(m, call, f64::cos)),
    ("cosh", |m, call| unary(m, call, f64::cosh)),
    ("deg", |m, call| unary(m, call, |x| x / (PI / 180.0))),
    ("exp", |m, call| unary(m, call, f64::exp)),
    ("floor", |m, call| unary(m, call, f64::floor)),
    ("log", |m, call| unary(m, call, f64::ln)),
    ("log10", |m, call| unary(m, call, f64::log10)),
    ("rad", |m, call| unary(m, call, |x| x * (PI / 180.0))),
    ("sin", |m, call| unary(m, call, f64::sin)),
    ("sinh", |m, call| unary(m, call, f64::sinh)),
    ("sqrt", |m, call| unary(m, call, f64::sqrt)),
    ("tan", |m, call| unary(m, call, f64::tan)),
    ("tanh", |m, call| unary(m, call, f64::tanh)),
    ("randomseed", randomseed),
];

/// Functions of two arguments.
const BINARY: [(&str, Native); 7] = [
    ("atan2", |m, call| binary(m, call, f64::atan2)),
    ("fmod", |m, call| binary(m, call, |x, y| x % y)),
    ("pow", |m, call| binary(m, call, f64::powf)),
    ("ldexp", ldexp),
    ("max", |m, call| extreme(m, call, |x, best| x > best)),
    ("min", |m, call| extreme(m, call, |x, best| x < best)),
    ("random", random),
];

pub fn open(m: &mut Machine) {
    let library = m.library("math");
    for (name, native) in UNARY.into_iter().chain(BINARY) {
        m.register(library, name, native);
    }
    m.register(library, "frexp", frexp);
    m.register(library, "modf", modf);
    // The name of `fmod` in Lua 5.0.
    let fmod = m.heap.field(library, "fmod");
    m.heap.set_field(library, "mod", fmod);
    m.heap.set_field(library, "pi", Value::Number(PI));
    m.heap.set_field(library, "huge", Value::Number(f64::INFINITY));
}

fn unary(m: &mut Machine, call: Call, f: fn(f64) -> f64) -> Result<Outcome, Raised> {
    let x = m.check_number(call, 1)?;
    m.one(Value::Number(f(x)))
}

fn binary(m: &mut Machine, call: Call, f: fn(f64, f64) -> f64) -> Result<Outcome, Raised> {
    // The reference implementation checks the second argument first.
    let y = m.check_number(call, 2)?;
    let x = m.check_number(call, 1)?;
    m.one(Value::Number(f(x, y)))
}

/// Returns the first argument that no later one `beats`.
fn extreme(m: &mut Machine, call: Call, beats: fn(f64, f64) -> bool) -> Result<Outcome, Raised> {
    let mut best = m.check_number(call, 1)?;
    for n in 2..=call.count() {
        let x = m.check_number(call, n)?;
        if beats(x, best) {
            best = x;
        }
    }
    m.one(Value::Number(best))
}

/// `math.frexp(x)`: `m` and `e` such that `x == m * 2^e` and `0.5 <= |m| < 1`.
fn frexp(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let (mantissa, exponent) = split(m.check_number(call, 1)?);
    m.push(Value::Number(mantissa));
    m.push(Value::Number(f64::from(exponent)));
    Ok(Outcome::Values(2))
}

/// `math.ldexp(m, e)`: `m * 2^e`
fn ldexp(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let exponent = check_int(m, call, 2)?;
    let x = m.check_number(call, 1)?;
    m.one(Value::Number(scale(x, exponent)))
}

/// `math.modf(x)`: the integral and the fractional part, both with the sign of `x`.
fn modf(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let x = m.check_number(call, 1)?;
    let whole = x.trunc();
    let fraction = if x.is_infinite() { 0.0 } else { x - whole };
    m.push(Value::Number(whole));
    m.push(Value::Number(fraction.copysign(x)));
    Ok(Outcome::Values(2))
}

/// `math.random([[low,] high])`: in [0, 1), or an integer from `low` (1) to `high`. Bounds are C `int`s, as is the
/// width of the interval, which may wrap around.
fn random(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let random = m.random.next();
    let (low, high) = match call.count() {
        0 => return m.one(Value::Number(random)),
        1 => (1, check_int(m, call, 1)?),
        2 => (check_int(m, call, 1)?, check_int(m, call, 2)?),
        _ => return Err(m.error("wrong number of arguments")),
    };
    if low > high {
        return Err(m.bad_argument(call.count(), "interval is empty"));
    }
    let width = high.wrapping_sub(low).wrapping_add(1);
    m.one(Value::Number((random * f64::from(width)).floor() + f64::from(low)))
}

/// `math.randomseed(seed)`
fn randomseed(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let seed = check_int(m, call, 1)?;
    m.random.seed(seed);
    Ok(Outcome::Values(0))
}

const EXPONENT_BITS: u64 = 0x7FF << 52;

/// Returns `m` and `e` such that `x == m * 2^e` and `0.5 <= |m| < 1`, or `x` and 0 if there are none.
fn split(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    if x.is_subnormal() {
        let (mantissa, exponent) = split(x * (1u64 << 54) as f64);
        return (mantissa, exponent - 54);
    }
    let bits = x.to_bits();
    let exponent = ((bits & EXPONENT_BITS) >> 52) as i32 - 1022;
    (f64::from_bits(bits & !EXPONENT_BITS | 1022 << 52), exponent)
}

/// Returns `x * 2^exponent`, rounded once.
fn scale(x: f64, exponent: i32) -> f64 {
    let (mantissa, own) = split(x);
    if mantissa == 0.0 || !mantissa.is_finite() {
        return x;
    }
    match own.saturating_add(exponent) {
        1025.. => f64::INFINITY.copysign(x),
        exponent @ -1021.. => with_exponent(mantissa, exponent),
        // The result is subnormal: the mantissa loses bits in the one multiplication that is not exact.
        exponent @ -1100.. => with_exponent(mantissa, exponent + 200) * with_exponent(0.5, -199),
        _ => 0.0f64.copysign(x),
    }
}

/// Returns `mantissa * 2^exponent` for `0.5 <= |mantissa| < 1` and a result that is neither subnormal nor infinite.
fn with_exponent(mantissa: f64, exponent: i32) -> f64 {
    f64::from_bits(mantissa.to_bits() & !EXPONENT_BITS | ((exponent + 1022) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frexp_splits_and_ldexp_joins_every_kind_of_number() {
        for x in
            [1.0, -1.0, 0.75, 3.5e300, -2.0f64.powi(-1022), 5e-324, 1.2345e-310, f64::MAX, f64::MIN_POSITIVE]
        {
            let (mantissa, exponent) = split(x);
            assert!((0.5..1.0).contains(&mantissa.abs()), "{x}");
            assert_eq!(scale(mantissa, exponent), x);
        }
        for x in [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!((split(x).0.to_bits(), split(x).1), (x.to_bits(), 0));
            assert_eq!(scale(x, 12).to_bits(), x.to_bits());
        }
        assert!(scale(f64::NAN, 3).is_nan());
    }

    #[test]
    fn ldexp_rounds_once_where_the_result_is_subnormal() {
        assert_eq!(scale(1.0, -1074), 5e-324);
        // Half of the smallest number: a tie, rounded to even.
        assert_eq!(scale(1.0, -1075), 0.0);
        assert_eq!(scale(1.0 + f64::EPSILON, -1075), 5e-324);
        assert_eq!(scale(3.0, -1075), 1e-323);
        assert_eq!(scale(-1.0, -2000).to_bits(), (-0.0f64).to_bits());
        assert_eq!(scale(1.0, i32::MIN), 0.0);
        assert_eq!(scale(5e-324, 1074), 1.0);
        assert_eq!(scale(5e-324, 2097), f64::MAX / (2.0 - f64::EPSILON));
        assert_eq!(scale(1.0, 1024), f64::INFINITY);
        assert_eq!(scale(-1.0, i32::MAX), f64::NEG_INFINITY);
    }
}
