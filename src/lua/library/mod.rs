//! The functions that programs find in their globals, one file a library.

mod base;
mod bit;
mod coroutine;
#[cfg(test)]
mod evaluate;
mod json;
mod load;
mod math;
mod msgpack;
mod os;
mod print;
mod random;
mod sort;
mod string;
mod structs;
mod table;

use super::heap::TableError;
use super::machine::{Call, Libraries, Machine, Raised};
use super::value::{TableId, Value};

pub use self::random::Random;

/// Defines all functions of a set of libraries.
pub(super) fn open_all(m: &mut Machine, libraries: Libraries) {
    base::open(m);
    load::open(m);
    coroutine::open(m);
    string::open(m);
    table::open(m);
    math::open(m);
    os::open(m);
    bit::open(m);
    json::open(m);
    msgpack::open(m);
    structs::open(m);
    if libraries == Libraries::Full {
        print::open(m);
    }
}

/// Makes the table of a library a global. Its size was such that `next` returns the functions in Redis' order.
fn publish(m: &mut Machine, name: &str, library: TableId) {
    let globals = m.globals();
    m.heap.set_field(globals, name, Value::Table(library));
}

/// Argument `n` as an `int` of C: the lowest 32 bits of the number, cut to an integer.
fn check_int(m: &mut Machine, call: Call, n: usize) -> Result<i32, Raised> {
    m.check_number(call, n).map(to_int)
}

/// As `check_int`; `default` if there is no such argument, or if it is nil.
fn optional_int(m: &mut Machine, call: Call, n: usize, default: i32) -> Result<i32, Raised> {
    if m.argument(call, n).is_nil() { Ok(default) } else { check_int(m, call, n) }
}

/// What no 64-bit integer can hold gives 0, as the conversion of the processors does on which scripts were written.
fn to_int(number: f64) -> i32 {
    const BEYOND: f64 = (1u64 << 63) as f64;
    if (-BEYOND..BEYOND).contains(&number) { number as i64 as i32 } else { 0 }
}

/// `table[key] = value`. Errors have no position, as those of operations inside native functions.
fn store(m: &mut Machine, table: TableId, key: Value, value: Value) -> Result<(), Raised> {
    m.heap.set(table, key, value).map_err(|error| match error {
        TableError::NilKey => m.plain_error("table index is nil"),
        TableError::NanKey => m.plain_error("table index is NaN"),
        TableError::Readonly => m.plain_error("Attempt to modify a readonly table"),
        TableError::Memory => m.table_error(error),
    })
}

#[cfg(test)]
mod tests {
    use super::to_int;

    #[test]
    fn numbers_become_ints_by_their_lowest_bits() {
        for (number, int) in [
            (1.9, 1),
            (-1.9, -1),
            (2147483647.0, i32::MAX),
            (2147483648.0, i32::MIN),
            (4294967301.0, 5),
            (-2147483649.0, i32::MAX),
            (1099511627776.0, 0),
            (9223372036854775808.0, 0),
            (-1e300, 0),
            (f64::INFINITY, 0),
            (f64::NAN, 0),
        ] {
            assert_eq!(to_int(number), int, "{number}");
        }
    }
}
