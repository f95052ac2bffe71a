//! Operators on long strings, in pieces: comparison, concatenation, and preparing keys for a table lookup.
//!
//! Comparison and concatenation push a frame, like a native function with a continuation. A lookup is executed again
//! instead: the string stores how far it is hashed, and the heap how far two strings are equal.

use super::calls::Next;
use super::native::{Call, Continue, Outcome, Raised};
use super::price::{BYTES_PER_STEP, PIECE_BYTES, SCANNED_PER_STEP};
use super::thread::Deliver;
use super::{Event, MOST_FRAMES, MOST_NESTING, Machine};
use crate::lua::heap::{Heap, OutOfMemory};
use crate::lua::value::{StringId, TableId, Value};

/// The progress of a concatenation.
pub(super) enum Joined {
    /// The operands are joined in this register.
    At(u8),
    /// The operands are still being joined.
    Later(Next),
}

impl Machine {
    /// Whether the stack has room for a frame that continues the work later.
    fn can_wait(&self) -> bool {
        self.thread.nesting() < MOST_NESTING && self.thread.frames.len() < MOST_FRAMES
    }

    /// Schedules an operator's work for later; its operands are after the registers.
    fn wait_for(
        &mut self,
        operands: &[Value],
        deliver: Deliver,
        work: Box<dyn Continue>,
    ) -> Result<Next, Raised> {
        let place = self.behind_registers();
        self.thread.top = place;
        self.push(Value::Nil);
        for operand in operands {
            self.push(*operand);
        }
        self.conclude(Call { base: place + 1, count: operands.len() }, deliver, Outcome::Pause(work))
    }

    /// Compares two strings: `==` without a metamethod. The result decides the next jump.
    pub(super) fn compare_texts(
        &mut self,
        event: Option<Event>,
        left: StringId,
        right: StringId,
        expected: bool,
    ) -> Result<Next, Raised> {
        let (a, b) = (self.heap.bytes(left), self.heap.bytes(right));
        if event.is_none() && a.len() != b.len() {
            self.decide(false, expected);
            return Ok(Next::Frame);
        }
        let common = a.len().min(b.len());
        let mut comparing = Comparing { event, at: 0 };
        if common > PIECE_BYTES && self.can_wait() {
            let operands = [Value::String(left), Value::String(right)];
            return self.wait_for(
                &operands,
                Deliver::Compare { expected, negated: false },
                Box::new(comparing),
            );
        }
        let result = comparing.step(a, b, common).unwrap_or_default();
        self.charge(common / BYTES_PER_STEP);
        self.decide(result, expected);
        Ok(Next::Frame)
    }

    /// Joins the operands in the registers `begin..=last`, which are strings and numbers of about `length` bytes, into
    /// the first of them; `to` and `first` are those of the instruction.
    pub(super) fn join_texts(
        &mut self,
        (to, first): (u8, u8),
        (begin, last): (u8, u8),
        length: usize,
    ) -> Result<Joined, Raised> {
        self.heap.afford(length).map_err(|OutOfMemory| self.out_of_memory(OutOfMemory))?;
        let mut joining = Joining { joined: Vec::with_capacity(length), register: begin, last, at: 0 };
        if length > PIECE_BYTES && self.can_wait() {
            let deliver = Deliver::Concatenate { to, first, last: begin + 1 };
            return self.wait_for(&[], deliver, Box::new(joining)).map(Joined::Later);
        }
        while joining.step(self) {}
        let string = self.heap.string_from(joining.joined);
        self.set_register(begin, Value::String(string));
        Ok(Joined::At(begin))
    }

    /// Copies the bytes of a string in `from..to` that are not in `copied` yet. Returns false if the budget is used up
    /// before the last of them.
    pub fn copy_in_pieces(&mut self, string: StringId, from: usize, to: usize, copied: &mut Vec<u8>) -> bool {
        if copied.capacity() < to - from {
            copied.reserve_exact(to - from);
        }
        loop {
            let at = from + copied.len();
            let end = to.min(at + PIECE_BYTES);
            copied.extend_from_slice(&self.heap.bytes(string)[at..end]);
            let has_time = self.charge((end - at) / BYTES_PER_STEP);
            if end == to || !has_time {
                return end == to;
            }
        }
    }

    /// `rawequal(a, b)`; `None` if the budget is used up first. The next call continues.
    pub fn equal_in_pieces(&mut self, a: Value, b: Value) -> Option<bool> {
        if let (Value::String(a), Value::String(b)) = (a, b)
            && a.is_long()
            && b.is_long()
            && a != b
            && self.heap.bytes(a).len() == self.heap.bytes(b).len()
        {
            return self.order_in_pieces(a, b).map(std::cmp::Ordering::is_eq);
        }
        Some(self.heap.equal(a, b))
    }

