//! Commands from a seed: sensible ones that build up state, and nonsense that shows in which order errors are found.
//!
//! A failing run prints its seed; `REDSTART_SEED` repeats it alone.

use crate::pair::{Pair, Rule, Step};
use crate::support::random::{Random, seeds};

const KEYS: &[&str] = &["a", "b", "c", "key:1", "key:2", "key:3", "counter", "", "k\u{0}k", "missing"];

const OPTIONS: &[&str] = &[
    "NX", "XX", "GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST", "MATCH", "COUNT", "TYPE", "ASYNC",
    "SYNC", "nx", "get", "kEePtTl", "string",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "1000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "33177117420",
    "33177117420000",
    "01",
    "+1",
    "-0",
    "1.5",
    "0.1",
    "-2.25",
    "3.0e3",
    "1e-3",
    "abc",
    "",
    " 1",
    "1 ",
    "0x10",
    "nan",
    "inf",
    "1e400",
];

/// What is given as a time to live beside the plain ones: refused, or long past, or far away, never soon.
const ODD_TIMES: &[&str] = &[
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "33177117420",
    "33177117420000",
    "01",
    "+1",
    "-0",
    "1.5",
    "abc",
    "",
    " 1",
    "0x10",
    "nan",
    "1e400",
    "9223372036854775",
    "9223372036854776",
];

/// Commands whose replies depend on nothing but the state (RANDOMKEY also removes expired keys that it meets).
const NONSENSE: &[&str] = &[
    "GET",
    "SET",
    "GETSET",
    "GETDEL",
    "GETEX",
    "SETNX",
    "SETEX",
    "PSETEX",
    "MGET",
    "MSET",
    "MSETNX",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "INCRBYFLOAT",
    "APPEND",
    "STRLEN",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TYPE",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "DBSIZE",
    "TOUCH",
    "ECHO",
    "PING",
    "SELECT",
    "nosuch",
    "OBJECT",
    "EXPIRETIME",
    "PEXPIRETIME",
    "TTL",
    "PTTL",
];

fn key(random: &mut Random) -> Vec<u8> {
    random.pick(KEYS).as_bytes().to_vec()
}

fn number(random: &mut Random) -> Vec<u8> {
    if random.chance(2) {
        return ((random.next() as i64) >> random.below(64)).to_string().into_bytes();
    }
    random.pick(NUMBERS).as_bytes().to_vec()
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0..3 => number(random),
        3 => vec![b'x'; 40 + random.below(8)],
        4 => {
            let len = random.below(300);
            random.bytes(len)
        }
        5 => vec![b'y'; random.below(3000)],
        6 => vec![b'z'; *random.pick(&[32766, 32767, 32768, 40000])],
        _ => format!("value-{}", random.below(1000)).into_bytes(),
    }
}

/// A time to live that does not run out while the test runs, or that has run out already.
fn lifetime(random: &mut Random, option: &str) -> Vec<u8> {
    let text = match (option, random.below(10)) {
        (_, 0) => random.pick(ODD_TIMES),
        ("EXAT" | "EXPIREAT" | "PXAT" | "PEXPIREAT", 1) => "1",
        ("EXPIRE" | "PEXPIRE", 1) => "-1",
        ("EX" | "EXPIRE", _) => "100000",
        ("PX" | "PEXPIRE", _) => "100000000",
        ("EXAT" | "EXPIREAT", _) => random.pick(&["33177117420", "33177117421"]),
        _ => random.pick(&["33177117420000", "33177117420001"]),
    };
    text.as_bytes().to_vec()
}

