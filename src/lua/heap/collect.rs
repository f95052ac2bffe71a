//! The collector: marks all objects that are reachable from the roots, and frees the rest.
//!
//! ```text
//!  begin ─▶ roots ─▶ mark, 256 table slots at a time ─▶ clear weak tables ─▶ sweep, 1,024 slots at a time ─▶ done
//! ```
//!
//! The program stops during a collection, so there are no write barriers. The collection itself works in small steps
//! that count against the budget, and the machine can be suspended between them. A collection starts when memory use is
//! twice that after the last one, so its cost is proportional to allocation. Gray objects are on an explicit list, so
//! deep structures cause no recursion. A large table is pushed back on the list with the position reached, so the list
//! stays short. As it goes, the sweep rebuilds the free lists and frees the unused slots at the end of an arena.
//!
//! A table with `__mode` does not keep its keys or values alive, and drops the entries of those that die (Lua 5.1,
//! section 2.10.2).

use std::rc::Rc;

use super::{Arena, FIRST_COLLECTION, Function, Heap, Upvalue, function_bytes};
use crate::lua::code::Prototype;
use crate::lua::value::{FunctionId, ProxyId, StringId, TableId, ThreadId, UpvalueId, Value};

/// The number of table slots that one step marks or clears.
const SLOTS_AT_ONCE: usize = 256;

/// The number of arena slots that one step sweeps.
const PLACES_AT_ONCE: usize = 1024;

/// The number of bytes of `__mode` that are searched for `k` and `v`: each table with that metatable repeats the
/// search.
const LONGEST_MODE: usize = 64;

/// The cost of marking or freeing an object, in budget steps.
const OBJECT_STEPS: usize = 4;

/// An object that is marked, but whose contents are not.
#[derive(Clone, Copy, Debug)]
enum Gray {
    /// The slots before `from` are marked already.
    Table {
        id: TableId,
        from: usize,
        weakness: Weakness,
    },
    Function(FunctionId),
    Thread(ThreadId),
}

/// The progress of a collection.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Mark,
    /// Weak tables before `index` are cleared, as are the slots of that table before `from`.
    Clear {
        index: usize,
        from: usize,
    },
    /// Arena slots of this kind from `end` on are swept.
    Sweep {
        kind: Kind,
        end: usize,
    },
}

/// The kinds of objects, in sweep order.
#[derive(Clone, Copy, Debug)]
enum Kind {
    ShortStrings,
    LongStrings,
    Tables,
    Functions,
    Upvalues,
    Threads,
    Proxies,
}

/// A collection in progress.
#[derive(Debug)]
pub struct Collecting {
    phase: Phase,
    gray: Vec<Gray>,
    weak: Vec<(TableId, Weakness)>,
    /// The string `__mode`.
    mode: StringId,
}

/// The state of the mark phase.
pub struct Marker<'a> {
    heap: &'a mut Heap,
    gray: Vec<Gray>,
    weak: Vec<(TableId, Weakness)>,
    /// Steps taken, for the budget.
    steps: usize,
}

#[derive(Clone, Copy, Debug)]
struct Weakness {
    keys: bool,
    values: bool,
}

