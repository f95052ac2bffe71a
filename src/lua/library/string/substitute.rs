//! `string.gsub`: replaces what a pattern matches by a template, by values of a table, or by what a function returns.

use memchr::memchr;

use super::pattern::{Capture, Matcher, Progress};
use super::search::Sources;
use super::{BYTES_PER_STEP, check_int};
use crate::lua::machine::{Call, Continue, Event, Machine, Outcome, Raised};
use crate::lua::number;
use crate::lua::value::{StringId, Value};

/// Metatables that are followed for one access.
const LONGEST_CHAIN: usize = 100;

/// `string.gsub(s, pattern, replacement [, most])`
pub fn gsub(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let sources = Sources::arguments(machine, call)?;
    let length = machine.heap.bytes(sources.subject).len();
    let most =
        if machine.argument(call, 4).is_nil() { length as i32 + 1 } else { check_int(machine, call, 4)? };
    let replacement = match machine.argument(call, 3) {
        Value::String(_) | Value::Number(_) => {
            let template = machine.check_string(call, 3)?;
            let is_plain = memchr(b'%', machine.heap.bytes(template)).is_none();
            Replacement::Template { template, is_plain }
        }
        Value::Table(_) => Replacement::Table,
        Value::Function(_) => Replacement::Function,
        _ => return Err(machine.bad_argument(3, "string/function/table expected")),
    };
    let mut substitution = Substitution {
        sources,
        matcher: sources.matcher(&machine.heap, 0),
        replacement,
        result: Vec::new(),
        copied: 0,
        found: (0, 0),
        count: 0,
        most,
        is_calling: false,
        is_done: false,
    };
    match substitution.go_on(machine, call)? {
        Step::Finished => Ok(Outcome::Values(2)),
        Step::Paused => Ok(Outcome::Pause(Box::new(substitution))),
        Step::Call { arguments } => Ok(Outcome::Call { arguments, then: Box::new(substitution) }),
    }
}

/// What matches are replaced by.
#[derive(Clone, Copy, Debug)]
enum Replacement {
    /// A string, in which `%1` stands for a capture, unless it is plain.
    Template { template: StringId, is_plain: bool },
    /// The value at the first capture in the table that is the third argument.
    Table,
    /// What the third argument returns for the captures.
    Function,
}

/// Where a substitution has come to.
enum Step {
    /// The results are pushed.
    Finished,
    /// The budget is used up.
    Paused,
    /// A function and its arguments are pushed, whose result is the replacement.
    Call { arguments: usize },
}

/// A call of `gsub`.
#[derive(Debug)]
struct Substitution {
    sources: Sources,
    matcher: Matcher,
    replacement: Replacement,
    result: Vec<u8>,
    /// The subject up to here is in the result.
    copied: usize,
    /// The match that is being replaced.
    found: (usize, usize),
    count: i32,
    most: i32,
    /// It waits for the replacement from a function.
    is_calling: bool,
    /// There is nothing more to look for.
    is_done: bool,
}

impl Continue for Substitution {
    fn resume(
        mut self: Box<Self>,
        machine: &mut Machine,
        call: Call,
        results: usize,
    ) -> Result<Outcome, Raised> {
        if self.is_calling {
            self.is_calling = false;
            let value = if results == 0 { Value::Nil } else { machine.from_top(results) };
            machine.drop_values(results);
            self.add_value(machine, value)?;
            self.advance(machine);
        }
        match self.go_on(machine, call)? {
            Step::Finished => Ok(Outcome::Values(2)),
            Step::Paused => Ok(Outcome::Pause(self)),
            Step::Call { arguments } => Ok(Outcome::Call { arguments, then: self }),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.result.capacity()
    }
}

impl Substitution {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Step, Raised> {
        while !self.is_done && self.count < self.most {
            let (progress, is_budget_left) = self.sources.run(machine, &mut self.matcher)?;
            match progress {
                Progress::Paused => return Ok(Step::Paused),
                Progress::Nothing => break,
                Progress::Found(start, end) => {
                    self.found = (start, end);
                    self.count += 1;
                    self.copy_up_to(machine, start)?;
                    if let Some(arguments) = self.replace(machine, call)? {
                        self.is_calling = true;
                        return Ok(Step::Call { arguments });
                    }
                    self.advance(machine);
                    if !is_budget_left {
                        return Ok(Step::Paused);
                    }
                }
            }
        }
        let string = if self.count == 0 {
            self.sources.subject
        } else {
            self.copy_up_to(machine, machine.heap.bytes(self.sources.subject).len())?;
            machine.charge(self.result.len() / BYTES_PER_STEP);
            machine.heap.string_from(std::mem::take(&mut self.result))
        };
        machine.push(Value::String(string));
        machine.push(Value::Number(f64::from(self.count)));
        Ok(Step::Finished)
    }

