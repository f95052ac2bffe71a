//! HyperLogLog: counting distinct elements in little memory.
//!
//! A sketch is a string value in the format of [`crate::types::hyperloglog`], which does the work; the commands here
//! find it, check it, and write it back. A dense sketch is changed in place. A sparse one is small, and copied if an
//! element changes it; most elements do not.

use std::ops::ControlFlow;

use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::error::{Error, Result, WRONG_TYPE};
use crate::db::{Access, Event, Key, Position};
use crate::text::words::shown;
use crate::types::hyperloglog::{self, Corrupted, Form, HEADER, Observation, Registers, dense, sparse};
use crate::types::{Encoding, Entry, Kind, Text};

const NOT_A_SKETCH: Error = Error::new("WRONGTYPE Key is not a valid HyperLogLog string value.");

fn corrupted(_: Corrupted) -> Error {
    Error::new("INVALIDOBJ Corrupted HLL object detected")
}

/// The bytes of a string entry that is not an integer.
fn bytes(entry: &Entry) -> &[u8] {
    match entry.value() {
        Text::Bytes(bytes) => bytes,
        Text::Int(_) => &[],
    }
}

/// The form of the sketch in `entry`; an error if the value is not a sketch.
fn form(entry: &Entry) -> Result<Form> {
    if entry.kind() != Kind::String {
        return Err(WRONG_TYPE);
    }
    hyperloglog::form(bytes(entry)).ok_or(NOT_A_SKETCH)
}

/// Finds the sketch under `key` and gives it the raw encoding, as Redis does with strings that it changes in place.
fn find(ctx: &mut Context<'_>, key: Key<'_>, access: Access) -> Result<Option<(Position, Form)>> {
    let Some(at) = ctx.find(key, access) else { return Ok(None) };
    let form = form(&ctx.db().get(at))?;
    if ctx.db().get(at).encoding() != Encoding::Raw {
        ctx.keyspace.modify(key.db, at, |entry| {
            entry.bytes_mut(0);
        });
        ctx.unchanged();
    }
    Ok(Some((at, form)))
}

/// `PFADD key [element …]`: 1 if the key was created or a register rose, else 0. O(1) for each element.
pub fn pfadd(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let max_sparse_bytes = ctx.config.hll_sparse_max_bytes;
    let (changes, outcome) = if let Some((at, _)) = find(ctx, key, Access::Write)? {
        ctx.keyspace.modify(key.db, at, |entry| add(entry, args.iter_from(2), max_sparse_bytes))
    } else {
        let mut sketch = hyperloglog::empty();
        hyperloglog::invalidate(&mut sketch);
        let raised = raise_all(&mut sketch, args.iter_from(2).map(Observation::of), max_sparse_bytes);
        ctx.insert(key, Entry::raw_string(key.name, &sketch, None));
        (1 + raised.0, Ok(()))
    };
    match (changes, outcome) {
        (0, _) => ctx.unchanged(),
        (_, Ok(())) => ctx.changed(key, Event::PfAdd, changes),
        // The elements that were added before the error stay. The command itself would fail on replay, too.
        (_, Err(_)) => {
            ctx.changed(key, Event::Unnamed, changes);
            propagate_whole(ctx, key);
        }
    }
    outcome.map_err(corrupted)?;
    ctx.reply.integer(i64::from(changes > 0));
    Ok(())
}

/// Propagates a `SET` of the sketch instead of the command that has changed it.
fn propagate_whole(ctx: &mut Context<'_>, key: Key<'_>) {
    if ctx.propagates()
        && let Some(at) = ctx.find(key, Access::Inspect)
    {
        let sketch = bytes(&ctx.db().get(at)).to_vec();
        ctx.propagate(&[b"SET", key.name, &sketch, b"KEEPTTL"]);
    }
}

