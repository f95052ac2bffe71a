//! All objects of a machine, in arenas by type, with their memory counted and limited.
//!
//! Only a collection (`collect.rs`) frees objects, and it runs only between two instructions, so the code of an
//! instruction or a native function may hold values freely. Memory is counted where objects are made and where tables
//! grow; code that is about to make a large object first checks that there is room (`afford`).

mod arena;
mod collect;
mod grow;
mod strings;
mod table;

use std::cell::Cell;
use std::rc::Rc;

use self::arena::Arena;
use self::strings::Strings;
pub use self::table::{NoSuchKey, Table, TableError, Walk};
use super::code::Prototype;
use super::machine::{Native, Thread};
use super::number;
use super::value::{FunctionId, ProxyId, StringId, TableId, ThreadId, UpvalueId, Value};

use self::collect::Collecting;
pub use self::collect::Marker;
use crate::alloc::array_size;

/// Memory use at which the first collection starts.
const FIRST_COLLECTION: usize = 256 << 10;

/// A closure: a function with the variables that it has captured.
#[derive(Debug)]
pub struct Closure {
    pub prototype: Rc<Prototype>,
    pub upvalues: Box<[UpvalueId]>,
    /// The table where it looks up globals.
    pub environment: Cell<TableId>,
    /// The size of a whole chunk's compiled code, in the function that `load` returns; 0 in all others.
    pub code_bytes: usize,
}

/// A closure with its `Rc`'s reference counts.
type RcClosure = ([usize; 2], Closure);

/// A callable object.
#[derive(Debug)]
pub enum Function {
    /// Compiled from Lua.
    Lua(Rc<Closure>),
    /// Written in Rust, with its own values.
    Native { native: Native, name: &'static str, upvalues: Box<[Value]> },
    /// Provided by the host, which identifies it by a number.
    Host { number: u32, name: &'static str },
}

/// A captured variable: still in a register, or moved out once the register is reused.
#[derive(Clone, Copy, Debug)]
pub enum Upvalue {
    Open { thread: ThreadId, place: u32 },
    Closed(Value),
}

/// An object made by `newproxy`: nothing but a metatable.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    pub metatable: Option<TableId>,
}

/// The limit leaves too little memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// All objects of a machine.
#[derive(Debug)]
pub struct Heap {
    strings: Strings,
    tables: Arena<Table>,
    functions: Arena<Function>,
    upvalues: Arena<Upvalue>,
    threads: Arena<Thread>,
    proxies: Arena<Proxy>,
    used_bytes: usize,
    limit_bytes: usize,
    /// Memory use above which a collection is due; 0 while one is requested or in progress.
    next_collection: usize,
    /// `next_collection` as the last collection set it.
    pace: usize,
    /// Memory use after a program above which a collection is worthwhile.
    most_at_rest: usize,
    /// Whether collections start automatically, not only when memory is exhausted.
    is_automatic: bool,
    /// The collection in progress.
    collecting: Option<Box<Collecting>>,
    /// Collections so far.
    collection: u32,
    /// A large table that is growing.
    growing: Option<Box<grow::Growing>>,
}

impl Heap {
    /// Creates an empty heap. `seed` keys the hashes of strings; memory use cannot exceed `limit_bytes`.
    pub fn new(seed: u64, limit_bytes: usize) -> Heap {
        Heap {
            strings: Strings::new(seed),
            tables: Arena::default(),
            functions: Arena::default(),
            upvalues: Arena::default(),
            threads: Arena::default(),
            proxies: Arena::default(),
            used_bytes: 0,
            limit_bytes,
            next_collection: FIRST_COLLECTION,
            pace: FIRST_COLLECTION,
            most_at_rest: FIRST_COLLECTION,
            is_automatic: true,
            collecting: None,
            collection: 0,
            growing: None,
        }
    }

    /// Orders the keys of tables as Redis' copy of the reference implementation does. Call before the first string is
    /// made.
    pub fn hash_all_of_strings(&mut self) {
        self.strings.hash_all();
    }

    // Memory

    /// Bytes of memory in use, garbage included.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Whether `bytes` more would stay within the limit.
    pub fn afford(&self, bytes: usize) -> Result<(), OutOfMemory> {
        match self.used_bytes.checked_add(bytes) {
            Some(sum) if sum <= self.limit_bytes => Ok(()),
            _ => Err(OutOfMemory),
        }
    }

