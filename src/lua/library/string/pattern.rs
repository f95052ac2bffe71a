//! The pattern matcher: a machine with its own stack, which counts its steps and can stop at any of them.
//!
//! A pattern is a sequence of items. Only the suffixes `?`, `*`, `+` and `-` create alternatives; each one passed
//! pushes a choice, to try if the rest of the pattern fails. The rest is always the remainder of the same sequence, so
//! a choice is two or three positions, and the stack is never deeper than the pattern is long (with a limit below
//! that).
//!
//! ```text
//!   pattern  %a* - ( %d+ ) x       subject  ab-12y
//!                          ^ item               ^ at        fails: the topmost choice is taken instead
//!   choices  Fewer{ab: 0..2 then `-`}  Fewer{12: 4..5 then `)`}
//! ```
//!
//! An error in the pattern is reported when its item is reached, not before, as in the reference implementation, so
//! patterns are interpreted as written. Three techniques make this fast: one loop runs each repeated item, a search
//! skips to the next occurrence of the pattern's first byte, and a shrinking repetition skips to the byte that follows
//! it.

use std::ops::Range;

use memchr::{memchr, memrchr};

use super::class::{self, Set};

/// The maximum number of captures of a pattern.
pub const MOST_CAPTURES: usize = 32;
/// The maximum number of pending choices. The reference implementation would have overrun the C stack.
const MOST_CHOICES: usize = 1 << 16;
/// The number of choices that need no allocation.
const INLINE_CHOICES: usize = 6;
/// The number of captures that need no allocation.
const INLINE_CAPTURES: usize = 4;
/// The number of subject bytes that one step of a loop covers.
const STRIDE: usize = 1024;
/// The approximate number of bytes that a loop examines in the time of one step.
const STRIDE_PER_STEP: usize = 8;

/// The longest set. A set is read at each match, so longer ones are rejected.
const LONGEST_SET: usize = 1 << 16;
/// The length up to which sets are matched without a charge.
const SHORT_SET: usize = 64;

/// The escape character.
const ESCAPE: u8 = b'%';

/// The error message for a malformed pattern.
pub type Malformed = &'static str;

/// The position of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// The capture begins here and is not closed.
    Open(usize),
    /// `()`: a position, from 0.
    Position(usize),
    /// The bytes from one position to another.
    Range(usize, usize),
}

/// The result of a run of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The pattern matches from the first to the second position.
    Found(usize, usize),
    /// There is no match.
    Nothing,
    /// The steps are used up: call `run` again with more.
    Paused,
}

/// The alternative to try when the pattern fails later.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// Continue at another position.
    Go { at: usize, item: usize },
    /// A repetition of `low..high` may be shorter.
    Fewer { low: usize, high: usize, next: usize },
    /// A repetition of the item may be longer.
    More { at: usize, item: usize, next: usize },
    /// Drop a capture that began after the choice below was pushed.
    Reopen,
    /// Reopen this capture, which was closed after the choice below was pushed and begins at `start`.
    Unclose { index: usize, start: usize },
}

/// A stack whose lowest `N` items need no allocation.
#[derive(Debug)]
struct Stack<T, const N: usize> {
    inline: [T; N],
    count: usize,
    more: Vec<T>,
}

impl<T: Copy, const N: usize> Stack<T, N> {
    /// Creates an empty stack; `filler` fills the unused places.
    fn new(filler: T) -> Stack<T, N> {
        Stack { inline: [filler; N], count: 0, more: Vec::new() }
    }

    #[inline]
    fn push(&mut self, item: T) {
        match self.inline.get_mut(self.count) {
            Some(free) => *free = item,
            None => self.more.push(item),
        }
        self.count += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.count = self.count.checked_sub(1)?;
        if self.count < N { Some(self.inline[self.count]) } else { self.more.pop() }
    }

    #[inline]
    fn get(&self, place: usize) -> Option<T> {
        if place >= self.count {
            return None;
        }
        if place < N { Some(self.inline[place]) } else { self.more.get(place - N).copied() }
    }

