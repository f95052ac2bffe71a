//! The compiler's output and the machine's input: instructions for a register machine, and the prototype of a function
//! that holds them.
//!
//! A function's registers are a window of the stack, at most 250 of them. Locals occupy the lowest ones, in declaration
//! order; temporary values are above them. An instruction is eight bytes. An `Operand` is a register or one of the
//! function's constants. Jumps are relative to the instruction after the jump.
//!
//! The instructions mean the same as those of the Lua 5.1 reference implementation, so error messages can name the
//! variable at fault in the same words (`names.rs`). Only their encoding differs.

use std::cell::Cell;
use std::rc::Rc;

use super::value::Value;

/// The maximum number of registers of a function.
pub const MOST_REGISTERS: usize = 250;
/// The maximum number of local variables of a function.
pub const MOST_LOCALS: usize = 200;
/// The maximum number of variables that a function may capture from the functions around it.
pub const MOST_UPVALUES: usize = 60;
/// The number of constructor elements that are stored at once.
pub const FIELDS_AT_ONCE: usize = 50;

/// A register, below 256, or 256 plus the index of a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand(pub u16);

impl Operand {
    /// The number of constants that fit in an operand; the others are loaded into a register first.
    pub const MOST_CONSTANTS: usize = (u16::MAX as usize + 1) - 256;

    pub fn register(register: u8) -> Operand {
        Operand(u16::from(register))
    }

    /// `constant` is below `MOST_CONSTANTS`.
    pub fn constant(constant: usize) -> Operand {
        debug_assert!(constant < Operand::MOST_CONSTANTS);
        Operand((constant + 256) as u16)
    }

    /// The index of the constant, or `None` for a register.
    pub fn as_constant(self) -> Option<usize> {
        (self.0 as usize).checked_sub(256)
    }
}

/// One step of the machine. `to`, `from`, `table`, … of type `u8` are registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// `to = from`
    Move {
        to: u8,
        from: u8,
    },
    /// `to = constants[constant]`
    LoadConstant {
        to: u8,
        constant: u32,
    },
    /// `to = value`; skips the next instruction if `skip`.
    LoadBoolean {
        to: u8,
        value: bool,
        skip: bool,
    },
    /// `first, …, last = nil`
    LoadNil {
        first: u8,
        last: u8,
    },
    /// `to = upvalues[upvalue]`
    GetUpvalue {
        to: u8,
        upvalue: u8,
    },
    /// `upvalues[upvalue] = from`
    SetUpvalue {
        from: u8,
        upvalue: u8,
    },
    /// `to = environment[constants[name]]`
    GetGlobal {
        to: u8,
        name: u32,
    },
    /// `environment[constants[name]] = from`
    SetGlobal {
        from: u8,
        name: u32,
    },
    /// `to = table[key]`
    GetTable {
        to: u8,
        table: u8,
        key: Operand,
    },
    /// `table[key] = value`
    SetTable {
        table: u8,
        key: Operand,
        value: Operand,
    },
    /// `to = {}`, with room for `array` elements of a sequence and `hash` other keys.
    NewTable {
        to: u8,
        array: u16,
        hash: u16,
    },
    /// `to + 1 = object; to = object[name]`, for a call `object:name()`.
    Method {
        to: u8,
        object: u8,
        name: Operand,
    },
    Add {
        to: u8,
        left: Operand,
        right: Operand,
    },
    Subtract {
        to: u8,
        left: Operand,
        right: Operand,
    },
    Multiply {
        to: u8,
        left: Operand,
        right: Operand,
    },
    Divide {
        to: u8,
        left: Operand,
        right: Operand,
    },
    Modulo {
        to: u8,
        left: Operand,
        right: Operand,
    },
    Power {
        to: u8,
        left: Operand,
        right: Operand,
    },
    Negate {
        to: u8,
        from: u8,
    },
    Not {
        to: u8,
        from: u8,
    },
    Length {
        to: u8,
        from: u8,
    },
    /// `to = first .. … .. last`
    Concatenate {
        to: u8,
        first: u8,
        last: u8,
    },
    Jump {
        by: i32,
    },
    /// Skips the next instruction, which is a `Jump`, if `(left == right) ~= expected`.
    Equal {
        expected: bool,
        left: Operand,
        right: Operand,
    },
    /// Like `Equal`, for `left < right`.
    Less {
        expected: bool,
        left: Operand,
        right: Operand,
    },
    /// Like `Equal`, for `left <= right`.
    LessOrEqual {
        expected: bool,
        left: Operand,
        right: Operand,
    },
    /// Skips the next instruction, which is a `Jump`, unless the truth of `value` is `expected`.
    Test {
        value: u8,
        expected: bool,
    },
    /// `to = from` if the truth of `from` is `expected`; otherwise skips the next instruction, a `Jump`.
    TestSet {
        to: u8,
        from: u8,
        expected: bool,
    },
    /// Calls `function` with the `arguments - 1` values in the registers after it, or with all up to the top of the
    /// stack if `arguments` is 0. Stores `results - 1` results in `function` and the registers after it, or all of them
    /// if `results` is 0, which then sets the top.
    Call {
        function: u8,
        arguments: u16,
        results: u16,
    },
    /// `return function(…)`
    TailCall {
        function: u8,
        arguments: u16,
    },
    /// Returns `values - 1` values from `first` on, or all up to the top if `values` is 0.
    Return {
        first: u8,
        values: u16,
    },
    /// The loop's four registers are index, limit, step, and the variable that the body sees. Checks that the first
    /// three are numbers, subtracts the step from the index, and jumps to the `ForLoop`.
    ForPrepare {
        base: u8,
        by: i32,
    },
    /// Adds the step to the index; if it is within the limit, copies it to the variable and jumps.
    ForLoop {
        base: u8,
        by: i32,
    },
    /// Registers: iterator, state, control, and `results` variables. Calls `iterator(state, control)`.
    IterateCall {
        base: u8,
        results: u16,
    },
    /// If the first variable is not nil, copies it to the control, and jumps back to the body.
    IterateNext {
        base: u8,
        by: i32,
    },
    /// `table[start + i] = register(table + i)` for `1 <= i <= count`, or up to the top if `count` is 0.
    SetList {
        table: u8,
        count: u16,
        start: u32,
    },
    /// Closes upvalues: moves captured variables out of the registers from `from` on.
    Close {
        from: u8,
    },
    /// `to` = a closure of `prototypes[prototype]`
    Closure {
        to: u8,
        prototype: u32,
    },
    /// Stores `count - 1` of the function's extra arguments in `to` and the registers after it, or all of them if
    /// `count` is 0, which then sets the top.
    VarArguments {
        to: u8,
        count: u16,
    },
}

