//! The functions in the programs' globals, one file per library.

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

use super::heap::{Heap, TableError};
use super::machine::{Call, Iterators, Libraries, Machine, Raised};
use super::value::{TableId, Value};

pub use self::random::Random;

/// Creates the iterator functions that the machine itself uses.
pub(super) fn iterators(heap: &mut Heap) -> Iterators {
    base::iterators(heap)
}

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

/// Makes the table of a library a global. The table's initial size is such that `next` returns the functions in Redis'
/// order.
fn publish(m: &mut Machine, name: &str, library: TableId) {
    let globals = m.globals();
    m.heap.set_field(globals, name, Value::Table(library));
}

/// Undoes the changes that a program has made to the libraries.
pub(super) fn reset(m: &mut Machine) {
    json::reset(m);
}

/// Returns argument `n` as a C `int`: the lowest 32 bits of the number, truncated to an integer.
fn check_int(m: &mut Machine, call: Call, n: usize) -> Result<i32, Raised> {
    m.check_number(call, n).map(to_int)
}

/// Like `check_int`; returns `default` if the argument is missing or nil.
fn optional_int(m: &mut Machine, call: Call, n: usize, default: i32) -> Result<i32, Raised> {
    if m.argument(call, n).is_nil() { Ok(default) } else { check_int(m, call, n) }
}

/// A number beyond 64-bit integers gives 0, as on the processors for which scripts were written.
fn to_int(number: f64) -> i32 {
    const BEYOND: f64 = (1u64 << 63) as f64;
    if (-BEYOND..BEYOND).contains(&number) { number as i64 as i32 } else { 0 }
}

/// `table[key] = value`. Errors have no position, as in other operations inside native functions.
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
    use crate::lua::{Libraries, Machine, Options, Progress, Value};

    /// Runs a program with a budget of `budget` at a time. Returns its results and the number of suspensions.
    fn run(source: &str, budget: usize) -> (String, usize) {
        let options = Options { seed: 1, memory_limit_bytes: 1 << 28, libraries: Libraries::Redis };
        let mut m = Machine::new(options);
        let function = m.load(source.as_bytes(), b"=test").expect("a program that compiles");
        m.begin(function, &[]);
        let mut pauses = 0;
        loop {
            match m.run(budget) {
                Progress::Paused => pauses += 1,
                Progress::Finished { results } => {
                    let mut text = Vec::new();
                    let result = if results > 0 { m.result(0) } else { Value::Nil };
                    assert!(m.heap.to_bytes(result, &mut text), "{result:?}");
                    return (String::from_utf8(text).expect("a text"), pauses);
                }
                end => panic!("{end:?}"),
            }
        }
    }

    #[test]
    fn long_work_on_a_table_is_suspended_and_goes_on_where_it_was() {
        let table = "local t = {} for i = 1, 5000 do t[i] = (i * 7919) % 5003 end ";
        for work in [
            "table.sort(t) return t[1] .. ' ' .. t[2500] .. ' ' .. t[5000]",
            "table.sort(t, function(a, b) return a > b end) return t[1] .. ' ' .. t[2500] .. ' ' .. t[5000]",
            "return table.concat(t, ', ')",
            "table.insert(t, -5000, 'x') return t[-5000] .. ' ' .. t[2] .. ' ' .. t[5001]",
            "t = setmetatable({n = 1}, nil) for i = 5000, 1, -1 do t[i] = i end table.remove(t, 1) return t[1] .. #t",
            "t.x = 1 return table.maxn(t)",
        ] {
            let program = format!("{table}{work}");
            let (result, _) = run(&program, usize::MAX);
            let (_, before) = run(&format!("{table}return 1"), 500);
            let (in_slices, pauses) = run(&program, 500);
            assert_eq!(in_slices, result, "{work}");
            assert!(pauses > before, "{work}: {pauses} {before}");
        }
    }

    #[test]
    fn iterators_that_the_machine_knows_are_not_mistaken_for_others_when_their_names_are_gone() {
        let program = "next, pairs, ipairs = nil, nil, nil collectgarbage() local calls = 0 \
            for i = 1, 100 do local done \
                local function f() if not done then done = true calls = calls + 1 return 'x' end end \
                for k in f, {} do end \
            end return calls";
        assert_eq!(run(program, usize::MAX).0, "100");
    }

    #[test]
    fn numbers_become_ints_by_their_lowest_bits() {
        for (number, int) in [
            (1.9, 1),
            (-1.9, -1),
            (2_147_483_647.0, i32::MAX),
            (2_147_483_648.0, i32::MIN),
            (4_294_967_301.0, 5),
            (-2_147_483_649.0, i32::MAX),
            (1_099_511_627_776.0, 0),
            (9_223_372_036_854_775_808.0, 0),
            (-1e300, 0),
            (f64::INFINITY, 0),
            (f64::NAN, 0),
        ] {
            assert_eq!(to_int(number), int, "{number}");
        }
    }
}