    #[inline]
    fn set(&mut self, place: usize, item: T) {
        debug_assert!(place < self.count);
        if place < N {
            self.inline[place] = item;
        } else {
            self.more[place - N] = item;
        }
    }

    fn clear(&mut self) {
        self.count = 0;
        self.more.clear();
    }
}

/// The action of the next step.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Match the item.
    Item,
    /// Continue a repetition that began at `low`; the item ends at `end`.
    Repeat { low: usize, end: usize },
    /// Search for the byte that closes `open` open ones.
    Balance { open: usize },
    /// Take the topmost choice.
    Retreat,
}

/// A pattern's single item, decoded.
#[derive(Clone, Copy, Debug)]
enum Single {
    Any,
    Byte(u8),
    /// All bytes but one.
    Not(u8),
    Class(&'static Set),
    /// All bytes outside a class.
    NotClass(&'static Set),
    Members(Set),
}

impl Single {
    /// Returns the number of leading bytes that the item matches.
    fn run_length(&self, bytes: &[u8]) -> usize {
        let end = match self {
            Single::Any => None,
            Single::Byte(byte) => bytes.iter().position(|other| other != byte),
            Single::Not(byte) => memchr(*byte, bytes),
            Single::Class(set) => bytes.iter().position(|&byte| !set.contains(byte)),
            Single::NotClass(set) => bytes.iter().position(|&byte| set.contains(byte)),
            Single::Members(set) => bytes.iter().position(|&byte| !set.contains(byte)),
        };
        end.unwrap_or(bytes.len())
    }

    /// Returns the position of the first byte that the item matches.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Single::Any => (!bytes.is_empty()).then_some(0),
            Single::Byte(byte) => memchr(*byte, bytes),
            Single::Not(byte) => bytes.iter().position(|other| other != byte),
            Single::Class(set) => bytes.iter().position(|&byte| set.contains(byte)),
            Single::NotClass(set) => bytes.iter().position(|&byte| !set.contains(byte)),
            Single::Members(set) => bytes.iter().position(|&byte| set.contains(byte)),
        }
    }
}

/// A pattern without its `^`, cut at its first zero byte.
#[derive(Clone, Copy)]
struct Pattern<'a>(&'a [u8]);

impl<'a> Pattern<'a> {
    /// Returns the byte at a position, or 0 at the end.
    fn at(self, place: usize) -> u8 {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// Returns the end of the single item that begins at `place`, which is not the end of the pattern.
    fn single_end(self, place: usize) -> Result<usize, Malformed> {
        let mut place = place + 1;
        match self.0[place - 1] {
            ESCAPE if place == self.0.len() => Err("malformed pattern (ends with '%')"),
            ESCAPE => Ok(place + 1),
            b'[' => {
                if self.at(place) == b'^' {
                    place += 1;
                }
                // A leading `]` is a member of the set.
                loop {
                    let byte = self.at(place);
                    place += 1;
                    if byte == ESCAPE && place < self.0.len() {
                        place += 1;
                    }
                    if place > self.0.len() {
                        return Err("malformed pattern (missing ']')");
                    }
                    if self.at(place) == b']' {
                        return Ok(place + 1);
                    }
                }
            }
            _ => Ok(place),
        }
    }

    /// Returns the text between the brackets of a set.
    fn bracketed(self, place: usize, end: usize) -> &'a [u8] {
        &self.0[place + 1..end - 1]
    }

    /// Whether the single item at `place..end` matches `byte`.
    #[inline]
    fn matches(self, byte: u8, place: usize, end: usize) -> bool {
        match self.0[place] {
            b'.' => true,
            ESCAPE => class::is_in(byte, self.0[place + 1]),
            b'[' => class::is_bracketed(byte, self.bracketed(place, end)),
            other => other == byte,
        }
    }

