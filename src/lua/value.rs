//! A Lua value: sixteen bytes, copied freely. Larger objects are named by their slot in an arena of the heap (`heap/`),
//! so no value owns memory: a wrong program can at worst reach the wrong object, never free memory.

/// The slot of a string. The highest bit marks a long string, which is not unique: two long strings with the same bytes
/// may have different slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct StringId(pub(in crate::lua) u32);

/// The slot of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct TableId(pub(in crate::lua) u32);

/// The slot of a function: a Lua closure or a native function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct FunctionId(pub(in crate::lua) u32);

/// The slot of a captured variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct UpvalueId(pub(in crate::lua) u32);

/// The slot of a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ThreadId(pub(in crate::lua) u32);

/// The slot of an object made by `newproxy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ProxyId(pub(in crate::lua) u32);

const LONG: u32 = 1 << 31;

impl StringId {
    pub(in crate::lua) fn short(place: u32) -> StringId {
        debug_assert!(place < LONG);
        StringId(place)
    }

    pub(in crate::lua) fn long(place: u32) -> StringId {
        debug_assert!(place < LONG);
        StringId(place | LONG)
    }

    #[inline(always)]
    pub(in crate::lua) fn is_long(self) -> bool {
        self.0 & LONG != 0
    }

    #[inline(always)]
    pub(in crate::lua) fn place(self) -> usize {
        (self.0 & !LONG) as usize
    }
}

/// A value. `PartialEq` is not implemented, since equality of long strings needs the heap: see `Heap::equal`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(u64)]
pub enum Value {
    #[default]
    /// `nil`
    Nil,
    /// `true` or `false`
    Boolean(bool),
    /// A number; all are doubles.
    Number(f64),
    /// Any bytes.
    String(StringId),
    /// A table.
    Table(TableId),
    /// A Lua, native or host function.
    Function(FunctionId),
    /// A coroutine.
    Thread(ThreadId),
    /// A full userdata that consists only of a metatable.
    Proxy(ProxyId),
    /// The only light userdata: a null pointer, which `cjson` uses for `null`.
    Null,
}

const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    /// Returns the name of its type, as `type` does.
    pub fn type_name(self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Boolean(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Table(_) => "table",
            Value::Function(_) => "function",
            Value::Thread(_) => "thread",
            Value::Proxy(_) | Value::Null => "userdata",
        }
    }

    /// Returns a number that stands for the object's address in output, computed from its arena slot.
    pub fn address(self) -> Option<u64> {
        let place = match self {
            Value::Table(id) => id.0,
            Value::Function(id) => id.0,
            Value::Thread(id) => id.0,
            Value::Proxy(id) => id.0,
            _ => return None,
        };
        Some((u64::from(place) + 1) << 4)
    }

    /// Whether the value counts as false in a condition: `nil` and `false`.
    #[inline(always)]
    pub fn is_false(self) -> bool {
        matches!(self, Value::Nil | Value::Boolean(false))
    }

    /// Whether it is `nil`.
    #[inline(always)]
    pub fn is_nil(self) -> bool {
        matches!(self, Value::Nil)
    }
}
