//! The collector: marks all that can be reached from the roots, and frees the rest.
//!
//! It stops the machine, and is due when twice as much is in use as the last one has left, so that its cost stays in
//! proportion to what is allocated. Reached objects wait on a list of its own, so no structure of a program makes it
//! recurse.
//!
//! A table with `__mode` does not keep its keys or values alive, and loses those that die (Lua 5.1, section 2.10.2).

use std::rc::Rc;

use super::{Arena, FIRST_COLLECTION, Function, Heap, Upvalue, function_bytes};
use crate::lua::code::Prototype;
use crate::lua::value::{FunctionId, ProxyId, StringId, TableId, ThreadId, UpvalueId, Value};

/// An object that is reached, and whose contents are not yet.
#[derive(Clone, Copy)]
enum Gray {
    Table(TableId),
    Function(FunctionId),
    Thread(ThreadId),
}

/// What a collection knows while it marks.
pub struct Marker<'a> {
    heap: &'a mut Heap,
    gray: Vec<Gray>,
    weak: Vec<(TableId, Weakness)>,
}

#[derive(Clone, Copy)]
struct Weakness {
    keys: bool,
    values: bool,
}

impl Heap {
    /// Frees all that cannot be reached from what `mark_roots` marks.
    pub fn collect(&mut self, mode: StringId, mark_roots: impl FnOnce(&mut Marker<'_>)) {
        self.clear_marks();
        self.collection = self.collection.wrapping_add(1);
        let mut marker = Marker { heap: self, gray: Vec::new(), weak: Vec::new() };
        marker.string(mode);
        mark_roots(&mut marker);
        marker.run(mode);
        let weak = std::mem::take(&mut marker.weak);
        self.clear_weak(&weak);
        self.sweep();
        // Near the limit, garbage takes no more than half of what is left.
        let room = self.limit_bytes.saturating_sub(self.used_bytes) / 2;
        self.next_collection = self.used_bytes + self.used_bytes.min(room).max(FIRST_COLLECTION);
    }

    fn clear_marks(&mut self) {
        self.strings.clear_marks();
        self.tables.clear_marks();
        self.functions.clear_marks();
        self.upvalues.clear_marks();
        self.threads.clear_marks();
        self.proxies.clear_marks();
    }

    fn clear_weak(&mut self, weak: &[(TableId, Weakness)]) {
        for (id, weakness) in weak {
            let mut table = std::mem::take(self.tables.get_mut(id.0 as usize));
            table.clear_dead(|key, value| {
                (weakness.keys && self.is_dead(key)) || (weakness.values && self.is_dead(value))
            });
            *self.tables.get_mut(id.0 as usize) = table;
        }
    }

    /// Strings do not count as dead: what is left of a weak table is marked before it is swept.
    fn is_dead(&mut self, value: Value) -> bool {
        match value {
            Value::String(string) => {
                self.strings.mark(string);
                false
            }
            Value::Table(id) => !self.tables.is_marked(id.0 as usize),
            Value::Function(id) => !self.functions.is_marked(id.0 as usize),
            Value::Thread(id) => !self.threads.is_marked(id.0 as usize),
            Value::Proxy(id) => !self.proxies.is_marked(id.0 as usize),
            _ => false,
        }
    }

    fn sweep(&mut self) {
        let mut freed = self.strings.sweep();
        self.tables.sweep(|_, _| (), |table| freed += Arena::<super::Table>::SLOT_BYTES + table.heap_bytes());
        self.functions.sweep(|_, _| (), |function| freed += function_bytes(&function));
        self.upvalues.sweep(|_, _| (), |_| freed += Arena::<Upvalue>::SLOT_BYTES);
        self.threads
            .sweep(|_, _| (), |thread| freed += Arena::<super::Thread>::SLOT_BYTES + thread.heap_bytes());
        self.proxies.sweep(|_, _| (), |_| freed += Arena::<super::Proxy>::SLOT_BYTES);
        self.used_bytes = self.used_bytes.saturating_sub(freed);
    }
}

impl Marker<'_> {
    #[inline]
    pub fn value(&mut self, value: Value) {
        match value {
            Value::String(string) => self.string(string),
            Value::Table(id) => self.table(id),
            Value::Function(id) => self.function(id),
            Value::Thread(id) => self.thread(id),
            Value::Proxy(id) => self.proxy(id),
            Value::Nil | Value::Boolean(_) | Value::Number(_) | Value::Null => (),
        }
    }

