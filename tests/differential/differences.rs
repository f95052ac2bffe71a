//! Replies that are meant to differ from those of `redis-server`, each with its reason.
//!
//! Everything that is not here has to be equal byte for byte. The list is short on purpose: a difference that a
//! client could notice needs a reason that a user would accept.
//!
//! We implement Redis 7.2 and the expiry of hash fields of 7.4, while the `redis-server` of most machines is older. A
//! difference that only says "a later version does this" is accepted only beside a Redis older than that version.

use crate::pair::Rule;
use crate::support::{Value, Version};
use redstart::codec::crc64;
use redstart::persist::rdb::types;
use std::collections::BTreeSet;

/// The differences that are allowed in the replies to one command.
struct Difference {
    /// The first words of the command, in upper case; `*` stands for any.
    command: &'static [&'static str],
    allowed: Allowed,
    /// Accepted beside a Redis older than this.
    before: Version,
    reason: &'static str,
}

/// For what every Redis does differently.
const ALWAYS: Version = Version::LAST;
const V7_2: Version = Version::new(7, 2);
const V7_4: Version = Version::new(7, 4);

enum Allowed {
    /// The values beside these keys of a map, as long as they are of the same kind.
    Fields(&'static [&'static str]),
    /// The version and the checksum at the end of a payload.
    Footer,
    /// Redis does not know the command; we do.
    NewHere,
    /// Our maps also have these keys, at any depth, and a consumer with nothing pending may be on one side only.
    Consumers(&'static [&'static str]),
    /// Both reply with some text.
    Texts,
    /// A map with all the keys of Redis's, and more of them.
    MoreFields,
    /// Doubles (in RESP2 bulks) are the same numbers in other digits.
    Digits,
    /// The same, and a zero that has lost its sign in Redis.
    Signs,
    /// Redis does not take that many arguments.
    MoreArguments,
    /// Payloads of tables, whose elements have an order of their own.
    Order,
    /// Redis refuses with an error that begins so.
    ErrorThere(&'static str),
    /// This server refuses with an error that begins so, where Redis does not refuse.
    ErrorHere(&'static str),
    /// Both refuse, this server with an error that begins so.
    OtherError(&'static str),
    /// The last line of an array of lines.
    LastLine { redis: &'static str, here: &'static str },
    /// Redis's reply with one text for another.
    Text { redis: &'static str, here: &'static str },
}

/// Replies with scores, or other doubles.
const fn scores(command: &'static [&'static str]) -> Difference {
    let reason = "since 7.2 a double is printed as an integer where it is one, else in the fewest digits that read back \
                  as the same; before that in 17 digits";
    Difference { command, allowed: Allowed::Digits, before: V7_2, reason }
}

/// Commands that name a connection or its library.
const fn zero_byte(command: &'static [&'static str], refused: &'static str) -> Difference {
    let reason = "7.2 looks at a name up to its first zero byte; CLIENT LIST would have a zero byte in it";
    Difference { command, allowed: Allowed::ErrorHere(refused), before: ALWAYS, reason }
}