/// One sensible command.
fn command(random: &mut Random) -> Step {
    let mut args: Vec<Vec<u8>> = Vec::new();
    let mut rule = Rule::Exact;
    let name = match random.below(32) {
        0..5 => "SET",
        5..8 => "GET",
        8 => *random.pick(&["GETSET", "SETNX", "APPEND"]),
        9 => *random.pick(&["GETDEL", "STRLEN", "TYPE", "PERSIST"]),
        10 => "GETEX",
        11 => *random.pick(&["SETEX", "PSETEX"]),
        12 => *random.pick(&["MGET", "DEL", "UNLINK", "EXISTS", "TOUCH"]),
        13 => *random.pick(&["MSET", "MSETNX"]),
        14..17 => *random.pick(&["INCR", "DECR"]),
        17..19 => *random.pick(&["INCRBY", "DECRBY"]),
        19..21 => "INCRBYFLOAT",
        21..24 => *random.pick(&["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]),
        24..27 => *random.pick(&["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]),
        27 => "OBJECT",
        28 => "KEYS",
        29 => "SCAN",
        30 => "DBSIZE",
        _ => *random.pick(&["SELECT", "FLUSHDB", "ECHO"]),
    };
    let words = |text: &str| text.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
    match name {
        "SET" => {
            args.extend([key(random), value(random)]);
            for _ in 0..random.below(3) {
                let option = *random.pick(&["NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT"]);
                args.push(option.into());
                if option.starts_with(['E', 'P']) {
                    args.push(lifetime(random, option));
                }
            }
        }
        "GETSET" | "SETNX" | "APPEND" => args.extend([key(random), value(random)]),
        "GET" | "GETDEL" | "STRLEN" | "TYPE" | "PERSIST" | "INCR" | "DECR" => args.push(key(random)),
        "GETEX" => {
            args.push(key(random));
            let option = *random.pick(&["PERSIST", "EX", "PX", "EXAT", "PXAT"]);
            args.push(option.into());
            if option != "PERSIST" {
                args.push(lifetime(random, option));
            }
        }
        "SETEX" => args.extend([key(random), lifetime(random, "EX"), value(random)]),
        "PSETEX" => args.extend([key(random), lifetime(random, "PX"), value(random)]),
        "MGET" | "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => {
            args.extend((0..=random.below(4)).map(|_| key(random)));
        }
        "MSET" | "MSETNX" => (0..=random.below(3)).for_each(|_| args.extend([key(random), value(random)])),
        "INCRBY" | "DECRBY" | "INCRBYFLOAT" => args.extend([key(random), number(random)]),
        "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => {
            args.extend([key(random), lifetime(random, name)]);
            // Whether a relative time is greater than another one may hang on a millisecond.
            let conditions = if name.ends_with("AT") { &["NX", "XX", "GT", "LT"][..] } else { &["NX", "XX"] };
            args.extend((0..random.below(3)).map(|_| random.pick(conditions).as_bytes().to_vec()));
        }
        "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" => {
            args.push(key(random));
            rule = Rule::About(if name.starts_with('P') { 5000 } else { 5 });
        }
        "OBJECT" => args.extend([b"ENCODING".to_vec(), key(random)]),
        "KEYS" => {
            args.extend(words(random.pick::<&str>(&["*", "k*", "[a-c]", "?", "key:[^1]", "nothing*"])));
            rule = Rule::Unordered;
        }
        "SCAN" => {
            args.extend(words(random.pick::<&str>(&[
                "0",
                "0 COUNT 3",
                "0 MATCH k*",
                "0 TYPE string",
                "0 TYPE list COUNT 1",
            ])));
            rule = Rule::Scan;
        }
        "SELECT" => args.push(random.pick(&["0", "0", "0", "1"]).as_bytes().to_vec()),
        "ECHO" => args.push(value(random)),
        _ => {}
    }
    args.insert(0, name.into());
    Step::new(args, rule)
}

/// A command's name with words that may or may not make sense.
fn nonsense(random: &mut Random) -> Step {
    let mut name = random.pick(NONSENSE).to_string();
    if random.chance(3) {
        name = name.to_lowercase();
    }
    let rule = if name.to_uppercase().ends_with("TTL") || name.to_uppercase().ends_with("TIME") {
        Rule::About(5000)
    } else {
        Rule::Exact
    };
    let mut args = vec![name.into_bytes()];
    for position in 0..random.below(6) {
        args.push(match random.below(if position == 0 { 2 } else { 6 }) {
            0 | 1 => key(random),
            2 | 3 => random.pick(OPTIONS).as_bytes().to_vec(),
            4 => random.pick(ODD_TIMES).as_bytes().to_vec(),
            _ => b"value".to_vec(),
        });
    }
    Step::new(args, rule)
}

fn run(seeds: &[u64], count: usize, make: impl Fn(&mut Random) -> Step) {
    let pair = Pair::start("");
    for seed in seeds {
        let mut random = Random::new(*seed);
        let steps: Vec<Step> = (0..count).map(|_| make(&mut random)).collect();
        pair.check(2 + (seed % 2) as u8, &steps, &format!("REDSTART_SEED={seed}"));
    }
}

#[test]
fn random_commands_answer_as_redis_does() {
    run(&seeds(&[1, 2, 3, 4]), 4000, command);
}

#[test]
fn random_nonsense_is_refused_as_redis_does() {
    run(
        &seeds(&[5, 6, 7, 8]),
        4000,
        |random| if random.chance(4) { command(random) } else { nonsense(random) },
    );
}

/// The harness can fail: Redis with one policy and Redis with another answer differently, and it says so.
#[test]
fn a_difference_is_found_and_shrunk_to_what_it_takes() {
    use crate::support::server::Launch;
    let flags = "--enable-debug-command yes";
    let plain = Launch::redis().flags(flags).start();
    let lfu = Launch::redis().flags(flags).flags("--maxmemory-policy allkeys-lfu").start();
    let pair = Pair::of(lfu, plain);
    let words = |line: &str| Step::new(line.split(' ').map(|w| w.as_bytes().to_vec()).collect(), Rule::Exact);
    let mut steps: Vec<Step> = (0..50).map(|n| words(&format!("SET k{n} v"))).collect();
    steps.extend([words("OBJECT FREQ k31"), words("PING")]);
    let found = pair.run(2, &steps).expect("a difference");
    assert_eq!(found.at, 50);
    let (shrunk, found) = pair.shrink(2, steps[..=found.at].to_vec(), found);
    let lines: Vec<String> = shrunk.iter().map(Step::line).collect();
    assert_eq!(lines, ["SET k31 v", "OBJECT FREQ k31"]);
    assert_eq!(found.at, 1);
}
