//! All objects of a machine, in arenas by type, their memory counted and limited.
//!
//! Nothing is freed but by a collection (`collect.rs`), which happens between two instructions only, so the code of an
//! instruction or a native function may hold values freely. Memory is counted where objects are made and where tables
//! grow; what is about to become large asks first whether there is room (`afford`).

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

/// The first collection happens when this much is in use.
const FIRST_COLLECTION: usize = 256 << 10;

/// A closure: a function with the variables that it has captured.
#[derive(Debug)]
pub struct Closure {
    pub prototype: Rc<Prototype>,
    pub upvalues: Box<[UpvalueId]>,
    /// Where it looks for globals.
    pub environment: Cell<TableId>,
    /// Bytes of the compiled code of a whole chunk, in the function that `load` returns; 0 in all others.
    pub code_bytes: usize,
}

/// A closure with the reference counts of its `Rc`.
type RcClosure = ([usize; 2], Closure);

/// What can be called.
#[derive(Debug)]
pub enum Function {
    /// Compiled.
    Lua(Rc<Closure>),
    /// Written in Rust, with values of its own.
    Native { native: Native, name: &'static str, upvalues: Box<[Value]> },
    /// Of the host, which knows it by a number.
    Host { number: u32, name: &'static str },
}

/// A captured variable: still in a register, or on its own once the register is used otherwise.
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

/// There is not enough memory left under the limit.
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
    /// `next_collection` as the last collection has set it.
    pace: usize,
    /// Memory use after a program above which a collection is worthwhile.
    most_at_rest: usize,
    /// Whether collections start automatically, not only when memory is exhausted.
    is_automatic: bool,
    /// The collection in progress.
    collecting: Option<Box<Collecting>>,
    /// Collections so far.
    collection: u32,
    /// A large table that grows.
    growing: Option<Box<grow::Growing>>,
}

impl Heap {
    /// An empty heap. `seed` keys the hashes of strings; more than `limit_bytes` cannot be in use.
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

    /// Orders the keys of tables as Redis' copy of the reference implementation does; before the first string is made.
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

    /// More is in use than there may be.
    pub fn is_exhausted(&self) -> bool {
        self.used_bytes > self.limit_bytes
    }

    /// Counts memory that the machine has allocated or freed outside the arenas: stacks.
    pub fn count_bytes(&mut self, allocated: usize, freed: usize) {
        self.used_bytes = (self.used_bytes + allocated).saturating_sub(freed);
    }

    // Strings

    /// The string of these bytes.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) -> StringId {
        let (string, allocated) = self.strings.insert(bytes);
        self.used_bytes += allocated;
        string
    }

    /// As `string`; a long one keeps the memory of the vector.
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

    /// A new table with room for the keys from 1 to `array`, and for `hash` others.
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

    /// A table, to be changed.
    #[inline(always)]
    pub fn table_mut(&mut self, table: TableId) -> &mut Table {
        self.tables.get_mut(table.0 as usize)
    }

    /// `table[key]`. As all methods of the heap it knows nothing of metatables.
    #[inline(always)]
    pub fn get(&self, table: TableId, key: Value) -> Value {
        self.table(table).get(key, &self.strings)
    }

    /// `table[key]`, of a string.
    #[inline(always)]
    pub fn get_string(&self, table: TableId, key: StringId) -> Value {
        self.table(table).get_string(key, &self.strings)
    }

    /// `table[key]`, of a number.
    #[inline(always)]
    pub fn get_number(&self, table: TableId, key: f64) -> Value {
        self.table(table).get_number(key, &self.strings)
    }

    /// `table[index]`
    #[inline(always)]
    pub fn get_index(&self, table: TableId, index: usize) -> Value {
        self.table(table).get_index(index, &self.strings)
    }

    /// `table[key] = value` if the key is there with a value, which needs no memory; whether it was.
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

    /// `table[key] = value` if that needs neither a metamethod nor memory; whether it did not.
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
        // It grows by doubling at most.
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

    /// `table[index] = value`, where the table has all indexes below, and nothing else.
    pub fn append(&mut self, table: TableId, index: usize, value: Value) -> Result<(), OutOfMemory> {
        if index > self.table(table).array().len() {
            self.reserve_array(table, index.next_power_of_two())?;
        }
        self.table_mut(table).array_mut()[index - 1] = value;
        Ok(())
    }

    /// `table.name = value`, for a table of the host's own.
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