    /// Goes on behind the match. After an empty one the next byte stays as it is.
    fn advance(&mut self, machine: &Machine) {
        let (start, end) = self.found;
        self.copied = end;
        let next = if start == end { end + 1 } else { end };
        self.is_done = self.matcher.is_anchored() || next > machine.heap.bytes(self.sources.subject).len();
        if !self.is_done {
            self.matcher.restart(next);
        }
    }

    /// Fails if there is no room for `count` more bytes of the result.
    fn reserve(&mut self, machine: &mut Machine, count: usize) -> Result<(), Raised> {
        if self.result.capacity() - self.result.len() < count {
            machine.afford(self.result.len().saturating_add(count))?;
            self.result.reserve(count);
        }
        Ok(())
    }

    /// Appends bytes of the subject.
    fn push_range(&mut self, machine: &mut Machine, from: usize, to: usize) -> Result<(), Raised> {
        self.reserve(machine, to - from)?;
        self.result.extend_from_slice(&machine.heap.bytes(self.sources.subject)[from..to]);
        Ok(())
    }

    /// Appends what the subject has before the match.
    fn copy_up_to(&mut self, machine: &mut Machine, end: usize) -> Result<(), Raised> {
        self.push_range(machine, self.copied, end)?;
        self.copied = end;
        Ok(())
    }

    /// Appends the replacement, or pushes a function to call for it and returns how many arguments it gets.
    fn replace(&mut self, machine: &mut Machine, call: Call) -> Result<Option<usize>, Raised> {
        match self.replacement {
            Replacement::Template { template, is_plain } => {
                let length = machine.heap.bytes(template).len();
                self.reserve(machine, length)?;
                if is_plain {
                    self.result.extend_from_slice(machine.heap.bytes(template));
                } else {
                    self.expand(machine, template)?;
                }
                machine.charge(length / BYTES_PER_STEP);
                Ok(None)
            }
            Replacement::Table => {
                let key = self.sources.capture(machine, &self.matcher, 0, self.found)?;
                self.look_up(machine, call, key)
            }
            Replacement::Function => {
                machine.push(machine.argument(call, 3));
                self.sources.push_captures(machine, &self.matcher, self.found).map(Some)
            }
        }
    }

    /// Appends a template with its captures.
    fn expand(&mut self, machine: &mut Machine, template: StringId) -> Result<(), Raised> {
        let mut at = 0;
        loop {
            let rest = &machine.heap.bytes(template)[at..];
            let Some(plain) = memchr(b'%', rest) else {
                self.result.extend_from_slice(rest);
                return Ok(());
            };
            self.result.extend_from_slice(&rest[..plain]);
            at += (plain + 2).min(rest.len());
            // The reference implementation reads the zero byte at the end of the string.
            let digit = match rest.get(plain + 1).copied().unwrap_or(0) {
                digit @ b'0'..=b'9' => digit,
                other => {
                    self.result.push(other);
                    continue;
                }
            };
            let (start, end) = self.found;
            let capture = match digit {
                b'0' => Ok(Capture::Range(start, end)),
                digit => self.matcher.capture(usize::from(digit - b'1'), start, end),
            };
            match capture {
                Ok(Capture::Range(from, to)) => self.push_range(machine, from, to)?,
                Ok(Capture::Position(at) | Capture::Open(at)) => {
                    number::format((at + 1) as f64, &mut self.result);
                }
                Err(malformed) => return Err(machine.error(malformed)),
            }
        }
    }

    /// Appends the value at `key`, or pushes the function that says what it is, and returns how many arguments it gets.
    fn look_up(&mut self, machine: &mut Machine, call: Call, key: Value) -> Result<Option<usize>, Raised> {
        let mut object = machine.argument(call, 3);
        for _ in 0..LONGEST_CHAIN {
            let method = machine.metamethod(object, Event::Index);
            if let Value::Table(table) = object {
                let value = machine.heap.get(table, key);
                if !value.is_nil() || method.is_nil() {
                    self.add_value(machine, value)?;
                    return Ok(None);
                }
            } else if method.is_nil() {
                let message = format!("attempt to index a {} value", object.type_name());
                return Err(machine.plain_error(message));
            }
            if let Value::Function(_) = method {
                machine.push(method);
                machine.push(object);
                machine.push(key);
                return Ok(Some(2));
            }
            object = method;
        }
        Err(machine.plain_error("loop in gettable"))
    }

    /// Appends a replacement that a program has given: `nil` and `false` leave the match as it is.
    fn add_value(&mut self, machine: &mut Machine, value: Value) -> Result<(), Raised> {
        match value {
            Value::Nil | Value::Boolean(false) => self.push_range(machine, self.found.0, self.found.1),
            Value::String(string) => {
                self.reserve(machine, machine.heap.bytes(string).len())?;
                self.result.extend_from_slice(machine.heap.bytes(string));
                Ok(())
            }
            Value::Number(value) => {
                number::format(value, &mut self.result);
                Ok(())
            }
            other => Err(machine.error(format!("invalid replacement value (a {})", other.type_name()))),
        }
    }
}
