//! The keys of a call: their argument positions, and the access to each of them.
//!
//! A command of the table has one [`Keys`], made of its key specifications, for all of its calls:
//!
//! * [`Keys::first`]: the argument that is the first key, if it is the same in every call. The loop hashes and
//!   prefetches this key for each request: a load and two comparisons.
//! * [`Keys::find`]: all keys of a call with the flags that Redis gives them (`RO`, `RW`, `OW` or `RM`, and `access`,
//!   `update`, `insert`, `delete`), in a list that the caller reuses. `COMMAND GETKEYS` and client-side caching read
//!   it.
//!
//! A specification first defines where the keys begin (at an argument's index, or after a keyword), then which
//! arguments from there on are keys (a range, or as many as an argument says). If a specification does not fit the
//! call, because a count is no number or exceeds the arguments, the call is malformed and no keys are found.

use std::ops::Range;

use crate::codec::hash_slot::Prefix;
use crate::command::Args;
use crate::command::table::Arguments;
use crate::command::table::vocabulary::{KEY_FLAGS, bit};
use crate::db::KeyHasher;
use crate::text::number::{leading_i64, parse_i64};

/// The key is only read.
pub const RO: u64 = bit(KEY_FLAGS, "RO");
/// The key is read and changed.
pub const RW: u64 = bit(KEY_FLAGS, "RW");
/// The key is overwritten without being read.
pub const OW: u64 = bit(KEY_FLAGS, "OW");
/// The reply depends on the value.
pub const ACCESS: u64 = bit(KEY_FLAGS, "access");
/// The value is changed.
pub const UPDATE: u64 = bit(KEY_FLAGS, "update");
/// A part is added to the value.
pub const INSERT: u64 = bit(KEY_FLAGS, "insert");
/// The value may be deleted.
pub const DELETE: u64 = bit(KEY_FLAGS, "delete");
/// Not a key, but a name that belongs to a slot as keys do.
pub const NOT_KEY: u64 = bit(KEY_FLAGS, "not_key");

/// The positions of the keys in a command's calls.
#[derive(Debug)]
pub struct Keys {
    /// The specifications, in the order of the documentation.
    pub specs: &'static [KeySpec],
    finder: KeyFinder,
    /// The index of the first key of every call that has keys; 0 if that depends on the call.
    first: u8,
    /// The index of the only key, if every call has exactly one, at this index; 0 for other commands.
    only: u8,
    /// The argument with a member of the collection under the first key; 0 if no argument has one.
    member: u8,
}

/// A rule for finding keys of a command.
#[derive(Debug)]
pub struct KeySpec {
    /// Bits in the order of [`KEY_FLAGS`].
    pub flags: u64,
    /// A note in the documentation.
    pub notes: Option<&'static str>,
    /// Where the keys begin.
    pub begin: BeginSearch,
    /// Which arguments from there on are keys.
    pub find: FindKeys,
}

/// Where a [`KeySpec`] starts.
#[derive(Clone, Copy, Debug)]
pub enum BeginSearch {
    /// At this argument.
    Index(i32),
    /// After this word, searched from argument `from` on, or if that is negative, backwards from that far before the
    /// end.
    Keyword {
        /// The word, in upper case; matched in any case.
        keyword: &'static str,
        /// Where the search starts.
        from: i32,
    },
    /// No rule applies.
    Unknown,
}

/// The arguments that are keys, starting where [`BeginSearch`] points.
#[derive(Clone, Copy, Debug)]
pub enum FindKeys {
    /// Every `step`-th argument up to `last`, which is relative to the start, or if negative, to the end. If `last` is
    /// negative and `limit` is above 1, only the first of `limit` equal parts are keys.
    Range {
        /// The last key.
        last: i32,
        /// The distance between two keys.
        step: i32,
        /// Two for "the first half".
        limit: i32,
    },
    /// An argument has the number of keys.
    KeyNum {
        /// The argument with the number, from the start.
        at: i32,
        /// The first key, from the start.
        first: i32,
        /// The distance between two keys.
        step: i32,
    },
    /// No rule applies.
    Unknown,
}

