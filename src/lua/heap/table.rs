//! A table: a sequence for the keys 1 to n, and nodes for all others.
//!
//! ```text
//!  array   │ t[1] │ t[2] │ … │ t[n] │          more than half of it in use
//!
//!  nodes   │ key value next │ key value next │ …      a power of two; a key is in the chain of its main position
//! ```
//!
//! The nodes are a chained scatter table with Brent's variation, as in the reference implementation (R. Ierusalimschy
//! et al., "The Implementation of Lua 5.0", 2005): a key that collides with one outside its own main position takes
//! that place, and the other key moves. Sizes, hashes and the search for a free node follow the reference
//! implementation too, since they decide the order in which `next` returns keys, and the result of `#` when there are
//! holes.
//!
//! Keys with the same main position are easy to construct. If the chains of a table become longer than honest keys make
//! them, the table is permanently rehashed with seeded hashes: hostile keys lose the familiar order and nothing else.

use std::ops::Range;

use super::strings::{Strings, seeded_hash};
use crate::alloc::array_size;
use crate::lua::value::{StringId, TableId, Value};

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// The array has at most 2 to the power of this many elements.
const MOST_BITS: usize = 26;

/// A table with a longer chain switches to seeded hashes.
const LONGEST_CHAIN: usize = 48;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// `Nil` in a node that was never used; NaN, which is never a key, after a weak key or value was removed.
    key: Value,
    value: Value,
    next: u32,
}

const EMPTY: Node = Node { key: Value::Nil, value: Value::Nil, next: NONE };

#[derive(Debug, Default)]
pub struct Table {
    array: Vec<Value>,
    nodes: Box<[Node]>,
    /// All nodes from this one on are in use or were.
    free_below: u32,
    metatable: Option<TableId>,
    pub(in crate::lua) is_readonly: bool,
    is_seeded: bool,
}

/// Why a key cannot be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// `nil` is not a key.
    NilKey,
    /// Not a number is not a key.
    NanKey,
    /// There is not enough memory.
    Memory,
    /// The table cannot be changed.
    Readonly,
}

/// The key passed to `next` is not in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchKey;

/// The result of searching a table's slots for a pair.
#[derive(Clone, Copy, Debug)]
pub enum Walk {
    /// A pair and the position after it.
    Pair(usize, Value, Value),
    /// No pair before this position; more slots follow it.
    Empty(usize),
    /// No pair up to the end.
    End,
}

impl Table {
    pub fn new(array: usize, hash: usize) -> Table {
        let mut table = Table::default();
        table.array.resize(array, Value::Nil);
        table.set_node_count(hash);
        table
    }

    /// Bytes of memory held beyond its slot in the arena.
    pub fn heap_bytes(&self) -> usize {
        array_size::<Value>(self.array.capacity()) + array_size::<Node>(self.nodes.len())
    }

    pub fn metatable(&self) -> Option<TableId> {
        self.metatable
    }

    pub fn set_metatable(&mut self, metatable: Option<TableId>) {
        self.metatable = metatable;
    }

    fn set_node_count(&mut self, wanted: usize) {
        let count = if wanted == 0 { 0 } else { wanted.next_power_of_two() };
        self.nodes = vec![EMPTY; count].into_boxed_slice();
        self.free_below = count as u32;
    }

    // Lookup

    #[inline(always)]
    pub fn get(&self, key: Value, strings: &Strings) -> Value {
        match key {
            Value::Number(number) => self.get_number(number, strings),
            Value::String(name) => self.get_string(name, strings),
            Value::Nil => Value::Nil,
            _ => self.find(key, strings).map_or(Value::Nil, |place| self.nodes[place].value),
        }
    }

    #[inline(always)]
    pub fn get_number(&self, key: f64, strings: &Strings) -> Value {
        let index = key as usize;
        if index as f64 == key
            && let Some(value) = self.array.get(index.wrapping_sub(1))
        {
            return *value;
        }
        if self.nodes.is_empty() {
            return Value::Nil;
        }
        self.find(Value::Number(key), strings).map_or(Value::Nil, |place| self.nodes[place].value)
    }

