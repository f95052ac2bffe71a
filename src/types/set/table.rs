//! A large set: a dict of members.

use crate::dict::{Dict, Seed};
use crate::types::container::{Container, LARGE_ITEMS};
use crate::types::member::Member;
use crate::types::moves::{self, MoveCursor, Moves};
use crate::types::random::Random;
use crate::types::{Encoding, Kind};

/// Members whose buckets, and then bytes, are prefetched together.
pub const GROUP: usize = 16;

/// See the module's head.
pub struct MemberTable {
    members: Dict<Member>,
    /// Bytes of all members' blocks.
    member_bytes: usize,
}

// SAFETY: no other container has this pair.
unsafe impl Container for MemberTable {
    const KIND: Kind = Kind::Set;
    const ENCODING: Encoding = Encoding::Hashtable;

    fn memory_bytes(&self) -> usize {
        self.members.memory_bytes() + self.member_bytes
    }

    fn is_large(&self) -> bool {
        self.members.len() >= LARGE_ITEMS
    }

    fn free_effort(&self) -> usize {
        self.members.len()
    }

    fn walk_len(&self) -> usize {
        self.members.len()
    }

    fn defragment(&mut self, cursor: MoveCursor, most: usize, moves: &mut Moves) -> Option<MoveCursor> {
        moves::defragment_items(&mut self.members, cursor, most, |member| member.relocate(moves))
    }

    fn duplicate(&self) -> MemberTable {
        let mut copy = MemberTable::with_capacity(self.len(), self.members.seed());
        for member in &self.members {
            let hash = copy.members.hash(member.bytes());
            copy.members.insert(hash, Member::new(member.bytes()));
        }
        copy.member_bytes = self.member_bytes;
        copy
    }

    fn prefetch_bucket(&self, member: &[u8]) -> u64 {
        let hash = self.members.hash(member);
        self.members.prefetch_bucket(hash);
        hash
    }

    fn prefetch_item(&self, hash: u64) {
        self.members.prefetch_entry(hash);
    }
}

impl MemberTable {
    /// The dict, for its statistics.
    pub fn dict(&self) -> &Dict<Member> {
        &self.members
    }

    /// An empty table with room for `capacity` members.
    pub fn with_capacity(capacity: usize, seed: Seed) -> MemberTable {
        let mut members = Dict::unattended(seed);
        members.reserve(capacity);
        MemberTable { members, member_bytes: 0 }
    }

    /// Releases unused reserved room.
    pub fn settle(&mut self) {
        self.members.settle();
    }

    /// The number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members themselves.
    pub fn members(&self) -> &Dict<Member> {
        &self.members
    }

    /// Whether the table contains `member`.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.find(self.members.hash(member), member).is_some()
    }

    /// Adds a member and returns whether it was new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        // Nothing else steps the table, so calls that add nothing move buckets too.
        self.members.step();
        let hash = self.members.hash(member);
        if self.members.find(hash, member).is_some() {
            return false;
        }
        let member = Member::new(member);
        self.member_bytes += member.memory_bytes();
        self.members.insert(hash, member);
        self.members.shed();
        true
    }

    /// Removes a member and returns whether the table had it.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let found = self.members.find(self.members.hash(member), member);
        if let Some(at) = found {
            self.member_bytes -= self.members.remove(at).memory_bytes();
            self.members.shed();
        }
        found.is_some()
    }

    /// Removes and returns a random member. The table must not be empty.
    pub fn pop(&mut self, random: &mut Random) -> Member {
        let at = self.members.random(&mut || random.next()).expect("a set of a key has a member");
        let member = self.members.remove(at);
        self.member_bytes -= member.memory_bytes();
        self.members.shed();
        member
    }

    /// A random member.
    pub fn random(&self, random: &mut Random) -> Option<&[u8]> {
        self.members.random(&mut || random.next()).map(|at| self.members.get(at).key())
    }

    /// Visits one probe chain, see [`Dict::scan`].
    pub fn scan(&self, cursor: u64, visit: &mut impl FnMut(&[u8])) -> u64 {
        self.members.scan(cursor, &mut |member| visit(member.bytes()))
    }

    /// Checks for each of up to [`GROUP`] members of another set whether it is in this one. Buckets and then members
    /// are prefetched together, so a group waits for memory only twice.
    pub fn contains_each(&self, members: &[&[u8]], found: &mut [bool]) {
        let mut hashes = [0; GROUP];
        for (member, hash) in members.iter().zip(&mut hashes) {
            *hash = self.members.hash(member);
            self.members.prefetch_bucket(*hash);
        }
        for hash in &hashes[..members.len()] {
            self.members.prefetch_entry(*hash);
        }
        for ((member, hash), found) in members.iter().zip(hashes).zip(found) {
            *found = self.members.find(hash, member).is_some();
        }
    }
}
