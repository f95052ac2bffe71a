//! Long names, each stored once.
//!
//! A name of up to 128 bytes is its own key in the other tables: copies of it take less memory than sharing it would. A
//! longer name is stored once, reference-counted, and its key is a number:
//!
//! ```text
//!   numbers   name ─▶ number                    key: 255, the number as 4 bytes
//!   names     number ─▶ name, subscriptions
//! ```
//!
//! A short name with the form of a number's key gets a number too, so that keys are unique.

use std::collections::HashMap;
use std::rc::Rc;

use super::directory::Numbered;
use crate::alloc;

/// The length of the longest name that is its own key.
pub const LONGEST_KEY: usize = 128;

/// The first byte of a number's key. UTF-8 never contains it.
const MARK: u8 = u8::MAX;

/// Bytes of a number's key.
const NUMBERED: usize = 1 + size_of::<u32>();

/// Bytes of a name's entries in both tables, with the tables' free slots.
const ENTRY: usize = 40 + size_of::<Name>() + 8;

/// Bytes of the two reference counts before a shared name.
const HEADER: usize = 2 * size_of::<usize>();

/// The key of a name in the tables of subscriptions.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    /// The name itself.
    Name(&'a [u8]),
    /// The number of a long name.
    Number([u8; NUMBERED]),
}

impl Key<'_> {
    fn of_number(number: u32) -> Self {
        let mut key = [MARK; NUMBERED];
        key[1..].copy_from_slice(&number.to_le_bytes());
        Key::Number(key)
    }

    /// Decodes a key.
    pub fn from_bytes(bytes: &[u8]) -> Key<'_> {
        number_of(bytes).map_or(Key::Name(bytes), Key::of_number)
    }

    /// The key as it is stored in the tables.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Key::Name(name) => name,
            Key::Number(key) => key,
        }
    }
}

/// The number in a key; `None` if the key is a name.
fn number_of(key: &[u8]) -> Option<u32> {
    let number = key.strip_prefix(&[MARK])?;
    Some(u32::from_le_bytes(number.try_into().ok()?))
}

/// Whether a name is its own key.
pub fn is_key(name: &[u8]) -> bool {
    name.len() <= LONGEST_KEY && number_of(name).is_none()
}

/// The length of a name's key.
pub fn key_len(name: &[u8]) -> usize {
    if is_key(name) { name.len() } else { NUMBERED }
}

/// Bytes of memory that a name takes in this file's tables.
pub fn shared_name_bytes(name: &[u8]) -> usize {
    if is_key(name) { 0 } else { alloc::class_size(HEADER + name.len()) + ENTRY }
}

#[derive(Debug)]
struct Name {
    name: Rc<[u8]>,
    /// How many subscriptions to it all clients have, of all kinds.
    subscriptions: usize,
}

/// The names whose keys are numbers.
#[derive(Debug, Default)]
pub struct LongNames {
    numbers: HashMap<Rc<[u8]>, u32>,
    names: Numbered<Name>,
}

impl LongNames {
    /// Whether no long name is stored.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The key of a name; `None` if the name is long and has no subscribers.
    pub fn key<'a>(&self, name: &'a [u8]) -> Option<Key<'a>> {
        if is_key(name) {
            return Some(Key::Name(name));
        }
        self.numbers.get(name).map(|number| Key::of_number(*number))
    }

    /// Counts another subscription to a name, and returns its key. [`release`](Self::release) is the opposite.
    pub fn acquire<'a>(&mut self, name: &'a [u8]) -> Key<'a> {
        if is_key(name) {
            return Key::Name(name);
        }
        if let Some(number) = self.numbers.get(name) {
            self.names.get_mut(*number).subscriptions += 1;
            return Key::of_number(*number);
        }
        let name: Rc<[u8]> = name.into();
        let number = self.names.insert(Name { name: name.clone(), subscriptions: 1 });
        self.numbers.insert(name, number);
        Key::of_number(number)
    }

    /// Removes one subscription to the name of this key, and frees the name after the last one.
    pub fn release(&mut self, key: &[u8]) {
        let Some(number) = number_of(key) else { return };
        let name = self.names.get_mut(number);
        name.subscriptions -= 1;
        if name.subscriptions == 0 {
            self.numbers.remove(&name.name);
            self.names.remove(number);
            if self.numbers.is_empty() {
                self.numbers = HashMap::new();
            }
        }
    }

    /// The name that has this key, if the key is a number.
    pub fn numbered(&self, key: &[u8]) -> Option<&[u8]> {
        number_of(key).map(|number| &*self.names.get(number).name)
    }

    /// The name that has this key.
    pub fn name<'a>(&'a self, key: &'a [u8]) -> &'a [u8] {
        self.numbered(key).unwrap_or(key)
    }
}
