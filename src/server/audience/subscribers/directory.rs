//! From a name to the clients that are subscribed to it, in few bytes.
//!
//! ```text
//!   names   name ─▶ up to 3 clients, 8 bytes each │ the number of a crowd, 4 bytes
//!   crowds  number ─▶ the clients of a name with more of them
//! ```
//!
//! The names are the fields of a [`Hash`](struct@Hash): a name and its few clients make one block, and the table grows and
//! shrinks without a pause. A name of 14 bytes with one client takes 28 bytes and its share of the table, about 17.

use std::collections::HashMap;
use std::rc::Rc;

use crate::alloc;
use crate::resp::Protocol;
use crate::server::audience::post::{Address, Payload, Post, Recipients};
use crate::sys::poller::Token;
use crate::types::Seed;
use crate::types::hash::{FieldRef, Hash};

/// From this many clients on, a list knows where each of them stands in it.
const INDEXED: usize = 64;

/// The most clients that stand beside the name.
const FEW: usize = 3;

/// Bytes of a client.
const ITEM: usize = 8;

/// Bytes of the number of a crowd; no number of clients has this length.
const NUMBER: usize = 4;
const _: () = assert!(!NUMBER.is_multiple_of(ITEM));

/// Bytes of the table for each name, on average.
pub const TABLE_SHARE: usize = 17;

/// What a field has beside its name and value.
const FIELD_HEADER: usize = 3;

/// The moment for a hash none of whose fields expire.
pub const NEVER: i64 = 0;

/// The highest bit of an item: the client speaks RESP3.
const RESP3: u64 = 1 << 63;

/// A client as it stands beside a name.
fn item(token: Token, protocol: Protocol) -> [u8; ITEM] {
    let protocol = if protocol == Protocol::Resp3 { RESP3 } else { 0 };
    debug_assert!(token.slot < 1 << 31);
    (protocol | u64::from(token.slot) << 32 | u64::from(token.generation)).to_le_bytes()
}

fn client_of(item: [u8; ITEM]) -> (Token, Protocol) {
    let bits = u64::from_le_bytes(item);
    let protocol = if bits & RESP3 != 0 { Protocol::Resp3 } else { Protocol::Resp2 };
    (Token { slot: ((bits & !RESP3) >> 32) as u32, generation: bits as u32 }, protocol)
}

/// The memory of a field, with its share of the table.
pub fn field_bytes(name: usize, value: usize) -> usize {
    alloc::class_size(FIELD_HEADER + name + value) + TABLE_SHARE
}

/// The memory of a name with one client.
pub fn name_bytes(name: usize) -> usize {
    field_bytes(name, ITEM)
}

/// Clients, in no particular order.
#[derive(Debug, Default)]
struct Clients {
    list: Recipients,
    /// Where each stands in the list, if there are many.
    places: HashMap<Token, usize>,
}

impl Clients {
    fn add(&mut self, token: Token) {
        let list = Rc::make_mut(&mut self.list);
        list.push(token);
        if list.len() == INDEXED {
            self.places = list.iter().enumerate().map(|(place, token)| (*token, place)).collect();
        } else if list.len() > INDEXED {
            self.places.insert(token, list.len() - 1);
        }
    }

    fn remove(&mut self, token: Token) {
        let list = Rc::make_mut(&mut self.list);
        let indexed = !self.places.is_empty();
        let place =
            if indexed { self.places.remove(&token) } else { list.iter().position(|known| *known == token) };
        let Some(place) = place else { return };
        list.swap_remove(place);
        if indexed {
            if list.len() < INDEXED / 2 {
                self.places = HashMap::new();
            } else if let Some(moved) = list.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }
}

/// Many subscribers of one name.
#[derive(Debug, Default)]
struct Crowd {
    resp2: Clients,
    resp3: Clients,
}

impl Crowd {
    fn of(&mut self, protocol: Protocol) -> &mut Clients {
        match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        }
    }

    fn len(&self) -> usize {
        self.resp2.list.len() + self.resp3.list.len()
    }

    /// Its client, if there is only one left.
    fn only(&self) -> Option<[u8; ITEM]> {
        match (self.resp2.list.as_slice(), self.resp3.list.as_slice()) {
            ([only], []) => Some(item(*only, Protocol::Resp2)),
            ([], [only]) => Some(item(*only, Protocol::Resp3)),
            _ => None,
        }
    }
}

/// Values that are found by a number. The lowest free number is not sought: the one that became free last is given.
#[derive(Debug)]
pub struct Numbered<T> {
    values: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Numbered<T> {
    /// Adds a value and returns its number.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            self.values.len() as u32 - 1
        });
        self.values[number as usize] = Some(Box::new(value));
        number
    }

    /// The value of a number that was given.
    pub fn get(&self, number: u32) -> &T {
        self.values[number as usize].as_ref().expect("a number that was given")
    }

    /// The value of a number that was given.
    pub fn get_mut(&mut self, number: u32) -> &mut T {
        self.values[number as usize].as_mut().expect("a number that was given")
    }

    /// Drops the value of a number.
    pub fn remove(&mut self, number: u32) {
        self.values[number as usize] = None;
        self.free.push(number);
        if self.free.len() == self.values.len() {
            *self = Numbered::default();
        }
    }
}