/// The method for finding a call's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFinder {
    /// By the specifications alone.
    Specs,
    /// By the specifications, but whether SET reads the key depends on its option `GET`.
    Set,
    /// By the specifications, but whether BITFIELD writes the key depends on its subcommands.
    Bitfield,
    /// The first argument, and the destination of SORT, which can be anywhere among the options.
    Sort,
    /// The argument `key` of MIGRATE, or those after its option `KEYS`.
    Migrate,
}

/// A key of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPosition {
    /// The index of the argument.
    pub index: usize,
    /// The access to the key: bits of [`KEY_FLAGS`], such as [`RO`].
    pub flags: u64,
}

/// The number of keys for which a list keeps its memory between calls.
const KEPT: usize = 1024;

impl Keys {
    /// Returns the keys that a command's definition describes.
    pub(super) const fn new(specs: &'static [KeySpec], finder: KeyFinder, member: u8) -> Keys {
        let (mut first, mut at) = (0, 0);
        while first == 0 && at < specs.len() {
            first = specs[at].first();
            at += 1;
        }
        let only = match (specs, finder) {
            ([spec], KeyFinder::Specs | KeyFinder::Set | KeyFinder::Bitfield) => spec.only(),
            _ => 0,
        };
        Keys { specs, finder, first, only, member }
    }

    /// Whether calls never have keys.
    pub fn are_none(&self) -> bool {
        !self.specs.iter().any(KeySpec::is_of_keys)
    }

    /// Whether calls never have keys or names of sharded channels, so that any node of a cluster executes them.
    pub fn have_no_names(&self) -> bool {
        self.specs.is_empty()
    }

    /// Whether every call has exactly one key, the first one.
    #[inline]
    pub fn is_single(&self) -> bool {
        self.only != 0
    }

    /// The argument that is the first key of a call of `count` arguments; `None` if the call has no key, or none at a
    /// fixed position. A script can be called without keys: then the argument is an ordinary argument of the script.
    #[inline(always)]
    pub fn first(&self, count: usize) -> Option<usize> {
        let first = usize::from(self.first);
        if first != 0 && first < count { Some(first) } else { None }
    }

    /// The hash of the first key of a call; 0 if [`Keys::first`] returns `None`.
    #[inline(always)]
    pub fn hash_first(&self, args: Args<'_>, hasher: &KeyHasher) -> u64 {
        match self.first(args.len()) {
            Some(first) => hasher.hash(args.get(first)),
            None => 0,
        }
    }

    /// The argument that names a member of the collection under the first key, in a call of `count` arguments.
    pub fn member(&self, count: usize) -> Option<usize> {
        let member = usize::from(self.member);
        (member != 0 && member < count).then_some(member)
    }

    /// [`Keys::find`], and the names of sharded channels. Finds none in an invalid XREAD, which every node refuses,
    /// though `COMMAND GETKEYS` finds keys in it.
    pub fn find_names<A: Arguments + ?Sized>(&self, args: &A, found: &mut Vec<KeyPosition>) {
        if self.first == 0 && self.specs.iter().any(|spec| spec.is_halved() && !has_pairs_of_streams(args)) {
            found.clear();
            return;
        }
        self.find(args, found);
        if found.is_empty() {
            self.find_leading(args, found);
        }
        for spec in self.specs.iter().filter(|spec| !spec.is_of_keys()) {
            if apply(spec, args, found).is_none() {
                found.clear();
                return;
            }
        }
    }