    fn decode(self, place: usize, end: usize) -> Single {
        match self.0[place] {
            b'.' => Single::Any,
            ESCAPE => match class::of_letter(self.0[place + 1]) {
                Some((set, true)) => Single::Class(set),
                Some((set, false)) => Single::NotClass(set),
                None => Single::Byte(self.0[place + 1]),
            },
            b'[' => match self.bracketed(place, end) {
                &[b'^', byte] if byte != ESCAPE => Single::Not(byte),
                bracketed => Single::Members(Set::new(bracketed)),
            },
            other => Single::Byte(other),
        }
    }

    /// Returns the byte that a match from `place` on must begin with, if the item there is a literal, is not optional,
    /// and cannot be an error.
    fn literal(self, place: usize) -> Option<u8> {
        let (byte, next) = match *self.0.get(place..)? {
            [ESCAPE, byte, ..] if byte.is_ascii_punctuation() => (byte, place + 2),
            [b'(' | b')' | b'.' | b'[' | ESCAPE, ..] | [b'$'] | [] => return None,
            [byte, ..] => (byte, place + 1),
        };
        (!matches!(self.at(next), b'?' | b'*' | b'-')).then_some(byte)
    }

    /// Like [`Pattern::literal`], but skips a closing parenthesis, which has already been matched once.
    fn literal_again(self, place: usize) -> Option<u8> {
        self.literal(place + usize::from(self.at(place) == b')'))
    }

    /// Returns the pattern's first item and its position, if it is a single one that is neither optional nor an error.
    fn first(self) -> Option<(usize, Single)> {
        let place = usize::from(matches!(self.0, [b'(', next, ..] if *next != b')'));
        match self.0[place..] {
            [] | [b'$'] | [b'(' | b')', ..] | [ESCAPE, b'b' | b'f' | b'0'..=b'9', ..] => return None,
            _ => {}
        }
        let end = self.single_end(place).ok().filter(|end| end - place <= LONGEST_SET)?;
        (!matches!(self.at(end), b'?' | b'*' | b'-')).then(|| (place, self.decode(place, end)))
    }
}

/// The subject and the pattern.
#[derive(Clone, Copy)]
struct Text<'a> {
    subject: &'a [u8],
    pattern: Pattern<'a>,
}

/// The machine. It holds only positions, so it can be kept without the subject and the pattern; each run must get the
/// same ones.
#[derive(Debug)]
pub struct Matcher {
    /// The part of the pattern as written that is matched.
    pattern: Range<usize>,
    is_anchored: bool,
    /// The first item and its position; lets a search skip places where no match begins.
    first: Option<(usize, Single)>,
    /// The position where the match began.
    start: usize,
    /// The position in the subject.
    at: usize,
    /// The position in the pattern.
    item: usize,
    mode: Mode,
    choices: Stack<Choice, INLINE_CHOICES>,
    captures: Stack<Capture, INLINE_CAPTURES>,
    /// The remaining steps.
    steps: usize,
}

impl Matcher {
    /// Creates a machine that searches for a match from `start` on. A zero byte ends the pattern, as it ends C strings.
    /// If `anchors`, a pattern that begins with `^` matches only at `start`.
    #[inline(always)]
    pub fn new(pattern: &[u8], start: usize, anchors: bool) -> Matcher {
        let is_anchored = anchors && pattern.first() == Some(&b'^');
        let end = memchr(0, pattern).unwrap_or(pattern.len());
        let pattern_range = usize::from(is_anchored)..end;
        let first = if is_anchored { None } else { Pattern(&pattern[pattern_range.clone()]).first() };
        Matcher {
            pattern: pattern_range,
            is_anchored,
            first,
            start,
            at: start,
            item: 0,
            mode: Mode::Item,
            choices: Stack::new(Choice::Reopen),
            captures: Stack::new(Capture::Open(0)),
            steps: 0,
        }
    }

    /// Restarts at another position.
    pub fn restart(&mut self, start: usize) {
        self.start = start;
        self.at = start;
        self.item = 0;
        self.mode = Mode::Item;
        self.choices.clear();
        self.captures.clear();
    }