/// The subscribers of one name.
enum Audience<'a> {
    Few(&'a [[u8; ITEM]]),
    Many(u32),
}

/// See the module's head.
pub struct Directory {
    names: Hash,
    crowds: Numbered<Crowd>,
}

impl Directory {
    /// An empty one.
    pub fn new(seed: Seed) -> Directory {
        Directory { names: Hash::new(seed, 0), crowds: Numbered::default() }
    }

    /// How many names have subscribers.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name has a subscriber.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(FieldRef::name)
    }

    fn audience(&self, name: &[u8]) -> Option<Audience<'_>> {
        let value = self.names.get(name, NEVER)?.value();
        Some(match <[u8; NUMBER]>::try_from(value) {
            Ok(number) => Audience::Many(u32::from_le_bytes(number)),
            Err(_) => Audience::Few(value.as_chunks().0),
        })
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        self.names.set(name, value, None, false, NEVER);
        self.names.shed();
    }

    /// `token`, which is not subscribed to `name` yet, is from now on.
    pub fn add(&mut self, token: Token, protocol: Protocol, name: &[u8]) {
        match self.audience(name) {
            None => self.set(name, &item(token, protocol)),
            Some(Audience::Few(few)) if few.len() < FEW => {
                let mut items = [[0; ITEM]; FEW];
                let count = few.len();
                items[..count].copy_from_slice(few);
                items[count] = item(token, protocol);
                self.set(name, items[..=count].as_flattened());
            }
            Some(Audience::Few(few)) => {
                let mut crowd = Crowd::default();
                for (token, protocol) in few.iter().copied().map(client_of) {
                    crowd.of(protocol).add(token);
                }
                crowd.of(protocol).add(token);
                let number = self.crowds.insert(crowd);
                self.set(name, &number.to_le_bytes());
            }
            Some(Audience::Many(number)) => self.crowds.get_mut(number).of(protocol).add(token),
        }
    }

    /// `token`, which speaks `protocol`, is not subscribed to `name` any more. Returns whether nobody is.
    pub fn remove(&mut self, token: Token, protocol: Protocol, name: &[u8]) -> bool {
        let value = match self.audience(name) {
            None => return false,
            Some(Audience::Few(few)) => {
                let mut left = [[0; ITEM]; FEW];
                let mut count = 0;
                for other in few.iter().filter(|other| **other != item(token, protocol)) {
                    left[count] = *other;
                    count += 1;
                }
                if count == 0 {
                    self.names.remove(name, NEVER);
                    self.names.shed();
                    return true;
                }
                (left, count)
            }
            Some(Audience::Many(number)) => {
                let crowd = self.crowds.get_mut(number);
                crowd.of(protocol).remove(token);
                let Some(only) = crowd.only() else { return false };
                self.crowds.remove(number);
                ([only; FEW], 1)
            }
        };
        self.set(name, value.0[..value.1].as_flattened());
        false
    }

    /// How many clients are subscribed to `name`.
    pub fn count(&self, name: &[u8]) -> usize {
        match self.audience(name) {
            None => 0,
            Some(Audience::Few(few)) => few.len(),
            Some(Audience::Many(number)) => self.crowds.get(number).len(),
        }
    }

    /// Sends the array that `words` and `payload` make to all who are subscribed to `name`. Returns how many there are.
    pub fn send(&self, name: &[u8], post: &mut Post, words: &[&[u8]], payload: &Payload<'_>) -> usize {
        let both = [Protocol::Resp2, Protocol::Resp3];
        match self.audience(name) {
            None => 0,
            Some(Audience::Few([only])) => {
                let (token, protocol) = client_of(*only);
                post.send(Address::One(token), protocol, words, payload);
                1
            }
            Some(Audience::Few(few)) => {
                for protocol in both {
                    let clients = few.iter().copied().map(client_of).filter(|(_, of)| *of == protocol);
                    let tokens: Vec<Token> = clients.map(|(token, _)| token).collect();
                    send_to(&Rc::new(tokens), protocol, post, words, payload);
                }
                few.len()
            }
            Some(Audience::Many(number)) => {
                let crowd = self.crowds.get(number);
                send_to(&crowd.resp2.list, Protocol::Resp2, post, words, payload);
                send_to(&crowd.resp3.list, Protocol::Resp3, post, words, payload);
                crowd.len()
            }
        }
    }
}

fn send_to(list: &Recipients, protocol: Protocol, post: &mut Post, words: &[&[u8]], payload: &Payload<'_>) {
    let address = match list.as_slice() {
        [] => return,
        [only] => Address::One(*only),
        _ => Address::Many(list.clone()),
    };
    post.send(address, protocol, words, payload);
}