    /// Whether the first key of a call has a hash tag and all other names begin with the same bytes up to its end, so that
    /// all are in one hash slot. May be false though they are.
    #[inline(never)]
    pub fn share_hash_tag<A: Arguments + ?Sized>(&self, args: &A) -> bool {
        let first = self.first(args.count()).filter(|_| self.finder == KeyFinder::Specs);
        let Some(prefix) = first.and_then(|first| Prefix::of(args.get(first))) else {
            return false;
        };
        let has_prefix = |at| prefix.begins(args.get(at));
        self.specs.iter().all(|spec| indices(spec, args).is_some_and(|mut found| found.all(has_prefix)))
    }

    /// Fills `found` with the keys of a call, in the order of the specifications; with none if a specification does not
    /// fit. The caller must have checked the number of arguments.
    #[inline]
    pub fn find<A: Arguments + ?Sized>(&self, args: &A, found: &mut Vec<KeyPosition>) {
        found.clear();
        if found.capacity() > KEPT {
            found.shrink_to(KEPT);
        }
        if self.only != 0 && self.finder == KeyFinder::Specs {
            found.push(KeyPosition { index: usize::from(self.only), flags: self.specs[0].flags });
        } else {
            self.find_several(args, found);
        }
    }

    /// Fills `found` with the keys of a call that ends before the keys of its last specification, as in `PFMERGE key`.
    /// `COMMAND GETKEYS` refuses such a call, but the node of its other keys executes it.
    fn find_leading<A: Arguments + ?Sized>(&self, args: &A, found: &mut Vec<KeyPosition>) {
        let Some((last, leading)) = self.specs.split_last() else { return };
        let ends = matches!(last.begin, BeginSearch::Index(begin) if begin as usize == args.count());
        if ends
            && matches!(last.find, FindKeys::Range { .. })
            && !leading.iter().all(|spec| !spec.is_of_keys() || apply(spec, args, found).is_some())
        {
            found.clear();
        }
    }

    fn find_several<A: Arguments + ?Sized>(&self, args: &A, found: &mut Vec<KeyPosition>) {
        if self.finder == KeyFinder::Sort {
            found.push(KeyPosition { index: 1, flags: RO | ACCESS });
            let stores = self.specs.iter().any(|spec| spec.flags & OW != 0);
            let destination = if stores { sort_destination(args) } else { None };
            found.extend(destination.map(|index| KeyPosition { index, flags: OW | UPDATE }));
        } else if self.finder == KeyFinder::Migrate {
            let places = migrate_keys(args);
            found.extend(places.map(|index| KeyPosition { index, flags: RW | ACCESS | DELETE }));
        } else if !self.specs.iter().all(|spec| !spec.is_of_keys() || apply(spec, args, found).is_some()) {
            found.clear();
        }
        let flags = match self.finder {
            KeyFinder::Specs | KeyFinder::Sort | KeyFinder::Migrate => return,
            KeyFinder::Bitfield if only_gets(args) => RO | ACCESS,
            KeyFinder::Set if !(3..args.count()).any(|at| args.get(at).eq_ignore_ascii_case(b"get")) => {
                OW | UPDATE
            }
            KeyFinder::Bitfield | KeyFinder::Set => RW | ACCESS | UPDATE,
        };
        for key in found {
            key.flags = flags;
        }
    }

    /// The first key, the last one and the step between them, for `COMMAND INFO`. They cover the keys that depend on no
    /// argument: those of the leading specifications that follow each other with step 1, or of the first specification.
    pub fn range(&self) -> (i32, i32, i32) {
        let mut ranges = self.specs.iter().filter_map(KeySpec::range);
        let Some(mut all) = ranges.next() else { return (0, 0, 0) };
        for (first, last, step) in ranges {
            if step != 1 || all.2 != 1 || first != all.1 + 1 {
                break;
            }
            all.1 = last;
        }
        all
    }
}

impl KeySpec {
    const fn is_of_keys(&self) -> bool {
        self.flags & NOT_KEY == 0
    }

