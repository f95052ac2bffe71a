//! Intended differences from the replies of `redis-server`, each with its reason.
//!
//! All other replies must be equal byte for byte. The list is short on purpose: a difference that a client could notice
//! needs a reason that a user would accept.
//!
//! We implement Redis 7.2 and the expiry of hash fields of 7.4, while the `redis-server` of most machines is older. A
//! difference whose reason is only "a later version does this" is accepted only beside a Redis older than that version.

use crate::pair::Rule;
use crate::support::{Value, Version};
use redstart::codec::crc64;
use redstart::persist::rdb::types;
use std::collections::BTreeSet;

/// An allowed difference in the replies to one command.
struct Difference {
    /// The first words of the command, in upper case; `*` matches any.
    command: &'static [&'static str],
    allowed: Allowed,
    /// Accepted beside a Redis older than this.
    before: Version,
    reason: &'static str,
}

/// For differences from every Redis.
const ALWAYS: Version = Version::LAST;
const V7_2: Version = Version::new(7, 2);
const V7_4: Version = Version::new(7, 4);

enum Allowed {
    /// The values of these keys in a map may differ, but not their types.
    Fields(&'static [&'static str]),
    /// The version and the checksum at the end of a payload.
    Footer,
    /// Only this server has the command.
    NewHere,
    /// Our maps also have these keys, at any depth, and a consumer without pending entries may be on one side only.
    Consumers(&'static [&'static str]),
    /// Both reply with a text.
    Texts,
    /// A map with all the keys of Redis's, and others.
    MoreFields,
    /// Doubles (bulk strings in RESP2) are the same numbers in other digits.
    Digits,
    /// The same, and zeros whose sign Redis has lost.
    Signs,
    /// Redis does not accept that many arguments.
    MoreArguments,
    /// Payloads of hash tables, whose elements may be in any order.
    Order,
    /// Redis refuses with an error that begins with this text.
    ErrorThere(&'static str),
    /// This server refuses with an error that begins with this text, and Redis does not refuse.
    ErrorHere(&'static str),
    /// Both refuse, this server with an error that begins with this text.
    OtherError(&'static str),
    /// The last line of an array of lines.
    LastLine { redis: &'static str, here: &'static str },
    /// Redis's reply with one text replaced by another.
    Text { redis: &'static str, here: &'static str },
    /// Our lists and lines also have this word.
    Word(&'static str),
}

const SANITIZE: &str = "7.2 shows the flag sanitize-payload of each user";

/// Replies with scores, or with other doubles.
const fn scores(command: &'static [&'static str]) -> Difference {
    let reason = "since 7.2 a double is printed as an integer where it is one, else in the fewest digits that read back \
                  as the same; before that in 17 digits";
    Difference { command, allowed: Allowed::Digits, before: V7_2, reason }
}

/// Commands that set the name of a connection or of its library.
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
        reason: "since 7.2 a ZADD of many elements creates a skip list at once, in which a zero keeps its sign; before, it added the elements one by one to a listpack, which loses the sign",
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
        command: &["ACL", "LIST"],
        allowed: Allowed::Word("sanitize-payload"),
        before: V7_2,
        reason: SANITIZE,
    },
    Difference {
        command: &["ACL", "GETUSER"],
        allowed: Allowed::Word("sanitize-payload"),
        before: V7_2,
        reason: SANITIZE,
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
        reason: "in Redis the end of the pause overflows into the past, so nothing is paused",
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
        reason: "7.2 refuses a timeout that overflows",
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
    Difference {
        command: &["CLUSTER", "MYSHARDID"],
        allowed: Allowed::NewHere,
        before: V7_2,
        reason: "came with 7.2",
    },
    Difference {
        command: &["CLUSTER", "FORGET"],
        allowed: Allowed::ErrorThere("ERR Unknown node"),
        before: V7_2,
        reason: "since 7.2, a node that was forgotten less than a minute ago is not an unknown one",
    },
    Difference {
        command: &["COPY"],
        allowed: Allowed::OtherError("ERR DB index is out of range"),
        before: V7_2,
        reason: "since 7.2, a cluster node has a single database, and the index is checked as on other servers",
    },
    Difference { command: &["WAITAOF"], allowed: Allowed::NewHere, before: V7_2, reason: "came with 7.2" },
    Difference {
        command: &["DUMP"],
        allowed: Allowed::Footer,
        before: V7_2,
        reason: "7.2 added version 11 of the format, sets in listpacks and a new type byte of streams; the checksum covers the version",
    },
    Difference {
        command: &["DUMP"],
        allowed: Allowed::Order,
        before: ALWAYS,
        reason: "the order of a hash table, which the checksum covers",
    },
    Difference {
        command: &["FUNCTION", "DUMP"],
        allowed: Allowed::Footer,
        before: V7_2,
        reason: "7.2 added version 11 of the format; the checksum covers the version",
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
        reason: "since 7.2 all options are parsed before the password is checked",
    },
    Difference {
        command: &["LPOS"],
        allowed: Allowed::ErrorHere("ERR value is out of range, value must between -9223372036854775807"),
        before: V7_2,
        reason: "since 7.2 a rank that cannot be negated is refused",
    },
    Difference {
        command: &["LPOS"],
        allowed: Allowed::OtherError("ERR value is out of range, value must between -9223372036854775807"),
        before: V7_2,
        reason: "such a rank is refused before the next option is parsed",
    },
    Difference {
        command: &["LSET"],
        allowed: Allowed::ErrorHere("ERR index out of range"),
        before: ALWAYS,
        reason: "7.2 takes the index modulo 2^32, and so sets another element",
    },
    zero_byte(&["HELLO"], "ERR Client names"),
    zero_byte(&["CLIENT", "SETNAME"], "ERR Client names"),
    zero_byte(&["CLIENT", "SETINFO", "LIB-NAME"], "ERR LIB-NAME"),
    zero_byte(&["CLIENT", "SETINFO", "LIB-VER"], "ERR LIB-VER"),
    Difference {
        command: &["COMMAND", "GETKEYS"],
        allowed: Allowed::ErrorThere("ERR wrong number of arguments for 'command|getkeys' command"),
        before: V7_2,
        reason: "since 7.2 the command to query may have no arguments",
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
        reason: "in Redis, COPY of a small integer creates an object that is not shared; here no object is shared",
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
        reason: "7.2 added the log level `nothing`",
    },
    Difference {
        command: &["CONFIG", "SET", "MAXMEMORY-CLIENTS", "99999999999999999999"],
        allowed: Allowed::Text {
            redis: "+OK\r\n",
            here: "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - argument must be a \
                   memory or percent value\r\n",
        },
        before: ALWAYS,
        reason: "in Redis the number overflows to a limit of 1%",
    },
    Difference {
        command: &["CONFIG", "SET", "LOCALE-COLLATE"],
        allowed: Allowed::ErrorThere("ERR CONFIG SET failed"),
        before: ALWAYS,
        reason: "the machine determines the available locales; here texts are compared byte by byte whatever the setting",
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
        reason: "Redis only runs an internal test; here a client can test any pattern",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$9\r\nhashtable\r\n", here: "$8\r\nlistpack\r\n" },
        before: V7_2,
        reason: "since 7.2 small sets of words are listpacks",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$9\r\nquicklist\r\n", here: "$8\r\nlistpack\r\n" },
        before: V7_2,
        reason: "since 7.2 small lists are listpacks",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$8\r\nlistpack\r\n", here: "$8\r\nskiplist\r\n" },
        before: V7_2,
        reason: "since 7.2 all elements of a ZADD count towards the limit, not only the new ones",
    },
    Difference {
        command: &["CLIENT", "HELP"],
        allowed: Allowed::Texts,
        before: ALWAYS,
        reason: "the text has the subcommands of 7.2, without those that are missing here",
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
        reason: "if `ms-*` finds no free sequence number, Redis 7.0 replies that the elements are too large",
    },
    Difference {
        command: &["XINFO", "CONSUMERS"],
        allowed: Allowed::Consumers(&["inactive"]),
        before: V7_2,
        reason: "since 7.2 the reply has the time since a consumer last got an entry, beside the time since its last read, \
                 and a read creates the consumer even if it returns no entries",
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
        reason: "the findings and advice are about our allocator, in our words",
    },
];

/// The commands of the list and the reasons that apply beside a Redis of version `peer`.
pub fn intended_ones(peer: Version) -> impl Iterator<Item = (String, &'static str)> {
    let applying = DIFFERENCES.iter().filter(move |difference| peer < difference.before);
    applying.map(|difference| (difference.command.join(" "), difference.reason))
}

impl Difference {
    /// Whether the difference is for this command, beside this Redis.
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

/// Both replies without the keys that only this server has, and without consumers that have no pending entries; `None`
/// if the list does not contain such a difference.
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

/// `value` without the keys `fields` and their values, in maps and in arrays that represent maps; without the maps of
/// consumers that have no pending entries, and without the number of consumers.
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
        // The elements of an iteration were sorted by their digits.
        Allowed::Digits => same_numbers(here, redis) || same_numbers(&by_numbers(here), &by_numbers(redis)),
        Allowed::Signs => same_numbers(&without_signs(here, redis), redis),
        Allowed::MoreArguments => fails_with(redis, "ERR wrong number of arguments"),
        Allowed::MoreFields => {
            let (here, redis) = (keys(here), keys(redis));
            here.len() > redis.len() && here.is_superset(&redis) && !redis.is_empty()
        }
        Allowed::Text { redis: theirs, here: ours } => encoded(redis) == theirs && encoded(here) == ours,
        Allowed::Word(word) => without_word(here, word) == *redis,
    })
}

