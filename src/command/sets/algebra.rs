//! Commands on several sets: intersection, union, difference, and the forms that store the result.
//!
//! An intersection walks the smallest set and looks its members up in the others; a difference walks the first set.
//! Members are looked up in groups, so that their buckets and members are fetched from memory together
//! ([`MemberTable::contains_each`]). Two intsets are merged as sorted sequences.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX, WRONG_TYPE};
use crate::db::{Access, Db, Event, Position, Ref};
use crate::types::intset::Intset;
use crate::types::set::{self, GROUP, MemberTable, SetRef};
use crate::types::{Entry, Kind, Shapes, Text};

/// Finds the sets of the keys from argument `first` up to `end`.
pub(super) fn find_sets(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    first: usize,
    end: usize,
    access: Access,
) -> Result<Vec<Option<Position>>> {
    find_all(ctx, args, first, end, access, &[Kind::Set])
}

/// Finds the values of the keys from argument `first` up to `end`, which must be of these kinds; missing ones are
/// `None`. Positions are read after all lookups, since a lookup may delete an expired key, which can move entries.
pub(in crate::command) fn find_all(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    first: usize,
    end: usize,
    access: Access,
    kinds: &[Kind],
) -> Result<Vec<Option<Position>>> {
    let mut hashes = Vec::with_capacity(end - first);
    for i in first..end {
        let key = ctx.key(args.get(i));
        let found = ctx.find(key, access);
        if found.is_some_and(|at| !kinds.contains(&ctx.db().get(at).kind())) {
            return Err(WRONG_TYPE);
        }
        hashes.push(found.map(|_| key.hash));
    }
    let find = |(i, hash): (usize, Option<u64>)| ctx.db().find(hash?, args.get(i));
    Ok((first..end).zip(hashes).map(find).collect())
}

fn lend<'a>(db: &'a Db, found: &[Option<Position>]) -> Vec<Ref<'a, Entry>> {
    found.iter().flatten().map(|at| db.get(*at)).collect()
}

/// Calls `see` with every member of `walked` that is in all of `asked` (in none of them if `wanted` is false), until it
/// returns `false`.
fn select<'a>(
    walked: SetRef<'a>,
    asked: &[SetRef<'_>],
    wanted: bool,
    see: &mut impl FnMut(Text<'a>) -> bool,
) {
    let mut members = walked.members();
    let mut group: Vec<Text<'a>> = Vec::with_capacity(GROUP);
    let mut digits: [Vec<u8>; GROUP] = Default::default();
    loop {
        group.clear();
        group.extend(members.by_ref().take(GROUP));
        if group.is_empty() {
            return;
        }
        for set in asked {
            keep(*set, &mut group, &mut digits, wanted);
        }
        for member in &group {
            if !see(*member) {
                return;
            }
        }
    }
}

/// Keeps the members of a group that are in `set`, or if `wanted` is false, those that are not.
fn keep(set: SetRef<'_>, group: &mut Vec<Text<'_>>, digits: &mut [Vec<u8>; GROUP], wanted: bool) {
    let SetRef::Table(table) = set else {
        return group.retain(|member| set.contains_text(*member) == wanted);
    };
    let mut found = [false; GROUP];
    let mut names: [&[u8]; GROUP] = [&[]; GROUP];
    for ((member, digits), name) in group.iter().zip(digits).zip(&mut names) {
        *name = set::bytes_of(*member, digits);
    }
    table.contains_each(&names[..group.len()], &mut found);
    let mut found = found.iter();
    group.retain(|_| found.next() == Some(&wanted));
}

/// Calls `see` with every integer that is in both sets, ascending, until it returns `false`.
fn merge(a: Intset<'_>, b: Intset<'_>, see: &mut impl FnMut(i64) -> bool) {
    let (mut a, mut b) = (a.iter(), b.iter());
    let (mut left, mut right) = (a.next(), b.next());
    while let (Some(x), Some(y)) = (left, right) {
        if x == y && !see(x) {
            return;
        }
        if x <= y {
            left = a.next();
        }
        if y <= x {
            right = b.next();
        }
    }
}

/// A merge reads both intsets; from this ratio of sizes on, searching the larger for each member of the smaller is
/// cheaper.
const MERGE_RATIO: usize = 8;

/// Calls `see` with every member that is in all sets, until it returns `false`.
fn intersect<'a>(sets: &mut [SetRef<'a>], see: &mut impl FnMut(Text<'a>) -> bool) {
    sets.sort_by_key(SetRef::len);
    match sets {
        [] => {}
        [SetRef::Intset(a), SetRef::Intset(b)] if b.len() / MERGE_RATIO <= a.len() => {
            merge(*a, *b, &mut |value| see(Text::Int(value)));
        }
        [smallest, others @ ..] => select(*smallest, others, true, see),
    }
}