    /// Allocated bytes, free slots included.
    pub fn allocated_bytes(&self) -> usize {
        self.used_bytes
            + self.strings.spare_bytes()
            + self.tables.spare_bytes()
            + self.functions.spare_bytes()
            + self.upvalues.spare_bytes()
            + self.threads.spare_bytes()
            + self.proxies.spare_bytes()
            + self.growing_bytes()
    }

    /// Whether a collection is due or in progress.
    #[inline(always)]
    pub fn wants_collection(&self) -> bool {
        self.used_bytes > self.next_collection
    }

    /// Whether more memory is in use than allowed.
    pub fn is_exhausted(&self) -> bool {
        self.used_bytes > self.limit_bytes
    }

    /// Counts memory that the machine allocated or freed outside the arenas: stacks.
    pub fn count_bytes(&mut self, allocated: usize, freed: usize) {
        self.used_bytes = (self.used_bytes + allocated).saturating_sub(freed);
    }

    // Strings

    /// Returns the string with these bytes.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) -> StringId {
        let (string, allocated) = self.strings.insert(bytes);
        self.used_bytes += allocated;
        string
    }

    /// Like `string`; a long string takes over the vector's memory.
    pub fn string_from(&mut self, bytes: Vec<u8>) -> StringId {
        if bytes.len() <= strings::LONGEST_SHORT {
            return self.string(&bytes);
        }
        let (string, allocated) = self.strings.insert_long(bytes.into_boxed_slice());
        self.used_bytes += allocated;
        string
    }

    /// The bytes of a string.
    #[inline]
    pub fn bytes(&self, string: StringId) -> &[u8] {
        self.strings.bytes(string)
    }

    // Tables

    /// Creates a table with room for the keys from 1 to `array` and for `hash` others.
    pub fn new_table(&mut self, array: usize, hash: usize) -> TableId {
        let table = Table::new(array, hash);
        self.used_bytes += Arena::<Table>::SLOT_BYTES + table.heap_bytes();
        TableId(self.tables.insert(table))
    }

    /// A table.
    #[inline(always)]
    pub fn table(&self, table: TableId) -> &Table {
        self.tables.get(table.0 as usize)
    }

    /// A table, for changing it.
    #[inline(always)]
    pub fn table_mut(&mut self, table: TableId) -> &mut Table {
        self.tables.get_mut(table.0 as usize)
    }

    /// `table[key]`. Like all methods of the heap, it ignores metatables.
    #[inline(always)]
    pub fn get(&self, table: TableId, key: Value) -> Value {
        self.table(table).get(key, &self.strings)
    }

    /// `table[key]` for a string.
    #[inline(always)]
    pub fn get_string(&self, table: TableId, key: StringId) -> Value {
        self.table(table).get_string(key, &self.strings)
    }

    /// `table[key]` for a number.
    #[inline(always)]
    pub fn get_number(&self, table: TableId, key: f64) -> Value {
        self.table(table).get_number(key, &self.strings)
    }

    /// `table[index]`
    #[inline(always)]
    pub fn get_index(&self, table: TableId, index: usize) -> Value {
        self.table(table).get_index(index, &self.strings)
    }

    /// `table[key] = value` if the key already has a value, which needs no memory. Returns whether it had.
    #[inline(always)]
    pub fn replace(&mut self, table: TableId, key: Value, value: Value) -> bool {
        let Heap { strings, tables, .. } = self;
        let table = tables.get_mut(table.0 as usize);
        if table.is_readonly {
            return false;
        }
        match table.slot(key, strings) {
            Some(slot) if !slot.is_nil() => {
                *slot = value;
                true
            }
            _ => false,
        }
    }

    /// `table[key] = value` if that needs neither a metamethod nor memory. Returns whether the value was stored.
    #[inline(always)]
    pub fn store(&mut self, table: TableId, key: Value, value: Value) -> bool {
        let Heap { strings, tables, .. } = self;
        let table = tables.get_mut(table.0 as usize);
        if table.is_readonly {
            return false;
        }
        let has_metatable = table.metatable().is_some();
        match table.slot(key, strings) {
            Some(slot) if !slot.is_nil() || !has_metatable => {
                *slot = value;
                true
            }
            _ => false,
        }
    }

