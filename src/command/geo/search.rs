//! Searches for places around a point or a member, in a circle or a box.
//!
//! The cells around the centre are ranges of scores. A search walks these ranges and computes the distance of each
//! place in them. Unless the call requests an order, places are returned cell by cell, starting with the central one,
//! and by score within a cell.

use crate::codec::geohash::{Place, Search, Shape};
use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::error::{Error, NOT_AN_INTEGER, Result, SYNTAX};
use crate::command::geo::{place_argument, reply_distance, reply_place, unit_argument};
use crate::db::{Access, Event, Position};
use crate::text::number;
use crate::types::sorted_set::{self, Gather, ScoreRange, SortedSetRef};
use crate::types::{Kind, Text};

/// The differences between the commands of the family.
#[derive(Clone, Copy)]
struct GeoForm {
    /// The argument with the key to search.
    key_at: usize,
    /// The index of the first option.
    options_at: usize,
    kind: FormKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FormKind {
    /// `GEORADIUS` or, with `by_member`, `GEORADIUSBYMEMBER`; `store` unless it is the `_RO` form.
    Radius { by_member: bool, store: bool },
    /// `GEOSEARCH` or `GEOSEARCHSTORE`.
    Search { store: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Nearest,
    Farthest,
}

/// The options of a search.
#[derive(Default)]
struct GeoQuery<'a> {
    center: Option<Place>,
    /// Whether the centre was given as a member, possibly of a missing sorted set.
    from_member: bool,
    shape: Option<(Shape, f64)>,
    with_distance: bool,
    with_number: bool,
    with_place: bool,
    order: Option<Order>,
    any: bool,
    /// The number of places to return; 0: all.
    count: usize,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

/// Parses the length in argument `at`; the error is `text` if it is not a number.
fn length(args: Args<'_>, at: usize, text: &'static str) -> Result<f64> {
    number::parse_f64(args.get(at)).ok_or(Error::new(text))
}

/// Parses a radius in argument `at` and the unit after it.
fn circle(args: Args<'_>, at: usize) -> Result<(Shape, f64)> {
    let radius = length(args, at, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(Error::new("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle(radius), unit_argument(args.get(at + 1))?))
}

/// Parses a width in argument `at`, then the height and the unit.
fn square(args: Args<'_>, at: usize) -> Result<(Shape, f64)> {
    let width = length(args, at, "ERR need numeric width")?;
    let height = length(args, at + 1, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(Error::new("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, unit_argument(args.get(at + 2))?))
}

/// The place of a member.
fn member_place(ctx: &Context<'_>, at: Position, member: &[u8]) -> Result<Place> {
    let score = SortedSetRef::of(&ctx.db().get(at)).score(member);
    score.map(Place::from_number).ok_or(Error::new("ERR could not decode requested zset member"))
}

impl<'a> GeoQuery<'a> {
    fn parse(
        ctx: &Context<'_>,
        args: Args<'a>,
        form: GeoForm,
        found: Option<Position>,
    ) -> Result<GeoQuery<'a>> {
        let mut query = GeoQuery::default();
        match form.kind {
            FormKind::Radius { by_member: false, .. } => {
                query.center = Some(place_argument(args, 2)?);
                query.shape = Some(circle(args, 4)?);
            }
            FormKind::Radius { by_member: true, .. } => {
                // If there is no sorted set, the member is not looked at.
                if let Some(at) = found {
                    query.center = Some(member_place(ctx, at, args.get(2))?);
                    query.shape = Some(circle(args, 3)?);
                }
            }
            FormKind::Search { store } => query.store = store.then(|| args.get(1)),
        }
        let mut i = form.options_at;
        while i < args.len() {
            i += query.option(ctx, args, i, form, found)?;
        }
        query.check(args, form)?;
        Ok(query)
    }

    /// Parses the option in argument `i`, and returns the number of its arguments.
    fn option(
        &mut self,
        ctx: &Context<'_>,
        args: Args<'a>,
        i: usize,
        form: GeoForm,
        found: Option<Position>,
    ) -> Result<usize> {
        let following = args.len() - i - 1;
        match args.get(i).to_ascii_lowercase().as_slice() {
            b"withdist" => self.with_distance = true,
            b"withhash" => self.with_number = true,
            b"withcoord" => self.with_place = true,
            b"any" => self.any = true,
            b"asc" => self.order = Some(Order::Nearest),
            b"desc" => self.order = Some(Order::Farthest),
            b"count" if following >= 1 => {
                let count = number::parse_i64(args.get(i + 1)).ok_or(NOT_AN_INTEGER)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                self.count = count.ok_or(Error::new("ERR COUNT must be > 0"))?;
                return Ok(2);
            }
            word => {
                return match form.kind {
                    FormKind::Radius { store: true, .. } => self.store_option(args, word, i),
                    FormKind::Radius { store: false, .. } => Err(SYNTAX),
                    FormKind::Search { store } => {
                        if store && word == b"storedist" {
                            self.store_distance = true;
                            return Ok(1);
                        }
                        self.search_option(ctx, args, word, i, found)
                    }
                };
            }
        }
        Ok(1)
    }

    fn store_option(&mut self, args: Args<'a>, word: &[u8], i: usize) -> Result<usize> {
        if i + 1 == args.len() || !(word == b"store" || word == b"storedist") {
            return Err(SYNTAX);
        }
        self.store = Some(args.get(i + 1));
        self.store_distance = word == b"storedist";
        Ok(2)
    }

    fn search_option(
        &mut self,
        ctx: &Context<'_>,
        args: Args<'a>,
        word: &[u8],
        i: usize,
        found: Option<Position>,
    ) -> Result<usize> {
        let following = args.len() - i - 1;
        match word {
            b"frommember" if following >= 1 && (self.from_member || self.center.is_none()) => {
                if let Some(at) = found {
                    self.center = Some(member_place(ctx, at, args.get(i + 1))?);
                }
                self.from_member = true;
                Ok(2)
            }
            b"fromlonlat" if following >= 2 && !self.from_member => {
                self.center = Some(place_argument(args, i + 1)?);
                Ok(3)
            }
            b"byradius" if following >= 2 && !matches!(self.shape, Some((Shape::Box { .. }, _))) => {
                self.shape = Some(circle(args, i + 1)?);
                Ok(3)
            }
            b"bybox" if following >= 3 && !matches!(self.shape, Some((Shape::Circle(_), _))) => {
                self.shape = Some(square(args, i + 1)?);
                Ok(4)
            }
            _ => Err(SYNTAX),
        }
    }

    /// Checks that the options can be combined.
    fn check(&self, args: Args<'_>, form: GeoForm) -> Result {
        let is_search = matches!(form.kind, FormKind::Search { .. });
        if self.store.is_some() && (self.with_distance || self.with_number || self.with_place) {
            let who = if is_search { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            let text = format!("ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(text.into());
        }
        let exactly_one = |of: &str| {
            Err(Error::concat(&[
                b"ERR exactly one of ",
                of.as_bytes(),
                b" can be specified for ",
                args.get(0),
            ]))
        };
        if is_search && self.center.is_none() && !self.from_member {
            return exactly_one("FROMMEMBER or FROMLONLAT");
        }
        if is_search && self.shape.is_none() {
            return exactly_one("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(Error::new("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}

/// A place that matches.
struct Hit<'a> {
    member: Text<'a>,
    score: f64,
    place: Place,
    distance_m: f64,
}

/// Returns the places of `set` that match `search`. Stops after `enough` of them, unless that is 0.
fn hits<'a>(set: SortedSetRef<'a>, search: &Search, enough: usize) -> Vec<Hit<'a>> {
    let mut hits = Vec::new();
    for (from, to) in search.ranges() {
        let range = ScoreRange { min: from as f64, min_open: false, max: to as f64, max_open: true };
        for (member, score) in set.span(set.score_span(&range), false) {
            let place = Place::from_number(score);
            if let Some(distance_m) = search.distance(&place) {
                hits.push(Hit { member, score, place, distance_m });
                if hits.len() == enough {
                    return hits;
                }
            }
        }
    }
    hits
}

/// Sorts the hits and truncates them to the requested number.
fn arrange(hits: &mut Vec<Hit<'_>>, query: &GeoQuery<'_>) {
    // COUNT without ANY returns the nearest.
    let default = if query.count > 0 && !query.any { Order::Nearest } else { Order::None };
    match query.order.unwrap_or(default) {
        Order::None => {}
        Order::Nearest => hits.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
        Order::Farthest => hits.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
    }
    if query.count > 0 {
        hits.truncate(query.count);
    }
}

fn run(ctx: &mut Context<'_>, args: Args<'_>, form: GeoForm) -> Result {
    let key = match form.key_at {
        1 => ctx.first_key(args.get(1)),
        at => ctx.key(args.get(at)),
    };
    let found = ctx.find_kind(key, Access::Read, Kind::SortedSet)?;
    let query = GeoQuery::parse(ctx, args, form, found)?;
    let entry = found.map(|at| ctx.keyspace.db(ctx.session.db).get(at));
    let mut hits = match (&entry, query.center, query.shape) {
        (Some(entry), Some(center), Some((shape, unit_m))) => {
            let enough = if query.any { query.count } else { 0 };
            hits(SortedSetRef::of(entry), &Search { center, shape, unit_m }, enough)
        }
        _ => Vec::new(),
    };
    arrange(&mut hits, &query);
    let unit_m = query.shape.map_or(1.0, |(_, unit_m)| unit_m);
    let Some(destination) = query.store else {
        ctx.reply.array(hits.len());
        for hit in &hits {
            reply_hit(&mut ctx.reply, hit, &query, unit_m);
        }
        return Ok(());
    };
    let mut gather = Gather::with_room(ctx.keyspace.shapes.seed, hits.len());
    for hit in &hits {
        let score = if query.store_distance { hit.distance_m / unit_m } else { hit.score };
        hit.member.with_bytes(|member| gather.insert(gather.hash(member), member, score));
    }
    let count = hits.len();
    let result = sorted_set::create_from(destination, gather.finish(), &ctx.keyspace.shapes);
    let is_search = matches!(form.kind, FormKind::Search { .. });
    let event = if is_search { Event::GeoSearchStore } else { Event::GeoRadiusStore };
    ctx.keyspace.put_result(ctx.key(destination), result, event);
    // Each place counts as a change, and one has already been counted.
    ctx.keyspace.count_changes((count as u64).saturating_sub(1));
    ctx.reply.integer(count as i64);
    Ok(())
}

fn reply_hit(reply: &mut crate::resp::Reply<'_>, hit: &Hit<'_>, query: &GeoQuery<'_>, unit_m: f64) {
    let options = [query.with_distance, query.with_number, query.with_place];
    let options = options.into_iter().filter(|wanted| *wanted).count();
    if options > 0 {
        reply.array(1 + options);
    }
    reply.text(hit.member);
    if query.with_distance {
        reply_distance(reply, hit.distance_m / unit_m);
    }
    if query.with_number {
        reply.integer(hit.score as i64);
    }
    if query.with_place {
        reply_place(reply, hit.place);
    }
}

/// `GEORADIUS key longitude latitude radius M | KM | FT | MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC
/// | DESC] [STORE key | STOREDIST key]`: the places within the radius, or the number of places stored. O(n + log m) for
/// n of m places in the cells around the centre.
pub fn georadius(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let kind = FormKind::Radius { by_member: false, store: true };
    run(ctx, args, GeoForm { key_at: 1, options_at: 6, kind })
}

/// `GEORADIUS_RO`: the same without `STORE` and `STOREDIST`.
pub fn georadius_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let kind = FormKind::Radius { by_member: false, store: false };
    run(ctx, args, GeoForm { key_at: 1, options_at: 6, kind })
}

/// `GEORADIUSBYMEMBER key member radius M | KM | FT | MI …`: the same around a member.
pub fn georadiusbymember(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let kind = FormKind::Radius { by_member: true, store: true };
    run(ctx, args, GeoForm { key_at: 1, options_at: 5, kind })
}

/// `GEORADIUSBYMEMBER_RO`: the same without `STORE` and `STOREDIST`.
pub fn georadiusbymember_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let kind = FormKind::Radius { by_member: true, store: false };
    run(ctx, args, GeoForm { key_at: 1, options_at: 5, kind })
}

/// `GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit
/// [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`: the places in a circle or a box. O(n + log m).
pub fn geosearch(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    run(ctx, args, GeoForm { key_at: 1, options_at: 2, kind: FormKind::Search { store: false } })
}

/// `GEOSEARCHSTORE destination source FROMMEMBER … BYRADIUS … [STOREDIST]`: the number of places stored. O(n + log m).
pub fn geosearchstore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    run(ctx, args, GeoForm { key_at: 2, options_at: 3, kind: FormKind::Search { store: true } })
}
