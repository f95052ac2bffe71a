//! Geographic positions in sorted sets, with geohashes as scores ([`crate::codec::geohash`]). Searches are in
//! [`crate::command::geo::search`].

pub mod search;

use crate::codec::geohash::Place;
use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::error::{Error, NOT_A_FLOAT, Result, SYNTAX};
use crate::command::sorted_sets::{Changes, apply_all, find, for_each_score};
use crate::db::{Access, Key};
use crate::resp::Reply;
use crate::text::number::{self, Decimal};
use crate::types::sorted_set::{How, SortedSetRef};

/// Parses a place: longitude in argument `at`, latitude in the next one.
pub(super) fn place_argument(args: Args<'_>, at: usize) -> Result<Place> {
    let longitude = number::parse_f64(args.get(at)).ok_or(NOT_A_FLOAT)?;
    let latitude = number::parse_f64(args.get(at + 1)).ok_or(NOT_A_FLOAT)?;
    let place = Place { longitude, latitude };
    if place.is_valid() {
        return Ok(place);
    }
    Err(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into())
}

/// Parses a unit, and returns its length in meters.
pub(super) fn unit_argument(arg: &[u8]) -> Result<f64> {
    const UNITS: [(&[u8], f64); 4] = [(b"m", 1.0), (b"km", 1000.0), (b"ft", 0.3048), (b"mi", 1609.34)];
    let found = UNITS.iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
    found
        .map(|(_, meters)| *meters)
        .ok_or(Error::new("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// Replies with a distance, as a bulk string with four decimals.
pub(super) fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

/// Replies with a place: longitude and latitude.
pub(super) fn reply_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    let mut digits = Vec::new();
    for degrees in [place.longitude, place.latitude] {
        digits.clear();
        number::push_f64_plain(&mut digits, degrees);
        reply.double_digits(&digits);
    }
}

/// `GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member …]`: the number of members added, or
/// with `CH` added or moved. O(log n) a place.
pub fn geoadd(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (mut how, mut count_changes, mut first) = (How::default(), false, 2);
    while first < args.len() {
        match args.get(first) {
            word if word.eq_ignore_ascii_case(b"nx") => how.only_new = true,
            word if word.eq_ignore_ascii_case(b"xx") => how.only_old = true,
            word if word.eq_ignore_ascii_case(b"ch") => count_changes = true,
            _ => break,
        }
        first += 1;
    }
    let words = args.len() - first;
    if words == 0 || !words.is_multiple_of(3) || (how.only_new && how.only_old) {
        return Err(SYNTAX);
    }
    let mut numbers = Vec::with_capacity(words / 3);
    for at in (first..args.len()).step_by(3) {
        numbers.push(place_argument(args, at)?.number());
    }
    let key = ctx.first_key(args.get(1));
    let members = (first + 2..args.len()).step_by(3).map(|at| args.get(at));
    let elements = numbers.iter().map(|number| *number as f64).zip(members);
    let Changes { added, changed, .. } =
        apply_all(ctx, key, how, (args.get(first + 2), numbers.len()), elements)?;
    if added + changed > 0 && ctx.propagates() {
        propagate_scores(ctx, key, args, first, &numbers);
    }
    ctx.reply.integer(if count_changes { added + changed } else { added } as i64);
    Ok(())
}

/// Propagates places as a `ZADD` of their scores, with the options of the call, which are the arguments before `first`.
fn propagate_scores(ctx: &mut Context<'_>, key: Key<'_>, args: Args<'_>, first: usize, numbers: &[u64]) {
    let scores: Vec<Decimal> = numbers.iter().map(|number| Decimal::new(*number as i64)).collect();
    let mut words: Vec<&[u8]> = vec![b"zadd", key.name];
    words.extend((2..first).map(|i| args.get(i)));
    for (i, score) in scores.iter().enumerate() {
        words.push(score.as_bytes());
        words.push(args.get(first + 3 * i + 2));
    }
    ctx.propagate(&words);
}

/// `GEODIST key member member [M | KM | FT | MI]`: the distance, or null if either is missing. O(1).
pub fn geodist(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let unit_m = match args.len() {
        4 => 1.0,
        5 => unit_argument(args.get(4))?,
        _ => return Err(SYNTAX),
    };
    let found = find(ctx, args, Access::Read)?;
    let distance = found.and_then(|at| {
        let entry = ctx.db().get(at);
        let set = SortedSetRef::of(&entry);
        let place = |member| set.score(member).map(Place::from_number);
        Some(place(args.get(2))?.distance(&place(args.get(3))?))
    });
    match distance {
        Some(meters) => reply_distance(&mut ctx.reply, meters / unit_m),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Calls `reply` with the place of each member from argument 2 on.
fn for_each_member(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: impl Fn(&mut Reply<'_>, Option<Place>),
) -> Result {
    for_each_score(ctx, args, |out, score| reply(out, score.map(Place::from_number)))
}

/// `GEOHASH key [member …]`: the geohash of each, or null. O(1) a member.
pub fn geohash(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    for_each_member(ctx, args, |reply, place| match place {
        Some(place) => reply.bulk(&place.geohash()),
        None => reply.null(),
    })
}

/// `GEOPOS key [member …]`: longitude and latitude of each, or null. O(1) a member.
pub fn geopos(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    for_each_member(ctx, args, |reply, place| match place {
        Some(place) => reply_place(reply, place),
        None => reply.null_array(),
    })
}