    /// `table[key] = value`
    pub fn set(&mut self, table: TableId, key: Value, value: Value) -> Result<(), TableError> {
        if self.replace(table, key, value) {
            return Ok(());
        }
        if self.table(table).is_readonly {
            return Err(TableError::Readonly);
        }
        let before = self.table(table).heap_bytes();
        // The table at most doubles.
        if before > 4096 && self.afford(2 * before).is_err() {
            return Err(TableError::Memory);
        }
        let Heap { strings, tables, .. } = self;
        let table = tables.get_mut(table.0 as usize);
        table.set(key, value, strings)?;
        self.used_bytes = (self.used_bytes + table.heap_bytes()).saturating_sub(before);
        Ok(())
    }

    /// `table[index] = value`
    pub fn set_index(&mut self, table: TableId, index: usize, value: Value) -> Result<(), TableError> {
        self.set(table, Value::Number(index as f64), value)
    }

    /// `table[index] = value` for a table that has exactly the indexes below.
    pub fn append(&mut self, table: TableId, index: usize, value: Value) -> Result<(), OutOfMemory> {
        if index > self.table(table).array().len() {
            self.reserve_array(table, index.next_power_of_two())?;
        }
        self.table_mut(table).array_mut()[index - 1] = value;
        Ok(())
    }

    /// `table.name = value`, for one of the host's tables.
    pub fn set_field(&mut self, table: TableId, name: &str, value: Value) {
        let name = self.string(name.as_bytes());
        let result = self.set(table, Value::String(name), value);
        debug_assert_eq!(result, Ok(()), "a field of a library");
    }

    /// `table.name`
    pub fn field(&mut self, table: TableId, name: &str) -> Value {
        let name = self.string(name.as_bytes());
        self.get_string(table, name)
    }

    /// Makes room for `count` elements of a sequence.
    pub fn reserve_array(&mut self, table: TableId, count: usize) -> Result<(), OutOfMemory> {
        let more = count.saturating_sub(self.table(table).array().len());
        self.afford(more.saturating_mul(size_of::<Value>()))?;
        let Heap { strings, tables, .. } = self;
        let table = tables.get_mut(table.0 as usize);
        let before = table.heap_bytes();
        table.reserve_array(count, strings);
        self.used_bytes = (self.used_bytes + table.heap_bytes()).saturating_sub(before);
        Ok(())
    }

    /// Returns the pair after `key`; after `nil`, the first one.
    pub fn next(&self, table: TableId, key: Value) -> Result<Option<(Value, Value)>, NoSuchKey> {
        let position = self.position_after(table, key)?;
        Ok(self.table(table).pair_from(position).map(|(_, key, value)| (key, value)))
    }

    /// Returns the position after `key` in a table; for `nil`, the first position.
    #[inline]
    pub fn position_after(&self, table: TableId, key: Value) -> Result<usize, NoSuchKey> {
        self.table(table).position_after(key, &self.strings)
    }

    /// Compares up to `most` more bytes of a long key with a key of the table that may be equal. Returns the number of
    /// bytes compared; `None` if a lookup has nothing left to compare.
    pub(in crate::lua) fn compare_key_piece(
        &self,
        table: TableId,
        key: StringId,
        most: usize,
    ) -> Option<usize> {
        self.table(table).compare_key_piece(key, most, &self.strings)
    }

    /// The strings, needed for table lookups.
    #[inline(always)]
    pub(in crate::lua) fn strings(&self) -> &Strings {
        &self.strings
    }

    /// The metatable of a table.
    pub fn metatable(&self, table: TableId) -> Option<TableId> {
        self.table(table).metatable()
    }

    /// Sets or removes the metatable of a table.
    pub fn set_metatable(&mut self, table: TableId, metatable: Option<TableId>) {
        self.table_mut(table).set_metatable(metatable);
    }

    /// Whether the table is read-only.
    pub fn is_readonly(&self, table: TableId) -> bool {
        self.table(table).is_readonly
    }

    /// Makes a table read-only, even for `rawset`, or writable again.
    pub fn set_readonly(&mut self, table: TableId, is_readonly: bool) {
        self.table_mut(table).is_readonly = is_readonly;
    }

    // Other objects

    /// Creates a native function. `name` is the name it is registered under.
    pub fn new_native(&mut self, name: &'static str, native: Native) -> Value {
        self.new_native_with(name, native, &[])
    }

    /// Creates a native function with its own values, which it reads through `Machine::upvalue`.
    pub fn new_native_with(&mut self, name: &'static str, native: Native, upvalues: &[Value]) -> Value {
        Value::Function(self.new_function(Function::Native { native, name, upvalues: upvalues.into() }))
    }

