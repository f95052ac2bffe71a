//! `string.find`, `string.match` and `string.gmatch`.

use memchr::{memchr, memmem};

use super::pattern::{Capture, Matcher, Progress};
use super::{BYTES_PER_STEP, Work, begin, place, slice};
use crate::lua::heap::Heap;
use crate::lua::machine::{Call, Machine, Outcome, Raised};
use crate::lua::value::{StringId, Value};

/// Steps of the matcher before the budget is looked at.
const STEPS_AT_ONCE: usize = 1000;

/// Places with the right first byte that a search for plain bytes looks at one by one.
const PLACES_AT_FIRST: usize = 8;

/// A string and a pattern. The function's arguments or upvalues keep them alive.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    pub subject: StringId,
    pub pattern: StringId,
    /// `^` anchors the pattern.
    pub anchors: bool,
}

impl Sources {
    /// The first two arguments.
    pub fn arguments(machine: &mut Machine, call: Call) -> Result<Sources, Raised> {
        let subject = machine.check_string(call, 1)?;
        let pattern = machine.check_string(call, 2)?;
        Ok(Sources { subject, pattern, anchors: true })
    }

    /// A matcher for a search from `start` on.
    #[inline]
    pub fn matcher(self, heap: &Heap, start: usize) -> Matcher {
        Matcher::new(heap.bytes(self.pattern), start, self.anchors)
    }

    /// Runs the matcher until it is paused because the budget is used up, or has come to an end; and whether any budget is
    /// left.
    pub fn run(self, machine: &mut Machine, matcher: &mut Matcher) -> Result<(Progress, bool), Raised> {
        loop {
            let mut steps = STEPS_AT_ONCE;
            let heap = &machine.heap;
            let progress = matcher.run(heap.bytes(self.subject), heap.bytes(self.pattern), &mut steps);
            let is_budget_left = machine.charge(STEPS_AT_ONCE - steps);
            match progress {
                Ok(Progress::Paused) if is_budget_left => (),
                Ok(progress) => return Ok((progress, is_budget_left)),
                Err(malformed) => return Err(machine.error(malformed)),
            }
        }
    }

    /// The capture numbered `index`, from 0, of a match at `found`.
    pub fn capture(
        self,
        machine: &mut Machine,
        matcher: &Matcher,
        index: usize,
        found: (usize, usize),
    ) -> Result<Value, Raised> {
        match matcher.capture(index, found.0, found.1) {
            Ok(Capture::Range(from, to)) => slice(machine, self.subject, from, to).map(Value::String),
            Ok(Capture::Position(at) | Capture::Open(at)) => Ok(Value::Number((at + 1) as f64)),
            Err(malformed) => Err(machine.error(malformed)),
        }
    }

    /// Pushes all captures, or, if there are none, the whole match; and returns how many values that are.
    pub fn push_captures(
        self,
        machine: &mut Machine,
        matcher: &Matcher,
        found: (usize, usize),
    ) -> Result<usize, Raised> {
        let count = matcher.captures().max(1);
        for index in 0..count {
            let capture = self.capture(machine, matcher, index, found)?;
            machine.push(capture);
        }
        Ok(count)
    }
}

/// `string.find(s, pattern [, start [, plain]])`
pub fn find(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let sources = Sources::arguments(machine, call)?;
    let start = start(machine, call, sources)?;
    let subject = machine.heap.bytes(sources.subject);
    let pattern = machine.heap.bytes(sources.pattern);
    if machine.argument(call, 4).is_false() && !is_plain(pattern) {
        return begin(Search::new(machine, sources, start, true), machine, call);
    }
    let found = find_bytes(&subject[start..], pattern).map(|distance| start + distance);
    let end = found.unwrap_or(subject.len()) + pattern.len();
    machine.charge((end - start) / BYTES_PER_STEP);
    let Some(found) = found else {
        return machine.one(Value::Nil);
    };
    machine.push(Value::Number((found + 1) as f64));
    machine.push(Value::Number(end as f64));
    Ok(Outcome::Values(2))
}