/// A reply without a word, whether it is an element of a list or in a line.
fn without_word(value: &Value, word: &str) -> Value {
    let each = |values: &[Value]| {
        let others = values.iter().filter(|value| **value != Value::Bulk(word.into()));
        others.map(|value| without_word(value, word)).collect()
    };
    match value {
        Value::Array(values) => Value::Array(each(values)),
        Value::Set(values) => Value::Set(each(values)),
        Value::Map(pairs) => {
            Value::Map(pairs.iter().map(|(key, value)| (key.clone(), without_word(value, word))).collect())
        }
        Value::Bulk(line) => {
            Value::Bulk(String::from_utf8_lossy(line).replace(&format!(" {word}"), "").into_bytes())
        }
        other => other.clone(),
    }
}

/// Whether a reply is an error whose text begins with `start`.
fn fails_with(reply: &Value, start: &str) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with(start.as_bytes()))
}

/// The lines before the last, if the last is `last`.
fn without_last(value: &Value, last: &str) -> Option<Vec<Value>> {
    let Value::Array(lines) = value else { return None };
    let (end, before) = lines.split_last()?;
    (*end == Value::Simple(last.into())).then(|| before.to_vec())
}

/// A payload without its footer, if the footer has this version and a right checksum.
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
    // Some versions have no sign in front of a NaN.
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() })
}

