//! A compact map from a name to its subscribers.
//!
//! ```text
//!   names   name ─▶ up to 3 clients, 8 bytes each │ the number of a crowd, 4 bytes
//!   crowds  number ─▶ the clients of a name with more than 3
//! ```
//!
//! The names are the fields of a [`Hash`](struct@Hash). A name and up to 3 clients share one block of memory, and the
//! table grows and shrinks incrementally. A name of 14 bytes with one client takes 28 bytes, and about 17 in the table.

use std::collections::HashMap;
use std::rc::Rc;

use crate::alloc;
use crate::resp::Protocol;
use crate::server::audience::post::{Address, Payload, Post, Recipients};
use crate::sys::poller::Token;
use crate::types::Seed;
use crate::types::hash::{FieldRef, Hash};

/// A list of this many clients has an index, so that removing one does not search the list.
const INDEXED: usize = 64;

/// The most clients stored in the name's own block.
const FEW: usize = 3;

/// Bytes of a client in the name's block.
const ITEM: usize = 8;

/// Bytes of a crowd's number. A list of clients never has this length.
const NUMBER: usize = 4;
const _: () = assert!(!NUMBER.is_multiple_of(ITEM));

/// Average bytes of the table per name.
pub const TABLE_SHARE: usize = 17;

/// Bytes of a field's header.
const FIELD_HEADER: usize = 3;

/// The current time for a hash whose fields never expire.
pub const NEVER: i64 = 0;

/// The highest bit of an item: the client speaks RESP3.
const RESP3: u64 = 1 << 63;

/// Tests whether a client in the directory is still connected. `None` if all clients are.
pub type Present<'a> = Option<&'a dyn Fn(Token) -> bool>;

fn is_present(present: Present<'_>, token: Token) -> bool {
    present.is_none_or(|present| present(token))
}

/// A client, encoded for a name's block.
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

/// Bytes of memory of a field, with its share of the table.
pub fn field_bytes(name: usize, value: usize) -> usize {
    alloc::class_size(FIELD_HEADER + name + value) + TABLE_SHARE
}

/// Bytes of memory of a name with one client.
pub fn name_bytes(name: usize) -> usize {
    field_bytes(name, ITEM)
}

/// Clients, in no particular order.
#[derive(Debug, Default)]
struct Clients {
    list: Recipients,
    /// The index of each client in `list`, if there are [`INDEXED`] or more.
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

/// More than [`FEW`] subscribers of one name.
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

    fn len(&self, present: Present<'_>) -> usize {
        let lists = [&self.resp2.list, &self.resp3.list];
        match present {
            None => lists.map(|list| list.len()).iter().sum(),
            Some(_) => lists.into_iter().flat_map(|l| l.iter()).filter(|t| is_present(present, **t)).count(),
        }
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

/// Values with numbers. A new value gets the number that was freed last.
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

    /// The value with this number.
    pub fn get(&self, number: u32) -> &T {
        self.values[number as usize].as_ref().expect("a number that was given")
    }

    /// The value with this number.
    pub fn get_mut(&mut self, number: u32) -> &mut T {
        self.values[number as usize].as_mut().expect("a number that was given")
    }

    /// Removes the value with this number.
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

/// A map from names to subscribers.
pub struct Directory {
    names: Hash,
    crowds: Numbered<Crowd>,
}

impl Directory {
    /// An empty directory.
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

    /// Adds `token`, which is not among the subscribers of `name` yet.
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

    /// Removes `token`, which speaks `protocol`, from the subscribers of `name`. Returns whether it was the last one.
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

    /// How many `present` clients are subscribed to `name`.
    pub fn count(&self, name: &[u8], present: Present<'_>) -> usize {
        match self.audience(name) {
            None => 0,
            Some(Audience::Few(few)) => {
                few.iter().filter(|item| is_present(present, client_of(**item).0)).count()
            }
            Some(Audience::Many(number)) => self.crowds.get(number).len(present),
        }
    }

    /// The `present` clients that are subscribed to `name`.
    pub fn tokens(&self, name: &[u8], present: Present<'_>) -> Vec<Token> {
        let mut tokens: Vec<Token> = match self.audience(name) {
            None => Vec::new(),
            Some(Audience::Few(few)) => few.iter().map(|item| client_of(*item).0).collect(),
            Some(Audience::Many(number)) => {
                let crowd = self.crowds.get(number);
                crowd.resp2.list.iter().chain(crowd.resp3.list.iter()).copied().collect()
            }
        };
        tokens.retain(|token| is_present(present, *token));
        tokens
    }

    /// Sends the array of `words` and `payload` to all `present` subscribers of `name`. Returns how many there are.
    pub fn send(
        &self,
        name: &[u8],
        present: Present<'_>,
        post: &mut Post,
        words: &[&[u8]],
        payload: &Payload<'_>,
    ) -> usize {
        let both = [Protocol::Resp2, Protocol::Resp3];
        match self.audience(name) {
            None => 0,
            Some(Audience::Few([only])) => {
                let (token, protocol) = client_of(*only);
                let is_here = is_present(present, token);
                if is_here {
                    post.send(Address::One(token), protocol, words, payload);
                }
                usize::from(is_here)
            }
            Some(Audience::Few(few)) => {
                let clients = few.iter().copied().map(client_of);
                let clients = clients.filter(|(token, _)| is_present(present, *token));
                let of =
                    |protocol| clients.clone().filter(move |(_, of)| *of == protocol).map(|(token, _)| token);
                let mut send =
                    |protocol| send_to(&Rc::new(of(protocol).collect()), protocol, post, words, payload);
                both.map(&mut send).iter().sum()
            }
            Some(Audience::Many(number)) => {
                let crowd = self.crowds.get(number);
                let mut send = |clients: &Clients, protocol| {
                    send_to(&still(&clients.list, present), protocol, post, words, payload)
                };
                send(&crowd.resp2, Protocol::Resp2) + send(&crowd.resp3, Protocol::Resp3)
            }
        }
    }
}

/// The `present` clients of a list. Usually that is the list itself, which is shared then.
fn still(list: &Recipients, present: Present<'_>) -> Recipients {
    if present.is_none() || list.iter().all(|token| is_present(present, *token)) {
        return list.clone();
    }
    Rc::new(list.iter().copied().filter(|token| is_present(present, *token)).collect())
}

/// Sends a message to a list of clients. Returns how many there are.
fn send_to(
    list: &Recipients,
    protocol: Protocol,
    post: &mut Post,
    words: &[&[u8]],
    payload: &Payload<'_>,
) -> usize {
    let address = match list.as_slice() {
        [] => return 0,
        [only] => Address::One(*only),
        _ => Address::Many(list.clone()),
    };
    post.send(address, protocol, words, payload);
    list.len()
}