    /// Whether the pattern matches only at the start.
    pub fn is_anchored(&self) -> bool {
        self.is_anchored
    }

    fn spend(&mut self, steps: usize) {
        self.steps = self.steps.saturating_sub(steps);
    }

    /// Returns the number of captures of the match found.
    pub fn captures(&self) -> usize {
        self.captures.count
    }

    /// Returns the capture numbered `index`, from 0, of a match found at `start..end`. Without captures, capture 0 is
    /// the whole match.
    pub fn capture(&self, index: usize, start: usize, end: usize) -> Result<Capture, Malformed> {
        match self.captures.get(index) {
            Some(Capture::Open(_)) => Err("unfinished capture"),
            Some(capture) => Ok(capture),
            None if index == 0 => Ok(Capture::Range(start, end)),
            None => Err("invalid capture index"),
        }
    }

    /// Searches for a match in at most about `steps` steps, and subtracts those taken.
    pub fn run(&mut self, subject: &[u8], pattern: &[u8], steps: &mut usize) -> Result<Progress, Malformed> {
        self.steps = *steps;
        let progress = self.search(Text { subject, pattern: Pattern(&pattern[self.pattern.clone()]) });
        *steps = self.steps;
        progress
    }

    fn search(&mut self, text: Text) -> Result<Progress, Malformed> {
        loop {
            if self.item == 0 && matches!(self.mode, Mode::Item) && !self.skip(text.subject) {
                return Ok(if self.steps == 0 { Progress::Paused } else { Progress::Nothing });
            }
            match self.match_here(text)? {
                Progress::Nothing if !self.is_anchored && self.start < text.subject.len() => {
                    self.restart(self.start + 1);
                }
                other => return Ok(other),
            }
        }
    }

    /// Advances to the next position where a match can begin. Returns false if there is none, or if the steps are used
    /// up first.
    fn skip(&mut self, subject: &[u8]) -> bool {
        let Some((_, single)) = &self.first else {
            return true;
        };
        while self.steps > 0 {
            let rest = &subject[self.start..];
            let window = &rest[..rest.len().min(STRIDE)];
            let found = single.find(window);
            let distance = found.unwrap_or(window.len());
            self.steps = self.steps.saturating_sub(distance / STRIDE_PER_STEP);
            self.start += distance;
            self.at = self.start;
            if found.is_some() {
                return true;
            }
            if self.start == subject.len() {
                // Keeps the end of the search from looking like a pause.
                self.steps = self.steps.max(1);
                return false;
            }
        }
        false
    }

    /// Tries to match at `start`.
    fn match_here(&mut self, text: Text) -> Result<Progress, Malformed> {
        loop {
            if self.steps == 0 {
                return Ok(Progress::Paused);
            }
            self.steps -= 1;
            let goes_on = match self.mode {
                Mode::Item if self.item == text.pattern.0.len() => {
                    return Ok(Progress::Found(self.start, self.at));
                }
                Mode::Item => self.match_item(text)?,
                Mode::Repeat { low, end } => {
                    self.repeat(text, low, end)?;
                    true
                }
                Mode::Balance { open } => self.balance(text, open),
                Mode::Retreat => match self.choices.pop() {
                    Some(choice) => {
                        self.retreat(choice, text)?;
                        true
                    }
                    None => return Ok(Progress::Nothing),
                },
            };
            if !goes_on {
                self.mode = Mode::Retreat;
            }
        }
    }

    /// Matches the item, or returns false.
    #[inline]
    fn match_item(&mut self, text: Text) -> Result<bool, Malformed> {
        match text.pattern.0[self.item] {
            b'(' => {
                if text.pattern.at(self.item + 1) == b')' {
                    self.begin_capture(Capture::Position(self.at))?;
                    self.item += 2;
                } else {
                    self.begin_capture(Capture::Open(self.at))?;
                    self.item += 1;
                }
                Ok(true)
            }
            b')' => {
                self.end_capture()?;
                self.item += 1;
                Ok(true)
            }
            b'$' if self.item + 1 == text.pattern.0.len() => {
                self.item += 1;
                Ok(self.at == text.subject.len())
            }
            ESCAPE => match text.pattern.at(self.item + 1) {
                b'b' => self.begin_balance(text),
                b'f' => self.match_frontier(text),
                digit @ b'0'..=b'9' => self.match_capture(digit, text),
                _ => self.match_single(text),
            },
            _ => self.match_single(text),
        }
    }

