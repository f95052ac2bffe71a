//! `string.gsub`: replaces matches of a pattern by a template, by values of a table, or by the results of a function.

use memchr::memchr;

use super::check_int;
use super::pattern::{Capture, Matcher, Progress};
use super::search::{Captures, Sources};
use crate::lua::machine::{
    BYTES_PER_STEP, Call, Continue, Event, Machine, Outcome, PIECE_BYTES, Raised, SCANNED_PER_STEP,
};
use crate::lua::number;
use crate::lua::value::{StringId, Value};

/// The maximum number of metatables followed for one access.
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
        is_done: false,
        stage: Stage::Search,
        captures: Captures::default(),
        waiting: None,
        holds_value: false,
    };
    let template_length = match substitution.replacement {
        Replacement::Template { template, .. } => machine.heap.bytes(template).len(),
        _ => 0,
    };
    machine.charge(template_length / (8 * BYTES_PER_STEP));
    match substitution.go_on(machine, call)? {
        Step::Finished => Ok(Outcome::Values(2)),
        Step::Paused => Ok(Outcome::Pause(Box::new(substitution))),
        Step::Call { arguments } => Ok(Outcome::Call { arguments, then: Box::new(substitution) }),
    }
}

/// The source of the replacements.
#[derive(Clone, Copy, Debug)]
enum Replacement {
    /// A string, in which `%1` stands for a capture unless `is_plain`.
    Template { template: StringId, is_plain: bool },
    /// The value of the first capture in the table that is the third argument.
    Table,
    /// The result of the third argument, called with the captures.
    Function,
}

/// The state of a substitution.
enum Step {
    /// The results are pushed.
    Finished,
    /// The budget is used up.
    Paused,
    /// A function and its arguments are pushed; its result is the replacement.
    Call { arguments: usize },
}

/// A call of `gsub`.
#[derive(Debug)]
struct Substitution {
    sources: Sources,
    matcher: Matcher,
    replacement: Replacement,
    result: Vec<u8>,
    /// The subject up to this position is in the result.
    copied: usize,
    /// The match being replaced.
    found: (usize, usize),
    count: i32,
    most: i32,
    /// Whether there is nothing more to search.
    is_done: bool,
    stage: Stage,
    captures: Captures,
    /// Bytes of a string that must be appended first.
    waiting: Option<(StringId, usize, usize)>,
    /// Whether that string is on the stack.
    holds_value: bool,
}

/// The next step.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Search for the next match.
    Search,
    /// Append the replacement of the match.
    Replace,
    /// Expand the template from this position on.
    Expand(usize),
    /// Look up the key on the stack.
    LookUp,
    /// Push more captures for the function.
    Push,
    /// Append the function's result.
    Called,
    /// Move past the match.
    Advance,
    /// Append the bytes after the last match, and return the result.
    Rest,
    Finish,
}

impl Continue for Substitution {
    fn resume(
        mut self: Box<Self>,
        machine: &mut Machine,
        call: Call,
        results: usize,
    ) -> Result<Outcome, Raised> {
        if let Stage::Called = self.stage {
            let value = if results == 0 { Value::Nil } else { machine.from_top(results) };
            machine.drop_values(results);
            self.stage = Stage::Advance;
            self.add_value(machine, value)?;
        }
        match self.go_on(machine, call)? {
            Step::Finished => Ok(Outcome::Values(2)),
            Step::Paused => Ok(Outcome::Pause(self)),
            Step::Call { arguments } => Ok(Outcome::Call { arguments, then: self }),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.result.capacity() + self.captures.heap_bytes()
    }
}

impl Substitution {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Step, Raised> {
        loop {
            if !self.copy_waiting(machine) {
                return Ok(Step::Paused);
            }
            match self.stage {
                Stage::Search if self.is_done || self.count >= self.most => self.stage = Stage::Rest,
                Stage::Search => match self.sources.run(machine, &mut self.matcher)?.0 {
                    Progress::Paused => return Ok(Step::Paused),
                    Progress::Nothing => self.stage = Stage::Rest,
                    Progress::Found(start, end) => {
                        self.found = (start, end);
                        self.count += 1;
                        self.stage = Stage::Replace;
                        self.append(machine, self.sources.subject, self.copied, start)?;
                    }
                },
                Stage::Replace | Stage::Expand(_) | Stage::LookUp | Stage::Push => {
                    if let Some(step) = self.replace(machine, call)? {
                        return Ok(step);
                    }
                    // A long template is expanded in pieces.
                    if matches!(self.stage, Stage::Expand(1..)) && !machine.charge(0) {
                        return Ok(Step::Paused);
                    }
                }
                Stage::Called | Stage::Advance => {
                    self.advance(machine);
                    self.stage = Stage::Search;
                    if !machine.charge(1) {
                        return Ok(Step::Paused);
                    }
                }
                Stage::Rest => {
                    self.stage = Stage::Finish;
                    if self.count > 0 {
                        let end = machine.heap.bytes(self.sources.subject).len();
                        self.append(machine, self.sources.subject, self.copied, end)?;
                    }
                }
                Stage::Finish => {
                    let string = match self.count {
                        0 => self.sources.subject,
                        _ => machine.heap.string_from(std::mem::take(&mut self.result)),
                    };
                    machine.push(Value::String(string));
                    machine.push(Value::Number(f64::from(self.count)));
                    return Ok(Step::Finished);
                }
            }
        }
    }

    /// Moves past the match. After an empty match, the next byte is copied unchanged.
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