    /// Whether the keys are the first half of the range, as in XREAD and XREADGROUP.
    const fn is_halved(&self) -> bool {
        matches!(self.find, FindKeys::Range { limit: 2, .. })
    }

    /// The index of the first key that the specification finds, if it finds any; 0 if that depends on the arguments.
    const fn first(&self) -> u8 {
        match (self.begin, self.find) {
            _ if !self.is_of_keys() => 0,
            (BeginSearch::Index(begin), FindKeys::Range { .. }) => begin as u8,
            (BeginSearch::Index(begin), FindKeys::KeyNum { first, .. }) => (begin + first) as u8,
            _ => 0,
        }
    }

    /// The index of the key, if the specification finds exactly one whatever the arguments are; otherwise 0.
    const fn only(&self) -> u8 {
        match (self.begin, self.find) {
            (BeginSearch::Index(begin), FindKeys::Range { last: 0, .. }) if self.is_of_keys() => begin as u8,
            _ => 0,
        }
    }

    /// First key, last key and step, if they do not depend on the arguments.
    fn range(&self) -> Option<(i32, i32, i32)> {
        match (self.begin, self.find) {
            (BeginSearch::Index(first), FindKeys::Range { last, step, .. }) => {
                Some((first, if last >= 0 { first + last } else { last }, step))
            }
            _ => None,
        }
    }
}

/// Returns the destination of a SORT; the last one if the call has several. Words that are not options are skipped, so
/// a call with a syntax error can still have a destination.
fn sort_destination<A: Arguments + ?Sized>(args: &A) -> Option<usize> {
    let mut destination = None;
    let mut at = 2;
    while at < args.count() {
        let is = |word: &[u8]| args.get(at).eq_ignore_ascii_case(word);
        if is(b"limit") {
            at += 2;
        } else if is(b"by") || is(b"get") {
            at += 1;
        } else if is(b"store") && at + 1 < args.count() {
            destination = Some(at + 1);
        }
        at += 1;
    }
    destination
}

/// The keys of a call of MIGRATE. It has none if it has both the argument `key` and the option `KEYS`. As in Redis, the last
/// word counts as that option only if another word is `KEYS`, too.
fn migrate_keys<A: Arguments + ?Sized>(args: &A) -> Range<usize> {
    let is = |at: usize, word: &[u8]| args.get(at).eq_ignore_ascii_case(word);
    if !(1..args.count() - 1).any(|at| is(at, b"keys")) {
        return 3..4;
    }
    let mut at = 6;
    while at < args.count() {
        if is(at, b"keys") {
            return if args.get(3).is_empty() { at + 1..args.count() } else { 0..0 };
        }
        at += if is(at, b"auth2") { 3 } else { 1 + usize::from(is(at, b"auth")) };
    }
    3..4
}

/// Whether a call of BITFIELD consists only of `GET` and `OVERFLOW`. A call with a syntax error counts as a write.
fn only_gets<A: Arguments + ?Sized>(args: &A) -> bool {
    let mut at = 2;
    while at < args.count() {
        let following = args.count() - at - 1;
        let is = |word: &[u8]| args.get(at).eq_ignore_ascii_case(word);
        at += if is(b"get") && following >= 2 {
            3
        } else if is(b"overflow") && following >= 1 {
            2
        } else {
            return false;
        };
    }
    true
}

/// Whether an XREAD or XREADGROUP has only known options before `STREAMS`, and as many keys as IDs after it.
fn has_pairs_of_streams<A: Arguments + ?Sized>(args: &A) -> bool {
    let mut at = 1;
    while at < args.count() {
        let is = |word: &[u8]| args.get(at).eq_ignore_ascii_case(word);
        at += match () {
            () if is(b"streams") => return (args.count() - at - 1).is_multiple_of(2),
            () if is(b"noack") => 1,
            () if is(b"block") || is(b"count") => 2,
            () if is(b"group") => 3,
            () => return false,
        };
    }
    false
}