    #[inline(always)]
    pub fn get_index(&self, index: usize, strings: &Strings) -> Value {
        match self.array.get(index.wrapping_sub(1)) {
            Some(value) => *value,
            None if self.nodes.is_empty() => Value::Nil,
            None => self
                .find(Value::Number(index as f64), strings)
                .map_or(Value::Nil, |place| self.nodes[place].value),
        }
    }

    #[inline(always)]
    pub fn get_string(&self, key: StringId, strings: &Strings) -> Value {
        match self.find_string(key, strings) {
            Some(place) => self.nodes[place].value,
            None => Value::Nil,
        }
    }

    #[inline(always)]
    fn find_string(&self, key: StringId, strings: &Strings) -> Option<usize> {
        if self.nodes.is_empty() {
            return None;
        }
        if key.is_long() || self.is_seeded {
            return self.find(Value::String(key), strings);
        }
        let mut place = strings.hash(key) as usize & (self.nodes.len() - 1);
        loop {
            let node = &self.nodes[place];
            if let Value::String(found) = node.key
                && found == key
            {
                return Some(place);
            }
            if node.next == NONE {
                return None;
            }
            place = node.next as usize;
        }
    }

    /// Returns the index of the node with `key`.
    fn find(&self, key: Value, strings: &Strings) -> Option<usize> {
        if self.nodes.is_empty() {
            return None;
        }
        let mut place = self.main_position(key, strings);
        loop {
            let node = &self.nodes[place];
            if same(node.key, key, strings) {
                return Some(place);
            }
            if node.next == NONE {
                return None;
            }
            place = node.next as usize;
        }
    }

    /// See [`super::Heap::compare_key_piece`].
    pub fn compare_key_piece(&self, key: StringId, most: usize, strings: &Strings) -> Option<usize> {
        if self.nodes.is_empty() {
            return None;
        }
        let first = self.main_position(Value::String(key), strings);
        let candidates = || {
            let links =
                |place: &usize| Some(self.nodes[*place].next as usize).filter(|next| *next != NONE as usize);
            let chain = std::iter::successors(Some(first), links);
            chain.filter_map(|place| match self.nodes[place].key {
                Value::String(other) if other.is_long() => Some(other),
                _ => None,
            })
        };
        // The keys before the one compared last are known to differ.
        let last = strings.compared_with(key);
        let before = last.and_then(|last| candidates().position(|other| other == last)).unwrap_or(0);
        for other in candidates().skip(before) {
            if other == key {
                return None;
            }
            if strings.may_be_equal(other, key) {
                match strings.compare_piece(other, key, most) {
                    Some((bytes, true)) => return Some(bytes),
                    Some((_, false)) => {}
                    None => return None,
                }
            }
        }
        None
    }

    /// The main position of a key. Requires at least one node.
    fn main_position(&self, key: Value, strings: &Strings) -> usize {
        let count = self.nodes.len();
        if self.is_seeded {
            return seeded_position(key, strings) as usize & (count - 1);
        }
        let odd = (count - 1) | 1;
        match key {
            Value::String(string) => strings.hash(string) as usize & (count - 1),
            Value::Number(0.0) | Value::Null | Value::Nil => 0,
            Value::Number(number) => {
                let bits = number.to_bits();
                (bits as u32).wrapping_add((bits >> 32) as u32) as usize % odd
            }
            Value::Boolean(value) => usize::from(value) & (count - 1),
            Value::Table(id) => id.0 as usize % odd,
            Value::Function(id) => id.0 as usize % odd,
            Value::Thread(id) => id.0 as usize % odd,
            Value::Proxy(id) => id.0 as usize % odd,
        }
    }

    // Storing

