//! SORT and SORT_RO: the elements of a list, set or sorted set, ordered by their own values or by other keys.
//!
//! ```text
//!  elements ──▶ weights by BY ──▶ order of the window ──▶ values by GET ──▶ reply, or a list
//!  source.rs     pattern.rs        rank.rs                 pattern.rs
//! ```
//!
//! The elements are first copied out of the collection, because the lookups of BY and GET may delete expired keys, and
//! the destination may be the collection itself. Lookups are grouped so that their cache misses overlap.
//!
//! Costs: O(N + M log M) for N elements and M in the window of LIMIT, plus one lookup per element with BY, and one per
//! element of the window and GET. Without sorting, only the window of a list or sorted set is read.

mod pattern;
mod rank;
mod source;

use std::ops::Range;

use super::args::Args;
use super::error::{Error, Result, SYNTAX, WRONG_TYPE};
use crate::command::args::integer;
use crate::command::context::Context;
use crate::command::table;
use crate::db::{Access, Event};
use crate::types::hash::HashRef;
use crate::types::{Entry, Kind, Text};
use pattern::{Found, Pattern, follow, has_star};
use rank::{Texts, Wanted, by_numbers, by_texts, number};

const NOT_A_SCORE: Error = Error::new("ERR One or more scores can't be converted into double");

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern …]] [ASC | DESC] [ALPHA] [STORE destination]`:
/// an array of the elements, or of the values of all GETs for each; with STORE, the length of the stored list. O(N + M
/// log M) for N elements of which M are returned.
pub fn sort(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    run(ctx, args, true)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern …]] [ASC | DESC] [ALPHA]`: like `SORT`,
/// without STORE. O(N + M log M).
pub fn sort_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    run(ctx, args, false)
}

/// The options of a call.
struct SortRequest<'a> {
    /// Whether to sort: false for a BY without a star.
    sorted: bool,
    by: Option<Pattern<'a>>,
    alpha: bool,
    descending: bool,
    offset: i64,
    count: i64,
    get: Vec<Pattern<'a>>,
    store: Option<&'a [u8]>,
}

