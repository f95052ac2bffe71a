//! `string.find`, `string.match` and `string.gmatch`.

use memchr::{memchr, memmem};

use super::pattern::{Capture, Matcher, Progress};
use super::{BYTES_PER_STEP, PIECE_BYTES, Slice, Work, begin, place};
use crate::lua::heap::Heap;
use crate::lua::machine::{Call, Machine, Outcome, Raised};
use crate::lua::value::{StringId, Value};

/// The number of matcher steps between checks of the budget.
const STEPS_AT_ONCE: usize = 1000;

/// The number of plain bytes that a search compares at once.
const LONGEST_AT_ONCE: usize = 1 << 16;

/// The number of positions with the right first byte that a plain search checks one by one.
const PLACES_AT_FIRST: usize = 8;

/// A string and a pattern. The function's arguments or upvalues keep them alive.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    pub subject: StringId,
    pub pattern: StringId,
    /// Whether `^` anchors the pattern.
    pub anchors: bool,
}

impl Sources {
    /// The first two arguments.
    pub fn arguments(machine: &mut Machine, call: Call) -> Result<Sources, Raised> {
        let subject = machine.check_string(call, 1)?;
        let pattern = machine.check_string(call, 2)?;
        let sources = Sources { subject, pattern, anchors: true };
        sources.pay(machine);
        Ok(sources)
    }

    /// Charges the budget for finding the pattern's end.
    #[inline]
    pub fn pay(self, machine: &mut Machine) {
        let length = machine.heap.bytes(self.pattern).len();
        machine.charge(length / (2 * BYTES_PER_STEP));
    }

    /// Creates a matcher for a search from `start` on.
    #[inline]
    pub fn matcher(self, heap: &Heap, start: usize) -> Matcher {
        Matcher::new(heap.bytes(self.pattern), start, self.anchors)
    }

    /// Runs the matcher until it finishes or the budget is used up. Returns its progress, and whether any budget is
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

    /// Capture `index`, from 0, of a match at `found`; `None` if the budget is used up.
    pub fn capture(
        self,
        machine: &mut Machine,
        matcher: &Matcher,
        captures: &mut Captures,
        found: (usize, usize),
    ) -> Result<Option<Value>, Raised> {
        match matcher.capture(captures.index, found.0, found.1) {
            Ok(Capture::Range(from, to)) => {
                Ok(captures.slice.go_on(machine, self.subject, from, to)?.map(Value::String))
            }
            Ok(Capture::Position(at) | Capture::Open(at)) => Ok(Some(Value::Number((at + 1) as f64))),
            Err(malformed) => Err(machine.error(malformed)),
        }
    }

    /// Pushes the captures from `captures.index` on, or the whole match if there are none. Returns the number of
    /// values; `None` if the budget is used up after some of them.
    pub fn push_captures(
        self,
        machine: &mut Machine,
        matcher: &Matcher,
        captures: &mut Captures,
        found: (usize, usize),
    ) -> Result<Option<usize>, Raised> {
        let count = matcher.captures().max(1);
        while captures.index < count {
            let Some(capture) = self.capture(machine, matcher, captures, found)? else { return Ok(None) };
            machine.push(capture);
            captures.index += 1;
        }
        captures.index = 0;
        Ok(Some(count))
    }
}

/// The capture being copied, and the progress of the copy.
#[derive(Debug, Default)]
pub struct Captures {
    index: usize,
    slice: Slice,
}

impl Captures {
    /// See `Continue::heap_bytes`.
    pub fn heap_bytes(&self) -> usize {
        self.slice.copied.capacity()
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
    if subject.len() - start > PIECE_BYTES {
        return begin(PlainSearch { at: start, equal: 0 }, machine, call);
    }
    let found = find_bytes(&subject[start..], pattern).map(|distance| start + distance);
    let (length, end) = (pattern.len(), found.unwrap_or(subject.len()) + pattern.len());
    machine.charge((end - start) / BYTES_PER_STEP);
    push_place(machine, found, length)
}

/// Pushes the first and the last index of `length` plain bytes, or nil.
fn push_place(machine: &mut Machine, found: Option<usize>, length: usize) -> Result<Outcome, Raised> {
    let Some(found) = found else {
        return machine.one(Value::Nil);
    };
    machine.push(Value::Number((found + 1) as f64));
    machine.push(Value::Number((found + length) as f64));
    Ok(Outcome::Values(2))
}

/// A search for plain bytes in a long string.
#[derive(Debug)]
struct PlainSearch {
    /// There is no match before this position.
    at: usize,
    /// The number of bytes known to be equal here. A long pattern is searched for by its first bytes; the rest is
    /// compared.
    equal: usize,
}

/// The state of a search.
enum Found {
    At(usize),
    Nowhere,
    NotYet,
}

impl Found {
    fn at_end(place: usize, is_end: bool) -> Found {
        if is_end { Found::At(place) } else { Found::NotYet }
    }
}

impl PlainSearch {
    /// Searches more bytes. Returns their number, and the search's result once it is known.
    fn step(&mut self, subject: &[u8], pattern: &[u8]) -> (usize, Found) {
        if self.at + pattern.len() > subject.len() {
            return (0, Found::Nowhere);
        }
        if self.equal > 0 {
            let end = pattern.len().min(self.equal + PIECE_BYTES);
            let compared = end - self.equal;
            if subject[self.at + self.equal..self.at + end] == pattern[self.equal..end] {
                self.equal = end;
                return (compared, Found::at_end(self.at, end == pattern.len()));
            }
            (self.at, self.equal) = (self.at + 1, 0);
            return (compared, Found::NotYet);
        }
        let first = &pattern[..pattern.len().min(LONGEST_AT_ONCE)];
        let window = &subject[self.at..subject.len().min(self.at + PIECE_BYTES)];
        if let Some(place) = find_bytes(window, first) {
            (self.at, self.equal) = (self.at + place, first.len());
            return (place, Found::at_end(self.at, first.len() == pattern.len()));
        }
        // A match may begin at the end of the window.
        self.at += (window.len() + 1).saturating_sub(first.len()).max(1);
        (window.len(), Found::NotYet)
    }
}

impl Work for PlainSearch {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let (subject, pattern) = (machine.check_string(call, 1)?, machine.check_string(call, 2)?);
        let length = machine.heap.bytes(pattern).len();
        loop {
            let (bytes, end) = self.step(machine.heap.bytes(subject), machine.heap.bytes(pattern));
            let has_time = machine.charge(1 + bytes / BYTES_PER_STEP);
            match end {
                Found::At(place) => return push_place(machine, Some(place), length).map(Some),
                Found::Nowhere => return push_place(machine, None, length).map(Some),
                Found::NotYet if !has_time => return Ok(None),
                Found::NotYet => {}
            }
        }
    }
}

