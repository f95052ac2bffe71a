//! Which arguments of a call are keys and what happens to each, according to the command's key specifications.
//!
//! A specification first finds where keys begin (an argument's number, or the one after a keyword), then which
//! arguments from there on are keys (a range, or as many as an argument says). If one does not fit the call, because a
//! keyword is missing or a count is not a number, the call is malformed and there is no partial result. Used by
//! `COMMAND GETKEYS`, and by code that needs the keys of a call before it is executed.

use crate::command::table::vocabulary::{KEY_FLAGS, bit};
use crate::command::table::{Arguments, BeginSearch, Command, FindKeys, KeyFinder, KeySpec, flags};
use crate::text::number::parse_i64;

/// The key is only read.
pub const RO: u64 = bit(KEY_FLAGS, "RO");
/// The key is read and changed.
pub const RW: u64 = bit(KEY_FLAGS, "RW");
/// The key is overwritten without being read.
pub const OW: u64 = bit(KEY_FLAGS, "OW");
/// The key is deleted.
pub const RM: u64 = bit(KEY_FLAGS, "RM");
/// The reply depends on the value.
pub const ACCESS: u64 = bit(KEY_FLAGS, "access");
/// The value is changed.
pub const UPDATE: u64 = bit(KEY_FLAGS, "update");
/// Something is added to the value.
pub const INSERT: u64 = bit(KEY_FLAGS, "insert");
/// The value, or a part of it, is deleted.
pub const DELETE: u64 = bit(KEY_FLAGS, "delete");
/// It is not a key, but a name that belongs to a slot as keys do.
pub const NOT_KEY: u64 = bit(KEY_FLAGS, "not_key");
/// There may be keys that the specification does not find.
pub const INCOMPLETE: u64 = bit(KEY_FLAGS, "incomplete");

/// A key of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPosition {
    /// Which argument it is.
    pub index: usize,
    /// What happens to it: [`RO`] and its neighbours.
    pub flags: u64,
}

/// The call does not fit the command's key specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// Appends the keys of a call to `found`, in the order of the specifications. The number of arguments must have been
/// checked. On error, `found` is unchanged.
pub fn find_keys<A: Arguments + ?Sized>(
    command: &Command,
    args: &A,
    found: &mut Vec<KeyPosition>,
) -> Result<(), Unfit> {
    if command.key_finder == KeyFinder::Sort {
        found.push(KeyPosition { index: 1, flags: RO | ACCESS });
        let destination = if command.has(flags::WRITE) { sort_destination(args) } else { None };
        found.extend(destination.map(|index| KeyPosition { index, flags: OW | UPDATE }));
        return Ok(());
    }
    let before = found.len();
    for spec in command.key_specs.iter().filter(|spec| spec.flags & NOT_KEY == 0) {
        if apply(spec, args, found).is_none() || spec.flags & INCOMPLETE != 0 {
            found.truncate(before);
            return Err(Unfit);
        }
    }
    if found.len() == before && !command.key_specs.is_empty() {
        return Err(Unfit);
    }
    match command.key_finder {
        KeyFinder::Specs | KeyFinder::Sort => {}
        KeyFinder::Set => {
            let reads = (3..args.count()).any(|at| args.get(at).eq_ignore_ascii_case(b"get"));
            let flags = if reads { RW | ACCESS | UPDATE } else { OW | UPDATE };
            found[before..].iter_mut().for_each(|key| key.flags = flags);
        }
        KeyFinder::Bitfield => {
            let flags = if only_gets(args) { RO | ACCESS } else { RW | ACCESS | UPDATE };
            found[before..].iter_mut().for_each(|key| key.flags = flags);
        }
    }
    Ok(())
}

/// The destination of a SORT, the last one if there are several. Words that are not options are skipped, so a call with
/// a syntax error may still have a destination.
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

/// Whether a call of BITFIELD only consists of `GET` and `OVERFLOW`. A call with a syntax error counts as a write.
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

/// Appends the keys that one specification finds; `None` if it does not fit.
fn apply<A: Arguments + ?Sized>(spec: &KeySpec, args: &A, found: &mut Vec<KeyPosition>) -> Option<()> {
    let count = args.count() as i64;
    let begin = match spec.begin {
        BeginSearch::Index(index) => i64::from(index),
        BeginSearch::Keyword { keyword, from } => match after_keyword(keyword, from, args) {
            Some(begin) => begin,
            // The option is not in the call.
            None => return Some(()),
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
            let keys = parse_i64(args.get(at as usize)).filter(|keys| (1..=count).contains(keys))?;
            let first = begin + i64::from(first);
            (first, first + (keys - 1) * i64::from(step), step)
        }
        FindKeys::Unknown => return None,
    };
    if first >= count || last >= count || last < first {
        return None;
    }
    let indices = (first as usize..=last as usize).step_by(step as usize);
    found.extend(indices.map(|index| KeyPosition { index, flags: spec.flags }));
    Some(())
}

/// The argument after the keyword: searched forwards from argument `from`, or if that is negative, backwards from
/// `-from` before the end.
fn after_keyword<A: Arguments + ?Sized>(keyword: &str, from: i32, args: &A) -> Option<i64> {
    let count = args.count();
    let is_keyword = |at: &usize| args.get(*at).eq_ignore_ascii_case(keyword.as_bytes());
    let place = usize::try_from(from.unsigned_abs()).ok()?;
    // The last argument cannot be followed by a key, the first is the command's name.
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
    fn an_argument_may_say_how_many_keys_follow() {
        let zunionstore = [
            spec(BeginSearch::Index(1), FindKeys::Range { last: 0, step: 1, limit: 0 }),
            spec(BeginSearch::Index(2), FindKeys::KeyNum { at: 0, first: 1, step: 1 }),
        ];
        let keys = |line| keys_of(&zunionstore, line).map(|keys| keys.join(" "));
        assert_eq!(keys("zunionstore d 2 a b").as_deref(), Some("d a b"));
        assert_eq!(keys("zunionstore d 1 a weights 2").as_deref(), Some("d a"));
        for count in ["0", "5", "-1", "x", "", "9223372036854775807"] {
            assert_eq!(keys_of(&zunionstore, &format!("zunionstore d {count} a b")), None);
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
    fn the_destination_of_a_sort_is_found_among_its_options() {
        let keys = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let mut found = Vec::new();
            find_keys(lookup_full(args[0].as_bytes()).unwrap(), args.as_slice(), &mut found).unwrap();
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
            find_keys(lookup_full(b"set").unwrap(), args, &mut found).unwrap();
            assert_eq!(found.len(), 1);
            found[0].flags
        };
        assert_eq!(flags(&["set", "get", "get"]), OW | UPDATE);
        assert_eq!(flags(&["set", "a", "b", "px", "10", "Get"]), RW | ACCESS | UPDATE);
    }

    #[test]
    fn bitfield_writes_its_key_unless_it_only_gets() {
        let flags = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            let mut found = Vec::new();
            find_keys(lookup_full(b"bitfield").unwrap(), args.as_slice(), &mut found).unwrap();
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