/// Where `needle` is first found.
fn find_bytes(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let Some((&first, rest)) = needle.split_first() else {
        return Some(0);
    };
    // To prepare a search that is fast in the worst case takes longer than to look at a few places.
    let mut from = 0;
    for _ in 0..PLACES_AT_FIRST {
        let place = from + memchr(first, &haystack[from..])?;
        from = place + 1;
        if haystack[from..].starts_with(rest) {
            return Some(place);
        }
    }
    memmem::find(&haystack[from..], needle).map(|distance| from + distance)
}

/// Whether nothing in a pattern is special, up to the first zero byte.
fn is_plain(pattern: &[u8]) -> bool {
    let pattern = memchr(0, pattern).map_or(pattern, |end| &pattern[..end]);
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// `string.match(s, pattern [, start])`
pub fn find_captures(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let sources = Sources::arguments(machine, call)?;
    let start = start(machine, call, sources)?;
    begin(Search::new(machine, sources, start, false), machine, call)
}

/// The place where the search starts: the third argument.
fn start(machine: &mut Machine, call: Call, sources: Sources) -> Result<usize, Raised> {
    let length = machine.heap.bytes(sources.subject).len();
    let start = place(machine.optional_integer(call, 3, 1)?, length);
    Ok(start.saturating_sub(1).min(length))
}

/// A search for the first match.
#[derive(Debug)]
struct Search {
    sources: Sources,
    matcher: Matcher,
    /// The place of the match is told, and captures only if there are any.
    is_find: bool,
}

impl Search {
    fn new(machine: &Machine, sources: Sources, start: usize, is_find: bool) -> Search {
        Search { sources, matcher: sources.matcher(&machine.heap, start), is_find }
    }
}

impl Work for Search {
    fn go_on(&mut self, machine: &mut Machine, _: Call) -> Result<Option<Outcome>, Raised> {
        let (start, end) = match self.sources.run(machine, &mut self.matcher)?.0 {
            Progress::Paused => return Ok(None),
            Progress::Nothing => return machine.one(Value::Nil).map(Some),
            Progress::Found(start, end) => (start, end),
        };
        let mut count = 0;
        if self.is_find {
            machine.push(Value::Number((start + 1) as f64));
            machine.push(Value::Number(end as f64));
            count = 2;
        }
        if !self.is_find || self.matcher.captures() > 0 {
            count += self.sources.push_captures(machine, &self.matcher, (start, end))?;
        }
        Ok(Some(Outcome::Values(count)))
    }
}

/// `string.gmatch(s, pattern)`
pub fn gmatch(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Sources { subject, pattern, .. } = Sources::arguments(machine, call)?;
    let upvalues = [Value::String(subject), Value::String(pattern), Value::Number(0.0)];
    let iterator = machine.heap.new_native_with("gmatch", next_match, &upvalues);
    machine.one(iterator)
}

/// What `gmatch` returns. Its values: the string, the pattern, and the place from which on to search.
fn next_match(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let (Value::String(subject), Value::String(pattern)) =
        (machine.upvalue(call, 0), machine.upvalue(call, 1))
    else {
        return Ok(Outcome::Values(0));
    };
    let start = if let Value::Number(start) = machine.upvalue(call, 2) { start as usize } else { 0 };
    if start > machine.heap.bytes(subject).len() {
        return Ok(Outcome::Values(0));
    }
    let sources = Sources { subject, pattern, anchors: false };
    let matcher = sources.matcher(&machine.heap, start);
    begin(Iteration { sources, matcher }, machine, call)
}

/// A search of `gmatch`.
#[derive(Debug)]
struct Iteration {
    sources: Sources,
    matcher: Matcher,
}

impl Work for Iteration {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let (start, end) = match self.sources.run(machine, &mut self.matcher)?.0 {
            Progress::Paused => return Ok(None),
            Progress::Nothing => return Ok(Some(Outcome::Values(0))),
            Progress::Found(start, end) => (start, end),
        };
        // After an empty match it goes on one place further.
        let next = if end == start { end + 1 } else { end };
        machine.set_upvalue(call, 2, Value::Number(next as f64));
        self.sources
            .push_captures(machine, &self.matcher, (start, end))
            .map(|count| Some(Outcome::Values(count)))
    }
}
