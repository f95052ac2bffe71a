//! Operators on operands that are not numbers: strings that represent numbers, and metamethods.

use super::calls::Next;
use super::native::Raised;
use super::texts::Joined;
use super::thread::{Activity, Deliver, Frame};
use super::{Event, Machine, Progress};
use crate::lua::code::Operand;
use crate::lua::value::{TableId, Value};

/// The maximum number of metatables followed for one access.
const LONGEST_CHAIN: usize = 100;

/// Computes an arithmetic operator.
#[inline(always)]
pub(super) fn compute(event: Event, left: f64, right: f64) -> f64 {
    match event {
        Event::Add => left + right,
        Event::Subtract => left - right,
        Event::Multiply => left * right,
        Event::Divide => left / right,
        Event::Modulo => left - (left / right).floor() * right,
        Event::Power => left.powf(right),
        _ => -left,
    }
}

impl Machine {
    /// Returns the stack position after the registers of the running function.
    pub(super) fn behind_registers(&self) -> usize {
        match self.thread.frames.last() {
            Some(Frame { activity: Activity::Lua(closure), base, .. }) => {
                base + usize::from(closure.prototype.registers)
            }
            _ => self.thread.top,
        }
    }

    /// Calls a metamethod.
    fn call_metamethod(
        &mut self,
        method: Value,
        arguments: &[Value],
        deliver: Deliver,
    ) -> Result<Next, Raised> {
        let place = self.behind_registers();
        self.thread.top = place;
        self.push(method);
        for argument in arguments {
            self.push(*argument);
        }
        self.start(place, arguments.len(), deliver)
    }

    pub(super) fn set_register(&mut self, register: u8, value: Value) {
        if let Some(frame) = self.thread.frames.last() {
            self.thread.stack[frame.base + usize::from(register)] = value;
        }
    }

    pub(super) fn read(&self, register: u8) -> Value {
        match self.thread.frames.last() {
            Some(frame) => self.thread.stack[frame.base + usize::from(register)],
            None => Value::Nil,
        }
    }

    /// `to = object[key]`; `register` is the object's register, if it is in one.
    pub(super) fn index(
        &mut self,
        object: Value,
        key: Value,
        to: u8,
        mut register: Option<u8>,
    ) -> Result<Next, Raised> {
        let mut object = object;
        for _ in 0..LONGEST_CHAIN {
            let method = self.metamethod(object, Event::Index);
            if let Value::Table(table) = object {
                let value = self.heap.get(table, key);
                if !value.is_nil() || method.is_nil() {
                    self.set_register(to, value);
                    return Ok(Next::Frame);
                }
            } else if method.is_nil() {
                return Err(self.type_error("index", object, register));
            }
            if let Value::Function(_) = method {
                return self.call_metamethod(method, &[object, key], Deliver::Register(to));
            }
            object = method;
            register = None;
        }
        Err(self.error("loop in gettable"))
    }

    /// `object[key] = value`
    pub(super) fn set_index(
        &mut self,
        object: Value,
        key: Value,
        value: Value,
        mut register: Option<u8>,
    ) -> Result<Next, Raised> {
        let mut object = object;
        for _ in 0..LONGEST_CHAIN {
            let method = self.metamethod(object, Event::NewIndex);
            if let Value::Table(table) = object {
                if method.is_nil() || !self.heap.get(table, key).is_nil() {
                    return self.store(table, key, value);
                }
            } else if method.is_nil() {
                return Err(self.type_error("index", object, register));
            }
            if let Value::Function(_) = method {
                return self.call_metamethod(method, &[object, key, value], Deliver::Discard);
            }
            object = method;
            register = None;
        }
        Err(self.error("loop in settable"))
    }

    fn store(&mut self, table: TableId, key: Value, value: Value) -> Result<Next, Raised> {
        if !self.is_room_ready(table, key) {
            // The instruction is executed again.
            if let Some(frame) = self.thread.frames.last_mut() {
                frame.pc -= 1;
            }
            return Ok(Next::Leave(Progress::Paused));
        }
        self.raw_set(table, key, value)?;
        Ok(if self.heap.wants_collection() { Next::Collect } else { Next::Frame })
    }

    /// `to = left operator right`, unless both are numbers.
    pub(super) fn arithmetic(
        &mut self,
        event: Event,
        to: u8,
        (left, left_operand): (Value, Operand),
        (right, right_operand): (Value, Operand),
    ) -> Result<Next, Raised> {
        let left_number = self.to_number(left);
        if let (Some(left), Some(right)) = (left_number, self.to_number(right)) {
            self.set_register(to, Value::Number(compute(event, left, right)));
            return Ok(Next::Frame);
        }
        let mut method = self.metamethod(left, event);
        if method.is_nil() {
            method = self.metamethod(right, event);
        }
        if !method.is_nil() {
            return self.call_metamethod(method, &[left, right], Deliver::Register(to));
        }
        let (culprit, operand) =
            if left_number.is_none() { (left, left_operand) } else { (right, right_operand) };
        Err(self.type_error("perform arithmetic on", culprit, as_register(operand)))
    }