    pub fn string(&mut self, string: StringId) {
        self.heap.strings.mark(string);
    }

    pub fn table(&mut self, id: TableId) {
        if self.heap.tables.mark(id.0 as usize) {
            self.gray.push(Gray::Table(id));
        }
    }

    pub fn function(&mut self, id: FunctionId) {
        if self.heap.functions.mark(id.0 as usize) {
            self.gray.push(Gray::Function(id));
        }
    }

    pub fn thread(&mut self, id: ThreadId) {
        if self.heap.threads.mark(id.0 as usize) {
            self.gray.push(Gray::Thread(id));
        }
    }

    fn proxy(&mut self, id: ProxyId) {
        if self.heap.proxies.mark(id.0 as usize)
            && let Some(metatable) = self.heap.proxy(id).metatable
        {
            self.table(metatable);
        }
    }

    /// A captured variable. One that is open is marked with the stack of its thread.
    pub fn upvalue(&mut self, id: UpvalueId) {
        if self.heap.upvalues.mark(id.0 as usize) {
            match self.heap.upvalue(id) {
                Upvalue::Closed(value) => self.value(value),
                Upvalue::Open { thread, .. } => self.thread(thread),
            }
        }
    }

    /// The constants of a function, and of those within it.
    pub fn prototype(&mut self, prototype: &Rc<Prototype>) {
        let mut waiting = vec![prototype];
        while let Some(prototype) = waiting.pop() {
            if prototype.marked.replace(self.heap.collection) == self.heap.collection {
                continue;
            }
            for constant in &prototype.constants {
                self.value(*constant);
            }
            waiting.extend(prototype.prototypes.iter());
        }
    }

    /// Marks what the reached objects contain, until there is nothing more.
    fn run(&mut self, mode: StringId) {
        while let Some(gray) = self.gray.pop() {
            match gray {
                Gray::Table(id) => self.contents_of_table(id, mode),
                Gray::Function(id) => self.contents_of_function(id),
                Gray::Thread(id) => self.contents_of_thread(id),
            }
        }
    }

    fn contents_of_table(&mut self, id: TableId, mode: StringId) {
        // Taken out, so that the marks can be changed meanwhile.
        let table = std::mem::take(self.heap.tables.get_mut(id.0 as usize));
        let mut weakness = Weakness { keys: false, values: false };
        if let Some(metatable) = table.metatable() {
            self.table(metatable);
            let of = if metatable == id { &table } else { self.heap.table(metatable) };
            weakness = self.heap.weakness(of, mode);
        }
        if weakness.keys || weakness.values {
            self.weak.push((id, weakness));
        }
        if !weakness.values {
            for value in table.array() {
                self.value(*value);
            }
        }
        for (key, value) in table.nodes() {
            // The key of a value that was removed stays where it is until the table is put in order.
            if !weakness.keys {
                self.value(key);
            }
            if !weakness.values {
                self.value(value);
            }
        }
        *self.heap.tables.get_mut(id.0 as usize) = table;
    }

    fn contents_of_function(&mut self, id: FunctionId) {
        match self.heap.functions.get(id.0 as usize) {
            Function::Lua(closure) => {
                let closure = Rc::clone(closure);
                self.table(closure.environment.get());
                self.prototype(&closure.prototype);
                for upvalue in &closure.upvalues {
                    self.upvalue(*upvalue);
                }
            }
            Function::Native { upvalues, .. } => {
                for value in upvalues.clone() {
                    self.value(value);
                }
            }
            Function::Host { .. } => (),
        }
    }

    fn contents_of_thread(&mut self, id: ThreadId) {
        let mut thread = std::mem::take(self.heap.threads.get_mut(id.0 as usize));
        let end = thread.end().min(thread.stack.len());
        thread.mark(self, end);
        *self.heap.threads.get_mut(id.0 as usize) = thread;
    }
}

impl Heap {
    fn weakness(&self, metatable: &super::Table, mode: StringId) -> Weakness {
        match metatable.get_string(mode, &self.strings) {
            Value::String(string) => {
                let mode = self.bytes(string);
                Weakness { keys: mode.contains(&b'k'), values: mode.contains(&b'v') }
            }
            _ => Weakness { keys: false, values: false },
        }
    }
}