/// Appends the keys that a specification finds; `None` if it does not fit the call.
fn apply<A: Arguments + ?Sized>(spec: &KeySpec, args: &A, found: &mut Vec<KeyPosition>) -> Option<()> {
    let before = found.len();
    found.extend(indices(spec, args)?.map(|index| KeyPosition { index, flags: spec.flags }));
    // As in Redis, a malformed number also makes the destination the last key, and leaves the keys without flags.
    if let (BeginSearch::Index(begin), FindKeys::KeyNum { at, .. }) = (spec.begin, spec.find)
        && parse_i64(args.get((begin + at) as usize)).is_none_or(|keys| keys <= 0)
    {
        found.rotate_left(before);
        for key in found {
            key.flags = 0;
        }
    }
    Some(())
}

/// Indices of arguments. (An inclusive range with `step_by` costs three times as much.)
struct Indices {
    next: usize,
    last: usize,
    step: usize,
}

impl Iterator for Indices {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let index = self.next;
        self.next += self.step;
        (index <= self.last).then_some(index)
    }
}

/// The arguments that a specification finds; `None` if it does not fit the call.
#[inline]
fn indices<A: Arguments + ?Sized>(spec: &KeySpec, args: &A) -> Option<Indices> {
    let count = args.count() as i64;
    let begin = match spec.begin {
        BeginSearch::Index(index) => i64::from(index),
        BeginSearch::Keyword { keyword, from } => match after_keyword(keyword, from, args) {
            Some(begin) => begin,
            // The call does not use the option.
            None => return Some(Indices { next: 1, last: 0, step: 1 }),
        },
        BeginSearch::Unknown => return None,
    };
    let (first, last, step) = match spec.find {
        FindKeys::Range { last, step, limit } => {
            let last = match i64::from(last) {
                last if last >= 0 => begin + last,
                last if limit > 1 => begin + (count - begin) / i64::from(limit) + last,
                last => count + last,
            };
            (begin, last, step)
        }
        FindKeys::KeyNum { at, first, step } => {
            let at = begin + i64::from(at);
            if at >= count {
                return None;
            }
            let keys = key_count(args.get(at as usize), count)?;
            let first = begin + i64::from(first);
            (first, first + (keys - 1) * i64::from(step), step)
        }
        FindKeys::Unknown => return None,
    };
    if first >= count || last >= count || last < first {
        return None;
    }
    Some(Indices { next: first as usize, last: last as usize, step: step as usize })
}

/// The number of keys that an argument says, from 1 to `most`. Redis reads an argument that is no such number once more, as
/// `atoi` does: the owner of the key of `EVAL script 1.5 key`, not any node of a cluster, refuses the number.
#[inline]
fn key_count(text: &[u8], most: i64) -> Option<i64> {
    let fits = |keys: &i64| (1..=most).contains(keys);
    parse_i64(text).filter(fits).or_else(|| Some(i64::from(leading_i64(text).0 as i32)).filter(fits))
}

