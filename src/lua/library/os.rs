//! `os`: only the clock is safe to offer.

use crate::lua::machine::{Call, Machine, Outcome, Raised};
use crate::lua::value::Value;

pub fn open(m: &mut Machine) {
    let library = m.library("os");
    m.register(library, "clock", clock);
}

/// `os.clock()`: seconds of processor time.
fn clock(m: &mut Machine, _: Call) -> Result<Outcome, Raised> {
    let seconds = (m.clock)();
    m.one(Value::Number(seconds))
}