/// Whether the replies are the same except for the digits of doubles.
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

/// The scores of `here`, a reply in which members and scores alternate, without the sign of each zero that has none in
/// `redis`.
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

/// Whether two values of payloads are equal: a set may be a listpack only here, and hash tables may be in any order.
fn same_object(here: &[u8], redis: &[u8]) -> bool {
    let in_order = |object: &[u8]| {
        let mut bytes = object.to_vec();
        bytes.sort_unstable();
        bytes
    };
    match (here.first(), redis.first()) {
        (Some(&types::SET_LISTPACK), Some(&types::SET)) => true,
        // Only one of them contains when a consumer was active; the times of consumers differ between servers, and
        // dumps.rs checks them.
        (Some(&types::STREAM_3), Some(&types::STREAM_2)) => here[1..] == redis[1..],
        (Some(&types::SET), Some(&types::SET)) | (Some(&types::HASH), Some(&types::HASH)) => {
            in_order(here) == in_order(redis)
        }
        _ => here == redis,
    }
}

/// The elements sorted: doubles as numbers, whatever their digits, then the others.
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

/// The bytes of a one-line reply.
fn encoded(value: &Value) -> String {
    match value {
        Value::Integer(n) => format!(":{n}\r\n"),
        Value::Simple(b) => format!("+{}\r\n", String::from_utf8_lossy(b)),
        Value::Error(b) => format!("-{}\r\n", String::from_utf8_lossy(b)),
        Value::Bulk(b) => format!("${}\r\n{}\r\n", b.len(), String::from_utf8_lossy(b)),
        _ => String::new(),
    }
}

/// `value` with the values of `fields` made equal; their types stay.
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

/// A command whose replies depend on more than the commands before it.
pub struct Shape {
    /// The name in COMMAND INFO; a container includes all its subcommands.
    command: &'static str,
    /// How replies to generated calls are compared.
    rule: Rule,
    reason: &'static str,
}

const fn shape(command: &'static str, rule: Rule, reason: &'static str) -> Shape {
    Shape { command, rule, reason }
}