impl Heap {
    /// Begins a collection. `mark_roots` marks the roots; `go_on_collecting` does the rest.
    pub fn begin_collection(&mut self, mode: StringId, mark_roots: impl FnOnce(&mut Marker<'_>)) {
        // Weak tables lose entries, which invalidates a growing table.
        self.stop_growing();
        self.clear_marks();
        self.collection = self.collection.wrapping_add(1);
        let mut marker = Marker { heap: self, gray: Vec::new(), weak: Vec::new(), steps: 0 };
        marker.string(mode);
        mark_roots(&mut marker);
        let Marker { gray, weak, .. } = marker;
        self.collecting = Some(Box::new(Collecting { phase: Phase::Mark, gray, weak, mode }));
        self.next_collection = 0;
    }

    /// Continues a collection until `budget` is used up. Returns whether it is complete. `is_at_rest`: no program is
    /// running, so the memory in use afterwards is the baseline of [`Heap::request_collection_at_rest`].
    pub fn go_on_collecting(&mut self, budget: &mut i64, is_at_rest: bool) -> bool {
        let Some(mut collecting) = self.collecting.take() else { return true };
        loop {
            let (steps, next) = self.collect_piece(&mut collecting);
            *budget = budget.saturating_sub(steps as i64);
            let Some(next) = next else { break };
            collecting.phase = next;
            if *budget <= 0 {
                self.collecting = Some(collecting);
                return false;
            }
        }
        // Near the limit, garbage takes at most half of the remaining memory.
        let room = self.limit_bytes.saturating_sub(self.used_bytes) / 2;
        self.pace = self.used_bytes + self.used_bytes.min(room).max(FIRST_COLLECTION);
        if is_at_rest {
            self.most_at_rest = self.pace;
        }
        self.keep_pace();
        true
    }

    /// Whether a collection is in progress.
    pub fn is_collecting(&self) -> bool {
        self.collecting.is_some()
    }

    /// Cancels a collection, and requests another.
    pub fn cancel_collection(&mut self) {
        if self.collecting.take().is_some() {
            self.request_collection();
        }
    }

    /// Makes `wants_collection` true until the next collection is complete.
    pub fn request_collection(&mut self) {
        self.next_collection = 0;
    }

    /// Like `request_collection`, but only if memory use after a program justifies it.
    pub fn request_collection_at_rest(&mut self) {
        if self.used_bytes > self.most_at_rest {
            self.request_collection();
        }
    }

    /// Switches automatic collections on or off. Without them, collections happen on request, or when memory is
    /// exhausted.
    pub fn set_automatic(&mut self, is_automatic: bool) {
        if self.is_automatic != is_automatic {
            self.is_automatic = is_automatic;
            self.keep_pace();
        }
    }

    fn keep_pace(&mut self) {
        self.next_collection = if self.is_automatic { self.pace } else { self.limit_bytes };
    }

    /// Does one step of a collection. Returns its cost and the next phase.
    fn collect_piece(&mut self, collecting: &mut Collecting) -> (usize, Option<Phase>) {
        match collecting.phase {
            Phase::Mark => {
                let (gray, weak) =
                    (std::mem::take(&mut collecting.gray), std::mem::take(&mut collecting.weak));
                let mut marker = Marker { heap: self, gray, weak, steps: 0 };
                let is_done = marker.run(collecting.mode);
                let steps = marker.steps;
                Marker { gray: collecting.gray, weak: collecting.weak, .. } = marker;
                (steps, Some(if is_done { Phase::Clear { index: 0, from: 0 } } else { Phase::Mark }))
            }
            Phase::Clear { index, from } => match collecting.weak.get(index) {
                None => (1, Some(self.begin_sweep(Kind::ShortStrings))),
                Some((id, weakness)) => {
                    let is_done = self.clear_weak(*id, *weakness, from);
                    let (index, from) = if is_done { (index + 1, 0) } else { (index, from + SLOTS_AT_ONCE) };
                    (SLOTS_AT_ONCE, Some(Phase::Clear { index, from }))
                }
            },
            Phase::Sweep { kind, end } => {
                let from = end.saturating_sub(PLACES_AT_ONCE);
                let (count, bytes) = self.sweep(kind, from, end);
                self.used_bytes = self.used_bytes.saturating_sub(bytes);
                // The cost of freeing a large object grows with its pages.
                let steps = (end - from) / 4 + count * OBJECT_STEPS + bytes / 4096;
                if from > 0 {
                    return (steps, Some(Phase::Sweep { kind, end: from }));
                }
                (steps, kind.next().map(|kind| self.begin_sweep(kind)))
            }
        }
    }

    fn clear_marks(&mut self) {
        self.strings.clear_marks();
        self.tables.clear_marks();
        self.functions.clear_marks();
        self.upvalues.clear_marks();
        self.threads.clear_marks();
        self.proxies.clear_marks();
    }

    /// Clears the dead entries in a range of a weak table's slots. Returns whether it was the last range.
    fn clear_weak(&mut self, id: TableId, weakness: Weakness, from: usize) -> bool {
        let mut table = std::mem::take(self.tables.get_mut(id.0 as usize));
        let to = from + SLOTS_AT_ONCE;
        table.clear_dead(from, to, |key, value| {
            (weakness.keys && self.is_dead(key)) || (weakness.values && self.is_dead(value))
        });
        let is_done = to >= table.slots();
        *self.tables.get_mut(id.0 as usize) = table;
        is_done
    }

    /// Strings do not count as dead: those that a weak table keeps are marked here, before strings are swept.
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

    /// Begins to sweep an arena.
    fn begin_sweep(&mut self, kind: Kind) -> Phase {
        let end = match kind {
            Kind::ShortStrings => self.strings.begin_sweep(false),
            Kind::LongStrings => self.strings.begin_sweep(true),
            Kind::Tables => self.tables.begin_sweep(),
            Kind::Functions => self.functions.begin_sweep(),
            Kind::Upvalues => self.upvalues.begin_sweep(),
            Kind::Threads => self.threads.begin_sweep(),
            Kind::Proxies => self.proxies.begin_sweep(),
        };
        Phase::Sweep { kind, end }
    }

    /// Frees the unmarked objects in the arena slots `from..to`. Returns their number and their bytes.
    fn sweep(&mut self, kind: Kind, from: usize, to: usize) -> (usize, usize) {
        fn free<T>(
            arena: &mut Arena<T>,
            from: usize,
            to: usize,
            bytes: impl Fn(&T) -> usize,
        ) -> (usize, usize) {
            let mut freed = (0, 0);
            for place in (from..to).rev() {
                if let Some(object) = arena.sweep(place) {
                    freed = (freed.0 + 1, freed.1 + Arena::<T>::SLOT_BYTES + bytes(&object));
                }
            }
            arena.trim(from, to);
            freed
        }
        fn free_strings(from: usize, to: usize, mut free: impl FnMut(usize) -> usize) -> (usize, usize) {
            let freed = (from..to).rev().map(&mut free);
            freed.fold((0, 0), |(count, sum), bytes| (count + usize::from(bytes > 0), sum + bytes))
        }
        match kind {
            Kind::ShortStrings => {
                let freed = free_strings(from, to, |place| self.strings.sweep_short(place));
                self.strings.trim(false, from, to);
                // There are too many chains only once three quarters of the strings are freed, so the last quarter of
                // the sweep suffices to merge them.
                self.strings.merge_chains(4 * PLACES_AT_ONCE);
                freed
            }
            Kind::LongStrings => {
                let freed = free_strings(from, to, |place| self.strings.sweep_long(place));
                self.strings.trim(true, from, to);
                freed
            }
            Kind::Tables => free(&mut self.tables, from, to, super::Table::heap_bytes),
            Kind::Functions => {
                let slot = Arena::<Function>::SLOT_BYTES;
                free(&mut self.functions, from, to, |function| function_bytes(function) - slot)
            }
            Kind::Upvalues => free(&mut self.upvalues, from, to, |_| 0),
            Kind::Threads => free(&mut self.threads, from, to, super::Thread::heap_bytes),
            Kind::Proxies => free(&mut self.proxies, from, to, |_| 0),
        }
    }
}

impl Kind {
    fn next(self) -> Option<Kind> {
        match self {
            Kind::ShortStrings => Some(Kind::LongStrings),
            Kind::LongStrings => Some(Kind::Tables),
            Kind::Tables => Some(Kind::Functions),
            Kind::Functions => Some(Kind::Upvalues),
            Kind::Upvalues => Some(Kind::Threads),
            Kind::Threads => Some(Kind::Proxies),
            Kind::Proxies => None,
        }
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
            self.gray.push(Gray::Table { id, from: 0, weakness: Weakness { keys: false, values: false } });
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

    /// Marks a captured variable. An open one is marked with the stack of its thread.
    pub fn upvalue(&mut self, id: UpvalueId) {
        if self.heap.upvalues.mark(id.0 as usize) {
            match self.heap.upvalue(id) {
                Upvalue::Closed(value) => self.value(value),
                Upvalue::Open { thread, .. } => self.thread(thread),
            }
        }
    }

    /// Marks the constants of a function and of its nested functions.
    pub fn prototype(&mut self, prototype: &Rc<Prototype>) {
        let mut waiting = vec![prototype];
        while let Some(prototype) = waiting.pop() {
            if prototype.marked.replace(self.heap.collection) == self.heap.collection {
                continue;
            }
            self.steps += OBJECT_STEPS + prototype.constants.len() / 2;
            for constant in &prototype.constants {
                self.value(*constant);
            }
            waiting.extend(prototype.prototypes.iter());
        }
    }

    /// Marks the contents of some gray objects. Returns whether none are left.
    fn run(&mut self, mode: StringId) -> bool {
        while self.steps < SLOTS_AT_ONCE {
            let Some(gray) = self.gray.pop() else { return true };
            self.steps += OBJECT_STEPS;
            match gray {
                Gray::Table { id, from, weakness } => self.contents_of_table(id, from, weakness, mode),
                Gray::Function(id) => self.contents_of_function(id),
                Gray::Thread(id) => self.contents_of_thread(id),
            }
        }
        false
    }

    fn contents_of_table(&mut self, id: TableId, from: usize, mut weakness: Weakness, mode: StringId) {
        // Taken out so that the marks can change meanwhile.
        let table = std::mem::take(self.heap.tables.get_mut(id.0 as usize));
        if from == 0
            && let Some(metatable) = table.metatable()
        {
            self.table(metatable);
            let of = if metatable == id { &table } else { self.heap.table(metatable) };
            weakness = self.heap.weakness(of, mode);
            if weakness.keys || weakness.values {
                self.weak.push((id, weakness));
            }
        }
        let to = table.slots().min(from + SLOTS_AT_ONCE);
        if to < table.slots() {
            // Pushed before the contents of this part, so that the list holds one part per level instead of a whole
            // wide table.
            self.gray.push(Gray::Table { id, from: to, weakness });
        }
        for (key, value) in table.slots_from(from, to) {
            // The key of a removed value stays in its node until the table is rehashed.
            if !weakness.keys {
                self.value(key);
            }
            if !weakness.values {
                self.value(value);
            }
        }
        self.steps += (to - from) / 2;
        *self.heap.tables.get_mut(id.0 as usize) = table;
    }

    fn contents_of_function(&mut self, id: FunctionId) {
        match self.heap.functions.get(id.0 as usize) {
            Function::Lua(closure) => {
                let closure = Rc::clone(closure);
                self.steps += closure.upvalues.len();
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
        self.steps += thread.stack.len() / 4;
        thread.mark(self, end);
        *self.heap.threads.get_mut(id.0 as usize) = thread;
    }
}

impl Heap {
    fn weakness(&self, metatable: &super::Table, mode: StringId) -> Weakness {
        match metatable.get_string(mode, &self.strings) {
            Value::String(string) => {
                let mode = self.bytes(string);
                let mode = &mode[..mode.len().min(LONGEST_MODE)];
                Weakness { keys: mode.contains(&b'k'), values: mode.contains(&b'v') }
            }
            _ => Weakness { keys: false, values: false },
        }
    }
}
