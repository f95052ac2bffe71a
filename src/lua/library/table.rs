//! `table`. Work that grows with the table is charged to the budget, and is suspended when that is used up.

use super::{check_int, optional_int, sort, store};
use crate::lua::heap::{NoSuchKey, Walk};
use crate::lua::machine::{
    BYTES_PER_STEP, Call, Continue, Machine, Native, Outcome, PIECE_BYTES, PIECE_SLOTS, Raised,
    SLOTS_PER_STEP, VALUES_PER_STEP, again,
};
use crate::lua::value::{TableId, Value};

const FUNCTIONS: [(&str, Native); 9] = [
    ("concat", concat),
    ("foreach", foreach),
    ("foreachi", foreachi),
    ("getn", getn),
    ("insert", insert),
    ("maxn", maxn),
    ("remove", remove),
    ("setn", setn),
    ("sort", sort::sort),
];

/// The number of elements examined between charges to the budget.
const SLICE: i64 = 1024;
/// The number of sequence elements moved at once.
const MOVED_AT_ONCE: usize = 16 * 1024;

pub fn open(m: &mut Machine) {
    let library = m.library("table");
    for (name, native) in FUNCTIONS {
        m.register(library, name, native);
    }
}

/// `#table` for argument 1; `None` if the function must be called again to finish the search.
fn check_length(m: &mut Machine, call: Call) -> Result<Option<(TableId, i64)>, Raised> {
    let table = m.check_table(call, 1)?;
    Ok(m.length(table).map(|length| (table, length as i64)))
}

fn element(m: &Machine, table: TableId, index: i64) -> Value {
    m.heap.get_number(table, index as f64)
}

fn set_element(m: &mut Machine, table: TableId, index: i64, value: Value) -> Result<(), Raised> {
    store(m, table, Value::Number(index as f64), value)
}

/// `table.getn(table)`
fn getn(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Some((_, length)) = check_length(m, call)? else { return again(getn) };
    m.one(Value::Number(length as f64))
}

/// `table.setn(table, n)`: obsolete, and always an error.
fn setn(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.check_table(call, 1)?;
    Err(m.error("'setn' is obsolete"))
}

// concat

/// `table.concat(table [, separator [, first [, last]]])`
fn concat(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.optional_string(call, 2)?;
    let table = m.check_table(call, 1)?;
    let first = optional_int(m, call, 3, 1)?;
    let last = match m.argument(call, 4) {
        Value::Nil => match m.length(table) {
            Some(length) => length as i64,
            None => return again(concat),
        },
        _ => i64::from(check_int(m, call, 4)?),
    };
    Concat { buffer: Vec::new(), next: i64::from(first), last, at: 0, is_separator: false }.go_on(m, call)
}

#[derive(Debug)]
struct Concat {
    buffer: Vec<u8>,
    next: i64,
    last: i64,
    /// The number of bytes copied of the next element, or of the separator after it.
    at: usize,
    is_separator: bool,
}