/// Errors of all these commands are compared byte for byte.
const SHAPES: &[Shape] = &[
    shape("ttl", Rule::About(5), "time passes"),
    shape("pttl", Rule::About(5000), "time passes"),
    shape("expiretime", Rule::About(5), "computed from a time to live"),
    shape("pexpiretime", Rule::About(5000), "computed from a time to live"),
    shape("time", Rule::Kind, "the time"),
    shape("lastsave", Rule::About(60), "a time"),
    shape("role", Rule::Masked, "since 7.2 a server with an AOF counts its writes as the offset"),
    shape("object|idletime", Rule::About(60), "time passes"),
    shape("object|freq", Rule::About(5), "a probabilistic counter"),
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
        "elements that BY leaves unsorted have the order of a hash table; the scripts compare the order",
    ),
    shape("sort_ro", Rule::Unordered, "as SORT"),
    shape("hgetall", Rule::UnorderedPairs, "the order of a hash table"),
    shape("hkeys", Rule::Unordered, "the order of a hash table"),
    shape("hvals", Rule::Unordered, "the order of a hash table"),
    shape("randomkey", Rule::Kind, "random"),
    shape("srandmember", Rule::Kind, "random"),
    shape("spop", Rule::Kind, "random"),
    shape("hrandfield", Rule::Kind, "random"),
    shape("zrandmember", Rule::Kind, "random"),
    shape("acl|genpass", Rule::Kind, "random"),
    shape("info", Rule::Kind, "numbers that vary; tables.rs compares sections and fields"),
    shape("memory", Rule::Kind, "numbers of another allocator; tests/introspection.rs checks them"),
    shape("client|list", Rule::Kind, "ports, ages and IDs; the scripts compare the fields"),
    shape("client|info", Rule::Kind, "as CLIENT LIST"),
    shape("client|id", Rule::Kind, "connections are counted from the start"),
    shape("slowlog", Rule::Kind, "times"),
    shape("latency", Rule::Kind, "times"),
    shape("config|get", Rule::UnorderedPairs, "the order of a hash table"),
    shape("command", Rule::Kind, "Redis has more commands; tables.rs compares entry by entry"),
    shape("lolwut", Rule::Kind, "another image"),
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
        // The ID contains the time.
        return Rule::Kind;
    }
    let container = command.split('|').next().unwrap_or_default();
    let found = SHAPES.iter().find(|shape| shape.command == command || shape.command == container);
    found.map_or(Rule::Exact, |shape| shape.rule)
}

/// Commands without generated calls, with the reason for each. The scripts and separate tests call them.
pub const NOT_GENERATED: &[(&str, &str)] = &[
    ("shutdown", "exits"),
    ("bgsave", "depends on whether the child of an earlier call is still running"),
    ("bgrewriteaof", "as BGSAVE"),
    ("debug", "may crash the server, or sleep"),
    ("script|debug", "turns the connection into a debugger's"),
    ("client|reply", "turns replies off"),
    ("client|kill", "closes connections, also the test's own"),
    ("client|tracking", "sends invalidation messages at any point between the replies"),
    ("monitor", "sends the commands of other clients"),
    ("psync", "turns the connection into a replica's"),
    ("sync", "turns the connection into a replica's"),
    ("replicaof", "makes the server a replica"),
    ("slaveof", "makes the server a replica"),
    ("failover", "needs replicas"),
    ("migrate", "connects to the hosts that it names; transfer.txt and the tests of replication compare it"),
    ("quit", "closes the connection"),
    ("subscribe", "has a reply for each channel"),
    ("psubscribe", "has a reply for each pattern"),
    ("ssubscribe", "has a reply for each channel"),
    ("unsubscribe", "has a reply for each channel"),
    ("punsubscribe", "has a reply for each pattern"),
    ("sunsubscribe", "has a reply for each channel"),
];

/// Each difference needs a reason to count as intended.
#[test]
fn every_difference_has_a_reason() {
    let oldest = Version::new(0, 0);
    let given =
        intended_ones(oldest).chain(shapes()).chain(NOT_GENERATED.iter().map(|(c, r)| (c.to_string(), *r)));
    for (command, reason) in given {
        assert!(!command.is_empty() && reason.len() > 4, "{command}: {reason}");
    }
}

/// The digits of numbers may differ, but not their values.
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
    // Not the other way round, not for a member, another number, a later Redis or another command.
    assert!(!passes("ZRANGE", &["a", "0"], &["a", "-0"], old));
    assert!(!passes("ZRANGE", &["-0", "-0"], &["0", "0"], old));
    assert!(!passes("ZRANGE", &["a", "-0"], &["a", "1"], old));
    assert!(!passes("ZRANGE", &["a", "-0"], &["a", "0", "b", "1"], old));
    assert!(!passes("ZRANGE", &["a", "-0"], &["a", "0"], V7_2));
    assert!(!passes("ZSCAN", &["a", "-0"], &["a", "0"], old));
}