/// Returns the first position of `needle`.
fn find_bytes(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let Some((&first, rest)) = needle.split_first() else {
        return Some(0);
    };
    // Preparing a search that is fast in the worst case takes longer than checking a few positions.
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

/// Whether a pattern has no special characters before its first zero byte.
fn is_plain(pattern: &[u8]) -> bool {
    if pattern.len() > PIECE_BYTES {
        // The matcher decides, item by item.
        return false;
    }
    let pattern = memchr(0, pattern).map_or(pattern, |end| &pattern[..end]);
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// `string.match(s, pattern [, start])`
pub fn find_captures(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let sources = Sources::arguments(machine, call)?;
    let start = start(machine, call, sources)?;
    begin(Search::new(machine, sources, start, false), machine, call)
}

/// Returns the position where the search starts: the third argument.
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
    /// Whether to return the match's position, and captures only if there are any.
    is_find: bool,
    /// The match whose captures are being copied.
    found: Option<(usize, usize)>,
    captures: Captures,
}

impl Search {
    fn new(machine: &Machine, sources: Sources, start: usize, is_find: bool) -> Search {
        let matcher = sources.matcher(&machine.heap, start);
        Search { sources, matcher, is_find, found: None, captures: Captures::default() }
    }
}

impl Work for Search {
    fn go_on(&mut self, machine: &mut Machine, _: Call) -> Result<Option<Outcome>, Raised> {
        let found = match self.found {
            Some(found) => found,
            None => match self.sources.run(machine, &mut self.matcher)?.0 {
                Progress::Paused => return Ok(None),
                Progress::Nothing => return machine.one(Value::Nil).map(Some),
                Progress::Found(start, end) => {
                    if self.is_find {
                        machine.push(Value::Number((start + 1) as f64));
                        machine.push(Value::Number(end as f64));
                    }
                    (start, end)
                }
            },
        };
        let places = if self.is_find { 2 } else { 0 };
        if self.is_find && self.matcher.captures() == 0 {
            return Ok(Some(Outcome::Values(places)));
        }
        let Some(count) = self.sources.push_captures(machine, &self.matcher, &mut self.captures, found)?
        else {
            self.found = Some(found);
            return Ok(None);
        };
        Ok(Some(Outcome::Values(places + count)))
    }

    fn heap_bytes(&self) -> usize {
        self.captures.heap_bytes()
    }
}

/// `string.gmatch(s, pattern)`
pub fn gmatch(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Sources { subject, pattern, .. } = Sources::arguments(machine, call)?;
    let upvalues = [Value::String(subject), Value::String(pattern), Value::Number(0.0)];
    let iterator = machine.heap.new_native_with("gmatch", next_match, &upvalues);
    machine.one(iterator)
}

/// The iterator that `gmatch` returns. Its upvalues: the string, the pattern, and the position to search from.
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
    sources.pay(machine);
    let matcher = sources.matcher(&machine.heap, start);
    begin(Iteration { sources, matcher, found: None, captures: Captures::default() }, machine, call)
}

/// A search of `gmatch`.
#[derive(Debug)]
struct Iteration {
    sources: Sources,
    matcher: Matcher,
    /// The match whose captures are being copied.
    found: Option<(usize, usize)>,
    captures: Captures,
}

impl Work for Iteration {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let found = match self.found {
            Some(found) => found,
            None => match self.sources.run(machine, &mut self.matcher)?.0 {
                Progress::Paused => return Ok(None),
                Progress::Nothing => return Ok(Some(Outcome::Values(0))),
                Progress::Found(start, end) => (start, end),
            },
        };
        let Some(count) = self.sources.push_captures(machine, &self.matcher, &mut self.captures, found)?
        else {
            self.found = Some(found);
            return Ok(None);
        };
        // After an empty match, the search continues one position further.
        let (start, end) = found;
        let next = if end == start { end + 1 } else { end };
        machine.set_upvalue(call, 2, Value::Number(next as f64));
        Ok(Some(Outcome::Values(count)))
    }

    fn heap_bytes(&self) -> usize {
        self.captures.heap_bytes()
    }
}