/// Returns the union of the sets as a set under `key`; `None` if it is empty.
fn unite(sets: &[SetRef<'_>], key: &[u8], shapes: &Shapes) -> Option<Entry> {
    let largest = sets.iter().map(SetRef::len).max()?;
    // A union that is too large for the packed encodings is built as a table; otherwise the members decide.
    let packed = shapes.set_max_intset_entries.max(shapes.set_max_listpack_entries);
    let expected = if largest > packed { largest } else { 1 };
    let (mut result, mut digits) = (None, Vec::new());
    for member in sets.iter().flat_map(SetRef::members) {
        let member = set::bytes_of(member, &mut digits);
        let entry = result.get_or_insert_with(|| set::create(key, member, expected, shapes));
        set::add(entry, member, shapes);
    }
    result
}

/// Calls `see` with every member of the first set that is in none of the others. If the other sets are many and small,
/// removes their members from a copy of the first set instead.
fn subtract(sets: &[SetRef<'_>], shapes: &Shapes, see: &mut impl FnMut(Text<'_>)) {
    let Some((first, others)) = sets.split_first() else { return };
    let asking = first.len() * others.len() / 2;
    let removing: usize = sets.iter().map(SetRef::len).sum();
    if asking <= removing {
        let mut others = others.to_vec();
        // A larger set is more likely to contain a member.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        return select(*first, &others, false, &mut |member| {
            see(member);
            true
        });
    }
    let mut left = MemberTable::with_capacity(first.len(), shapes.seed);
    let mut digits = Vec::new();
    for member in first.members() {
        left.add(set::bytes_of(member, &mut digits));
    }
    for set in others {
        for member in set.members() {
            left.remove(set::bytes_of(member, &mut digits));
        }
    }
    SetRef::Table(&left).members().for_each(see);
}

/// A set operation.
#[derive(Clone, Copy)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    /// The event when the result is stored.
    fn store_event(self) -> Event {
        match self {
            Operation::Intersection => Event::SInterStore,
            Operation::Union => Event::SUnionStore,
            Operation::Difference => Event::SDiffStore,
        }
    }

    /// Calls `see` with every member of the result of the operation on the sets at `found`.
    fn run(self, db: &Db, found: &[Option<Position>], shapes: &Shapes, see: &mut impl FnMut(Text<'_>)) {
        let missing = match self {
            Operation::Intersection => found.iter().any(Option::is_none),
            Operation::Union => false,
            Operation::Difference => found.first().is_none_or(Option::is_none),
        };
        if missing {
            return;
        }
        let entries = lend(db, found);
        let mut sets: Vec<SetRef<'_>> = entries.iter().map(|entry| SetRef::of(entry)).collect();
        match self {
            Operation::Intersection => intersect(&mut sets, &mut |member| {
                see(member);
                true
            }),
            Operation::Difference => subtract(&sets, shapes, see),
            Operation::Union => {
                let Some(all) = unite(&sets, b"", shapes) else { return };
                SetRef::of(&all).members().for_each(see);
            }
        }
    }

    /// Returns the result as a set under `key`; `None` if it is empty.
    fn collect(self, db: &Db, found: &[Option<Position>], shapes: &Shapes, key: &[u8]) -> Option<Entry> {
        if matches!(self, Operation::Union) {
            let entries = lend(db, found);
            let sets: Vec<SetRef<'_>> = entries.iter().map(|entry| SetRef::of(entry)).collect();
            return unite(&sets, key, shapes);
        }
        let (mut result, mut digits) = (None, Vec::new());
        self.run(db, found, shapes, &mut |member| {
            let member = set::bytes_of(member, &mut digits);
            let entry = result.get_or_insert_with(|| set::create(key, member, 1, shapes));
            set::add(entry, member, shapes);
        });
        result
    }
}