    /// Returns the slot of a key that exists, for overwriting its value.
    #[inline(always)]
    pub fn slot(&mut self, key: Value, strings: &Strings) -> Option<&mut Value> {
        let place = match key {
            Value::Number(number) => {
                let index = number as usize;
                if index as f64 == number && index.wrapping_sub(1) < self.array.len() {
                    return Some(&mut self.array[index - 1]);
                }
                self.find(key, strings)
            }
            Value::String(name) => self.find_string(name, strings),
            Value::Nil => None,
            _ => self.find(key, strings),
        };
        place.map(|place| &mut self.nodes[place].value)
    }

    /// Stores a value under a key that may be new. Even a `nil` gets a node, as in the reference implementation.
    pub fn set(&mut self, key: Value, value: Value, strings: &Strings) -> Result<(), TableError> {
        if let Some(slot) = self.slot(key, strings) {
            *slot = value;
            return Ok(());
        }
        match key {
            Value::Nil => return Err(TableError::NilKey),
            Value::Number(number) if number.is_nan() => return Err(TableError::NanKey),
            _ => (),
        }
        self.insert(key, value, strings);
        Ok(())
    }

    /// Stores a value under a key that has no slot.
    fn insert(&mut self, key: Value, value: Value, strings: &Strings) {
        if self.nodes.is_empty() {
            return self.rehash(key, value, strings);
        }
        let mut place = self.main_position(key, strings);
        if !self.nodes[place].value.is_nil() {
            let Some(free) = self.take_free() else { return self.rehash(key, value, strings) };
            let other = self.main_position(self.nodes[place].key, strings);
            if other == place {
                self.nodes[free].next = self.nodes[place].next;
                self.nodes[place].next = free as u32;
                place = free;
                if !self.is_seeded && self.chain_length(other) > LONGEST_CHAIN {
                    self.nodes[place].key = key;
                    self.nodes[place].value = value;
                    return self.seed(strings);
                }
            } else {
                let mut before = other;
                while self.nodes[before].next as usize != place {
                    before = self.nodes[before].next as usize;
                }
                self.nodes[before].next = free as u32;
                self.nodes[free] = self.nodes[place];
                self.nodes[place] = EMPTY;
            }
        }
        self.nodes[place].key = key;
        self.nodes[place].value = value;
    }

    fn chain_length(&self, mut place: usize) -> usize {
        let mut length = 1;
        while self.nodes[place].next != NONE {
            place = self.nodes[place].next as usize;
            length += 1;
        }
        length
    }

    /// Rehashes the nodes with seeded hashes.
    #[cold]
    fn seed(&mut self, strings: &Strings) {
        self.is_seeded = true;
        let count = self.nodes.len();
        self.resize(self.array.len(), count, strings);
    }

    fn take_free(&mut self) -> Option<usize> {
        let is_free = self.has_free();
        is_free.then(|| {
            self.free_below -= 1;
            self.free_below as usize
        })
    }

    /// Whether there is a free node. If so, it is the one before `free_below`.
    #[inline]
    pub(super) fn has_free(&mut self) -> bool {
        while self.free_below > 0 && !self.nodes[self.free_below as usize - 1].key.is_nil() {
            self.free_below -= 1;
        }
        self.free_below > 0
    }

    /// Resizes the table to fit its contents and one more key, and stores that key.
    #[cold]
    fn rehash(&mut self, key: Value, value: Value, strings: &Strings) {
        let mut counts = Counts::of(key);
        self.count_keys(0, self.slots(), &mut counts);
        let (array, in_array) = best_array_size(&counts);
        self.resize(array, counts.total - in_array, strings);
        // The sizes chosen leave room.
        let _ = self.set(key, value, strings);
    }

