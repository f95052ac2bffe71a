//! Commands on several sorted sets, or sets, whose members count as having score 1: union, intersection, difference,
//! and the forms that store the result.
//!
//! An unordered dict collects the result, which is then sorted once and built ([`Gather`]); this makes a union of
//! millions cheap. Lookups are grouped so that their cache misses overlap.
//!
//! As in Redis, sets are processed by size, smallest first: sums of more than two scores depend on the order.

use crate::command::args::{Args, integer, whole_number};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::sets::algebra::find_all;
use crate::command::sorted_sets::Scores;
use crate::db::{Access, Db, Event, Position};
use crate::text::number;
use crate::types::set::{self, SetRef};
use crate::types::sorted_set::{self, GROUP, Gather, SortedSetRef};
use crate::types::{Entry, Kind, Shapes, Text};

/// A sorted set operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

impl Operation {
    /// The event when the result is stored.
    fn store_event(self) -> Event {
        match self {
            Operation::Union => Event::ZUnionStore,
            Operation::Intersection => Event::ZInterStore,
            Operation::Difference => Event::ZDiffStore,
        }
    }
}

/// The way to combine two scores of a member.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(a + b),
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// Replaces NaN by zero: the sum of opposite infinities, and an infinity times zero.
fn number_or_zero(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// The options of a command.
struct AlgebraQuery {
    operation: Operation,
    /// The number of keys, and the index of the first.
    keys: usize,
    first: usize,
    /// One for each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl AlgebraQuery {
    fn new(operation: Operation, first: usize, keys: usize) -> AlgebraQuery {
        let (weights, aggregate) = (vec![1.0; keys], Aggregate::Sum);
        AlgebraQuery { operation, keys, first, weights, aggregate, with_scores: false }
    }

    /// Parses the options from argument `first + keys` on.
    fn options(&mut self, args: Args<'_>, store: bool) -> Result {
        let weighted = self.operation != Operation::Difference;
        let mut i = self.first + self.keys;
        while i < args.len() {
            let left = args.len() - i;
            if weighted && left > self.keys && args.is(i, "weights") {
                for (n, weight) in self.weights.iter_mut().enumerate() {
                    let value = number::parse_f64(args.get(i + 1 + n));
                    *weight = value.ok_or(Error::new("ERR weight value is not a float"))?;
                }
                i += 1 + self.keys;
            } else if weighted && left >= 2 && args.is(i, "aggregate") {
                self.aggregate = match args.get(i + 1).to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err(SYNTAX),
                };
                i += 2;
            } else if !store && args.is(i, "withscores") {
                self.with_scores = true;
                i += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(())
    }
}

/// A sorted set, or a set whose members have score 1.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Sorted(SortedSetRef<'a>),
    Plain(SetRef<'a>),
}

impl<'a> Operand<'a> {
    fn of(entry: &'a Entry) -> Operand<'a> {
        match entry.kind() {
            Kind::Set => Operand::Plain(SetRef::of(entry)),
            _ => Operand::Sorted(SortedSetRef::of(entry)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Operand::Sorted(set) => set.len(),
            Operand::Plain(set) => set.len(),
        }
    }

    /// Calls `see` with groups of elements until it returns `false`.
    fn in_groups(&self, see: &mut impl FnMut(&mut Group<'a>) -> bool) {
        match self {
            Operand::Sorted(set) => group(set.iter(), see),
            Operand::Plain(set) => group(set.members().map(|member| (member, 1.0)), see),
        }
    }

    /// The score of each of up to [`GROUP`] members.
    fn scores(&self, members: &[&[u8]], scores: &mut [Option<f64>; GROUP]) {
        match self {
            Operand::Sorted(SortedSetRef::Large(set)) => set.scores(members, scores),
            Operand::Sorted(set) => {
                for (member, score) in members.iter().zip(scores) {
                    *score = set.score(member);
                }
            }
            Operand::Plain(SetRef::Table(table)) => {
                let mut found = [false; GROUP];
                table.contains_each(members, &mut found);
                *scores = found.map(|found| found.then_some(1.0));
            }
            Operand::Plain(set) => {
                for (member, score) in members.iter().zip(scores) {
                    *score = set.contains(member).then_some(1.0);
                }
            }
        }
    }
}

const _: () = assert!(GROUP == set::GROUP);

/// Elements that are looked up together.
struct Group<'a> {
    elements: Vec<(Text<'a>, f64)>,
    digits: [Vec<u8>; GROUP],
}

impl Group<'_> {
    /// The bytes of each member.
    fn names<'s>(elements: &[(Text<'s>, f64)], digits: &'s mut [Vec<u8>; GROUP]) -> [&'s [u8]; GROUP] {
        let mut names: [&[u8]; GROUP] = [&[]; GROUP];
        for (((member, _), digits), name) in elements.iter().zip(digits).zip(&mut names) {
            *name = set::bytes_of(*member, digits);
        }
        names
    }

    /// Replaces the score of each element by the result of `merge` for it and its score in `other`; drops elements for
    /// which that is `None`.
    fn keep(&mut self, other: Operand<'_>, mut merge: impl FnMut(f64, Option<f64>) -> Option<f64>) {
        let mut scores = [None; GROUP];
        let names = Group::names(&self.elements, &mut self.digits);
        other.scores(&names[..self.elements.len()], &mut scores);
        let mut scores = scores.into_iter();
        self.elements.retain_mut(|(_, score)| {
            let merged = merge(*score, scores.next().flatten());
            *score = merged.unwrap_or(*score);
            merged.is_some()
        });
    }
}

fn group<'a>(mut all: impl Iterator<Item = (Text<'a>, f64)>, see: &mut impl FnMut(&mut Group<'a>) -> bool) {
    let mut group = Group { elements: Vec::with_capacity(GROUP), digits: Default::default() };
    loop {
        group.elements.clear();
        group.elements.extend(all.by_ref().take(GROUP));
        if group.elements.is_empty() || !see(&mut group) {
            return;
        }
    }
}

