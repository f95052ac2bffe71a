//! Which clients may have a copy of which key.
//!
//! The table is a [`Hash`](struct@Hash) with the layout of a large hash value: a name and its clients, in order and 8
//! bytes each, form one block. So it grows and shrinks without a pause, and can return random names. A key of 16 bytes
//! with one client takes 28 bytes and its share of the dict, about 17.

use crate::db::Garbage;
use crate::sys::poller::Token;
use crate::types::Shapes;
use crate::types::hash::{Field, FieldRef, Hash};
use crate::types::random::Random;

/// Bytes of a client.
const ITEM: usize = 8;

/// The current time for a hash whose fields never expire.
const NEVER: i64 = 0;

/// Returns a client as it is stored in the table: the order of these bytes is an order of the clients.
fn item(token: Token) -> [u8; ITEM] {
    (u64::from(token.slot) << 32 | u64::from(token.generation)).to_be_bytes()
}

/// The clients of a key that was removed from the table.
pub struct Readers(Field);

impl Readers {
    /// Iterates over the clients.
    pub fn iter(&self) -> impl Iterator<Item = Token> {
        let (items, _) = self.0.view().value().as_chunks::<ITEM>();
        items.iter().map(|item| {
            let [s0, s1, s2, s3, g0, g1, g2, g3] = *item;
            Token {
                slot: u32::from_be_bytes([s0, s1, s2, s3]),
                generation: u32::from_be_bytes([g0, g1, g2, g3]),
            }
        })
    }
}

/// See the module's head.
pub struct Table {
    names: Box<Hash>,
    /// The clients of all keys, added up.
    items: usize,
}

impl Table {
    /// Creates an empty table, hashed as in `shapes`.
    pub fn new(shapes: &Shapes) -> Table {
        Table { names: Box::new(Hash::new(shapes.seed, 0)), items: 0 }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The clients of all keys, added up.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Records that `token` may have a copy of the key. One lookup if it is recorded already.
    #[inline]
    pub fn remember(&mut self, token: Token, name: &[u8]) {
        self.names.step();
        let item = item(token);
        let known = self.names.get(name, NEVER).map(FieldRef::value);
        let (readers, _) = known.unwrap_or(&[]).as_chunks::<ITEM>();
        // Most keys have one reader.
        if readers == [item] {
            return;
        }
        let Err(place) = readers.binary_search(&item) else { return };
        let mut readers = readers.as_flattened().to_vec();
        readers.splice(place * ITEM..place * ITEM, item);
        self.names.set(name, &readers, None, false, NEVER);
        self.items += 1;
    }

    /// Removes a key and returns its clients, if it was there.
    pub fn take(&mut self, name: &[u8]) -> Option<Readers> {
        self.names.step();
        let readers = self.names.take(name)?;
        self.items -= readers.view().value().len() / ITEM;
        Some(Readers(readers))
    }

    /// Returns a random key.
    pub fn random(&self, random: &mut Random) -> Option<Vec<u8>> {
        self.names.random(NEVER, random).map(|field| field.name().to_vec())
    }

    /// Removes all keys. Returns the garbage that is to be freed elsewhere.
    pub fn clear(&mut self) -> Option<Garbage> {
        if self.names.is_empty() {
            return None;
        }
        self.items = 0;
        let empty = Box::new(Hash::new(self.names.dict().seed(), 0));
        Some(Garbage::Names(std::mem::replace(&mut self.names, empty)))
    }

    /// Takes the memory that a resize has left, to be freed elsewhere.
    #[inline]
    pub fn take_retired(&mut self) -> Option<Garbage> {
        self.names.take_retired().map(Garbage::Retired)
    }
}