const _: () = assert!(size_of::<Instruction>() == 8);

impl Instruction {
    /// Returns the one register that the instruction always writes; `None` if it writes several, or only on a
    /// condition.
    pub fn destination(&mut self) -> Option<&mut u8> {
        match self {
            Instruction::Move { to, .. }
            | Instruction::LoadConstant { to, .. }
            | Instruction::LoadBoolean { to, .. }
            | Instruction::GetUpvalue { to, .. }
            | Instruction::GetGlobal { to, .. }
            | Instruction::GetTable { to, .. }
            | Instruction::NewTable { to, .. }
            | Instruction::Add { to, .. }
            | Instruction::Subtract { to, .. }
            | Instruction::Multiply { to, .. }
            | Instruction::Divide { to, .. }
            | Instruction::Modulo { to, .. }
            | Instruction::Power { to, .. }
            | Instruction::Negate { to, .. }
            | Instruction::Not { to, .. }
            | Instruction::Length { to, .. }
            | Instruction::Concatenate { to, .. }
            | Instruction::Closure { to, .. }
            | Instruction::VarArguments { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// Where a new closure finds a captured variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capture {
    /// In a register of the function that makes the closure.
    Register(u8),
    /// Among the upvalues of the function that makes the closure.
    Upvalue(u8),
}

/// A local variable, for messages: the instructions `begin..end` see it. Its register is the number of locals before it
/// in the list that are alive at the same instruction.
#[derive(Clone, Debug)]
pub struct Local {
    pub name: Box<[u8]>,
    pub begin: u32,
    pub end: u32,
}

/// A compiled function.
#[derive(Debug)]
pub struct Prototype {
    /// The name of the chunk as given (`@user_script`, `=(load)`, or the source itself).
    pub chunk: Rc<[u8]>,
    /// The lines where its definition begins and ends; 0 for a whole chunk.
    pub line: u32,
    pub last_line: u32,
    pub parameters: u8,
    /// Whether the function takes `...`.
    pub is_variadic: bool,
    /// Whether the function takes `...` without using it, and so gets the table `arg` in the register after its
    /// parameters.
    pub wants_arg: bool,
    /// Registers in use, at most `MOST_REGISTERS`, at least 2.
    pub registers: u8,
    pub code: Box<[Instruction]>,
    pub constants: Box<[Value]>,
    pub prototypes: Box<[Rc<Prototype>]>,
    pub captures: Box<[Capture]>,
    /// The line of each instruction.
    pub lines: Box<[u32]>,
    pub locals: Box<[Local]>,
    pub upvalue_names: Box<[Box<[u8]>]>,
    /// The number of the last collection that marked it.
    pub(in crate::lua) marked: Cell<u32>,
}

impl Prototype {
    /// Memory of the function and of the functions nested in it, in bytes.
    pub(super) fn tree_bytes(&self) -> usize {
        let mut bytes = 0;
        let mut waiting = vec![self];
        while let Some(one) = waiting.pop() {
            bytes += size_of::<Prototype>()
                + size_of_val(&*one.code)
                + size_of_val(&*one.constants)
                + size_of_val(&*one.captures)
                + size_of_val(&*one.lines)
                + size_of_val(&*one.locals)
                + size_of_val(&*one.upvalue_names);
            waiting.extend(one.prototypes.iter().map(|inner| &**inner));
        }
        bytes
    }
}