    /// Matches a single item with its suffix.
    #[inline]
    fn match_single(&mut self, text: Text) -> Result<bool, Malformed> {
        let end = text.pattern.single_end(self.item)?;
        if end - self.item > SHORT_SET {
            if end - self.item > LONGEST_SET {
                return Err("pattern too complex");
            }
            self.spend((end - self.item) / STRIDE_PER_STEP);
        }
        let suffix = text.pattern.at(end);
        if suffix == b'*' {
            self.repeat(text, self.at, end)?;
            return Ok(true);
        }
        if suffix == b'-' {
            self.choose(Choice::More { at: self.at, item: self.item, next: end + 1 })?;
            self.item = end + 1;
            return Ok(true);
        }
        let matches = match text.subject.get(self.at) {
            Some(&byte) => text.pattern.matches(byte, self.item, end),
            None => false,
        };
        match suffix {
            b'?' => {
                if matches {
                    self.choose(Choice::Go { at: self.at, item: end + 1 })?;
                    self.at += 1;
                }
                self.item = end + 1;
                Ok(true)
            }
            b'+' => {
                if matches {
                    self.at += 1;
                    self.repeat(text, self.at, end)?;
                }
                Ok(matches)
            }
            _ => {
                self.at += 1;
                self.item = end;
                Ok(matches)
            }
        }
    }

    /// Continues a greedy repetition of the item at `item..end` that began at `low`, for one stride.
    fn repeat(&mut self, text: Text, low: usize, end: usize) -> Result<(), Malformed> {
        let single = match self.first {
            Some((place, single)) if place == self.item => single,
            _ => text.pattern.decode(self.item, end),
        };
        let rest = &text.subject[self.at..];
        let rest = if matches!(single, Single::Any) { rest } else { &rest[..rest.len().min(STRIDE)] };
        let count = single.run_length(rest);
        self.at += count;
        self.spend(count.min(STRIDE) / STRIDE_PER_STEP);
        if count == STRIDE && self.at < text.subject.len() {
            self.mode = Mode::Repeat { low, end };
            return Ok(());
        }
        if low < self.at {
            self.choose(Choice::Fewer { low, high: self.at, next: end + 1 })?;
        }
        self.item = end + 1;
        self.mode = Mode::Item;
        Ok(())
    }

    /// Takes a choice.
    fn retreat(&mut self, choice: Choice, text: Text) -> Result<(), Malformed> {
        match choice {
            Choice::Reopen => drop(self.captures.pop()),
            Choice::Unclose { index, start } => self.captures.set(index, Capture::Open(start)),
            Choice::Go { at, item } => (self.at, self.item, self.mode) = (at, item, Mode::Item),
            Choice::Fewer { low, high, next } => {
                let place = match text.pattern.literal_again(next) {
                    Some(byte) => memrchr(byte, &text.subject[low..high]).map(|distance| low + distance),
                    None => Some(high - 1),
                };
                self.spend((high - place.unwrap_or(low)) / (STRIDE / 8));
                if let Some(place) = place {
                    if place > low {
                        self.choose(Choice::Fewer { low, high: place, next })?;
                    }
                    (self.at, self.item, self.mode) = (place, next, Mode::Item);
                }
            }
            Choice::More { at, item, next } => self.repeat_more(at, item, next, text)?,
        }
        Ok(())
    }

