//! Sorted sets: by rank, by score and by name, and the algebra on them.

use super::words::{index, key_of, member, number, one_of, some, value};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;

const SCORES: &[&str] = &[
    "0", "-0", "1", "2", "2.5", "-3", "1e3", "inf", "-inf", "+inf", "1e400", "nan", "x", "", "(1", "0.1",
    "3.0",
];

const BOUNDS: &[&str] =
    &["-inf", "+inf", "0", "(0", "1", "(2", "10", "(10", "50", "-5", "inf", "(", "x", "1e2"];

const LEX: &[&str] = &["-", "+", "[m1", "(m1", "[m30", "(m30", "[", "(", "m1", "[0", "[\u{ff}", "-x"];

pub const FAMILY: Family = Family {
    name: "sorted sets",
    words: &[
        "NX",
        "XX",
        "GT",
        "LT",
        "CH",
        "INCR",
        "WITHSCORES",
        "WITHSCORE",
        "LIMIT",
        "BYSCORE",
        "BYLEX",
        "REV",
        "WEIGHTS",
        "AGGREGATE",
        "SUM",
        "MIN",
        "MAX",
        "COUNT",
        "0",
        "1",
        "-inf",
        "+",
        "-",
    ],
    commands: &[
        Generator::new("zadd", 10, zadd),
        Generator::new("zincrby", 3, |r| args![zset(r), score(r), member(r)]),
        Generator::new("zrem", 2, |r| tail(r, |r| some(r, 5, member))),
        Generator::new("zcard", 1, |r| args![zset(r)]),
        Generator::new("zscore", 2, |r| args![zset(r), member(r)]),
        Generator::new("zmscore", 1, |r| tail(r, |r| some(r, 5, member))),
        Generator::new("zrank", 2, |r| args![zset(r), member(r)]),
        Generator::new("zrevrank", 2, |r| args![zset(r), member(r)]),
        Generator::new("zcount", 1, |r| tail(r, |r| two(r, BOUNDS))),
        Generator::new("zlexcount", 1, |r| names(r, |r| two(r, LEX))),
        Generator::new("zrange", 5, zrange),
        Generator::new("zrange", 1, lex_range),
        Generator::new("zadd", 2, add_names),
        Generator::new("zrevrange", 1, |r| tail(r, by_rank)),
        Generator::new("zrangebyscore", 2, |r| tail(r, by_score)),
        Generator::new("zrevrangebyscore", 2, |r| tail(r, by_score)),
        Generator::new("zrangebylex", 1, |r| names(r, by_lex)),
        Generator::new("zrevrangebylex", 1, |r| names(r, by_lex)),
        Generator::new("zrangestore", 1, |r| {
            let mut args = args![zset(r)];
            args.extend(zrange(r));
            args
        }),
        Generator::new("zremrangebyrank", 1, |r| args![zset(r), index(r), index(r)]),
        Generator::new("zremrangebyscore", 1, |r| tail(r, |r| two(r, BOUNDS))),
        Generator::new("zremrangebylex", 1, |r| names(r, |r| two(r, LEX))),
        Generator::new("zpopmin", 1, pop),
        Generator::new("zpopmax", 1, pop),
        Generator::new("zmpop", 2, zmpop),
        Generator::new("zunion", 1, |r| algebra(r, true)),
        Generator::new("zinter", 1, |r| algebra(r, true)),
        Generator::new("zdiff", 1, |r| algebra(r, false)),
        Generator::new("zunionstore", 1, |r| stored(r, true)),
        Generator::new("zinterstore", 1, |r| stored(r, true)),
        Generator::new("zdiffstore", 1, |r| stored(r, false)),
        Generator::new("zintercard", 1, zintercard),
        Generator::new("bzpopmin", 1, |r| args![zset(r), zset(r), "0.001"]).sensible_only(),
        Generator::new("bzpopmax", 1, |r| args![zset(r), zset(r), "0.001"]).sensible_only(),
        Generator::new("zscan", 1, |r| args![zset(r), "0", "COUNT", index(r)])
            .compared(Rule::Scan)
            .sensible_only(),
        Generator::new("zrandmember", 1, |r| args![zset(r)]).compared(Rule::Kind).sensible_only(),
    ],
};

/// Mostly a sorted set, sometimes a set: the algebra accepts both.
fn zset(random: &mut Random) -> Vec<u8> {
    if random.chance(12) { key_of(random, "set") } else { key_of(random, "zset") }
}

fn score(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => one_of(random, SCORES),
        1 => format!("{}.{}", random.below(50), random.below(1000)).into_bytes(),
        _ => (random.below(60) as i64 - 10).to_string().into_bytes(),
    }
}

