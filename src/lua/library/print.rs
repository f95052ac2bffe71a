//! `print`, for tests: collects its output in `Machine::output`.

use crate::lua::machine::{Call, Continue, Machine, Outcome, Raised};
use crate::lua::value::Value;

pub fn open(m: &mut Machine) {
    let globals = m.globals();
    m.register(globals, "print", print);
}

/// `print(…)`: formats each value with the global function `tostring`.
fn print(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    Box::new(Print { n: 0 }).call_for_next(m, call)
}

#[derive(Debug)]
struct Print {
    /// The number of arguments for which `tostring` has been called.
    n: usize,
}

impl Print {
    fn call_for_next(mut self: Box<Self>, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        if self.n == call.count() {
            m.output.push(b'\n');
            return Ok(Outcome::Values(0));
        }
        self.n += 1;
        let globals = m.globals();
        let tostring = m.heap.field(globals, "tostring");
        m.push(tostring);
        let value = m.argument(call, self.n);
        m.push(value);
        Ok(Outcome::Call { arguments: 1, then: self })
    }
}

impl Continue for Print {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised> {
        let text = if results > 0 { m.from_top(results) } else { Value::Nil };
        m.drop_values(results);
        if self.n > 1 {
            m.output.push(b'\t');
        }
        let begin = m.output.len();
        if !m.heap.to_bytes(text, &mut m.output) {
            return Err(m.error("'tostring' must return a string to 'print'"));
        }
        // A C string ends at a zero byte.
        if let Some(length) = memchr::memchr(0, &m.output[begin..]) {
            m.output.truncate(begin + length);
        }
        self.call_for_next(m, call)
    }
}