/// Returns the argument after the keyword, which is searched forwards from argument `from`, or if that is negative,
/// backwards from `-from` before the end.
fn after_keyword<A: Arguments + ?Sized>(keyword: &str, from: i32, args: &A) -> Option<i64> {
    let count = args.count();
    let is_keyword = |at: &usize| args.get(*at).eq_ignore_ascii_case(keyword.as_bytes());
    let place = usize::try_from(from.unsigned_abs()).ok()?;
    // No key can follow the last argument, and the first is the command's name.
    let last = count.checked_sub(1)?;
    let found = if from >= 0 {
        (place..last).find(is_keyword)
    } else {
        (1..=count.checked_sub(place)?.min(last.checked_sub(1)?)).rev().find(is_keyword)
    };
    found.map(|at| at as i64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hash_slot;
    use crate::command::table::lookup_full;

    fn keys_of(specs: &[KeySpec], line: &str) -> Option<Vec<String>> {
        let args: Vec<&str> = line.split(' ').collect();
        let mut found = Vec::new();
        for spec in specs {
            apply(spec, args.as_slice(), &mut found)?;
        }
        Some(found.iter().map(|key| args[key.index].to_owned()).collect())
    }

    fn spec(begin: BeginSearch, find: FindKeys) -> KeySpec {
        KeySpec { flags: RO, notes: None, begin, find }
    }

    #[test]
    fn a_keyword_may_be_followed_by_keys_and_as_many_other_arguments() {
        let xread = [spec(
            BeginSearch::Keyword { keyword: "STREAMS", from: 1 },
            FindKeys::Range { last: -1, step: 1, limit: 2 },
        )];
        let keys = |line| keys_of(&xread, line).map(|keys| keys.join(" "));
        assert_eq!(keys("xread count 2 streams a b 0 0").as_deref(), Some("a b"));
        assert_eq!(keys("xread count 2 Streams a b c 0").as_deref(), Some("a b"));
        assert_eq!(keys("xread streams streams streams streams 0").as_deref(), Some("streams streams"));
        assert_eq!(keys("xread count 2 a b 0").as_deref(), Some(""));
        assert_eq!(keys("xread count 2 a streams").as_deref(), Some(""));
    }

    #[test]
    fn an_invalid_xread_has_no_keys_that_select_a_node() {
        let xread = lookup_full(b"xread").expect("in the table");
        let names = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let mut found = Vec::new();
            xread.keys.find_names(args.as_slice(), &mut found);
            found.len()
        };
        assert_eq!(names("xread block 1 count 2 streams a b 0 0"), 2);
        assert_eq!(names("xread streams a b 0"), 0);
        assert_eq!(names("xread nothing streams a 0"), 0);
        assert_eq!(names("xread count streams a 0"), 0);
    }

    #[test]
    fn an_argument_may_say_how_many_keys_follow() {
        let zunionstore = [
            spec(BeginSearch::Index(1), FindKeys::Range { last: 0, step: 1, limit: 0 }),
            spec(BeginSearch::Index(2), FindKeys::KeyNum { at: 0, first: 1, step: 1 }),
        ];
        let keys = |line: &str| keys_of(&zunionstore, line).map(|keys| keys.join(" "));
        assert_eq!(keys("zunionstore d 2 a b").as_deref(), Some("d a b"));
        assert_eq!(keys("zunionstore d 1 a weights 2").as_deref(), Some("d a"));
        for count in ["0", "5", "-1", "x", "", "0x1", "0.9", "9223372036854775807", "99999999999999999999"] {
            assert_eq!(keys_of(&zunionstore, &format!("zunionstore d {count} a b")), None, "{count}");
        }
        for (count, wanted) in [
            ("1.5", "a d"),
            ("+1", "a d"),
            ("01", "a d"),
            ("1e3", "a d"),
            ("\t1x", "a d"),
            ("4294967297", "d a"),
            ("-4294967295", "a d"),
        ] {
            let line = format!("zunionstore d {count} a b");
            assert_eq!(keys(&line).as_deref(), Some(wanted), "{count}");
        }
        assert_eq!(keys("zunionstore d"), None);
    }

    #[test]
    fn a_keyword_is_searched_backwards_from_the_end() {
        let migrate = [spec(
            BeginSearch::Keyword { keyword: "KEYS", from: -2 },
            FindKeys::Range { last: -1, step: 1, limit: 0 },
        )];
        let keys = |line| keys_of(&migrate, line).map(|keys| keys.join(" "));
        assert_eq!(keys("migrate host 1 x 0 10 keys a b").as_deref(), Some("a b"));
        assert_eq!(keys("migrate host 1 x 0 10 keys a").as_deref(), Some("a"));
        assert_eq!(keys("migrate host 1 x 0 10 a keys").as_deref(), Some(""));
        assert_eq!(keys("migrate").as_deref(), Some(""));
    }

    #[test]
    fn no_arguments_make_the_search_panic_or_point_outside_of_the_call() {
        let begins = (-3..4).flat_map(|from| {
            [
                BeginSearch::Index(from.max(1)),
                BeginSearch::Keyword { keyword: "k", from },
                BeginSearch::Unknown,
            ]
        });
        for begin in begins {
            for (last, step, limit) in [(0, 1, 0), (3, 2, 0), (-1, 1, 0), (-2, 3, 0), (-1, 1, 2), (-4, 1, 3)]
            {
                for count in 1..7 {
                    let args = vec!["k"; count];
                    let mut found = Vec::new();
                    let _ = apply(
                        &spec(begin, FindKeys::Range { last, step, limit }),
                        args.as_slice(),
                        &mut found,
                    );
                    let find = FindKeys::KeyNum { at: 0, first: limit, step };
                    let _ = apply(&spec(begin, find), args.as_slice(), &mut found);
                    assert!(found.iter().all(|key| key.index < count));
                }
            }
        }
    }

    #[test]
    fn the_first_key_is_known_where_no_argument_decides_it() {
        let first = |name: &[u8], count| lookup_full(name).unwrap().keys.first(count);
        for (name, at) in [("get", 1), ("eval", 3), ("zunion", 2), ("zunionstore", 1), ("bitop", 2)] {
            assert_eq!(first(name.as_bytes(), at + 1), Some(at), "{name}");
            assert_eq!(first(name.as_bytes(), at), None, "{name}");
        }
        assert_eq!(first(b"memory|usage", 3), Some(2));
        for name in ["ping", "xread", "spublish", "keys"] {
            assert_eq!(first(name.as_bytes(), 9), None, "{name}");
        }
        let member = |count| lookup_full(b"zadd").unwrap().keys.member(count);
        assert_eq!((member(3), member(4)), (None, Some(3)));
    }

    #[test]
    fn the_list_of_keys_is_filled_anew_and_does_not_stay_large() {
        let many: Vec<&str> = [&["mget"][..], &vec!["k"; 100_000]].concat();
        let (mget, mut found) = (&lookup_full(b"mget").unwrap().keys, Vec::new());
        mget.find(many.as_slice(), &mut found);
        assert_eq!((found.len(), found[99_999].index), (100_000, 100_000));
        mget.find(["mget", "a"].as_slice(), &mut found);
        assert_eq!(found, [KeyPosition { index: 1, flags: RO | ACCESS }]);
        assert!(found.capacity() <= KEPT);
        let evals = &lookup_full(b"eval").unwrap().keys;
        evals.find(["eval", "", "2", "a"].as_slice(), &mut found);
        assert!(found.is_empty());
    }

    #[test]
    fn the_destination_of_a_sort_is_found_among_its_options() {
        let keys = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let mut found = Vec::new();
            lookup_full(args[0].as_bytes()).unwrap().keys.find(args.as_slice(), &mut found);
            let names: Vec<&str> = found.iter().map(|key| args[key.index]).collect();
            assert!(found[1..].iter().all(|key| key.flags == OW | UPDATE) && found[0].flags == RO | ACCESS);
            names.join(" ")
        };
        assert_eq!(keys("sort a"), "a");
        assert_eq!(keys("sort a store"), "a");
        assert_eq!(keys("sort a Store b"), "a b");
        assert_eq!(keys("sort a store b desc store c alpha"), "a c");
        assert_eq!(keys("sort a by x get store limit store b store c"), "a c");
        assert_eq!(keys("sort a limit 1 store b store x"), "a x");
        assert_eq!(keys("sort a store store b"), "a b");
        for cut in ["by", "get", "limit", "limit 1"] {
            assert_eq!(keys(&format!("sort a {cut}")), "a");
        }
        assert_eq!(keys("sort_ro a store b"), "a");
    }

    #[test]
    fn set_reads_its_key_only_with_the_option_get() {
        let flags = |args: &[&str]| {
            let mut found = Vec::new();
            lookup_full(b"set").unwrap().keys.find(args, &mut found);
            assert_eq!(found.len(), 1);
            found[0].flags
        };
        assert_eq!(flags(&["set", "get", "get"]), OW | UPDATE);
        assert_eq!(flags(&["set", "a", "b", "px", "10", "Get"]), RW | ACCESS | UPDATE);
    }

    #[test]
    fn a_call_that_ends_before_its_last_keys_still_has_the_others() {
        let names = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let mut found = Vec::new();
            lookup_full(args[0].as_bytes()).unwrap().keys.find_names(args.as_slice(), &mut found);
            found.into_iter().map(|key| args[key.index]).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("pfmerge a"), "a");
        assert_eq!(names("pfmerge a b c"), "a b c");
        for without in ["zunionstore a x b", "eval return 0", "ping"] {
            assert_eq!(names(without), "", "{without}");
        }
    }

    #[test]
    fn names_that_begin_with_the_hash_tag_of_the_first_key_share_it() {
        let share = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let keys = &lookup_full(args[0].as_bytes()).unwrap().keys;
            let mut found = Vec::new();
            keys.find_names(args.as_slice(), &mut found);
            let shares = keys.share_hash_tag(args.as_slice());
            let slots: Vec<_> =
                found.iter().map(|key| hash_slot::of_key(args[key.index].as_bytes())).collect();
            assert!(!shares || !slots.is_empty() && slots.iter().all(|slot| *slot == slots[0]), "{line}");
            shares
        };
        for line in [
            "mget {a}1",
            "mget {a}1 {a}2 {a}",
            "mset x{a}1 {b} x{a}2 {c}",
            "del {a}1 {a}1",
            "rename {a}1 {a}2",
            "zunionstore {a}1 2 {a}2 {a}3 weights 1 2",
            "sinter {a}{b} {a}{c}",
        ] {
            assert!(share(line), "{line}");
        }
        for line in [
            "mget 1 2",
            "mget {a}1 {b}1",
            "mget {a}1 {a",
            "mget {}a {}a",
            "mget {a}1 x{a}1",
            "mset {a}1 {a} {b}1 {a}",
            "rename {a}1 {b}2",
            "zunionstore {a}1 2 {a}2 {b}3",
            "zunionstore {a}1 x {a}2",
            "xread streams {a}1 {a}2 0 0",
            "sort {a}1 store {b}2",
            "eval {a} 0",
            "ping",
        ] {
            assert!(!share(line), "{line}");
        }
    }

    #[test]
    fn a_call_has_a_single_key_whatever_it_does_with_it() {
        let is_single = |name: &[u8]| lookup_full(name).unwrap().keys.is_single();
        for name in ["get", "set", "bitfield", "getex", "zadd", "spop"] {
            assert!(is_single(name.as_bytes()), "{name}");
        }
        for name in ["mget", "sort", "sort_ro", "migrate", "eval", "ping", "spublish", "copy", "xread"] {
            assert!(!is_single(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn bitfield_writes_its_key_unless_it_only_gets() {
        let flags = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let mut found = Vec::new();
            lookup_full(b"bitfield").unwrap().keys.find(args.as_slice(), &mut found);
            assert_eq!(found.len(), 1);
            found[0].flags
        };
        for line in ["bitfield k", "bitfield k get u8 0 Overflow x GET u8 8"] {
            assert_eq!(flags(line), RO | ACCESS, "{line}");
        }
        for line in [
            "bitfield k get u8 0 set u8 0 1",
            "bitfield k incrby u8 0 1",
            "bitfield k get u8",
            "bitfield k x",
        ] {
            assert_eq!(flags(line), RW | ACCESS | UPDATE, "{line}");
        }
    }
}