    /// Counts the keys in the slots `from..to`.
    pub(super) fn count_keys(&self, from: usize, to: usize, counts: &mut Counts) {
        let size = self.array.len();
        let mut begin = from;
        while begin < to.min(size) {
            // Up to the next power of two.
            let power = (begin + 1).next_power_of_two();
            let end = power.min(to).min(size);
            let used = self.array[begin..end].iter().filter(|value| !value.is_nil()).count();
            counts.by_power[power.trailing_zeros() as usize] += used;
            counts.total += used;
            begin = end;
        }
        for node in &self.nodes[within(from, to, size, self.slots())] {
            if !node.value.is_nil() {
                counts.add(node.key);
            }
        }
    }

    #[inline]
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Whether `key` has no slot and cannot get one until the table grows.
    pub(super) fn lacks_room_for(&mut self, key: Value, strings: &Strings) -> bool {
        !self.has_free()
            && !self.nodes[self.main_position(key, strings)].value.is_nil()
            && self.slot(key, strings).is_none()
    }

    /// Resizes the table to `array` elements and room for `hash` other keys.
    pub fn resize(&mut self, array: usize, hash: usize, strings: &Strings) {
        let old_nodes = std::mem::take(&mut self.nodes);
        self.set_node_count(hash);
        let moving = if array < self.array.len() { self.array.split_off(array) } else { Vec::new() };
        if array > self.array.len() {
            self.array.reserve_exact(array - self.array.len());
            self.array.resize(array, Value::Nil);
        } else {
            self.array.shrink_to_fit();
        }
        for (offset, value) in moving.into_iter().enumerate().filter(|(_, value)| !value.is_nil()) {
            let _ = self.set(Value::Number((array + offset + 1) as f64), value, strings);
        }
        for node in old_nodes.iter().rev().filter(|node| !node.value.is_nil()) {
            let _ = self.set(node.key, node.value, strings);
        }
    }

    /// Makes room for at least `array` elements in the sequence; for constructors.
    pub fn reserve_array(&mut self, array: usize, strings: &Strings) {
        if array > self.array.len() {
            let nodes = self.nodes.iter().filter(|node| !node.value.is_nil()).count();
            if nodes == 0 {
                self.array.reserve_exact(array - self.array.len());
                self.array.resize(array, Value::Nil);
            } else {
                self.resize(array, self.nodes.len(), strings);
            }
        }
    }

    // Length and iteration

    /// Returns a border: an `n` such that `t[n]` is not nil and `t[n + 1]` is, or 0; found by binary search. If that
    /// fails, returns an index below which there is no border: the caller searches linearly from there.
    #[inline]
    pub fn length(&self, strings: &Strings) -> Result<usize, usize> {
        let size = self.array.len();
        if size > 0 && self.array[size - 1].is_nil() {
            let (mut low, mut high) = (0, size);
            while high - low > 1 {
                let middle = usize::midpoint(low, high);
                if self.array[middle - 1].is_nil() { high = middle } else { low = middle }
            }
            return Ok(low);
        }
        if self.nodes.is_empty() {
            return Ok(size);
        }
        self.border_beyond(size, strings)
    }