/// Adds elements to the sketch in `entry`. Returns how many of them changed it, and an error if it is corrupted.
fn add<'a>(
    entry: &mut Entry,
    mut elements: impl Iterator<Item = &'a [u8]>,
    max_sparse_bytes: usize,
) -> (u64, Result<(), Corrupted>) {
    let first = elements.try_for_each(|element| {
        let place = Observation::of(element);
        if is_lower(bytes(entry), place) { ControlFlow::Break(place) } else { ControlFlow::Continue(()) }
    });
    let ControlFlow::Break(first) = first else { return (0, Ok(())) };
    let places = std::iter::once(first).chain(elements.map(Observation::of));
    if hyperloglog::form(bytes(entry)) == Some(Form::Dense) {
        let sketch = entry.bytes_mut(0);
        let raised = places.filter(|place| dense::raise(&mut sketch[HEADER..], place.register, place.rank));
        let changes = raised.count() as u64;
        hyperloglog::invalidate(sketch);
        return (changes, Ok(()));
    }
    let mut sketch = bytes(entry).to_vec();
    let (changes, outcome) = raise_all(&mut sketch, places, max_sparse_bytes);
    if changes > 0 {
        entry.set_raw(&sketch);
    }
    (changes, outcome)
}

/// Raises registers one after the other. Returns how many were lower, and an error if the sketch is corrupted.
fn raise_all(
    sketch: &mut Vec<u8>,
    mut places: impl Iterator<Item = Observation>,
    max_sparse_bytes: usize,
) -> (u64, Result<(), Corrupted>) {
    let mut changes = 0;
    let outcome = places.try_for_each(|place| {
        changes += u64::from(hyperloglog::raise(sketch, place, max_sparse_bytes)?);
        Ok(())
    });
    (changes, outcome)
}

/// Whether the register is lower than the element would make it, or cannot be found.
fn is_lower(sketch: &[u8], place: Observation) -> bool {
    match hyperloglog::form(sketch) {
        Some(Form::Dense) => dense::get(&sketch[HEADER..], place.register) < place.rank,
        _ => sparse::get(sketch, place.register).is_none_or(|rank| rank < place.rank),
    }
}

/// `PFCOUNT key [key …]`: the estimated number of distinct elements in all of them together; missing keys count as
/// empty. O(1) for one key, whose sketch caches the result; O(N) for several.
pub fn pfcount(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let cardinality = if args.len() == 2 {
        count_one(ctx, ctx.first_key(args.get(1)))?
    } else {
        let mut registers = Registers::new();
        unite(ctx, args, &mut registers)?;
        registers.cardinality()
    };
    ctx.reply.integer(cardinality as i64);
    Ok(())
}

/// The cardinality of one key's sketch, which caches it.
fn count_one(ctx: &mut Context<'_>, key: Key<'_>) -> Result<u64> {
    let Some((at, _)) = find(ctx, key, Access::Read)? else { return Ok(0) };
    let entry = ctx.db().get(at);
    let sketch = bytes(&entry);
    if let Some(cardinality) = hyperloglog::cached(sketch) {
        return Ok(cardinality);
    }
    let cardinality = hyperloglog::cardinality(sketch).map_err(corrupted)?;
    ctx.keyspace.modify(key.db, at, |entry| hyperloglog::set_cached(entry.bytes_mut(0), cardinality));
    ctx.changed(key, Event::Unnamed, 1);
    Ok(cardinality)
}

/// Adds the sketches under all keys to `union`, and returns whether any is dense. A missing key counts as an empty
/// sketch.
fn unite(ctx: &mut Context<'_>, args: Args<'_>, union: &mut Registers) -> Result<bool> {
    let mut outcome = Ok(false);
    ctx.for_each_key(args, 1, 1, |ctx, _, key| {
        // After an error no more keys are looked up, so expired ones among them are not deleted.
        if let Ok(any_dense) = outcome
            && let Some(at) = ctx.find(key, Access::Read)
        {
            let entry = ctx.db().get(at);
            outcome = form(&entry).and_then(|form| {
                union.merge(bytes(&entry)).map_err(corrupted)?;
                Ok(any_dense || form == Form::Dense)
            });
        }
    });
    outcome
}