    /// Extends a lazy repetition up to the next byte that can follow it, if the subject has one.
    fn repeat_more(&mut self, start: usize, item: usize, next: usize, text: Text) -> Result<(), Malformed> {
        let follows = text.pattern.literal_again(next);
        let rest = &text.subject[start..];
        if let Some(byte) = follows
            && text.pattern.at(item) == b'.'
        {
            let Some(distance) = rest.get(1..).and_then(|rest| memchr(byte, rest)) else {
                self.spend(rest.len() / (STRIDE / 8));
                return Ok(());
            };
            self.spend(distance / (STRIDE / 8));
            let at = start + 1 + distance;
            (self.at, self.item, self.mode) = (at, next, Mode::Item);
            return self.choose(Choice::More { at, item, next });
        }
        for (count, &byte) in rest.iter().take(STRIDE).enumerate() {
            if !text.pattern.matches(byte, item, next - 1) {
                self.spend(count / 2);
                return Ok(());
            }
            let at = start + count + 1;
            if follows.is_none() || follows == text.subject.get(at).copied() {
                self.spend(count / 2);
                self.choose(Choice::More { at, item, next })?;
                (self.at, self.item, self.mode) = (at, next, Mode::Item);
                return Ok(());
            }
        }
        self.spend(rest.len().min(STRIDE) / 2);
        if rest.len() > STRIDE {
            self.choose(Choice::More { at: start + STRIDE, item, next })?;
        }
        Ok(())
    }

    /// Pushes a choice.
    #[inline]
    fn choose(&mut self, choice: Choice) -> Result<(), Malformed> {
        if self.choices.count == MOST_CHOICES {
            return Err("pattern too complex");
        }
        self.choices.push(choice);
        Ok(())
    }

    fn begin_capture(&mut self, capture: Capture) -> Result<(), Malformed> {
        if self.captures.count == MOST_CAPTURES {
            return Err("too many captures");
        }
        if self.choices.count > 0 {
            self.choose(Choice::Reopen)?;
        }
        self.captures.push(capture);
        Ok(())
    }

    fn end_capture(&mut self) -> Result<(), Malformed> {
        for index in (0..self.captures.count).rev() {
            if let Some(Capture::Open(start)) = self.captures.get(index) {
                self.captures.set(index, Capture::Range(start, self.at));
                if self.choices.count > 0 {
                    self.choose(Choice::Unclose { index, start })?;
                }
                return Ok(());
            }
        }
        Err("invalid pattern capture")
    }

    /// `%1`: the bytes of a capture.
    fn match_capture(&mut self, digit: u8, text: Text) -> Result<bool, Malformed> {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        match self.captures.get(index) {
            None | Some(Capture::Open(_)) => Err("invalid capture index"),
            // The reference implementation treats it as a capture that is too long to match.
            Some(Capture::Position(_)) => Ok(false),
            Some(Capture::Range(start, end)) => {
                self.spend((end - start) / (STRIDE / 16));
                let matches = text.subject[self.at..].starts_with(&text.subject[start..end]);
                if matches {
                    self.at += end - start;
                    self.item += 2;
                }
                Ok(matches)
            }
        }
    }

    /// `%f[set]`: a byte in the set after one outside it. The ends of the subject are zero bytes.
    fn match_frontier(&mut self, text: Text) -> Result<bool, Malformed> {
        let place = self.item + 2;
        if text.pattern.at(place) != b'[' {
            return Err("missing '[' after '%f' in pattern");
        }
        let end = text.pattern.single_end(place)?;
        if end - place > LONGEST_SET {
            return Err("pattern too complex");
        }
        self.spend(2 * (end - place) / STRIDE_PER_STEP);
        let set = text.pattern.bracketed(place, end);
        let before = if self.at == 0 { 0 } else { text.subject[self.at - 1] };
        let after = text.subject.get(self.at).copied().unwrap_or(0);
        self.item = end;
        Ok(!class::is_bracketed(before, set) && class::is_bracketed(after, set))
    }