fn two(random: &mut Random, words: &[&str]) -> Vec<Vec<u8>> {
    vec![one_of(random, words), one_of(random, words)]
}

/// A key and the arguments after it.
fn tail(random: &mut Random, rest: impl FnOnce(&mut Random) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut args = args![zset(random)];
    args.extend(rest(random));
    args
}

fn zadd(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![zset(random)];
    if random.chance(3) {
        args.extend(some(random, 2, |r| one_of(r, &["NX", "XX", "GT", "LT", "CH", "CH", "INCR"])));
    }
    // More than 128 members outgrow the packed form, and so does a long one.
    let most = if random.chance(20) { 200 } else { 3 };
    for _ in 0..=random.below(most) {
        let name = if random.chance(100) { value(random) } else { member(random) };
        args.extend([score(random), name]);
    }
    args
}

fn by_rank(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![index(random), index(random)];
    args.extend(random.chance(2).then(|| b"WITHSCORES".to_vec()));
    args
}

fn limit(random: &mut Random) -> Vec<Vec<u8>> {
    if random.chance(3) { args!["LIMIT", index(random), index(random)] } else { vec![] }
}

fn by_score(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = two(random, BOUNDS);
    args.extend(random.chance(2).then(|| b"WITHSCORES".to_vec()));
    args.extend(limit(random));
    args
}

fn by_lex(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = two(random, LEX);
    args.extend(limit(random));
    args
}

fn zrange(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![zset(random)];
    if random.chance(2) {
        args.extend([index(random), index(random)]);
    } else {
        args.extend(two(random, BOUNDS).into_iter().chain([b"BYSCORE".to_vec()]));
    }
    args.extend(random.chance(2).then(|| b"REV".to_vec()));
    args.extend(limit(random));
    args.extend(random.chance(2).then(|| b"WITHSCORES".to_vec()));
    args
}

/// A key whose members all have the score 0, and the arguments after it. With different scores a range by name is
/// undefined: it depends on the random levels of a skip list's nodes. No other family uses these keys.
fn names(random: &mut Random, rest: impl FnOnce(&mut Random) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut args = args![format!("names:{}", random.below(3))];
    args.extend(rest(random));
    args
}

fn add_names(random: &mut Random) -> Vec<Vec<u8>> {
    names(random, |random| {
        let most = if random.chance(10) { 200 } else { 5 };
        (0..=random.below(most)).flat_map(|_| [b"0".to_vec(), member(random)]).collect()
    })
}

fn lex_range(random: &mut Random) -> Vec<Vec<u8>> {
    names(random, |random| {
        let mut args = two(random, LEX);
        args.push(b"BYLEX".to_vec());
        args.extend(random.chance(2).then(|| b"REV".to_vec()));
        args.extend(limit(random));
        args
    })
}

fn pop(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![zset(random)];
    if random.chance(2) {
        args.push(index(random));
    }
    args
}

/// The number of keys and the keys.
fn keys(random: &mut Random) -> Vec<Vec<u8>> {
    let keys = some(random, 3, zset);
    let count = if random.chance(20) { number(random) } else { keys.len().to_string().into_bytes() };
    let mut args = args![count];
    args.extend(keys);
    args
}

fn zmpop(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = keys(random);
    args.push(one_of(random, &["MIN", "MAX"]));
    if random.chance(2) {
        args.extend([b"COUNT".to_vec(), index(random)]);
    }
    args
}

fn algebra(random: &mut Random, weighted: bool) -> Vec<Vec<u8>> {
    let mut args = operands(random, weighted);
    args.extend(random.chance(2).then(|| b"WITHSCORES".to_vec()));
    args
}

fn stored(random: &mut Random, weighted: bool) -> Vec<Vec<u8>> {
    tail(random, |random| operands(random, weighted))
}

fn operands(random: &mut Random, weighted: bool) -> Vec<Vec<u8>> {
    let mut args = keys(random);
    if weighted && random.chance(3) {
        let count = args.len() - usize::from(!random.chance(20));
        args.push(b"WEIGHTS".to_vec());
        args.extend((0..count).map(|_| score(random)));
    }
    if weighted && random.chance(3) {
        args.extend([b"AGGREGATE".to_vec(), one_of(random, &["SUM", "MIN", "MAX", "AVG"])]);
    }
    args
}

fn zintercard(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = keys(random);
    if random.chance(2) {
        args.extend([b"LIMIT".to_vec(), index(random)]);
    }
    args
}