    fn border_beyond(&self, size: usize, strings: &Strings) -> Result<usize, usize> {
        let (mut low, mut high) = (size, size + 1);
        while !self.get_index(high, strings).is_nil() {
            low = high;
            high *= 2;
            if high > i32::MAX as usize {
                // Only a hostile script builds such a table.
                return Err(1);
            }
        }
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.get_index(middle, strings).is_nil() { high = middle } else { low = middle }
        }
        Ok(low)
    }

    /// Returns the first pair at or after `position`, and the position after that pair. Positions count the array's
    /// elements from 0, then the nodes.
    pub fn pair_from(&self, position: usize) -> Option<(usize, Value, Value)> {
        match self.pair_within(position, usize::MAX) {
            Walk::Pair(next, key, value) => Some((next, key, value)),
            Walk::Empty(_) | Walk::End => None,
        }
    }

    /// Like `pair_from`, but searches at most `most` slots.
    #[inline]
    pub fn pair_within(&self, position: usize, most: usize) -> Walk {
        let end = position.saturating_add(most).min(self.slots());
        let size = self.array.len();
        let mut position = position;
        if position < size {
            for value in &self.array[position..end.min(size)] {
                position += 1;
                if !value.is_nil() {
                    return Walk::Pair(position, Value::Number(position as f64), *value);
                }
            }
        }
        if position < end {
            for node in &self.nodes[position - size..end - size] {
                position += 1;
                if !node.value.is_nil() {
                    return Walk::Pair(position, node.key, node.value);
                }
            }
        }
        if position < self.slots() { Walk::Empty(position) } else { Walk::End }
    }

    /// Returns the position after that of `key`.
    pub fn position_after(&self, key: Value, strings: &Strings) -> Result<usize, NoSuchKey> {
        match key {
            Value::Nil => return Ok(0),
            Value::Number(number) => {
                let index = number as usize;
                if index as f64 == number && index.wrapping_sub(1) < self.array.len() {
                    return Ok(index);
                }
            }
            _ => (),
        }
        self.find(key, strings).map(|place| self.array.len() + place + 1).ok_or(NoSuchKey)
    }

    /// The elements of the sequence part, some of which may be nil.
    pub fn array(&self) -> &[Value] {
        &self.array
    }

    pub fn array_mut(&mut self) -> &mut [Value] {
        &mut self.array
    }

    // For the collector

    /// The number of array elements and nodes, free ones included.
    pub fn slots(&self) -> usize {
        self.array.len() + self.nodes.len()
    }

    /// The keys and values in the slots `from..to`. The array comes first; its keys are returned as nil.
    pub(super) fn slots_from(&self, from: usize, to: usize) -> impl Iterator<Item = (Value, Value)> + '_ {
        let (array, nodes) =
            (within(from, to, 0, self.array.len()), within(from, to, self.array.len(), self.slots()));
        let elements = self.array[array].iter().map(|value| (Value::Nil, *value));
        elements.chain(self.nodes[nodes].iter().map(|node| (node.key, node.value)))
    }

    /// Removes the entries in the slots `from..to` whose key or value `is_dead`; for weak tables.
    pub(super) fn clear_dead(
        &mut self,
        from: usize,
        to: usize,
        mut is_dead: impl FnMut(Value, Value) -> bool,
    ) {
        let (array, nodes) =
            (within(from, to, 0, self.array.len()), within(from, to, self.array.len(), self.slots()));
        for value in &mut self.array[array] {
            if is_dead(Value::Nil, *value) {
                *value = Value::Nil;
            }
        }
        for node in &mut self.nodes[nodes] {
            if !node.key.is_nil() && is_dead(node.key, node.value) {
                node.value = Value::Nil;
                node.key = Value::Number(f64::NAN);
            }
        }
    }
}

/// The intersection of `from..to` and `begin..end`, relative to `begin`.
fn within(from: usize, to: usize, begin: usize, end: usize) -> Range<usize> {
    from.clamp(begin, end) - begin..to.clamp(begin, end) - begin
}

fn same(a: Value, b: Value, strings: &Strings) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b,
        (Value::String(a), Value::String(b)) => strings.equal(a, b),
        (Value::Boolean(a), Value::Boolean(b)) => a == b,
        (Value::Table(a), Value::Table(b)) => a == b,
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::Thread(a), Value::Thread(b)) => a == b,
        (Value::Proxy(a), Value::Proxy(b)) => a == b,
        (Value::Null, Value::Null) => true,
        _ => false,
    }
}

fn seeded_position(key: Value, strings: &Strings) -> u32 {
    let (kind, bits) = match key {
        Value::String(string) => return strings.seeded_hash(string),
        Value::Number(0.0) => (0, 0),
        Value::Number(number) => (0, number.to_bits()),
        Value::Boolean(value) => (1, u64::from(value)),
        Value::Table(id) => (2, u64::from(id.0)),
        Value::Function(id) => (3, u64::from(id.0)),
        Value::Thread(id) => (4, u64::from(id.0)),
        Value::Proxy(id) => (5, u64::from(id.0)),
        Value::Null | Value::Nil => (6, 0),
    };
    seeded_hash(&bits.to_le_bytes(), strings.seed() ^ kind)
}

