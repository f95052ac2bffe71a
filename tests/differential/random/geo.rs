//! Places, kept as sorted sets.

use super::words::{key_of, member, one_of, some};
use super::{Family, Generator};
use crate::args;
use crate::support::random::Random;

const UNITS: &[&str] = &["m", "km", "ft", "mi", "KM", "cm"];

pub const FAMILY: Family = Family {
    name: "geo",
    words: &[
        "NX",
        "XX",
        "CH",
        "WITHCOORD",
        "WITHDIST",
        "WITHHASH",
        "ASC",
        "DESC",
        "COUNT",
        "ANY",
        "m",
        "km",
        "1",
    ],
    commands: &[
        Generator::new("geoadd", 6, geoadd),
        Generator::new("geodist", 2, |r| {
            let mut args = args![places(r), member(r), member(r)];
            args.extend(r.chance(2).then(|| b"km".to_vec()));
            args
        }),
        Generator::new("geohash", 1, with_members),
        Generator::new("geopos", 1, with_members),
        Generator::new("geosearch", 4, |r| {
            let mut args = args![places(r)];
            args.extend(search(r, true));
            args
        }),
        Generator::new("geosearchstore", 1, |r| {
            let mut args = args![places(r), places(r)];
            args.extend(search(r, false));
            args.extend(r.chance(3).then(|| b"STOREDIST".to_vec()));
            args
        }),
        Generator::new("georadius", 1, |r| {
            let mut args = args![places(r), degrees(r, 180), degrees(r, 85), radius(r), one_of(r, UNITS)];
            args.extend(options(r, true));
            args
        }),
        Generator::new("georadiusbymember", 1, |r| {
            let mut args = args![places(r), member(r), radius(r), one_of(r, UNITS)];
            args.extend(options(r, true));
            args
        }),
    ],
};

fn places(random: &mut Random) -> Vec<u8> {
    key_of(random, "geo")
}

/// Up to `most` degrees on either side, in a third of the cases close together, sometimes out of range.
fn degrees(random: &mut Random, most: usize) -> Vec<u8> {
    match random.below(30) {
        0 => one_of(random, &["181", "-200", "90", "x", "", "nan", "1e1"]),
        1..12 => format!("1{}.{}", random.below(3), random.below(1000)).into_bytes(),
        _ => format!("{}.{}", random.below(2 * most) as i64 - most as i64, random.below(1_000_000))
            .into_bytes(),
    }
}

fn radius(random: &mut Random) -> Vec<u8> {
    one_of(random, &["0", "1", "10", "100", "500", "2000", "12345.678", "20000", "-1", "x"])
}

fn geoadd(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![places(random)];
    if random.chance(4) {
        args.extend(some(random, 2, |r| one_of(r, &["NX", "XX", "CH"])));
    }
    let most = if random.chance(20) { 150 } else { 4 };
    for _ in 0..=random.below(most) {
        args.extend([degrees(random, 180), degrees(random, 85), member(random)]);
    }
    args
}

fn with_members(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![places(random)];
    args.extend(some(random, 4, member));
    args
}

fn options(random: &mut Random, show: bool) -> Vec<Vec<u8>> {
    // Without an order or a count the elements are in the order of the index, which is the same on both servers.
    let mut args = args![one_of(random, &["ASC", "DESC"])];
    if random.chance(3) {
        args.extend([b"COUNT".to_vec(), one_of(random, &["1", "2", "5", "100", "0", "-1", "x"])]);
    }
    if show {
        args.extend(
            ["WITHCOORD", "WITHDIST", "WITHHASH"]
                .iter()
                .filter(|_| random.chance(3))
                .map(|w| w.as_bytes().to_vec()),
        );
    }
    args
}

fn search(random: &mut Random, show: bool) -> Vec<Vec<u8>> {
    let mut args = if random.chance(2) {
        args!["FROMMEMBER", member(random)]
    } else {
        args!["FROMLONLAT", degrees(random, 180), degrees(random, 85)]
    };
    if random.chance(2) {
        args.extend(args!["BYRADIUS", radius(random), one_of(random, UNITS)]);
    } else {
        args.extend(args!["BYBOX", radius(random), radius(random), one_of(random, UNITS)]);
    }
    args.extend(options(random, show));
    args
}