/// The operands that exist, with their weights; the smallest first, except for a difference.
fn lend<'a>(
    entries: &'a [Option<impl std::ops::Deref<Target = Entry>>],
    query: &AlgebraQuery,
) -> Vec<(Operand<'a>, f64)> {
    let mut operands: Vec<(Operand<'a>, f64)> = (entries.iter().zip(&query.weights))
        .filter_map(|(entry, weight)| Some((Operand::of(entry.as_deref()?), *weight)))
        .collect();
    if query.operation != Operation::Difference {
        operands.sort_by_key(|(operand, _)| operand.len());
    }
    operands
}

/// Returns the unordered result of `query` on the values of `found`.
fn run(db: &Db, found: &[Option<Position>], query: &AlgebraQuery, shapes: &Shapes) -> Gather {
    let missing = match query.operation {
        Operation::Intersection => found.iter().any(Option::is_none),
        Operation::Union => false,
        Operation::Difference => found.first().is_none_or(Option::is_none),
    };
    if missing {
        return Gather::with_room(shapes.seed, 0);
    }
    let entries: Vec<_> = found.iter().map(|at| at.map(|at| db.get(at))).collect();
    let operands = lend(&entries, query);
    match query.operation {
        Operation::Union => unite(&operands, query.aggregate, shapes),
        Operation::Intersection => {
            let mut gather = Gather::with_room(shapes.seed, 0);
            intersect(&operands, query.aggregate, &mut |group| {
                gather_new(&mut gather, group);
                true
            });
            gather
        }
        Operation::Difference => subtract(&operands, shapes),
    }
}

/// Adds elements whose members have not been gathered yet.
fn gather_new(gather: &mut Gather, group: &mut Group<'_>) {
    let names = Group::names(&group.elements, &mut group.digits);
    let mut hashes = [0; GROUP];
    for (name, hash) in names[..group.elements.len()].iter().zip(&mut hashes) {
        *hash = gather.hash(name);
        gather.prefetch_bucket(*hash);
    }
    for ((name, hash), (_, score)) in names.iter().zip(hashes).zip(&group.elements) {
        gather.insert(hash, name, *score);
    }
}

/// Adds elements, or aggregates their scores with those gathered so far.
fn gather_any(gather: &mut Gather, group: &mut Group<'_>, aggregate: Aggregate) {
    let names = Group::names(&group.elements, &mut group.digits);
    let mut hashes = [0; GROUP];
    for (name, hash) in names[..group.elements.len()].iter().zip(&mut hashes) {
        *hash = gather.hash(name);
        gather.prefetch_bucket(*hash);
    }
    for hash in &hashes[..group.elements.len()] {
        gather.prefetch_element(*hash);
    }
    for ((name, hash), (_, score)) in names.iter().zip(hashes).zip(&group.elements) {
        match gather.find(hash, name) {
            Some((at, old)) => gather.set_score(at, aggregate.of(old, *score)),
            None => gather.insert(hash, name, *score),
        }
    }
}

fn weigh(group: &mut Group<'_>, weight: f64) {
    for (_, score) in &mut group.elements {
        *score = number_or_zero(weight * *score);
    }
}

fn unite(operands: &[(Operand<'_>, f64)], aggregate: Aggregate, shapes: &Shapes) -> Gather {
    let largest = operands.last().map_or(0, |(operand, _)| operand.len());
    let mut gather = Gather::with_room(shapes.seed, largest);
    for (i, (operand, weight)) in operands.iter().enumerate() {
        operand.in_groups(&mut |group| {
            weigh(group, *weight);
            match i {
                0 => gather_new(&mut gather, group),
                _ => gather_any(&mut gather, group, aggregate),
            }
            true
        });
    }
    gather
}

/// Calls `see` with the elements that are in all operands, until it returns `false`.
fn intersect(
    operands: &[(Operand<'_>, f64)],
    aggregate: Aggregate,
    see: &mut impl FnMut(&mut Group<'_>) -> bool,
) {
    let Some(((smallest, weight), others)) = operands.split_first() else { return };
    smallest.in_groups(&mut |group| {
        weigh(group, *weight);
        for (other, weight) in others {
            // As in Redis, NaN becomes zero here only in a sum; in a member's first score it always does.
            group.keep(*other, |score, found| Some(aggregate.of(score, weight * found?)));
        }
        see(group)
    });
}

fn subtract(operands: &[(Operand<'_>, f64)], shapes: &Shapes) -> Gather {
    let mut gather = Gather::with_room(shapes.seed, 0);
    let Some(((first, _), others)) = operands.split_first() else { return gather };
    let mut others = others.to_vec();
    // A larger operand is more likely to contain the member.
    others.sort_by_key(|(other, _)| std::cmp::Reverse(other.len()));
    first.in_groups(&mut |group| {
        for (other, _) in &others {
            group.keep(*other, |score, found| found.is_none().then_some(score));
        }
        gather_new(&mut gather, group);
        true
    });
    gather
}

/// Parses the number of keys in argument `at`.
fn number_of_keys(args: Args<'_>, at: usize, name: &str) -> Result<usize> {
    let keys = integer(args.get(at))?;
    if keys < 1 {
        return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
    }
    usize::try_from(keys).ok().filter(|keys| *keys < args.len() - at).ok_or(SYNTAX)
}

/// Finds the operands. Like Redis, before the options are parsed.
fn find_operands(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    first: usize,
    keys: usize,
) -> Result<Vec<Option<Position>>> {
    find_all(ctx, args, first, first + keys, Access::Read, &[Kind::SortedSet, Kind::Set])
}

/// Parses the arguments, finds the keys and computes the result. Argument `numkeys_at` is the number of keys; a
/// destination, if any, precedes it.
fn compute(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    numkeys_at: usize,
    operation: Operation,
    name: &str,
) -> Result<(Gather, bool)> {
    let keys = number_of_keys(args, numkeys_at, name)?;
    let first = numkeys_at + 1;
    let found = find_operands(ctx, args, first, keys)?;
    let mut query = AlgebraQuery::new(operation, first, keys);
    query.options(args, numkeys_at > 1)?;
    let gather = run(ctx.db(), &found, &query, &ctx.keyspace.shapes);
    Ok((gather, query.with_scores))
}

fn reply_result(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation, name: &str) -> Result {
    let (gather, with_scores) = compute(ctx, args, 1, operation, name)?;
    let scores = Scores::when(with_scores, ctx.session.protocol);
    scores.begin(&mut ctx.reply, gather.len());
    let set = gather.finish();
    for (member, score) in set.iter() {
        scores.reply(&mut ctx.reply, (Text::Bytes(member), score));
    }
    Ok(())
}

fn store_result(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation, name: &str) -> Result {
    let (gather, _) = compute(ctx, args, 2, operation, name)?;
    let key = ctx.first_key(args.get(1));
    let count = gather.len();
    let result = sorted_set::create_from(key.name, gather.finish(), &ctx.keyspace.shapes);
    ctx.keyspace.put_result(key, result, operation.store_event());
    ctx.reply.integer(count as i64);
    Ok(())
}

/// `ZUNION numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`: the members of all sorted
/// sets, in order. O(N) + O(M log M).
pub fn zunion(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_result(ctx, args, Operation::Union, "zunion")
}

/// `ZUNIONSTORE destination numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX]`: the number of members
/// stored. O(N) + O(M log M).
pub fn zunionstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    store_result(ctx, args, Operation::Union, "zunionstore")
}

/// `ZINTER numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`: the members that are in
/// all sorted sets, in order. O(N·K) + O(M log M), where N is the size of the smallest.
pub fn zinter(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_result(ctx, args, Operation::Intersection, "zinter")
}

/// `ZINTERSTORE destination numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX]`: the number of members
/// stored. O(N·K) + O(M log M).
pub fn zinterstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    store_result(ctx, args, Operation::Intersection, "zinterstore")
}

/// `ZDIFF numkeys key [key …] [WITHSCORES]`: the members of the first sorted set that are in no other, in order. O(N·K)
/// + O(M log M).
pub fn zdiff(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_result(ctx, args, Operation::Difference, "zdiff")
}

/// `ZDIFFSTORE destination numkeys key [key …]`: the number of members stored. O(N·K) + O(M log M).
pub fn zdiffstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    store_result(ctx, args, Operation::Difference, "zdiffstore")
}

/// `ZINTERCARD numkeys key [key …] [LIMIT limit]`: the number of members that are in all sorted sets, counted up to the
/// limit. O(N·K), where N is the size of the smallest.
pub fn zintercard(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let keys = number_of_keys(args, 1, "zintercard")?;
    let found = find_operands(ctx, args, 2, keys)?;
    let (mut i, mut limit) = (2 + keys, 0);
    while i < args.len() {
        if !args.is(i, "limit") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        limit = whole_number(args.get(i + 1)).ok_or(Error::new("ERR LIMIT can't be negative"))?;
        i += 2;
    }
    let count = if found.iter().all(Option::is_some) { count_common(ctx.db(), &found, limit) } else { 0 };
    ctx.reply.integer(count as i64);
    Ok(())
}

/// Counts the members that are in all of `found`, up to `limit` (0: all).
fn count_common(db: &Db, found: &[Option<Position>], limit: usize) -> usize {
    let entries: Vec<_> = found.iter().map(|at| at.map(|at| db.get(at))).collect();
    let query = AlgebraQuery::new(Operation::Intersection, 2, found.len());
    let mut count = 0;
    intersect(&lend(&entries, &query), query.aggregate, &mut |group| {
        count += group.elements.len();
        limit == 0 || count < limit
    });
    if limit == 0 { count } else { count.min(limit) }
}