    /// Appends bytes of a string. If there are many, `copy_waiting` does it in pieces.
    #[inline]
    fn append(
        &mut self,
        machine: &mut Machine,
        string: StringId,
        from: usize,
        to: usize,
    ) -> Result<(), Raised> {
        self.reserve(machine, to - from)?;
        if to - from > PIECE_BYTES {
            self.waiting = Some((string, from, to));
        } else {
            machine.charge((to - from) / BYTES_PER_STEP);
            self.result.extend_from_slice(&machine.heap.bytes(string)[from..to]);
        }
        Ok(())
    }

    /// Appends the waiting bytes. Returns false if the budget is used up before the last of them.
    #[inline]
    fn copy_waiting(&mut self, machine: &mut Machine) -> bool {
        while let Some((string, from, to)) = self.waiting {
            let end = to.min(from + PIECE_BYTES);
            self.result.extend_from_slice(&machine.heap.bytes(string)[from..end]);
            self.waiting = (end < to).then_some((string, end, to));
            if !machine.charge((end - from) / BYTES_PER_STEP) {
                return false;
            }
        }
        if std::mem::take(&mut self.holds_value) {
            machine.drop_values(1);
        }
        true
    }

    /// Continues replacing the match. Returns `None` once the replacement, or a part of it, is appended.
    fn replace(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Step>, Raised> {
        match (self.stage, self.replacement) {
            (Stage::Expand(at), Replacement::Template { template, .. }) => {
                self.expand(machine, template, at)?;
            }
            (Stage::LookUp, _) => return self.look_up(machine, call),
            (Stage::Push, _) => {
                let (matcher, captures) = (&self.matcher, &mut self.captures);
                let pushed = self.sources.push_captures(machine, matcher, captures, self.found)?;
                let Some(arguments) = pushed else { return Ok(Some(Step::Paused)) };
                self.stage = Stage::Called;
                return Ok(Some(Step::Call { arguments }));
            }
            (_, Replacement::Template { template, is_plain: true }) => {
                self.stage = Stage::Advance;
                let length = machine.heap.bytes(template).len();
                self.append(machine, template, 0, length)?;
            }
            (_, Replacement::Template { template, .. }) => {
                self.reserve(machine, machine.heap.bytes(template).len())?;
                self.stage = Stage::Expand(0);
            }
            (_, Replacement::Table) => {
                let (matcher, captures) = (&self.matcher, &mut self.captures);
                let Some(key) = self.sources.capture(machine, matcher, captures, self.found)? else {
                    return Ok(Some(Step::Paused));
                };
                machine.push(key);
                self.stage = Stage::LookUp;
            }
            (_, Replacement::Function) => {
                machine.push(machine.argument(call, 3));
                self.stage = Stage::Push;
            }
        }
        Ok(None)
    }

    /// Expands a template from `at` on, up to its end or to a long capture.
    fn expand(&mut self, machine: &mut Machine, template: StringId, mut at: usize) -> Result<(), Raised> {
        let stop = at + PIECE_BYTES;
        while at < stop {
            let rest = &machine.heap.bytes(template)[at..];
            let window = &rest[..rest.len().min(PIECE_BYTES)];
            let Some(plain) = memchr(b'%', window) else {
                self.result.extend_from_slice(window);
                let (copied, is_last) = (window.len(), window.len() == rest.len());
                machine.charge(copied / BYTES_PER_STEP);
                at += copied;
                if is_last {
                    self.stage = Stage::Advance;
                    return Ok(());
                }
                continue;
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
                Ok(Capture::Range(from, to)) => {
                    self.append(machine, self.sources.subject, from, to)?;
                    if self.waiting.is_some() {
                        break;
                    }
                }
                Ok(Capture::Position(at) | Capture::Open(at)) => {
                    number::format((at + 1) as f64, &mut self.result);
                }
                Err(malformed) => return Err(machine.error(malformed)),
            }
        }
        machine.charge((PIECE_BYTES - stop.saturating_sub(at).min(PIECE_BYTES)) / SCANNED_PER_STEP);
        self.stage = Stage::Expand(at);
        Ok(())
    }

    /// Looks up the key on the stack and appends the value, or pushes the `__index` function to be called.
    fn look_up(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Step>, Raised> {
        let key = machine.from_top(1);
        let mut object = machine.argument(call, 3);
        for _ in 0..LONGEST_CHAIN {
            let method = machine.metamethod(object, Event::Index);
            if let Value::Table(table) = object {
                if !machine.is_key_ready(table, key) {
                    return Ok(Some(Step::Paused));
                }
                let value = machine.heap.get(table, key);
                if !value.is_nil() || method.is_nil() {
                    machine.drop_values(1);
                    self.stage = Stage::Advance;
                    self.add_value(machine, value)?;
                    return Ok(None);
                }
            } else if method.is_nil() {
                let message = format!("attempt to index a {} value", object.type_name());
                return Err(machine.plain_error(message));
            }
            if let Value::Function(_) = method {
                machine.drop_values(1);
                machine.push(method);
                machine.push(object);
                machine.push(key);
                self.stage = Stage::Called;
                return Ok(Some(Step::Call { arguments: 2 }));
            }
            object = method;
        }
        Err(machine.plain_error("loop in gettable"))
    }

    /// Appends a replacement value from the program: `nil` and `false` keep the match unchanged.
    fn add_value(&mut self, machine: &mut Machine, value: Value) -> Result<(), Raised> {
        match value {
            Value::Nil | Value::Boolean(false) => {
                self.append(machine, self.sources.subject, self.found.0, self.found.1)
            }
            Value::String(string) => {
                self.append(machine, string, 0, machine.heap.bytes(string).len())?;
                if self.waiting.is_some() {
                    // The stack keeps the value alive.
                    machine.push(value);
                    self.holds_value = true;
                }
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