    /// Compares two strings for order; `None` as in `equal_in_pieces`.
    pub fn order_in_pieces(&mut self, a: StringId, b: StringId) -> Option<std::cmp::Ordering> {
        let common = self.heap.bytes(a).len().min(self.heap.bytes(b).len());
        if common <= PIECE_BYTES {
            self.charge(common / BYTES_PER_STEP);
            return Some(self.heap.bytes(a).cmp(self.heap.bytes(b)));
        }
        loop {
            let order = self.heap.strings().order_piece(a, b, PIECE_BYTES);
            let has_time = self.charge(PIECE_BYTES / BYTES_PER_STEP);
            if order.is_some() || !has_time {
                return order;
            }
        }
    }

    /// Like `prepare_key`, for any key.
    #[inline]
    pub fn is_key_ready(&mut self, table: TableId, key: Value) -> bool {
        match key {
            Value::String(string) if string.is_long() => {
                prepare_key(&self.heap, &mut self.budget, Value::Table(table), string)
            }
            _ => true,
        }
    }
}

/// Prepares the lookup of a long string as a key: hashes it, and compares it with an equal key. Returns false if the
/// budget is used up; it must then be called again.
#[cold]
pub(super) fn prepare_key(heap: &Heap, budget: &mut i64, object: Value, key: StringId) -> bool {
    // Charges for comparisons of keys with the same first bytes in earlier lookups.
    *budget -= (heap.strings().take_looked_at() / BYTES_PER_STEP) as i64;
    while let Some(bytes) = heap.strings().hash_piece(key, PIECE_BYTES) {
        *budget -= (bytes / SCANNED_PER_STEP) as i64;
        if *budget <= 0 && bytes == PIECE_BYTES {
            return false;
        }
    }
    let Value::Table(table) = object else { return true };
    while let Some(bytes) = heap.compare_key_piece(table, key, PIECE_BYTES) {
        *budget -= (bytes / BYTES_PER_STEP) as i64;
        if *budget <= 0 && bytes == PIECE_BYTES {
            return false;
        }
    }
    true
}

/// A comparison of two strings, the arguments of its frame.
#[derive(Debug)]
struct Comparing {
    event: Option<Event>,
    /// The number of bytes known to be equal.
    at: usize,
}

impl Comparing {
    /// Compares more bytes. Returns the result once it is known.
    fn step(&mut self, a: &[u8], b: &[u8], most: usize) -> Option<bool> {
        let end = a.len().min(b.len()).min(self.at + most);
        let order = a[self.at..end].cmp(&b[self.at..end]);
        self.at = end;
        if order.is_eq() && end < a.len().min(b.len()) {
            return None;
        }
        let order = order.then(a.len().cmp(&b.len()));
        Some(match self.event {
            None => order.is_eq(),
            Some(Event::Less) => order.is_lt(),
            Some(_) => order.is_le(),
        })
    }
}

impl Continue for Comparing {
    fn resume(mut self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        loop {
            let (Value::String(a), Value::String(b)) = (m.argument(call, 1), m.argument(call, 2)) else {
                unreachable!("its operands are strings");
            };
            let result = self.step(m.heap.bytes(a), m.heap.bytes(b), PIECE_BYTES);
            let has_time = m.charge(PIECE_BYTES / BYTES_PER_STEP);
            if let Some(result) = result {
                return m.one(Value::Boolean(result));
            }
            if !has_time {
                return Ok(Outcome::Pause(self));
            }
        }
    }
}

/// The concatenation of the registers up to `last`. Those before `register` are joined, as are the first `at` bytes of
/// `register`.
#[derive(Debug)]
struct Joining {
    joined: Vec<u8>,
    register: u8,
    last: u8,
    at: usize,
}

impl Joining {
    /// Copies more bytes. Returns whether any are left.
    fn step(&mut self, m: &mut Machine) -> bool {
        let before = self.joined.len();
        let value = m.read(self.register);
        let rest = match value {
            Value::String(string) => &m.heap.bytes(string)[self.at..],
            _ => &[],
        };
        if rest.len() > PIECE_BYTES {
            self.joined.extend_from_slice(&rest[..PIECE_BYTES]);
            self.at += PIECE_BYTES;
        } else {
            match value {
                Value::String(_) => self.joined.extend_from_slice(rest),
                number => drop(m.heap.to_bytes(number, &mut self.joined)),
            }
            self.at = 0;
            self.register += 1;
        }
        m.charge((self.joined.len() - before) / BYTES_PER_STEP);
        self.register <= self.last
    }
}

impl Continue for Joining {
    fn resume(mut self: Box<Self>, m: &mut Machine, _: Call, _: usize) -> Result<Outcome, Raised> {
        while self.step(m) {
            if m.overdraft() > 0 {
                return Ok(Outcome::Pause(self));
            }
        }
        let string = m.heap.string_from(self.joined);
        m.one(Value::String(string))
    }

    fn heap_bytes(&self) -> usize {
        self.joined.capacity()
    }
}
