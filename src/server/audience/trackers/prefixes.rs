//! Broadcasting mode: prefixes, the clients to notify of their keys, and the keys that have changed.
//!
//! A prefix is found by its length: one lookup for each length in use, however many prefixes there are. A key that
//! changes repeatedly in an iteration is collected once, with the client that changed it last.

use std::collections::{BTreeMap, HashSet};

use crate::alloc::{array_size, hashed_one_size, ordered_size};
use crate::resp::{Protocol, Reply};
use crate::server::audience::lengths::Lengths;
use crate::sys::poller::Token;

/// Keys that have changed, in order, each with the client that changed it last; `None`: the server.
#[derive(Debug, Default)]
pub struct Changed(BTreeMap<Box<[u8]>, Option<Token>>);

impl Changed {
    /// Whether all changes are by `token`.
    pub fn is_only_of(&self, token: Token) -> bool {
        self.0.values().all(|by| *by == Some(token))
    }

    /// Returns the array of the keys, without those changed by `except`.
    pub fn encode(&self, except: Option<Token>) -> Vec<u8> {
        let is_told = |by: &Option<Token>| except.is_none() || *by != except;
        let mut array = Vec::new();
        // An array of strings is the same in both protocols.
        let mut reply = Reply::new(&mut array, Protocol::Resp3);
        reply.array(self.0.values().filter(|by| is_told(by)).count());
        for (name, _) in self.0.iter().filter(|(_, by)| is_told(by)) {
            reply.bulk(name);
        }
        array
    }
}

/// A prefix.
#[derive(Debug, Default)]
struct Prefix {
    members: HashSet<Token>,
    changed: Changed,
}

/// All prefixes.
#[derive(Debug, Default)]
pub struct Prefixes {
    by_name: BTreeMap<Box<[u8]>, Prefix>,
    lengths: Lengths,
    collected: bool,
}

impl Prefixes {
    /// Bytes of memory of a prefix, in the client's table and in the shared one, as if no other client had it.
    pub fn bytes_of(prefix: &[u8]) -> usize {
        let own = ordered_size::<Box<[u8]>>();
        let shared = ordered_size::<(Box<[u8]>, Prefix)>() + hashed_one_size::<Token>();
        own + shared + 2 * array_size::<u8>(prefix.len())
    }

    /// The number of prefixes.
    #[inline]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Subscribes `token` to the keys with this prefix.
    pub fn add(&mut self, token: Token, prefix: &[u8]) {
        let known = self.by_name.entry(prefix.into()).or_insert_with(|| {
            self.lengths.add(prefix.len());
            Prefix::default()
        });
        known.members.insert(token);
    }

    /// Removes `token` from the clients of this prefix.
    pub fn remove(&mut self, token: Token, prefix: &[u8]) {
        let Some(known) = self.by_name.get_mut(prefix) else { return };
        known.members.remove(&token);
        if known.members.is_empty() {
            self.by_name.remove(prefix);
            self.lengths.remove(prefix.len());
        }
    }

    /// Records that a command of the client `by` has changed a key.
    pub fn collect(&mut self, name: &[u8], by: Option<Token>) {
        for start in self.lengths.starts(name) {
            let Some(prefix) = self.by_name.get_mut(start) else { continue };
            match prefix.changed.0.get_mut(name) {
                Some(last) => *last = by,
                None => drop(prefix.changed.0.insert(name.into(), by)),
            }
            self.collected = true;
        }
    }

    /// Whether keys with a prefix have changed.
    #[inline]
    pub fn has_collected(&self) -> bool {
        self.collected
    }

    /// Takes the keys changed since the last call: for each prefix in order its clients and the keys.
    pub fn take_collected(&mut self) -> Vec<(Vec<Token>, Changed)> {
        self.collected = false;
        let changed = self.by_name.values_mut().filter(|prefix| !prefix.changed.0.is_empty());
        changed
            .map(|prefix| (prefix.members.iter().copied().collect(), std::mem::take(&mut prefix.changed)))
            .collect()
    }
}