    /// `%bxy`: from an `x` to the matching `y`.
    fn begin_balance(&mut self, text: Text) -> Result<bool, Malformed> {
        let (first, last) = (text.pattern.at(self.item + 2), text.pattern.at(self.item + 3));
        if first == 0 || last == 0 {
            return Err("unbalanced pattern");
        }
        if text.subject.get(self.at) != Some(&first) {
            return Ok(false);
        }
        self.at += 1;
        self.mode = Mode::Balance { open: 1 };
        Ok(true)
    }

    /// Continues the search for the matching byte for one stride. Returns false if there is none.
    fn balance(&mut self, text: Text, mut open: usize) -> bool {
        self.spend(STRIDE / STRIDE_PER_STEP);
        let (first, last) = (text.pattern.at(self.item + 2), text.pattern.at(self.item + 3));
        let rest = &text.subject[self.at..];
        let rest = &rest[..rest.len().min(STRIDE)];
        for (place, &byte) in rest.iter().enumerate() {
            if byte == last {
                open -= 1;
                if open == 0 {
                    self.at += place + 1;
                    self.item += 4;
                    self.mode = Mode::Item;
                    return true;
                }
            } else if byte == first {
                open += 1;
            }
        }
        self.at += rest.len();
        self.mode = Mode::Balance { open };
        self.at < text.subject.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats the match and its captures as `string.find` returns them; runs `slice` steps at a time.
    fn find_in_slices(subject: &[u8], pattern: &[u8], slice: usize) -> Result<Option<String>, Malformed> {
        let mut matcher = Matcher::new(pattern, 0, true);
        loop {
            match matcher.run(subject, pattern, &mut { slice })? {
                Progress::Paused => (),
                Progress::Nothing => return Ok(None),
                Progress::Found(start, end) => {
                    let mut told = format!("{} {}", start + 1, end);
                    for index in 0..matcher.captures() {
                        told.push(' ');
                        match matcher.capture(index, start, end)? {
                            Capture::Range(from, to) => {
                                told.push_str(&subject[from..to].escape_ascii().to_string());
                            }
                            Capture::Position(at) => told.extend(["@".to_owned(), (at + 1).to_string()]),
                            Capture::Open(_) => unreachable!("a capture that is open is an error"),
                        }
                    }
                    return Ok(Some(told));
                }
            }
        }
    }

    fn find(subject: &str, pattern: &str) -> Result<Option<String>, Malformed> {
        let whole = find_in_slices(subject.as_bytes(), pattern.as_bytes(), usize::MAX);
        for slice in [1, 2, 7] {
            assert_eq!(find_in_slices(subject.as_bytes(), pattern.as_bytes(), slice), whole, "{pattern}");
        }
        whole
    }

    #[test]
    fn a_pattern_finds_its_first_match() {
        for (subject, pattern, expected) in [
            ("hello world", "o w", Some("5 7")),
            ("hello", "", Some("1 0")),
            ("hello", "l+", Some("3 4")),
            ("hello", "l-o", Some("3 5")),
            ("hello", "^e", None),
            ("hello", "^hel", Some("1 3")),
            ("hello", "o$", Some("5 5")),
            ("a$b", "$b", Some("2 3")),
            ("hello", "$", Some("6 5")),
            ("key = value", "^(%w+)%s*=%s*(%w+)$", Some("1 11 key value")),
            ("key = value", "(%w*)%s*=()", Some("1 5 key @6")),
            ("aaa", "a?a?a?aaa", Some("1 3")),
            ("abcabc", "(a)(b)(c)%1%2%3", Some("1 6 a b c")),
            ("xay", "()a()", Some("2 2 @2 @3")),
            ("f(a(b)c)d)", "%b()", Some("2 8")),
            ("f(a(b", "%b()", None),
            ("((a)", "%b()", Some("2 4")),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some("1 3")),
            ("THE (quick) fox", "%f[%l]%a+", Some("6 10")),
            ("[x]", "[]]", Some("3 3")),
            ("a-b", "[a%-]+", Some("1 2")),
            ("a.b", "%.", Some("2 2")),
            ("a.b", ".%.b", Some("1 3")),
            ("a,b,c", "(.*),(.*)", Some("1 5 a,b c")),
            ("a,b,c", "(.-),(.*)", Some("1 5 a b,c")),
            ("a,b,c", "[^,]*$", Some("5 5")),
            ("aXb", "%u", Some("2 2")),
            ("  x  ", "^%s*(.-)%s*$", Some("1 5 x")),
            ("aab", "(a*)%1b", Some("1 3 a")),
            ("ab", "()%1", None),
            ("abc", "((a)(b))", Some("1 2 ab a b")),
            ("x^y", "x^", Some("1 2")),
            ("]", "[+-%%]", Some("1 1")),
            ("caab", "c(a?)(a-)b", Some("1 4 a a")),
        ] {
            assert_eq!(find(subject, pattern), Ok(expected.map(str::to_owned)), "{pattern} in {subject}");
        }
    }