fn reply_result(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Result {
    let found = find_sets(ctx, args, 1, args.len(), Access::Read)?;
    let deferred = ctx.reply.deferred();
    let mut count = 0;
    let reply = &mut ctx.reply;
    operation.run(ctx.keyspace.db(ctx.session.db), &found, &ctx.keyspace.shapes, &mut |member| {
        reply.text(member);
        count += 1;
    });
    ctx.reply.finish_set(deferred, count);
    Ok(())
}

fn store_result(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Result {
    let found = find_sets(ctx, args, 2, args.len(), Access::Read)?;
    let key = ctx.first_key(args.get(1));
    let result = operation.collect(ctx.db(), &found, &ctx.keyspace.shapes, key.name);
    let count = result.as_ref().map_or(0, |entry| SetRef::of(entry).len());
    ctx.keyspace.put_result(key, result, operation.store_event());
    ctx.reply.integer(count as i64);
    Ok(())
}

/// `SINTER key [key …]`: the members that are in all sets. O(N·M), where N is the size of the smallest set.
pub fn sinter(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_result(ctx, args, Operation::Intersection)
}

/// `SINTERSTORE destination key [key …]`: the number of members stored. O(N·M).
pub fn sinterstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    store_result(ctx, args, Operation::Intersection)
}

/// `SUNION key [key …]`: the members that are in any of the sets. O(N).
pub fn sunion(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_result(ctx, args, Operation::Union)
}

/// `SUNIONSTORE destination key [key …]`: the number of members stored. O(N).
pub fn sunionstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    store_result(ctx, args, Operation::Union)
}

/// `SDIFF key [key …]`: the members of the first set that are in no other set. O(N).
pub fn sdiff(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_result(ctx, args, Operation::Difference)
}

/// `SDIFFSTORE destination key [key …]`: the number of members stored. O(N).
pub fn sdiffstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    store_result(ctx, args, Operation::Difference)
}

/// Parses the number of keys and the limit (0: none) of `SINTERCARD`. (`ZINTERCARD` checks in another order.)
fn intercard_arguments(args: Args<'_>) -> Result<(usize, usize)> {
    const NO_KEYS: Error = Error::new("ERR numkeys should be greater than 0");
    let keys = integer(args.get(1)).map_err(|_| NO_KEYS)?;
    let keys = usize::try_from(keys).ok().filter(|n| *n > 0).ok_or(NO_KEYS)?;
    if keys > args.len() - 2 {
        return Err(Error::new("ERR Number of keys can't be greater than number of args"));
    }
    let (mut i, mut limit) = (2 + keys, 0);
    while i < args.len() {
        if !args.is(i, "limit") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        let value = integer(args.get(i + 1)).ok().and_then(|n| usize::try_from(n).ok());
        limit = value.ok_or(Error::new("ERR LIMIT can't be negative"))?;
        i += 2;
    }
    Ok((keys, limit))
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]`: the number of members that are in all sets, counted up to the limit.
/// O(N·M).
pub fn sintercard(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (keys, limit) = intercard_arguments(args)?;
    let found = find_sets(ctx, args, 2, 2 + keys, Access::Read)?;
    let mut count = 0;
    if found.iter().all(Option::is_some) {
        let entries = lend(ctx.db(), &found);
        let mut sets: Vec<SetRef<'_>> = entries.iter().map(|entry| SetRef::of(entry)).collect();
        intersect(&mut sets, &mut |_| {
            count += 1;
            count != limit
        });
    }
    ctx.reply.integer(count as i64);
    Ok(())
}