const DIFFERENCES: &[Difference] = &[
    scores(&["ZADD"]),
    scores(&["ZINCRBY"]),
    scores(&["ZSCORE"]),
    scores(&["ZMSCORE"]),
    scores(&["ZRANGE"]),
    scores(&["ZREVRANGE"]),
    scores(&["ZRANGEBYSCORE"]),
    scores(&["ZREVRANGEBYSCORE"]),
    scores(&["ZPOPMIN"]),
    scores(&["ZPOPMAX"]),
    scores(&["ZMPOP"]),
    scores(&["BZPOPMIN"]),
    scores(&["BZPOPMAX"]),
    scores(&["BZMPOP"]),
    scores(&["ZUNION"]),
    scores(&["ZINTER"]),
    scores(&["ZDIFF"]),
    scores(&["ZSCAN"]),
    scores(&["ZRANDMEMBER"]),
    scores(&["EVAL"]),
    scores(&["EVAL_RO"]),
    scores(&["EVALSHA"]),
    scores(&["FCALL"]),
    scores(&["FCALL_RO"]),
    Difference {
        command: &["ZRANGE"],
        allowed: Allowed::Signs,
        before: V7_2,
        reason: "since 7.2 a ZADD that names many elements makes a skip list at once, in which a zero keeps its sign; before \
                 that the elements were counted as they came, and a listpack does not keep it",
    },
    Difference {
        command: &["ZRANK"],
        allowed: Allowed::MoreArguments,
        before: V7_2,
        reason: "the option WITHSCORE came with 7.2",
    },
    Difference {
        command: &["ZREVRANK"],
        allowed: Allowed::MoreArguments,
        before: V7_2,
        reason: "the option WITHSCORE came with 7.2",
    },
    Difference {
        command: &["HELLO"],
        allowed: Allowed::Fields(&["version", "id"]),
        before: ALWAYS,
        reason: "the version is 7.2.4 here; connections are numbered from the start of each server",
    },
    Difference {
        command: &["CLIENT", "SETINFO"],
        allowed: Allowed::NewHere,
        before: V7_2,
        reason: "came with 7.2",
    },
    Difference { command: &["HEXPIRE"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference { command: &["HPEXPIRE"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference { command: &["HEXPIREAT"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference { command: &["HPEXPIREAT"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference { command: &["HTTL"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference { command: &["HPTTL"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference {
        command: &["HEXPIRETIME"],
        allowed: Allowed::NewHere,
        before: V7_4,
        reason: "came with 7.4",
    },
    Difference {
        command: &["HPEXPIRETIME"],
        allowed: Allowed::NewHere,
        before: V7_4,
        reason: "came with 7.4",
    },
    Difference { command: &["HPERSIST"], allowed: Allowed::NewHere, before: V7_4, reason: "came with 7.4" },
    Difference {
        command: &["CLIENT", "PAUSE", "9223372036854775807"],
        allowed: Allowed::Text { redis: "+OK\r\n", here: "-ERR timeout is out of range\r\n" },
        before: ALWAYS,
        reason: "the end of the pause overflows into the past there, so that nothing is paused",
    },
    Difference {
        command: &["CLIENT", "NO-TOUCH"],
        allowed: Allowed::NewHere,
        before: V7_2,
        reason: "came with 7.2",
    },
    Difference {
        command: &["WAIT"],
        allowed: Allowed::Text { redis: ":0\r\n", here: "-ERR timeout is out of range\r\n" },
        before: V7_2,
        reason: "since 7.2 a wait has to end at a moment that can be told",
    },
    Difference {
        command: &["XSETID"],
        allowed: Allowed::Text {
            redis: "-ERR The ID specified in XSETID is smaller than the target stream top item\r\n",
            here: "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id\r\n",
        },
        before: V7_2,
        reason: "an ID below those of deleted entries is refused since 7.2",
    },
    Difference { command: &["WAITAOF"], allowed: Allowed::NewHere, before: V7_2, reason: "came with 7.2" },
    Difference {
        command: &["DUMP"],
        allowed: Allowed::Footer,
        before: V7_2,
        reason: "version 11 of the format came with 7.2, and so did sets in listpacks and the type byte of streams; the checksum is over the version",
    },
    Difference {
        command: &["DUMP"],
        allowed: Allowed::Order,
        before: ALWAYS,
        reason: "the order of a hash table; the checksum is over the order",
    },
    Difference {
        command: &["FUNCTION", "DUMP"],
        allowed: Allowed::Footer,
        before: V7_2,
        reason: "version 11 of the format came with 7.2; the checksum is over the version",
    },
    Difference {
        command: &["*", "HELP"],
        allowed: Allowed::LastLine { redis: "    Prints this help.", here: "    Print this help." },
        before: V7_2,
        reason: "the text of 7.2",
    },
    Difference {
        command: &["HELLO"],
        allowed: Allowed::Text {
            redis: "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                    <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time\r\n",
            here: "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                   AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                   version at the same time\r\n",
        },
        before: V7_2,
        reason: "the text of 7.2",
    },
    Difference {
        command: &["HELLO"],
        allowed: Allowed::ErrorThere("WRONGPASS "),
        before: V7_2,
        reason: "all options are read before the password is looked at since 7.2",
    },
    Difference {
        command: &["LPOS"],
        allowed: Allowed::ErrorHere("ERR value is out of range, value must between -9223372036854775807"),
        before: V7_2,
        reason: "a rank that cannot be negated is refused since 7.2",
    },
    Difference {
        command: &["LPOS"],
        allowed: Allowed::OtherError("ERR value is out of range, value must between -9223372036854775807"),
        before: V7_2,
        reason: "such a rank is refused before the next option is read",
    },
    Difference {
        command: &["LSET"],
        allowed: Allowed::ErrorHere("ERR index out of range"),
        before: ALWAYS,
        reason: "7.2 takes the index modulo 2^32, and sets another element than was asked for",
    },
    zero_byte(&["HELLO"], "ERR Client names"),
    zero_byte(&["CLIENT", "SETNAME"], "ERR Client names"),
    zero_byte(&["CLIENT", "SETINFO", "LIB-NAME"], "ERR LIB-NAME"),
    zero_byte(&["CLIENT", "SETINFO", "LIB-VER"], "ERR LIB-VER"),
    Difference {
        command: &["COMMAND", "GETKEYS"],
        allowed: Allowed::ErrorThere("ERR wrong number of arguments for 'command|getkeys' command"),
        before: V7_2,
        reason: "a command without arguments may be asked about since 7.2",
    },
    Difference {
        command: &["COMMAND", "GETKEYSANDFLAGS"],
        allowed: Allowed::ErrorThere("ERR wrong number of arguments for 'command|getkeysandflags' command"),
        before: V7_2,
        reason: "as COMMAND GETKEYS",
    },
    Difference {
        command: &["OBJECT", "REFCOUNT"],
        allowed: Allowed::Text { redis: ":1\r\n", here: ":2147483647\r\n" },
        before: ALWAYS,
        reason: "COPY of a small integer makes an object in Redis that is not the shared one; no object is shared here",
    },
    Difference {
        command: &["CONFIG", "SET", "LOGLEVEL"],
        allowed: Allowed::Text {
            redis: "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of \
                    the following: debug, verbose, notice, warning\r\n",
            here: "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of the \
                   following: debug, verbose, notice, warning, nothing\r\n",
        },
        before: V7_2,
        reason: "the level that logs nothing came with 7.2",
    },
    Difference {
        command: &["CONFIG", "SET", "MAXMEMORY-CLIENTS", "99999999999999999999"],
        allowed: Allowed::Text {
            redis: "+OK\r\n",
            here: "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - argument must be a \
                   memory or percent value\r\n",
        },
        before: ALWAYS,
        reason: "Redis's number overflows and becomes a limit of 1%",
    },
    Difference {
        command: &["CONFIG", "SET", "LOCALE-COLLATE"],
        allowed: Allowed::ErrorThere("ERR CONFIG SET failed"),
        before: ALWAYS,
        reason: "which locales there are is the machine's; here texts are compared byte by byte whatever it is set to",
    },
    Difference {
        command: &["DEBUG", "DICT-RESIZING"],
        allowed: Allowed::NewHere,
        before: V7_4,
        reason: "came with 7.4",
    },
    Difference {
        command: &["DEBUG", "CLIENT-ENFORCE-REPLY-LIST"],
        allowed: Allowed::NewHere,
        before: V7_4,
        reason: "came with 7.4",
    },
    Difference {
        command: &["DEBUG", "HTSTATS"],
        allowed: Allowed::NewHere,
        before: V7_2,
        reason: "a word after the database is allowed since 7.2",
    },
    Difference {
        command: &["DEBUG", "HTSTATS-KEY"],
        allowed: Allowed::ErrorThere("ERR unknown subcommand"),
        before: V7_2,
        reason: "a word after the key is allowed since 7.2",
    },
    Difference {
        command: &["DEBUG", "STRINGMATCH-LEN"],
        allowed: Allowed::NewHere,
        before: ALWAYS,
        reason: "Redis tries its patterns in one test of its own; here anyone can try one",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$9\r\nhashtable\r\n", here: "$8\r\nlistpack\r\n" },
        before: V7_2,
        reason: "small sets of words are listpacks since 7.2",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$9\r\nquicklist\r\n", here: "$8\r\nlistpack\r\n" },
        before: V7_2,
        reason: "small lists are listpacks since 7.2",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$8\r\nlistpack\r\n", here: "$8\r\nskiplist\r\n" },
        before: V7_2,
        reason: "since 7.2 the elements that one ZADD names are counted, not those that are new",
    },
    Difference {
        command: &["CLIENT", "HELP"],
        allowed: Allowed::Texts,
        before: ALWAYS,
        reason: "it tells of the subcommands of 7.2, and of none that is not here",
    },
    Difference {
        command: &["CONFIG", "GET"],
        allowed: Allowed::MoreFields,
        before: ALWAYS,
        reason: "patterns also find the directives of later versions; tables.rs compares directive by directive",
    },
    Difference {
        command: &["XADD"],
        allowed: Allowed::Text {
            redis: "-ERR Elements are too large to be stored\r\n",
            here: "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n",
        },
        before: V7_2,
        reason: "where `ms-*` finds no number left within its time, Redis 7.0 blames the elements",
    },
    Difference {
        command: &["XINFO", "CONSUMERS"],
        allowed: Allowed::Consumers(&["inactive"]),
        before: V7_2,
        reason: "since 7.2 there is the time since a consumer last got an entry, beside the time since it last asked, and \
                 asking makes a consumer even when there is nothing to get",
    },
    Difference {
        command: &["XINFO", "STREAM"],
        allowed: Allowed::Consumers(&["active-time"]),
        before: V7_2,
        reason: "as XINFO CONSUMERS",
    },
    Difference {
        command: &["XINFO", "GROUPS"],
        allowed: Allowed::Consumers(&[]),
        before: V7_2,
        reason: "as XINFO CONSUMERS",
    },
    Difference {
        command: &["XGROUP", "CREATECONSUMER"],
        allowed: Allowed::Text { redis: ":1\r\n", here: ":0\r\n" },
        before: V7_2,
        reason: "as XINFO CONSUMERS",
    },
    Difference {
        command: &["XREAD"],
        allowed: Allowed::Text {
            redis: "-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.\r\n",
            here: "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.\r\n",
        },
        before: V7_2,
        reason: "the text of 7.2",
    },
    Difference {
        command: &["XREADGROUP"],
        allowed: Allowed::Text {
            redis: "-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.\r\n",
            here: "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.\r\n",
        },
        before: V7_2,
        reason: "the text of 7.2",
    },
    Difference {
        command: &["MEMORY", "DOCTOR"],
        allowed: Allowed::Texts,
        before: ALWAYS,
        reason: "what it finds and advises is about our allocator, in our words",
    },
];

/// The commands of the list and the reasons, as far as they apply beside a Redis of version `peer`.
pub fn intended_ones(peer: Version) -> impl Iterator<Item = (String, &'static str)> {
    let applying = DIFFERENCES.iter().filter(move |difference| peer < difference.before);
    applying.map(|difference| (difference.command.join(" "), difference.reason))
}

impl Difference {
    /// Whether it is about this command, beside this Redis.
    fn applies(&self, args: &[Vec<u8>], peer: Version) -> bool {
        peer < self.before
            && self.command.len() <= args.len()
            && self
                .command
                .iter()
                .zip(args)
                .all(|(word, arg)| *word == "*" || String::from_utf8_lossy(arg).to_uppercase() == **word)
    }
}

/// Both replies without the keys that only this server has and without what is told of consumers that have nothing
/// pending; `None` when the list says nothing of these.
pub fn without_consumers(
    args: &[Vec<u8>],
    here: &Value,
    redis: &Value,
    peer: Version,
) -> Option<(Value, Value)> {
    let fields = DIFFERENCES.iter().find_map(|difference| match difference.allowed {
        Allowed::Consumers(fields) if difference.applies(args, peer) => Some(fields),
        _ => None,
    })?;
    Some((reduced(here, fields), reduced(redis, fields)))
}

/// `value` without the keys `fields` and what stands beside them, in maps and in arrays that stand for maps; without
/// the maps of consumers that have nothing pending, and without the number of consumers.
fn reduced(value: &Value, fields: &[&str]) -> Value {
    let is = |key: &Value, name: &str| matches!(key, Value::Bulk(b) if name.as_bytes() == b);
    let is_left_out = |key: &Value, value: &Value| {
        fields.iter().any(|field| is(key, field))
            || (is(key, "consumers") && matches!(value, Value::Integer(_)))
    };
    let pairs = |value: &Value| -> Vec<(Value, Value)> {
        match value {
            Value::Map(pairs) => pairs.clone(),
            Value::Array(all) => all.chunks_exact(2).map(|c| (c[0].clone(), c[1].clone())).collect(),
            _ => Vec::new(),
        }
    };
    let is_idle = |value: &Value| {
        let pairs = pairs(value);
        pairs.iter().any(|(key, _)| is(key, "seen-time") || is(key, "idle"))
            && pairs
                .iter()
                .any(|(key, n)| (is(key, "pel-count") || is(key, "pending")) && *n == Value::Integer(0))
    };
    match value {
        Value::Map(pairs) => {
            let left = pairs.iter().filter(|(key, value)| !is_left_out(key, value));
            Value::Map(left.map(|(key, value)| (key.clone(), reduced(value, fields))).collect())
        }
        Value::Array(all) => {
            let mut left = Vec::new();
            let mut elements = all.iter().peekable();
            while let Some(element) = elements.next() {
                if elements.peek().is_some_and(|next| is_left_out(element, next)) {
                    elements.next();
                } else if !is_idle(element) {
                    left.push(reduced(element, fields));
                }
            }
            Value::Array(left)
        }
        other => other.clone(),
    }
}

/// Whether the list allows these two replies to `args` beside a Redis of version `peer`.
pub fn intended(args: &[Vec<u8>], here: &Value, redis: &Value, peer: Version) -> bool {
    let applies = |d: &&Difference| d.applies(args, peer);
    DIFFERENCES.iter().filter(applies).any(|difference| match difference.allowed {
        Allowed::Fields(fields) => masked(here, fields) == masked(redis, fields),
        Allowed::Footer => payload(here, 11).zip(payload(redis, 10)).is_some_and(|(a, b)| same_object(a, b)),
        Allowed::Order => payload(here, 11).zip(payload(redis, 11)).is_some_and(|(a, b)| same_object(a, b)),
        Allowed::NewHere => fails_with(redis, "ERR unknown "),
        Allowed::ErrorThere(text) => fails_with(redis, text),
        Allowed::ErrorHere(text) => fails_with(here, text) && !redis.is_error(),
        Allowed::OtherError(text) => fails_with(here, text) && redis.is_error(),
        Allowed::LastLine { redis: theirs, here: ours } => {
            without_last(here, ours).is_some_and(|lines| Some(lines) == without_last(redis, theirs))
        }
        // The command's own rule compares the rest, see `without_consumers`.
        Allowed::Consumers(_) => false,
        Allowed::Texts => std::mem::discriminant(here) == std::mem::discriminant(redis) && !here.is_error(),
        // What an iteration has found was sorted by its digits.
        Allowed::Digits => same_numbers(here, redis) || same_numbers(&by_numbers(here), &by_numbers(redis)),
        Allowed::Signs => same_numbers(&without_signs(here, redis), redis),
        Allowed::MoreArguments => fails_with(redis, "ERR wrong number of arguments"),
        Allowed::MoreFields => {
            let (here, redis) = (keys(here), keys(redis));
            here.len() > redis.len() && here.is_superset(&redis) && !redis.is_empty()
        }
        Allowed::Text { redis: theirs, here: ours } => encoded(redis) == theirs && encoded(here) == ours,
    })
}

/// Whether a reply is an error whose text begins with `start`.
fn fails_with(reply: &Value, start: &str) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with(start.as_bytes()))
}

/// The lines before the last, if that is `last`.
fn without_last(value: &Value, last: &str) -> Option<Vec<Value>> {
    let Value::Array(lines) = value else { return None };
    let (end, before) = lines.split_last()?;
    (*end == Value::Simple(last.into())).then(|| before.to_vec())
}

/// A payload without its footer, if that is of this version and right.
fn payload(value: &Value, version: u16) -> Option<&[u8]> {
    let Value::Bulk(bytes) = value else { return None };
    let (summed, sum) = bytes.split_last_chunk()?;
    let (object, claimed) = summed.split_last_chunk()?;
    let right =
        u16::from_le_bytes(*claimed) == version && crc64::checksum(summed) == u64::from_le_bytes(*sum);
    right.then_some(object)
}

/// The keys of a map, or of an array of pairs.
fn keys(value: &Value) -> BTreeSet<Value> {
    match value {
        Value::Map(_) | Value::Array(_) => value.elements().into_iter().step_by(2).collect(),
        _ => BTreeSet::new(),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    // No number has a sign in some versions.
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() })
}

/// Whether the replies are the same but for the digits of doubles.
fn same_numbers(here: &Value, redis: &Value) -> bool {
    match (here, redis) {
        (Value::Bulk(a), Value::Bulk(b)) | (Value::Double(a), Value::Double(b)) => {
            a == b || (number(a).is_some() && number(a) == number(b))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_numbers(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let same = |((k, a), (l, b)): (&(Value, Value), &(Value, Value))| {
                same_numbers(k, l) && same_numbers(a, b)
            };
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        _ => here == redis,
    }
}

/// The scores of `here`, a reply in which members and scores take turns, without the sign of each zero whose place in
/// `redis` has one without a sign.
fn without_signs(here: &Value, redis: &Value) -> Value {
    let (Value::Array(ours), Value::Array(theirs)) = (here, redis) else { return here.clone() };
    let has_lost_sign = |at: usize, score: &Value, other: Option<&Value>| {
        at % 2 == 1
            && matches!(score, Value::Bulk(text) if text == b"-0")
            && matches!(other, Some(Value::Bulk(text)) if text == b"0")
    };
    let unsigned = ours.iter().enumerate().map(|(at, score)| {
        let other = theirs.get(at);
        other.filter(|_| has_lost_sign(at, score, other)).unwrap_or(score).clone()
    });
    Value::Array(unsigned.collect())
}

/// Whether two values of payloads are one: a set may be a listpack only here, and tables have an order of their own.
fn same_object(here: &[u8], redis: &[u8]) -> bool {
    let in_order = |object: &[u8]| {
        let mut bytes = object.to_vec();
        bytes.sort_unstable();
        bytes
    };
    match (here.first(), redis.first()) {
        (Some(&types::SET_LISTPACK), Some(&types::SET)) => true,
        // One writes when a consumer was active and the other does not; consumers' times are those of each server, and
        // dumps.rs looks at them.
        (Some(&types::STREAM_3), Some(&types::STREAM_2)) => here[1..] == redis[1..],
        (Some(&types::SET), Some(&types::SET)) | (Some(&types::HASH), Some(&types::HASH)) => {
            in_order(here) == in_order(redis)
        }
        _ => here == redis,
    }
}

/// The elements sorted: doubles as numbers, whatever their digits, then the rest.
fn by_numbers(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Array(all) = &mut value {
        all.sort_by_key(|element| match element {
            Value::Bulk(text) => number(text).ok_or_else(|| element.clone()),
            _ => Err(element.clone()),
        });
    }
    value
}

/// A reply of one line as it was sent.
fn encoded(value: &Value) -> String {
    match value {
        Value::Integer(n) => format!(":{n}\r\n"),
        Value::Simple(b) => format!("+{}\r\n", String::from_utf8_lossy(b)),
        Value::Error(b) => format!("-{}\r\n", String::from_utf8_lossy(b)),
        Value::Bulk(b) => format!("${}\r\n{}\r\n", b.len(), String::from_utf8_lossy(b)),
        _ => String::new(),
    }
}

/// `value` with the values beside `fields` made equal; their kind stays.
fn masked(value: &Value, fields: &[&str]) -> Value {
    let named = |key: &Value| matches!(key, Value::Bulk(b) if fields.iter().any(|f| f.as_bytes() == b));
    let blank = |value: &Value| match value {
        Value::Integer(_) => Value::Integer(0),
        Value::Bulk(_) => Value::Bulk(Vec::new()),
        other => other.clone(),
    };
    let pair = |key: &Value, value: &Value| if named(key) { blank(value) } else { value.clone() };
    match value {
        Value::Map(pairs) => Value::Map(pairs.iter().map(|(k, v)| (k.clone(), pair(k, v))).collect()),
        Value::Array(all) => {
            Value::Array(all.chunks(2).flat_map(|c| [c[0].clone(), pair(&c[0], &c[c.len() - 1])]).collect())
        }
        other => other.clone(),
    }
}

/// A command whose replies hang on more than the commands before it.
pub struct Shape {
    /// As COMMAND INFO names it; a container stands for all its subcommands.
    command: &'static str,
    /// How replies to generated calls are compared.
    rule: Rule,
    reason: &'static str,
}

const fn shape(command: &'static str, rule: Rule, reason: &'static str) -> Shape {
    Shape { command, rule, reason }
}

/// Errors are compared byte for byte in all of them.
const SHAPES: &[Shape] = &[
    shape("ttl", Rule::About(5), "time goes by"),
    shape("pttl", Rule::About(5000), "time goes by"),
    shape("expiretime", Rule::About(5), "made from a time to live"),
    shape("pexpiretime", Rule::About(5000), "made from a time to live"),
    shape("time", Rule::Kind, "the time"),
    shape("lastsave", Rule::About(60), "a time"),
    shape("role", Rule::Masked, "since 7.2 a server with a log counts its writes as the offset"),
    shape("object|idletime", Rule::About(60), "time goes by"),
    shape("object|freq", Rule::About(5), "counted by chance"),
    shape("keys", Rule::Unordered, "the order of a hash table"),
    shape(
        "scan",
        Rule::Kind,
        "cursors and the order of a hash table; the scripts follow cursors to their end",
    ),
    shape("sscan", Rule::Kind, "as SCAN"),
    shape("hscan", Rule::Kind, "as SCAN"),
    shape("zscan", Rule::Kind, "as SCAN"),
    shape("smembers", Rule::Unordered, "the order of a hash table"),
    shape("sinter", Rule::Unordered, "the order of a hash table"),
    shape("sunion", Rule::Unordered, "the order of a hash table"),
    shape("sdiff", Rule::Unordered, "the order of a hash table"),
    shape(
        "sort",
        Rule::Unordered,
        "what BY leaves unsorted has the order of a hash table; the scripts compare the order",
    ),
    shape("sort_ro", Rule::Unordered, "as SORT"),
    shape("hgetall", Rule::UnorderedPairs, "the order of a hash table"),
    shape("hkeys", Rule::Unordered, "the order of a hash table"),
    shape("hvals", Rule::Unordered, "the order of a hash table"),
    shape("randomkey", Rule::Kind, "chance"),
    shape("srandmember", Rule::Kind, "chance"),
    shape("spop", Rule::Kind, "chance"),
    shape("hrandfield", Rule::Kind, "chance"),
    shape("zrandmember", Rule::Kind, "chance"),
    shape("acl|genpass", Rule::Kind, "chance"),
    shape("info", Rule::Kind, "figures; tables.rs compares sections and fields"),
    shape("memory", Rule::Kind, "figures of another allocator; tests/introspection.rs looks at them"),
    shape("client|list", Rule::Kind, "ports, ages and IDs; the scripts compare the fields"),
    shape("client|info", Rule::Kind, "as CLIENT LIST"),
    shape("client|id", Rule::Kind, "connections are counted from the start"),
    shape("slowlog", Rule::Kind, "times"),
    shape("latency", Rule::Kind, "times"),
    shape("config|get", Rule::UnorderedPairs, "the order of a hash table"),
    shape("command", Rule::Kind, "Redis has more commands; tables.rs compares entry by entry"),
    shape("lolwut", Rule::Kind, "another picture"),
    shape("xpending", Rule::Times, "times"),
    shape("xinfo", Rule::Times, "times"),
];

/// The commands of [`SHAPES`] and the reasons.
pub fn shapes() -> impl Iterator<Item = (String, &'static str)> {
    SHAPES.iter().map(|shape| (shape.command.to_uppercase().replace('|', " "), shape.reason))
}

/// How replies to a generated call of `command` are compared.
pub fn rule_of(command: &str, args: &[Vec<u8>]) -> Rule {
    if command == "xadd" && args.iter().any(|arg| arg == b"*") {
        // The ID is the time.
        return Rule::Kind;
    }
    let container = command.split('|').next().unwrap_or_default();
    let found = SHAPES.iter().find(|shape| shape.command == command || shape.command == container);
    found.map_or(Rule::Exact, |shape| shape.rule)
}

/// What no generated call is made of, with the reason of each. The scripts and tests of their own call these.
pub const NOT_GENERATED: &[(&str, &str)] = &[
    ("shutdown", "ends the server"),
    ("bgsave", "depends on whether a child of an earlier call is still at work"),
    ("bgrewriteaof", "as BGSAVE"),
    ("debug", "may end the server, or sleep"),
    ("script|debug", "turns the connection into that of a debugger"),
    ("client|reply", "turns replies off"),
    ("client|kill", "ends connections, among them the test's own"),
    ("client|tracking", "is followed by messages of keys that change, at any place between the replies"),
    ("monitor", "is followed by what others do"),
    ("psync", "turns the connection into a replica's"),
    ("sync", "turns the connection into a replica's"),
    ("replicaof", "makes the server a replica"),
    ("slaveof", "makes the server a replica"),
    ("failover", "needs replicas"),
    ("migrate", "connects to the hosts that it names; transfer.txt and the tests of replication compare it"),
    ("quit", "ends the connection"),
    ("subscribe", "has a reply for each channel"),
    ("psubscribe", "has a reply for each pattern"),
    ("ssubscribe", "has a reply for each channel"),
    ("unsubscribe", "has a reply for each channel"),
    ("punsubscribe", "has a reply for each pattern"),
    ("sunsubscribe", "has a reply for each channel"),
];

/// A reason is what makes a difference one that is meant.
#[test]
fn every_difference_has_a_reason() {
    let oldest = Version::new(0, 0);
    let given =
        intended_ones(oldest).chain(shapes()).chain(NOT_GENERATED.iter().map(|(c, r)| (c.to_string(), *r)));
    for (command, reason) in given {
        assert!(!command.is_empty() && reason.len() > 4, "{command}: {reason}");
    }
}

/// Numbers may be written with other digits, but must be the same numbers.
#[test]
fn scores_pass_in_other_digits_and_zeros_without_their_sign_beside_the_redis_that_does_so() {
    let old = Version::new(7, 0);
    let array = |words: &[&str]| {
        Value::Array(words.iter().map(|word| Value::Bulk(word.as_bytes().to_vec())).collect())
    };
    let passes = |command: &str, here: &[&str], redis: &[&str], peer| {
        intended(&[command.into(), "key".into()], &array(here), &array(redis), peer)
    };
    let (short, long) = (["a", "15.29"], ["a", "15.289999999999999"]);
    for command in ["ZRANGE", "EVAL", "EVALSHA", "fcall"] {
        assert!(passes(command, &short, &long, old), "{command}");
        assert!(!passes(command, &short, &long, V7_2), "{command}");
        assert!(!passes(command, &short, &["a", "15.28"], old), "{command}");
        assert!(!passes(command, &short, &["b", "15.289999999999999"], old), "{command}");
    }
    assert!(!passes("GET", &short, &long, old));
    assert!(passes("ZRANGE", &["a", "-0", "b", "6.857"], &["a", "0", "b", "6.8570000000000002"], old));
    // Not the other way round, not of a member, not of another number, of no later Redis, and of no other command.
    assert!(!passes("ZRANGE", &["a", "0"], &["a", "-0"], old));
    assert!(!passes("ZRANGE", &["-0", "-0"], &["0", "0"], old));
    assert!(!passes("ZRANGE", &["a", "-0"], &["a", "1"], old));
    assert!(!passes("ZRANGE", &["a", "-0"], &["a", "0", "b", "1"], old));
    assert!(!passes("ZRANGE", &["a", "-0"], &["a", "0"], V7_2));
    assert!(!passes("ZSCAN", &["a", "-0"], &["a", "0"], old));
}