    /// Sets one of a native function's own values, the `n`th from 0.
    pub fn set_native_upvalue(&mut self, function: Value, n: usize, value: Value) {
        if let Value::Function(id) = function
            && let Function::Native { upvalues, .. } = self.function_mut(id)
            && let Some(upvalue) = upvalues.get_mut(n)
        {
            *upvalue = value;
        }
    }

    /// A function of any kind.
    pub fn new_function(&mut self, function: Function) -> FunctionId {
        self.used_bytes += function_bytes(&function);
        FunctionId(self.functions.insert(function))
    }

    /// A function.
    #[inline(always)]
    pub fn function(&self, function: FunctionId) -> &Function {
        self.functions.get(function.0 as usize)
    }

    /// A function, for changing it.
    #[inline(always)]
    pub fn function_mut(&mut self, function: FunctionId) -> &mut Function {
        self.functions.get_mut(function.0 as usize)
    }

    /// Adds a captured variable.
    pub fn new_upvalue(&mut self, upvalue: Upvalue) -> UpvalueId {
        self.used_bytes += Arena::<Upvalue>::SLOT_BYTES;
        UpvalueId(self.upvalues.insert(upvalue))
    }

    /// A captured variable: where its value is stored.
    #[inline(always)]
    pub fn upvalue(&self, upvalue: UpvalueId) -> Upvalue {
        *self.upvalues.get(upvalue.0 as usize)
    }

    /// Changes a captured variable.
    #[inline(always)]
    pub fn set_upvalue(&mut self, upvalue: UpvalueId, value: Upvalue) {
        *self.upvalues.get_mut(upvalue.0 as usize) = value;
    }

    /// Adds a coroutine.
    pub fn new_thread(&mut self, thread: Thread) -> ThreadId {
        self.used_bytes += Arena::<Thread>::SLOT_BYTES + thread.heap_bytes();
        ThreadId(self.threads.insert(thread))
    }

    /// A coroutine other than the running one, which the machine holds.
    pub fn thread(&self, thread: ThreadId) -> &Thread {
        self.threads.get(thread.0 as usize)
    }

    /// A coroutine, for changing it.
    pub fn thread_mut(&mut self, thread: ThreadId) -> &mut Thread {
        self.threads.get_mut(thread.0 as usize)
    }

    /// Creates an object that consists only of a metatable.
    pub fn new_proxy(&mut self, metatable: Option<TableId>) -> ProxyId {
        self.used_bytes += Arena::<Proxy>::SLOT_BYTES;
        ProxyId(self.proxies.insert(Proxy { metatable }))
    }

    /// An object made by `new_proxy`.
    pub fn proxy(&self, proxy: ProxyId) -> Proxy {
        *self.proxies.get(proxy.0 as usize)
    }

    // Values

    /// `rawequal(a, b)`
    #[inline(always)]
    pub fn equal(&self, a: Value, b: Value) -> bool {
        match (a, b) {
            (Value::Nil, Value::Nil) | (Value::Null, Value::Null) => true,
            (Value::Boolean(a), Value::Boolean(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::String(a), Value::String(b)) => self.strings.equal(a, b),
            (Value::Table(a), Value::Table(b)) => a == b,
            (Value::Function(a), Value::Function(b)) => a == b,
            (Value::Thread(a), Value::Thread(b)) => a == b,
            (Value::Proxy(a), Value::Proxy(b)) => a == b,
            _ => false,
        }
    }

    /// Converts a number, or a string that represents one.
    #[inline]
    pub fn to_number(&self, value: Value) -> Option<f64> {
        match value {
            Value::Number(number) => Some(number),
            Value::String(string) => number::parse_short(self.bytes(string)),
            _ => None,
        }
    }

    /// Appends a string, or a number as it prints. Returns whether the value is one of the two.
    pub fn to_bytes(&self, value: Value, buffer: &mut Vec<u8>) -> bool {
        match value {
            Value::String(string) => buffer.extend_from_slice(self.bytes(string)),
            Value::Number(number) => number::format(number, buffer),
            _ => return false,
        }
        true
    }
}

fn function_bytes(function: &Function) -> usize {
    Arena::<Function>::SLOT_BYTES
        + match function {
            Function::Lua(closure) => {
                array_size::<RcClosure>(1)
                    + array_size::<UpvalueId>(closure.upvalues.len())
                    + closure.code_bytes
            }
            Function::Native { upvalues, .. } => array_size::<Value>(upvalues.len()),
            Function::Host { .. } => 0,
        }
}