    #[test]
    fn a_malformed_pattern_is_an_error_where_it_is_reached() {
        for (subject, pattern, expected) in [
            ("a", "%", "malformed pattern (ends with '%')"),
            ("a", "a%", "malformed pattern (ends with '%')"),
            ("a", "[", "malformed pattern (missing ']')"),
            ("a", "[]", "malformed pattern (missing ']')"),
            ("a", "[^]", "malformed pattern (missing ']')"),
            ("a", "[a%", "malformed pattern (missing ']')"),
            ("a", "[a%]", "malformed pattern (missing ']')"),
            ("a", "%f", "missing '[' after '%f' in pattern"),
            ("a", "%b", "unbalanced pattern"),
            ("a", "%b(", "unbalanced pattern"),
            ("a", "a)", "invalid pattern capture"),
            ("a", "(a", "unfinished capture"),
            ("a", "%1", "invalid capture index"),
            ("a", "%0", "invalid capture index"),
            ("a", "(a%1)", "invalid capture index"),
        ] {
            assert_eq!(find(subject, pattern), Err(expected), "{pattern} in {subject}");
        }
        assert_eq!(find("a", &"()".repeat(MOST_CAPTURES + 1)), Err("too many captures"));
        assert_eq!(find("b", "a["), Ok(None), "the error is not reached");
    }

    #[test]
    fn a_pattern_ends_at_a_zero_byte() {
        assert_eq!(find("ab", "a\0["), Ok(Some("1 1".to_owned())));
        assert_eq!(find("a\0b", "%z(.)"), Ok(Some("2 3 b".to_owned())));
    }

    #[test]
    fn repetitions_over_many_strides_are_whole() {
        let subject = format!("<{}>{}", "x".repeat(5000), "y".repeat(5000));
        let within = "x".repeat(5000);
        for (pattern, expected) in [
            ("x*", "1 0".to_owned()),
            ("<x*>", "1 5002".to_owned()),
            ("<[xyz]*>", "1 5002".to_owned()),
            ("<(.-)>", format!("1 5002 {within}")),
            ("<(.*)>", format!("1 5002 {within}")),
            ("<(x-)>y", format!("1 5003 {within}")),
            ("%b<>", "1 5002".to_owned()),
        ] {
            assert_eq!(find(&subject, pattern), Ok(Some(expected)), "{pattern}");
        }
    }

    #[test]
    fn an_exponential_pattern_stops_after_its_steps() {
        let pattern = b"a*a*a*a*a*a*a*a*a*a*b";
        let subject = "a".repeat(1000).into_bytes();
        let mut matcher = Matcher::new(pattern, 0, true);
        let mut steps = 100_000;
        let progress = matcher.run(&subject, pattern, &mut steps);
        assert_eq!((progress, steps), (Ok(Progress::Paused), 0));
    }

    #[test]
    fn choices_have_a_limit() {
        let pattern = "a?".repeat(MOST_CHOICES + 1) + "$";
        let subject = "a".repeat(MOST_CHOICES + 2);
        let told = find_in_slices(subject.as_bytes(), format!("^{pattern}").as_bytes(), usize::MAX);
        assert_eq!(told, Err("pattern too complex"));
    }
}
