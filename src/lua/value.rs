//! A value of Lua: sixteen bytes, copied freely. What does not fit is named by its place in an arena of the heap
//! (`heap/`), so that no value owns memory, and a wrong program can at worst meet the wrong object, never free memory.

/// The place of a string. The highest bit says that the string is long, and so not unique: two long strings with the
/// same bytes may have different places.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct StringId(pub(in crate::lua) u32);

/// The place of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct TableId(pub(in crate::lua) u32);

/// The place of a function: a closure of Lua or a native function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct FunctionId(pub(in crate::lua) u32);

/// The place of a variable that a closure has captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct UpvalueId(pub(in crate::lua) u32);

/// The place of a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ThreadId(pub(in crate::lua) u32);

/// The place of an object made by `newproxy`.
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
    /// All numbers are of double precision.
    Number(f64),
    /// Any bytes.
    String(StringId),
    /// A table.
    Table(TableId),
    /// A function of Lua, a native one, or one of the host.
    Function(FunctionId),
    /// A coroutine.
    Thread(ThreadId),
    /// A full userdata that is nothing but a metatable.
    Proxy(ProxyId),
    /// The one light userdata there is: a null pointer, as which `cjson` represents `null`.
    Null,
}

const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    /// The name of its type, as `type` returns it.
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

    /// A number that stands for the object's address when it is printed, made of its arena slot.
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

    /// Whether a condition takes it for false: `nil` and `false`.
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