    /// Room for `count` elements of a sequence.
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

    /// The pair that follows `key`, or the first one after `nil`.
    pub fn next(&self, table: TableId, key: Value) -> Result<Option<(Value, Value)>, NoSuchKey> {
        let position = self.position_after(table, key)?;
        Ok(self.table(table).pair_from(position).map(|(_, key, value)| (key, value)))
    }

    /// The position after `key` in a table; for `nil` the first one.
    #[inline]
    pub fn position_after(&self, table: TableId, key: Value) -> Result<usize, NoSuchKey> {
        self.table(table).position_after(key, &self.strings)
    }

    /// Compares up to `most` more bytes of a long key with a key of the table that may be equal. Returns how many it has
    /// compared; `None` if nothing is left to compare before a lookup.
    pub(in crate::lua) fn compare_key_piece(
        &self,
        table: TableId,
        key: StringId,
        most: usize,
    ) -> Option<usize> {
        self.table(table).compare_key_piece(key, most, &self.strings)
    }

    /// The strings, which table lookups need.
    #[inline(always)]
    pub(in crate::lua) fn strings(&self) -> &Strings {
        &self.strings
    }

    /// The metatable of a table.
    pub fn metatable(&self, table: TableId) -> Option<TableId> {
        self.table(table).metatable()
    }

    /// Gives a table another metatable, or none.
    pub fn set_metatable(&mut self, table: TableId, metatable: Option<TableId>) {
        self.table_mut(table).set_metatable(metatable);
    }

    /// Whether a table cannot be changed.
    pub fn is_readonly(&self, table: TableId) -> bool {
        self.table(table).is_readonly
    }

    /// A table that cannot be changed, not even by `rawset`.
    pub fn set_readonly(&mut self, table: TableId, is_readonly: bool) {
        self.table_mut(table).is_readonly = is_readonly;
    }

    // Other objects

    /// A native function. `name` is how it was registered.
    pub fn new_native(&mut self, name: &'static str, native: Native) -> Value {
        self.new_native_with(name, native, &[])
    }

    /// A native function with values of its own, which it reaches by `Machine::upvalue`.
    pub fn new_native_with(&mut self, name: &'static str, native: Native, upvalues: &[Value]) -> Value {
        Value::Function(self.new_function(Function::Native { native, name, upvalues: upvalues.into() }))
    }

    /// Sets a value of a native function's own, the `n`th from 0.
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

    /// A function, to be changed.
    #[inline(always)]
    pub fn function_mut(&mut self, function: FunctionId) -> &mut Function {
        self.functions.get_mut(function.0 as usize)
    }

    /// A captured variable.
    pub fn new_upvalue(&mut self, upvalue: Upvalue) -> UpvalueId {
        self.used_bytes += Arena::<Upvalue>::SLOT_BYTES;
        UpvalueId(self.upvalues.insert(upvalue))
    }

    /// A captured variable: where its value is.
    #[inline(always)]
    pub fn upvalue(&self, upvalue: UpvalueId) -> Upvalue {
        *self.upvalues.get(upvalue.0 as usize)
    }

    /// Changes a captured variable.
    #[inline(always)]
    pub fn set_upvalue(&mut self, upvalue: UpvalueId, value: Upvalue) {
        *self.upvalues.get_mut(upvalue.0 as usize) = value;
    }

    /// A coroutine.
    pub fn new_thread(&mut self, thread: Thread) -> ThreadId {
        self.used_bytes += Arena::<Thread>::SLOT_BYTES + thread.heap_bytes();
        ThreadId(self.threads.insert(thread))
    }

    /// A coroutine, unless it is the one that runs, which the machine holds.
    pub fn thread(&self, thread: ThreadId) -> &Thread {
        self.threads.get(thread.0 as usize)
    }

    /// A coroutine, to be changed.
    pub fn thread_mut(&mut self, thread: ThreadId) -> &mut Thread {
        self.threads.get_mut(thread.0 as usize)
    }

    /// An object that is nothing but a metatable.
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

    /// A number, or the number that a string stands for.
    #[inline]
    pub fn to_number(&self, value: Value) -> Option<f64> {
        match value {
            Value::Number(number) => Some(number),
            Value::String(string) => number::parse_short(self.bytes(string)),
            _ => None,
        }
    }

    /// Appends a string, or a number as it is printed; returns whether the value is one of them.
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
