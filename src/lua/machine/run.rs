//! The loop that executes instructions.
//!
//! A function's registers are accessed as an array of 256 values, which a register, being a byte, cannot exceed. An
//! operation that needs the whole machine (a metamethod, memory, a call) saves the position in the frame; the loop then
//! restarts with the frame that is last at that point.
//!
//! The budget is charged at calls, and at backward jumps by the length of the loop; a program cannot execute more
//! instructions than its length without one of these.

use std::rc::Rc;

use super::calls::Next;
use super::native::{Call, Outcome, Raised};
use super::operators::compute;
use super::price;
use super::texts::prepare_key;
use super::thread::{Activity, Deliver, Frame, WINDOW};
use super::{Event, Iterators, Machine, Progress, VALUES_PER_STEP};
use crate::lua::code::{Capture, Instruction, Operand, Prototype};
use crate::lua::heap::{Closure, Function, Heap, Upvalue, Walk};
use crate::lua::value::{FunctionId, TableId, Value};

/// The steps charged for a call.
pub(super) const CALL_STEPS: i64 = 8;

/// The number of table slots that a loop searches for a pair before it calls `next`, which searches more.
const SLOTS_AT_ONCE: usize = 64;

#[inline(always)]
fn operand(registers: &[Value; WINDOW], constants: &[Value], operand: Operand) -> Value {
    let index = usize::from(operand.0);
    if index < WINDOW { registers[index] } else { constants[index - WINDOW] }
}

/// Computes an iterator's results for a table and a control value without a call; nil at the end. `None` if the
/// iterator has to be called.
#[inline(always)]
fn iterate(
    known: Iterators,
    heap: &Heap,
    iterator: FunctionId,
    table: TableId,
    control: Value,
) -> Option<(Value, Value)> {
    if iterator == known.next {
        let position = heap.position_after(table, control).ok()?;
        return match heap.table(table).pair_within(position, SLOTS_AT_ONCE) {
            Walk::Pair(_, key, value) => Some((key, value)),
            Walk::End => Some((Value::Nil, Value::Nil)),
            Walk::Empty(_) => None,
        };
    }
    if iterator == known.ipairs_step
        && let Value::Number(index) = control
        && (0.0..f64::from(i32::MAX)).contains(&index)
    {
        let index = index as usize + 1;
        let value = heap.get_index(table, index);
        let key = if value.is_nil() { Value::Nil } else { Value::Number(index as f64) };
        return Some((key, value));
    }
    None
}

impl Machine {
    /// Executes until the host has to act.
    pub(super) fn execute(&mut self) -> Result<Progress, Raised> {
        loop {
            if self.heap.wants_collection() && !self.make_room()? {
                return Ok(Progress::Paused);
            }
            let next = match self.thread.frames.last() {
                None => return Ok(Progress::Finished { results: self.thread.top }),
                // Instructions other than calls and jumps may also request memory.
                Some(_) if self.budget <= 0 && !self.tracing.is_active() => return Ok(Progress::Paused),
                Some(Frame { activity: Activity::Lua(_), .. }) if self.tracing.is_active() => {
                    self.execute_lua::<true>()?
                }
                Some(Frame { activity: Activity::Lua(_), .. }) => self.execute_lua::<false>()?,
                Some(_) => {
                    // A native function may call functions in a loop without any calls or jumps by them.
                    if self.budget <= 0 {
                        return Ok(Progress::Paused);
                    }
                    self.budget -= CALL_STEPS;
                    self.resume_native()?
                }
            };
            if let Next::Leave(progress) = next {
                return Ok(progress);
            }
        }
    }

