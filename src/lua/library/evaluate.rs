//! Runs programs for the tests of libraries and formats their results.

use crate::lua::heap::Heap;
use crate::lua::machine::{Libraries, Machine, Options, Progress};
use crate::lua::value::Value;

/// Returns the values that a program returns, or its error: strings in quotes, the pairs of a table sorted by their
/// text.
///
/// Runs the program once with an unlimited budget, and again with a tiny one: all work that can be suspended is, and
/// must give the same result.
pub fn evaluate(source: &str) -> String {
    let at_once = evaluate_with(source, 1 << 40, 64 << 20);
    let in_steps = evaluate_with(source, 20, 64 << 20);
    assert_eq!(at_once, in_steps, "{source}");
    at_once
}

/// Like `evaluate`, but runs once, with a budget per run and a memory limit.
pub fn evaluate_with(source: &str, budget: usize, memory_limit_bytes: usize) -> String {
    let mut machine = Machine::new(Options { seed: 1, memory_limit_bytes, libraries: Libraries::Redis });
    let function = match machine.load(source.as_bytes(), b"=t") {
        Ok(function) => function,
        Err(message) => return format!("error: {}", quoted(&message)),
    };
    machine.begin(function, &[]);
    loop {
        match machine.run(budget) {
            Progress::Paused => {}
            Progress::Finished { results } => {
                let shown: Vec<String> =
                    (0..results).map(|n| show(machine.result(n), &machine.heap)).collect();
                return shown.join(" ");
            }
            Progress::Failed(failure) => {
                let mut text = Vec::new();
                machine.heap.to_bytes(failure.value, &mut text);
                return format!("error: {}", quoted(&text));
            }
            Progress::Host { .. } | Progress::Stopped(_) => unreachable!("there is no host"),
        }
    }
}

fn show(value: Value, heap: &Heap) -> String {
    match value {
        Value::Nil => "nil".to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Number(number) => format!("{number:?}").trim_end_matches(".0").to_string(),
        Value::String(string) => format!("\"{}\"", quoted(heap.bytes(string))),
        Value::Null => "null".to_string(),
        Value::Table(table) => {
            let mut pairs = Vec::new();
            let mut key = Value::Nil;
            while let Ok(Some((next, value))) = heap.next(table, key) {
                pairs.push(format!("{}={}", show(next, heap), show(value, heap)));
                key = next;
            }
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Function(_) | Value::Thread(_) | Value::Proxy(_) => value.type_name().to_string(),
    }
}

fn quoted(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'")
}

/// Formats bytes as they are written between quotes.
pub fn literal(bytes: &[u8]) -> String {
    let escapes: Vec<String> = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
    escapes.concat()
}

/// Parses hexadecimal digits; spaces are ignored.
pub fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("digits");
    digits.chunks(2).map(byte).collect()
}