/// The number of keys in a table, and the number of possible array keys of each size.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Element `i` counts the keys `k` with 2^(i-1) < k <= 2^i.
    by_power: [usize; MOST_BITS + 1],
    total: usize,
}

impl Counts {
    /// Counts a single key.
    pub fn of(key: Value) -> Counts {
        let mut counts = Counts::default();
        counts.add(key);
        counts
    }

    pub fn total(&self) -> usize {
        self.total
    }

    fn add(&mut self, key: Value) {
        self.total += 1;
        if let Value::Number(number) = key {
            let index = number as usize;
            if index as f64 == number && (1..=1 << MOST_BITS).contains(&index) {
                self.by_power[index.next_power_of_two().trailing_zeros() as usize] += 1;
            }
        }
    }
}

/// A table built in pieces to replace another one, with its entries.
#[derive(Debug)]
pub(super) struct Building {
    table: Table,
    /// The numbers of array elements and of nodes that it will have, and the nodes built so far.
    array: usize,
    count: usize,
    nodes: Vec<Node>,
    /// The number of entries outside the array moved so far.
    moved: usize,
}

impl Building {
    /// Starts a table with `array` elements and room for `hash` other keys.
    pub fn new(old: &Table, array: usize, hash: usize) -> Building {
        let count = if hash == 0 { 0 } else { hash.next_power_of_two() };
        let table = Table {
            array: Vec::with_capacity(array),
            metatable: old.metatable,
            is_readonly: old.is_readonly,
            is_seeded: old.is_seeded,
            ..Table::default()
        };
        Building { table, array, count, nodes: Vec::with_capacity(count), moved: 0 }
    }

    /// Bytes of the table being built.
    pub fn heap_bytes(&self) -> usize {
        array_size::<Value>(self.array) + array_size::<Node>(self.count)
    }

    /// Makes or moves up to `most` more slots. Returns whether the table is complete and has replaced the old one.
    pub fn step(&mut self, old: &mut Table, most: usize, strings: &Strings) -> bool {
        let table = &mut self.table;
        if table.array.len() < self.array {
            let (from, to) = (table.array.len(), self.array.min(table.array.len() + most));
            table.array.extend_from_slice(&old.array[within(from, to, 0, old.array.len())]);
            table.array.resize(to, Value::Nil);
            return false;
        }
        if self.nodes.len() < self.count {
            self.nodes.resize(self.count.min(self.nodes.len() + most), EMPTY);
            return false;
        }
        if table.nodes.len() < self.count {
            table.nodes = std::mem::take(&mut self.nodes).into_boxed_slice();
            table.free_below = self.count as u32;
        }
        // In the order of `Table::resize`.
        let beyond = old.array.len().saturating_sub(self.array);
        let end = (beyond + old.nodes.len()).min(self.moved + most);
        for index in self.moved..end {
            let (key, value) = if index < beyond {
                (Value::Number((self.array + index + 1) as f64), old.array[self.array + index])
            } else {
                let node = &old.nodes[old.nodes.len() - 1 - (index - beyond)];
                (node.key, node.value)
            };
            if !value.is_nil() {
                // The sizes chosen leave room.
                let _ = table.set(key, value, strings);
            }
        }
        self.moved = end;
        let is_done = end == beyond + old.nodes.len();
        if is_done {
            *old = std::mem::take(table);
        }
        is_done
    }
}

/// Returns the largest size of which more than half is in use, and the number of keys in the array then.
pub(super) fn best_array_size(counts: &Counts) -> (usize, usize) {
    let (mut sum, mut best) = (0, (0, 0));
    for (power, count) in counts.by_power.iter().enumerate() {
        sum += count;
        if *count > 0 && sum > (1 << power) / 2 {
            best = (1 << power, sum);
        }
    }
    best
}