    /// Executes Lua functions, beginning with the last frame. `TRACED`: stops for a debugger instead of the budget.
    #[expect(clippy::too_many_lines, reason = "an arm for each instruction")]
    fn execute_lua<const TRACED: bool>(&mut self) -> Result<Next, Raised> {
        'frame: loop {
            let Some(Frame { activity: Activity::Lua(closure), base, pc, .. }) = self.thread.frames.last()
            else {
                return Ok(Next::Frame);
            };
            let (closure, base, mut pc) = (&Rc::clone(closure), *base, *pc);
            if TRACED {
                pc = self.tracing.resume_at(pc);
            }
            let prototype: &Prototype = &closure.prototype;
            let code = &prototype.code[..];
            let constants = &prototype.constants[..];
            macro_rules! save {
                () => {
                    if let Some(frame) = self.thread.frames.last_mut() {
                        frame.pc = pc;
                    }
                };
            }
            macro_rules! leave_for {
                ($step:expr) => {{
                    save!();
                    match $step? {
                        Next::Frame => continue 'frame,
                        leave => return Ok(leave),
                    }
                }};
            }
            // Suspends the program once the budget is used up, to resume at the instruction at `$pc`.
            macro_rules! spend {
                ($steps:expr, $pc:expr) => {
                    if !TRACED && self.budget <= 0 {
                        pc = $pc;
                        save!();
                        return Ok(Next::Leave(Progress::Paused));
                    }
                    self.budget -= $steps;
                };
            }
            // Like `leave_for`, for long work: suspends the program after it if the budget is used up.
            macro_rules! leave_for_long {
                ($step:expr) => {{
                    save!();
                    match $step? {
                        Next::Frame if TRACED || self.budget > 0 => continue 'frame,
                        Next::Frame => return Ok(Next::Leave(Progress::Paused)),
                        leave => return Ok(leave),
                    }
                }};
            }
            // A long key has to be hashed and compared first, which may take several attempts.
            macro_rules! prepare_key {
                ($table:expr, $key:expr) => {
                    if let Value::String(string) = $key
                        && string.is_long()
                        && !prepare_key(&self.heap, &mut self.budget, $table, string)
                    {
                        pc -= 1;
                        save!();
                        return Ok(Next::Leave(Progress::Paused));
                    }
                };
            }
            'window: loop {
                let registers: &mut [Value; WINDOW] =
                    self.thread.stack[base..].first_chunk_mut().expect("a frame has its registers");
                macro_rules! arithmetic {
                    ($event:expr, $to:ident, $left:ident, $right:ident) => {{
                        let (a, b) =
                            (operand(registers, constants, $left), operand(registers, constants, $right));
                        if let (Value::Number(a), Value::Number(b)) = (a, b) {
                            registers[usize::from($to)] = Value::Number(compute($event, a, b));
                        } else {
                            leave_for!(self.arithmetic($event, $to, (a, $left), (b, $right)));
                        }
                    }};
                }
                // Follows an instruction that has charged the budget, has allocated memory, and has saved its position.
                macro_rules! continue_unless_due {
                    () => {{
                        if self.heap.wants_collection() || (!TRACED && self.budget <= 0) {
                            return Ok(Next::Collect);
                        }
                        continue 'window;
                    }};
                }
                macro_rules! compare {
                ($event:expr, $operator:tt, $expected:ident, $left:ident, $right:ident) => {{
                    let (a, b) = (operand(registers, constants, $left), operand(registers, constants, $right));
                    if let (Value::Number(a), Value::Number(b)) = (a, b) {
                        if (a $operator b) != $expected {
                            pc += 1;
                        }
                    } else {
                        leave_for_long!(self.compare($event, a, b, $expected));
                    }
                }};
            }
                loop {
                    if TRACED && let Some(stop) = self.tracing.stop_at(&mut self.thread.frames, prototype, pc)
                    {
                        return Ok(Next::Leave(Progress::Stopped(stop)));
                    }
                    let instruction = code[pc];
                    pc += 1;
                    match instruction {
                        Instruction::Move { to, from } => {
                            registers[usize::from(to)] = registers[usize::from(from)];
                        }
                        Instruction::LoadConstant { to, constant } => {
                            registers[usize::from(to)] = constants[constant as usize];
                        }
                        Instruction::LoadBoolean { to, value, skip } => {
                            registers[usize::from(to)] = Value::Boolean(value);
                            pc += usize::from(skip);
                        }
                        Instruction::LoadNil { first, last } => {
                            for register in first..=last {
                                registers[usize::from(register)] = Value::Nil;
                            }
                        }
                        Instruction::GetUpvalue { to, upvalue } => {
                            match self.heap.upvalue(closure.upvalues[usize::from(upvalue)]) {
                                Upvalue::Closed(value) => registers[usize::from(to)] = value,
                                open @ Upvalue::Open { .. } => {
                                    let value = self.read_open(open);
                                    self.thread.stack[base + usize::from(to)] = value;
                                    continue 'window;
                                }
                            }
                        }
                        Instruction::SetUpvalue { from, upvalue } => {
                            let value = registers[usize::from(from)];
                            self.write_upvalue(closure.upvalues[usize::from(upvalue)], value);
                            continue 'window;
                        }
                        Instruction::GetGlobal { to, name } => {
                            let environment = closure.environment.get();
                            let name = constants[name as usize];
                            let table = self.heap.table(environment);
                            let value = self.heap.get(environment, name);
                            if value.is_nil() && table.metatable().is_some() {
                                leave_for!(self.index(Value::Table(environment), name, to, None));
                            }
                            registers[usize::from(to)] = value;
                        }
                        Instruction::SetGlobal { from, name } => {
                            let environment = closure.environment.get();
                            let (name, value) = (constants[name as usize], registers[usize::from(from)]);
                            if !self.heap.replace(environment, name, value) {
                                leave_for!(self.set_index(Value::Table(environment), name, value, None));
                            }
                        }
                        Instruction::GetTable { to, table, key } => {
                            let object = registers[usize::from(table)];
                            let key = operand(registers, constants, key);
                            prepare_key!(object, key);
                            let Value::Table(id) = object else {
                                leave_for!(self.index(object, key, to, Some(table)));
                            };
                            let value = self.heap.get(id, key);
                            if value.is_nil() && self.heap.metatable(id).is_some() {
                                leave_for!(self.index(object, key, to, Some(table)));
                            }
                            registers[usize::from(to)] = value;
                        }
                        Instruction::SetTable { table, key, value } => {
                            let object = registers[usize::from(table)];
                            let key = operand(registers, constants, key);
                            let value = operand(registers, constants, value);
                            prepare_key!(object, key);
                            let Value::Table(id) = object else {
                                leave_for!(self.set_index(object, key, value, Some(table)));
                            };
                            if !self.heap.store(id, key, value) {
                                leave_for!(self.set_index(object, key, value, Some(table)));
                            }
                        }
                        Instruction::NewTable { to, array, hash } => {
                            let table = self.heap.new_table(usize::from(array), usize::from(hash));
                            registers[usize::from(to)] = Value::Table(table);
                            if self.heap.wants_collection() {
                                save!();
                                return Ok(Next::Collect);
                            }
                        }
                        Instruction::Method { to, object, name } => {
                            let receiver = registers[usize::from(object)];
                            let name = operand(registers, constants, name);
                            registers[usize::from(to) + 1] = receiver;
                            if let Value::Table(id) = receiver {
                                let value = self.heap.get(id, name);
                                if !value.is_nil() || self.heap.metatable(id).is_none() {
                                    registers[usize::from(to)] = value;
                                    continue;
                                }
                            }
                            leave_for!(self.index(receiver, name, to, Some(object)));
                        }
                        Instruction::Add { to, left, right } => arithmetic!(Event::Add, to, left, right),
                        Instruction::Subtract { to, left, right } => {
                            arithmetic!(Event::Subtract, to, left, right);
                        }
                        Instruction::Multiply { to, left, right } => {
                            arithmetic!(Event::Multiply, to, left, right);
                        }
                        Instruction::Divide { to, left, right } => {
                            arithmetic!(Event::Divide, to, left, right);
                        }
                        Instruction::Modulo { to, left, right } => {
                            arithmetic!(Event::Modulo, to, left, right);
                        }
                        Instruction::Power { to, left, right } => arithmetic!(Event::Power, to, left, right),
                        Instruction::Negate { to, from } => {
                            let Value::Number(number) = registers[usize::from(from)] else {
                                leave_for!(self.negate(to, from));
                            };
                            registers[usize::from(to)] = Value::Number(-number);
                        }
                        Instruction::Not { to, from } => {
                            registers[usize::from(to)] =
                                Value::Boolean(registers[usize::from(from)].is_false());
                        }
                        Instruction::Length { to, from } => {
                            let length = match registers[usize::from(from)] {
                                Value::Table(table) => {
                                    let found = price::length(
                                        &self.heap,
                                        &mut self.budget,
                                        &mut self.searched,
                                        table,
                                    );
                                    let Some(length) = found else {
                                        pc -= 1;
                                        save!();
                                        return Ok(Next::Leave(Progress::Paused));
                                    };
                                    length
                                }
                                Value::String(string) => self.heap.bytes(string).len(),
                                _ => leave_for!(self.length_of(to, from)),
                            };
                            registers[usize::from(to)] = Value::Number(length as f64);
                        }
                        Instruction::Concatenate { to, first, last } => {
                            leave_for_long!(self.concatenate(to, first, last));
                        }
                        Instruction::Jump { by } => {
                            pc = pc.wrapping_add_signed(by as isize);
                            if by < 0 {
                                spend!(-i64::from(by), pc);
                            }
                        }
                        Instruction::Equal { expected, left, right } => {
                            let (a, b) =
                                (operand(registers, constants, left), operand(registers, constants, right));
                            if let (Value::String(a), Value::String(b)) = (a, b)
                                && a.is_long()
                                && b.is_long()
                                && a != b
                            {
                                leave_for_long!(self.compare_texts(None, a, b, expected));
                            }
                            let is_equal = self.heap.equal(a, b);
                            if !is_equal && may_define_equality(a, b) {
                                leave_for!(self.equal_objects(a, b, expected));
                            }
                            if is_equal != expected {
                                pc += 1;
                            }
                        }
                        Instruction::Less { expected, left, right } => {
                            compare!(Event::Less, <, expected, left, right);
                        }
                        Instruction::LessOrEqual { expected, left, right } => {
                            compare!(Event::LessOrEqual, <=, expected, left, right);
                        }
                        Instruction::Test { value, expected } => {
                            if registers[usize::from(value)].is_false() == expected {
                                pc += 1;
                            }
                        }
                        Instruction::TestSet { to, from, expected } => {
                            let value = registers[usize::from(from)];
                            if value.is_false() == expected {
                                pc += 1;
                            } else {
                                registers[usize::from(to)] = value;
                            }
                        }
                        Instruction::Call { function, arguments, results } => {
                            spend!(CALL_STEPS, pc - 1);
                            save!();
                            let place = base + usize::from(function);
                            let count = self.count(arguments, place + 1);
                            let deliver = Deliver::Call { wanted: results };
                            let Value::Function(id) = self.thread.stack[place] else {
                                leave_for!(self.start(place, count, deliver));
                            };
                            if let Function::Lua(closure) = self.heap.function(id) {
                                let closure = Rc::clone(closure);
                                self.enter(closure, place, count, deliver)?;
                                continue 'frame;
                            }
                            if let Function::Native { native, .. } = self.heap.function(id) {
                                let native = *native;
                                self.thread.top = place + 1 + count;
                                let call = Call { base: place + 1, count };
                                // Matched in place: moving it first would take longer than most functions.
                                match native(self, call) {
                                    Ok(Outcome::Values(count)) => {
                                        self.deliver_results(results, place, self.thread.top - count, count);
                                        if self.heap.wants_collection() {
                                            return Ok(Next::Collect);
                                        }
                                        continue 'window;
                                    }
                                    Ok(outcome) => leave_for!(self.conclude(call, deliver, outcome)),
                                    Err(raised) => return Err(raised),
                                }
                            }
                            leave_for!(self.start(place, count, deliver));
                        }
                        Instruction::TailCall { function, arguments } => {
                            spend!(CALL_STEPS, pc - 1);
                            save!();
                            let place = base + usize::from(function);
                            let count = self.count(arguments, place + 1);
                            leave_for!(self.tail_call(place, count));
                        }
                        Instruction::Return { first, values } => {
                            save!();
                            let from = base + usize::from(first);
                            let count = self.count(values, from);
                            leave_for!(self.leave(from, count));
                        }
                        Instruction::ForPrepare { base: register, by } => {
                            save!();
                            self.prepare_loop(base + usize::from(register))?;
                            pc = pc.wrapping_add_signed(by as isize);
                            continue 'window;
                        }
                        Instruction::ForLoop { base: register, by } => {
                            let first = usize::from(register);
                            if let (Value::Number(index), Value::Number(limit), Value::Number(step)) =
                                (registers[first], registers[(first + 1) & 255], registers[(first + 2) & 255])
                            {
                                let index = index + step;
                                if if step > 0.0 { index <= limit } else { limit <= index } {
                                    registers[first] = Value::Number(index);
                                    registers[(first + 3) & 255] = Value::Number(index);
                                    pc = pc.wrapping_add_signed(by as isize);
                                    spend!(-i64::from(by), pc);
                                }
                            }
                        }
                        Instruction::IterateCall { base: register, results } => {
                            spend!(CALL_STEPS, pc - 1);
                            let first = usize::from(register);
                            if let (Value::Function(id), Value::Table(table)) =
                                (registers[first], registers[first + 1])
                                && let Some((key, value)) =
                                    iterate(self.iterators, &self.heap, id, table, registers[first + 2])
                            {
                                registers[first + 3..first + 3 + usize::from(results)].fill(Value::Nil);
                                registers[first + 3] = key;
                                if results > 1 {
                                    registers[first + 4] = value;
                                }
                                continue;
                            }
                            save!();
                            let place = base + first + 3;
                            self.thread.stack.copy_within(base + first..place, place);
                            leave_for!(self.start(place, 2, Deliver::Iterate { wanted: results + 1 }));
                        }
                        Instruction::IterateNext { base: register, by } => {
                            let first = usize::from(register);
                            let control = registers[first + 3];
                            if !control.is_nil() {
                                registers[first + 2] = control;
                                pc = pc.wrapping_add_signed(by as isize);
                            }
                        }
                        Instruction::SetList { table, count, start } => {
                            save!();
                            self.set_list(base + usize::from(table), count, start)?;
                            continue_unless_due!();
                        }
                        Instruction::Close { from } => {
                            self.close_upvalues(base + usize::from(from));
                            continue 'window;
                        }
                        Instruction::Closure { to, prototype: index } => {
                            save!();
                            self.make_closure(closure, &prototype.prototypes[index as usize], base, to);
                            if self.heap.wants_collection() {
                                return Ok(Next::Collect);
                            }
                            continue 'window;
                        }
                        Instruction::VarArguments { to, count } => {
                            save!();
                            self.copy_extra(base, to, count)?;
                            continue_unless_due!();
                        }
                    }
                }
            }
        }
    }

    /// Decodes the number of values of an instruction: `encoded - 1`, or all from `from` up to the top.
    #[inline(always)]
    fn count(&mut self, encoded: u16, from: usize) -> usize {
        if encoded == 0 {
            let count = self.thread.top - from;
            self.charge_values(count);
            count
        } else {
            usize::from(encoded) - 1
        }
    }

    /// Checks that a loop's index, limit and step, which begin at `first`, are numbers.
    fn prepare_loop(&mut self, first: usize) -> Result<(), Raised> {
        const NAMES: [&str; 3] = ["initial value", "limit", "step"];
        let mut numbers = [0.0; 3];
        for (n, name) in NAMES.iter().enumerate() {
            match self.heap.to_number(self.thread.stack[first + n]) {
                Some(number) => numbers[n] = number,
                None => return Err(self.error(format!("'for' {name} must be a number"))),
            }
        }
        self.thread.stack[first] = Value::Number(numbers[0] - numbers[2]);
        self.thread.stack[first + 1] = Value::Number(numbers[1]);
        self.thread.stack[first + 2] = Value::Number(numbers[2]);
        Ok(())
    }

    /// Stores the values after a table on the stack in the table, from index `start + 1` on.
    fn set_list(&mut self, place: usize, count: u16, start: u32) -> Result<(), Raised> {
        let Value::Table(table) = self.thread.stack[place] else { return Ok(()) };
        let count = if count == 0 { self.thread.top - place - 1 } else { usize::from(count) };
        self.charge(count / (VALUES_PER_STEP / 2));
        let start = start as usize;
        if self.heap.reserve_array(table, start + count).is_err() {
            return Err(self.out_of_memory(crate::lua::heap::OutOfMemory));
        }
        for n in 1..=count {
            let value = self.thread.stack[place + n];
            self.raw_set(table, Value::Number((start + n) as f64), value)?;
        }
        Ok(())
    }

    fn make_closure(&mut self, parent: &Rc<Closure>, prototype: &Rc<Prototype>, base: usize, to: u8) {
        let upvalues = prototype
            .captures
            .iter()
            .map(|capture| match capture {
                Capture::Register(register) => self.capture(base + usize::from(*register)),
                Capture::Upvalue(upvalue) => parent.upvalues[usize::from(*upvalue)],
            })
            .collect();
        let (prototype, environment) = (Rc::clone(prototype), parent.environment.clone());
        let closure = Closure { prototype, upvalues, environment, code_bytes: 0 };
        let function = self.heap.new_function(Function::Lua(Rc::new(closure)));
        self.thread.stack[base + usize::from(to)] = Value::Function(function);
    }

    /// Copies arguments beyond the parameters to register `to` and those after it.
    fn copy_extra(&mut self, base: usize, to: u8, count: u16) -> Result<(), Raised> {
        let extra = self.thread.frames.last().map_or(0, |frame| frame.extra);
        let place = base + usize::from(to);
        let wanted = if count == 0 { extra } else { usize::from(count) - 1 };
        if place + wanted + WINDOW >= self.thread.stack.len() {
            self.grow_stack(place + wanted + WINDOW + 1);
        }
        self.charge_values(wanted);
        let passed = wanted.min(extra);
        self.thread.stack.copy_within(base - extra..base - extra + passed, place);
        self.thread.stack[place + passed..place + wanted].fill(Value::Nil);
        if count == 0 {
            self.thread.top = place + wanted;
        }
        Ok(())
    }
}

/// Whether a metamethod could make two different values equal.
#[inline(always)]
fn may_define_equality(a: Value, b: Value) -> bool {
    matches!((a, b), (Value::Table(_), Value::Table(_)) | (Value::Proxy(_), Value::Proxy(_)))
}