impl<'a> SortRequest<'a> {
    fn parse(args: Args<'a>, may_store: bool, in_cluster: bool, reads_all: bool) -> Result<Self> {
        let mut request = SortRequest {
            sorted: true,
            by: None,
            alpha: false,
            descending: false,
            offset: 0,
            count: -1,
            get: Vec::new(),
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let left = args.len() - at - 1;
            let word = |word| args.is(at, word);
            if word("asc") {
                request.descending = false;
            } else if word("desc") {
                request.descending = true;
            } else if word("alpha") {
                request.alpha = true;
            } else if word("limit") && left >= 2 {
                request.offset = integer(args.get(at + 1))?;
                request.count = integer(args.get(at + 2))?;
                at += 2;
            } else if may_store && word("store") && left >= 1 {
                request.store = Some(args.get(at + 1));
                at += 1;
            } else if word("by") && left >= 1 {
                let pattern = args.get(at + 1);
                // The keys that a pattern names may be on other nodes.
                if in_cluster && has_star(pattern) {
                    return Err(Error::new("ERR BY option of SORT denied in Cluster mode."));
                }
                if !reads_all && has_star(pattern) {
                    return Err(Error::new(
                        "ERR BY option of SORT denied due to insufficient ACL permissions.",
                    ));
                }
                request.sorted &= has_star(pattern);
                request.by = Some(Pattern::parse(pattern));
                at += 1;
            } else if word("get") && left >= 1 {
                if in_cluster {
                    return Err(Error::new("ERR GET option of SORT denied in Cluster mode."));
                }
                if !reads_all {
                    return Err(Error::new(
                        "ERR GET option of SORT denied due to insufficient ACL permissions.",
                    ));
                }
                request.get.push(Pattern::parse(args.get(at + 1)));
                at += 1;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(request)
    }

    /// The requested part of the order of `len` elements.
    fn window(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

fn run(ctx: &mut Context<'_>, args: Args<'_>, may_store: bool) -> Result {
    let rights = ctx.session.rights;
    let name: &[u8] = if may_store { b"sort" } else { b"sort_ro" };
    let reads_all = rights.unrestricted
        || table::lookup(name).is_some_and(|command| ctx.users.reads_all_keys(rights.user, command, &args));
    let mut request = SortRequest::parse(args, may_store, ctx.config.cluster_enabled, reads_all)?;
    let (elements, order) = match ctx.find(ctx.first_key(args.get(1)), Access::Read) {
        None => (Texts::default(), Vec::new()),
        Some(at) => {
            source::prepare(ctx, at);
            let entry = ctx.db().get(at);
            let len = source::len(&entry).ok_or(WRONG_TYPE)?;
            let must_repeat = request.store.is_some() || ctx.origin.is_script();
            if !request.sorted && entry.kind() == Kind::Set && must_repeat {
                // A set has no order: sort it, so that neither a stored list nor a script depends on the order in
                // memory.
                request = SortRequest { sorted: true, alpha: true, by: None, ..request };
            }
            let window = request.window(len);
            if request.sorted {
                let elements = source::elements(&entry, 0..len, false);
                let order = order(ctx, &request, &elements, window)?;
                (elements, order)
            } else {
                let elements = source::elements(&entry, window.clone(), request.descending);
                (elements, (0..window.len()).collect())
            }
        }
    };
    match request.store {
        None => reply(ctx, &request, &elements, &order),
        Some(destination) => store(ctx, &request, &elements, &order, destination),
    }
    Ok(())
}

/// The indices of the elements in the window, in the requested order.
fn order(
    ctx: &mut Context<'_>,
    request: &SortRequest<'_>,
    elements: &Texts,
    window: Range<usize>,
) -> Result<Vec<usize>> {
    let wanted = Wanted { descending: request.descending, window };
    // Without STORE, texts compare as C strings, up to the first zero byte.
    let whole = request.store.is_some();
    let Some(by) = request.by else {
        if request.alpha {
            let text = |index| Some(comparable(elements.get(index), whole));
            return Ok(by_texts(elements.len(), text, &wanted));
        }
        let numbers: Option<Vec<f64>> = elements.iter().map(number).collect();
        return Ok(by_numbers(&numbers.ok_or(NOT_A_SCORE)?, elements, &wanted));
    };
    let lookups = elements.iter().map(|element| (by, element));
    if request.alpha {
        let (mut weights, mut places) = (Texts::default(), Vec::with_capacity(elements.len()));
        follow(ctx, lookups, |ctx, found| {
            places.push(with_text(ctx, found, |text| {
                text.map(|text| {
                    weights.push(text);
                    weights.len() - 1
                })
            }));
        });
        let text = |index: usize| places[index].map(|place| comparable(weights.get(place), whole));
        return Ok(by_texts(elements.len(), text, &wanted));
    }
    let mut numbers = Some(Vec::with_capacity(elements.len()));
    follow(ctx, lookups, |ctx, found| {
        // A missing weight counts as 0.
        let weight = with_text(ctx, found, |text| text.map_or(Some(0.0), number_of));
        match (&mut numbers, weight) {
            (Some(numbers), Some(weight)) => numbers.push(weight),
            _ => numbers = None,
        }
    });
    Ok(by_numbers(&numbers.ok_or(NOT_A_SCORE)?, elements, &wanted))
}

fn comparable(text: &[u8], whole: bool) -> &[u8] {
    if whole { text } else { crate::text::words::shown(text) }
}

fn number_of(text: Text<'_>) -> Option<f64> {
    match text {
        Text::Int(value) => Some(value as f64),
        Text::Bytes(bytes) => number(bytes),
    }
}

/// Calls `see` with the text that a pattern found: a string, or the value of a hash field.
fn with_text<R>(ctx: &Context<'_>, found: Found<'_>, see: impl FnOnce(Option<Text<'_>>) -> R) -> R {
    match found {
        Found::Nothing => see(None),
        Found::Element(element) => see(Some(Text::Bytes(element))),
        Found::Entry(at, field) => see(text_of(&ctx.db().get(at), field, ctx.keyspace.moment.unix_ms)),
    }
}

fn text_of<'a>(entry: &'a Entry, field: Option<&[u8]>, now: i64) -> Option<Text<'a>> {
    match (entry.kind(), field) {
        (Kind::String, None) => Some(entry.value()),
        (Kind::Hash, Some(field)) => HashRef::new(entry, now).get(field),
        _ => None,
    }
}

/// The output: the elements in order, or for each of them the value of every GET.
fn outputs<'a>(
    request: &'a SortRequest<'a>,
    elements: &'a Texts,
    order: &'a [usize],
) -> impl Iterator<Item = (Pattern<'a>, &'a [u8])> {
    let get = if request.get.is_empty() { &[Pattern::Element][..] } else { &request.get };
    order.iter().flat_map(move |index| get.iter().map(|pattern| (*pattern, elements.get(*index))))
}

fn reply(ctx: &mut Context<'_>, request: &SortRequest<'_>, elements: &Texts, order: &[usize]) {
    ctx.reply.array(order.len() * request.get.len().max(1));
    let now = ctx.keyspace.moment.unix_ms;
    // A call may repeat `GET` any number of times.
    let bound = ctx.output_bound();
    follow(ctx, outputs(request, elements, order), |ctx, found| {
        if ctx.reply.buf.len() > bound {
            return;
        }
        let (at, field) = match found {
            Found::Nothing => return ctx.reply.null(),
            Found::Element(element) => return ctx.reply.bulk(element),
            Found::Entry(at, field) => (at, field),
        };
        let entry = ctx.keyspace.db(ctx.session.db).get(at);
        match text_of(&entry, field, now) {
            None => ctx.reply.null(),
            Some(text) if field.is_some() => ctx.reply.text(text),
            Some(_) => _ = ctx.reply_string(at),
        }
    });
    ctx.end_beyond(bound);
}

/// Stores the output as a list, with empty strings for missing values, and replies with its length. An empty list
/// deletes the destination.
fn store(
    ctx: &mut Context<'_>,
    request: &SortRequest<'_>,
    elements: &Texts,
    order: &[usize],
    destination: &[u8],
) {
    let mut values = Texts::with_capacity(order.len() * request.get.len().max(1));
    follow(ctx, outputs(request, elements, order), |ctx, found| {
        with_text(ctx, found, |text| values.push(text.unwrap_or(Text::Bytes(b""))));
    });
    let shapes = &ctx.keyspace.shapes;
    let list = (values.len() > 0).then(|| source::list(destination, values.iter(), shapes));
    ctx.keyspace.put_result(ctx.key(destination), list, Event::SortStore);
    // Each element counts as a change, and one has already been counted.
    ctx.keyspace.count_changes(values.len().saturating_sub(1) as u64);
    ctx.reply.integer(values.len() as i64);
}