    /// `to = -value`
    pub(super) fn negate(&mut self, to: u8, from: u8) -> Result<Next, Raised> {
        let value = self.read(from);
        let operand = Operand::register(from);
        self.arithmetic(Event::Negate, to, (value, operand), (value, operand))
    }

    /// `to = #value`, for a value that is neither a table nor a string.
    pub(super) fn length_of(&mut self, to: u8, from: u8) -> Result<Next, Raised> {
        let value = self.read(from);
        let method = self.metamethod(value, Event::Length);
        if method.is_nil() {
            return Err(self.type_error("get length of", value, Some(from)));
        }
        self.call_metamethod(method, &[value, Value::Nil], Deliver::Register(to))
    }

    /// `to = first .. … .. last`, from the right; joins runs of strings and numbers at once.
    pub(super) fn concatenate(&mut self, to: u8, first: u8, last: u8) -> Result<Next, Raised> {
        let mut last = last;
        while last > first {
            let (left, right) = (self.read(last - 1), self.read(last));
            if is_text(left) && is_text(right) {
                match self.join(to, first, last)? {
                    Joined::At(register) => last = register,
                    Joined::Later(next) => return Ok(next),
                }
                continue;
            }
            let mut method = self.metamethod(left, Event::Concatenate);
            if method.is_nil() {
                method = self.metamethod(right, Event::Concatenate);
            }
            if method.is_nil() {
                let (culprit, register) = if is_text(left) { (right, last) } else { (left, last - 1) };
                return Err(self.type_error("concatenate", culprit, Some(register)));
            }
            return self.call_metamethod(method, &[left, right], Deliver::Concatenate { to, first, last });
        }
        let value = self.read(first);
        self.set_register(to, value);
        Ok(if self.heap.wants_collection() { Next::Collect } else { Next::Frame })
    }

    /// Joins the strings and numbers up to register `last` into the register of the first of them.
    fn join(&mut self, to: u8, first: u8, last: u8) -> Result<Joined, Raised> {
        let mut begin = last;
        let mut length = 0;
        while is_text(self.read(begin)) {
            length += match self.read(begin) {
                Value::String(string) => self.heap.bytes(string).len(),
                _ => 32,
            };
            if begin == first {
                break;
            }
            begin -= 1;
        }
        if !is_text(self.read(begin)) {
            begin += 1;
        }
        self.join_texts((to, first), (begin, last), length)
    }

    /// `left == right` for different objects that may have a metamethod for it. The result decides the next jump.
    pub(super) fn equal_objects(
        &mut self,
        left: Value,
        right: Value,
        expected: bool,
    ) -> Result<Next, Raised> {
        if matches!((left, right), (Value::Table(_), Value::Table(_)) | (Value::Proxy(_), Value::Proxy(_))) {
            let method = self.metamethod(left, Event::Equal);
            if !method.is_nil() && self.heap.equal(method, self.metamethod(right, Event::Equal)) {
                let deliver = Deliver::Compare { expected, negated: false };
                return self.call_metamethod(method, &[left, right], deliver);
            }
        }
        self.decide(false, expected);
        Ok(Next::Frame)
    }

    /// Skips the next jump unless `result` is `expected`.
    pub(super) fn decide(&mut self, result: bool, expected: bool) {
        if result != expected
            && let Some(frame) = self.thread.frames.last_mut()
        {
            frame.pc += 1;
        }
    }

    /// `left < right` or `left <= right`. The result decides the next jump.
    pub(super) fn compare(
        &mut self,
        event: Event,
        left: Value,
        right: Value,
        expected: bool,
    ) -> Result<Next, Raised> {
        if let (Value::String(a), Value::String(b)) = (left, right) {
            return self.compare_texts(Some(event), a, b, expected);
        }
        if left.type_name() != right.type_name() {
            return Err(self.compare_error(left, right));
        }
        if let Some(method) = self.common_metamethod(left, right, event) {
            return self.call_metamethod(
                method,
                &[left, right],
                Deliver::Compare { expected, negated: false },
            );
        }
        if event == Event::LessOrEqual
            && let Some(method) = self.common_metamethod(right, left, Event::Less)
        {
            return self.call_metamethod(
                method,
                &[right, left],
                Deliver::Compare { expected, negated: true },
            );
        }
        Err(self.compare_error(left, right))
    }

    /// Returns the metamethod that two values have in common.
    pub fn common_metamethod(&self, left: Value, right: Value, event: Event) -> Option<Value> {
        let method = self.metamethod(left, event);
        (!method.is_nil() && self.heap.equal(method, self.metamethod(right, event))).then_some(method)
    }
}

#[inline(always)]
fn is_text(value: Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_))
}

fn as_register(operand: Operand) -> Option<u8> {
    u8::try_from(operand.0).ok()
}