/// `PFMERGE destkey [sourcekey …]`: `OK`; merges all sketches, the destination's own included, into the destination.
/// O(N) for N sketches.
pub fn pfmerge(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let mut union = Registers::new();
    let any_dense = unite(ctx, args, &mut union)?;
    let key = ctx.first_key(args.get(1));
    let max_sparse_bytes = ctx.config.hll_sparse_max_bytes;
    match find(ctx, key, Access::Write)? {
        Some((at, Form::Dense)) => ctx.keyspace.modify(key.db, at, |entry| {
            let sketch = entry.bytes_mut(0);
            union.write_dense(sketch);
            hyperloglog::invalidate(sketch);
        }),
        Some((at, Form::Sparse)) => {
            let mut sketch = bytes(&ctx.db().get(at)).to_vec();
            raise_to(&mut sketch, &union, any_dense, max_sparse_bytes)?;
            ctx.keyspace.modify(key.db, at, |entry| entry.set_raw(&sketch));
        }
        None => {
            let mut sketch = hyperloglog::empty();
            raise_to(&mut sketch, &union, any_dense, max_sparse_bytes)?;
            ctx.insert(key, Entry::raw_string(key.name, &sketch, None));
        }
    }
    ctx.changed(key, Event::PfAdd, 1);
    ctx.reply.ok();
    Ok(())
}

/// Raises the sparse `sketch`, one of those merged, to the union.
fn raise_to(sketch: &mut Vec<u8>, union: &Registers, any_dense: bool, max_sparse_bytes: usize) -> Result {
    if any_dense {
        union.become_dense(sketch);
    } else {
        union.raise_sparse(sketch, max_sparse_bytes).map_err(corrupted)?;
    }
    hyperloglog::invalidate(sketch);
    Ok(())
}

/// `PFDEBUG GETREG | DECODE | ENCODING | TODENSE key`: all registers, the opcodes of a sparse sketch as text, the name
/// of the encoding, or 1 if a sparse sketch was converted to dense. `GETREG` converts it, too. O(1).
pub fn pfdebug(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(2));
    let (at, form) = find(ctx, key, Access::Write)?.ok_or("ERR The specified key does not exist")?;
    if args.is(1, "getreg") {
        make_dense(ctx, key, at, form)?;
        let mut registers = Registers::new();
        registers.merge(bytes(&ctx.db().get(at))).map_err(corrupted)?;
        ctx.reply.array(registers.values().len());
        registers.values().iter().for_each(|value| ctx.reply.integer(i64::from(*value)));
    } else if args.is(1, "decode") {
        if form == Form::Dense {
            return Err("ERR HLL encoding is not sparse".into());
        }
        let text = sparse::describe(bytes(&ctx.db().get(at))).map_err(corrupted)?;
        ctx.reply.bulk(text.as_bytes());
    } else if args.is(1, "encoding") {
        ctx.reply.simple(if form == Form::Dense { "dense" } else { "sparse" });
    } else if args.is(1, "todense") {
        make_dense(ctx, key, at, form)?;
        ctx.reply.integer(i64::from(form == Form::Sparse));
    } else {
        return Err(Error::concat(&[b"ERR Unknown PFDEBUG subcommand '", shown(args.get(1)), b"'"]));
    }
    Ok(())
}

fn make_dense(ctx: &mut Context<'_>, key: Key<'_>, at: Position, form: Form) -> Result {
    if form == Form::Sparse {
        let mut sketch = bytes(&ctx.db().get(at)).to_vec();
        hyperloglog::to_dense(&mut sketch).map_err(corrupted)?;
        ctx.keyspace.modify(key.db, at, |entry| entry.set_raw(&sketch));
        // The visible value is the same.
        ctx.changed(key, Event::Bookkeeping, 1);
    }
    Ok(())
}

/// `PFSELFTEST`: `OK`, or the check that failed. Takes some tens of milliseconds.
pub fn pfselftest(ctx: &mut Context<'_>, _: Args<'_>) -> Result {
    let max_sparse_bytes = ctx.config.hll_sparse_max_bytes;
    hyperloglog::self_test(&mut || ctx.keyspace.random.next(), max_sparse_bytes)
        .map_err(|what| format!("TESTFAILED {what}"))?;
    ctx.reply.ok();
    Ok(())
}