impl Concat {
    fn go_on(mut self, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let table = m.check_table(call, 1)?;
        let separator = m.argument(call, 2);
        while self.next <= self.last {
            let (first, before) = (self.next, self.buffer.len());
            let end = self.last.min(first + SLICE - 1);
            while self.next <= end && self.buffer.len() - before < PIECE_BYTES {
                let value = if self.is_separator { separator } else { element(m, table, self.next) };
                if !self.copy(m, value) {
                    let (kind, index) = (value.type_name(), self.next);
                    let text = format!("invalid value ({kind}) at index {index} in table for 'concat'");
                    return Err(m.error(text));
                }
            }
            // Room for the string beside the vector and its spare capacity.
            m.afford(self.buffer.len() + self.buffer.capacity())?;
            let steps = (self.next - first) as usize + (self.buffer.len() - before) / BYTES_PER_STEP;
            if !m.charge(steps) && self.next <= self.last {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
        let string = m.heap.string_from(self.buffer);
        m.one(Value::String(string))
    }

    /// Copies a value or a piece of it, and advances. Returns whether the value is a string or a number.
    #[inline]
    fn copy(&mut self, m: &Machine, value: Value) -> bool {
        if let Value::String(string) = value {
            let rest = &m.heap.bytes(string)[self.at..];
            if rest.len() > PIECE_BYTES {
                self.buffer.extend_from_slice(&rest[..PIECE_BYTES]);
                self.at += PIECE_BYTES;
                return true;
            }
            self.buffer.extend_from_slice(rest);
        } else if !self.is_separator && !m.heap.to_bytes(value, &mut self.buffer) {
            return false;
        }
        self.at = 0;
        if self.is_separator || self.next == self.last {
            self.next += 1;
            self.is_separator = false;
        } else {
            self.is_separator = true;
        }
        true
    }
}

impl Continue for Concat {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(m, call)
    }

    fn heap_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

// insert and remove

/// `table.insert(table, [position,] value)`
fn insert(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Some((table, length)) = check_length(m, call)? else { return again(insert) };
    let end = length + 1;
    let position = if call.count() == 3 { i64::from(check_int(m, call, 2)?).max(end) } else { end };
    if !m.is_room_ready(table, Value::Number(position as f64)) {
        return again(insert);
    }
    match call.count() {
        2 => {
            let value = m.argument(call, 2);
            set_element(m, table, end, value)?;
            Ok(Outcome::Values(0))
        }
        3 => {
            let position = i64::from(check_int(m, call, 2)?);
            if position >= end {
                let value = m.argument(call, 3);
                set_element(m, table, position, value)?;
                return Ok(Outcome::Values(0));
            }
            // This makes the table grow by one; all other elements move within it.
            let last = element(m, table, length);
            set_element(m, table, end, last)?;
            MoveUp { to: length, position }.go_on(m, call)
        }
        _ => Err(m.error("wrong number of arguments to 'insert'")),
    }
}

/// Moves the elements from `position` on up by one, the last of them to `to`; then `insert` stores its value.
#[derive(Debug)]
struct MoveUp {
    to: i64,
    position: i64,
}

impl MoveUp {
    fn go_on(mut self, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let table = m.check_table(call, 1)?;
        while self.to > self.position
            && let Some(array) = writable_array(m, table, self.position, self.to)
        {
            let to = self.to as usize;
            let from = (self.position as usize).max(to.saturating_sub(MOVED_AT_ONCE));
            array.copy_within(from - 1..to - 1, from);
            self.to = from as i64;
            if !m.charge((to - from) / VALUES_PER_STEP) && self.to > self.position {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
        while self.to > self.position {
            let end = self.position.max(self.to - SLICE);
            while self.to > end {
                let value = element(m, table, self.to - 1);
                set_element(m, table, self.to, value)?;
                self.to -= 1;
            }
            if !m.charge(4 * SLICE as usize) {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
        let value = m.argument(call, 3);
        set_element(m, table, self.position, value)?;
        Ok(Outcome::Values(0))
    }
}

impl Continue for MoveUp {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(m, call)
    }
}

/// Returns the elements of the table's sequence, if the indices `first..=last` are among them and the table may be
/// changed.
fn writable_array(m: &mut Machine, table: TableId, first: i64, last: i64) -> Option<&mut [Value]> {
    let table = m.heap.table_mut(table);
    let is_inside = 1 <= first && first <= last && last as usize <= table.array().len();
    (is_inside && !table.is_readonly).then(|| table.array_mut())
}

/// `table.remove(table [, position])`
fn remove(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Some((table, length)) = check_length(m, call)? else { return again(remove) };
    let position = i64::from(optional_int(m, call, 2, length as i32)?);
    if !(1..=length).contains(&position) {
        return Ok(Outcome::Values(0));
    }
    let removed = element(m, table, position);
    m.push(removed);
    MoveDown { to: position, length }.go_on(m, call)
}

/// Moves the elements after `to` down by one and removes the last. The removed value is on the stack.
#[derive(Debug)]
struct MoveDown {
    to: i64,
    length: i64,
}

impl MoveDown {
    fn go_on(mut self, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let table = m.check_table(call, 1)?;
        while self.to < self.length
            && let Some(array) = writable_array(m, table, self.to, self.length)
        {
            let (to, length) = (self.to as usize, self.length as usize);
            let end = length.min(to + MOVED_AT_ONCE);
            array.copy_within(to..end, to - 1);
            self.to = end as i64;
            if !m.charge((end - to) / VALUES_PER_STEP) && end < length {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
        while self.to < self.length {
            let end = self.length.min(self.to + SLICE);
            while self.to < end {
                let value = element(m, table, self.to + 1);
                set_element(m, table, self.to, value)?;
                self.to += 1;
            }
            if !m.charge(4 * SLICE as usize) {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
        set_element(m, table, self.length, Value::Nil)?;
        Ok(Outcome::Values(1))
    }
}

impl Continue for MoveDown {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(m, call)
    }
}

// Iteration

/// `table.maxn(table)`: the largest positive number among the keys, or 0.
fn maxn(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.check_table(call, 1)?;
    Maxn { position: 0, largest: 0.0 }.go_on(m, call)
}

#[derive(Debug)]
struct Maxn {
    /// The position in the table, which cannot change meanwhile.
    position: usize,
    largest: f64,
}

impl Maxn {
    fn go_on(mut self, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let table = m.check_table(call, 1)?;
        loop {
            let end = self.position + PIECE_SLOTS;
            while self.position < end {
                match m.heap.table(table).pair_within(self.position, end - self.position) {
                    Walk::Pair(next, key, _) => {
                        self.position = next;
                        if let Value::Number(number) = key
                            && number > self.largest
                        {
                            self.largest = number;
                        }
                    }
                    Walk::Empty(next) => self.position = next,
                    Walk::End => {
                        m.charge((self.position % PIECE_SLOTS) / (SLOTS_PER_STEP / 2));
                        return m.one(Value::Number(self.largest));
                    }
                }
            }
            if !m.charge(PIECE_SLOTS / (SLOTS_PER_STEP / 2)) {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
    }
}

impl Continue for Maxn {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(m, call)
    }
}

/// `table.foreach(table, f)`: calls `f(key, value)` for each pair until it returns a value.
fn foreach(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.check_table(call, 1)?;
    m.check_function(call, 2)?;
    Foreach { walked: Some(0) }.call_for_next(m, call)
}

/// Pops the function's first result; `None` if there is none or it is nil.
fn take_answer(m: &mut Machine, results: usize) -> Option<Value> {
    let answer = if results > 0 { m.from_top(results) } else { Value::Nil };
    m.drop_values(results);
    (!answer.is_nil()).then_some(answer)
}

#[derive(Debug)]
struct Foreach {
    /// The position of the search for the next pair, during the search.
    walked: Option<usize>,
}

impl Foreach {
    /// Calls the function for the next pair.
    fn call_for_next(self, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let table = m.check_table(call, 1)?;
        let mut position = self.walked.unwrap_or(0);
        match m.walk(table, &mut position) {
            Walk::Pair(_, key, value) => {
                // Once for the continuation and once as an argument.
                m.push(key);
                let function = m.argument(call, 2);
                m.push(function);
                m.push(key);
                m.push(value);
                Ok(Outcome::Call { arguments: 2, then: Box::new(Foreach { walked: None }) })
            }
            Walk::End => Ok(Outcome::Values(0)),
            Walk::Empty(_) => Ok(Outcome::Pause(Box::new(Foreach { walked: Some(position) }))),
        }
    }
}

impl Continue for Foreach {
    fn resume(mut self: Box<Self>, m: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised> {
        if self.walked.is_none() {
            let answer = take_answer(m, results);
            let key = m.pop();
            if let Some(answer) = answer {
                return m.one(answer);
            }
            let table = m.check_table(call, 1)?;
            match m.heap.position_after(table, key) {
                Ok(position) => self.walked = Some(position),
                Err(NoSuchKey) => return Err(m.plain_error("invalid key to 'next'")),
            }
        }
        self.call_for_next(m, call)
    }
}

/// `table.foreachi(table, f)`: calls `f(index, value)` for the elements of a sequence until it returns a value.
fn foreachi(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Some((table, length)) = check_length(m, call)? else { return again(foreachi) };
    m.check_function(call, 2)?;
    Box::new(Foreachi { index: 0, length }).call_for_next(m, call, table)
}

#[derive(Debug)]
struct Foreachi {
    /// The index for which the function was last called.
    index: i64,
    length: i64,
}

impl Foreachi {
    fn call_for_next(
        mut self: Box<Self>,
        m: &mut Machine,
        call: Call,
        table: TableId,
    ) -> Result<Outcome, Raised> {
        self.index += 1;
        if self.index > self.length {
            return Ok(Outcome::Values(0));
        }
        let function = m.argument(call, 2);
        m.push(function);
        m.push(Value::Number(self.index as f64));
        let value = element(m, table, self.index);
        m.push(value);
        Ok(Outcome::Call { arguments: 2, then: self })
    }
}

impl Continue for Foreachi {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised> {
        if let Some(answer) = take_answer(m, results) {
            return m.one(answer);
        }
        let table = m.check_table(call, 1)?;
        self.call_for_next(m, call, table)
    }
}
