//! The servers' descriptions of themselves: COMMAND, CONFIG and INFO, compared entry by entry.

use crate::differences::intended;
use crate::pair::{Pace, Pair, Rule, Step};
use crate::support::{Client, Value, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Commands that the server may have and Redis 7.0 does not, with the version that added them.
const LATER: &[(&str, &str)] = &[
    ("client|setinfo", "7.2"),
    ("client|no-touch", "7.2"),
    ("waitaof", "7.2"),
    ("cluster|myshardid", "7.2"),
    ("hexpire", "7.4"),
    ("hexpireat", "7.4"),
    ("hexpiretime", "7.4"),
    ("hpersist", "7.4"),
    ("hpexpire", "7.4"),
    ("hpexpireat", "7.4"),
    ("hpexpiretime", "7.4"),
    ("hpttl", "7.4"),
    ("httl", "7.4"),
];

/// Commands with arguments that the Redis we compare with does not have.
const NEWER_ARGUMENTS: &[&str] = &["hscan"];

/// Commands whose table entries differ in 7.0, with their differences since 7.2.
const EXTENDED: &[(&str, &str)] = &[
    ("zrank", "takes WITHSCORE"),
    ("zrevrank", "takes WITHSCORE"),
    ("command|getkeys", "takes a call without arguments"),
    ("command|getkeysandflags", "takes a call without arguments"),
    ("wait", "may be called by scripts"),
    ("cluster|shards", "may be called while data is loaded"),
    ("cluster|slots", "may be called while data is loaded"),
];

const V7_2: Version = Version::new(7, 2);
const V7_4: Version = Version::new(7, 4);

/// The least number of commands in common, so that no test passes because a server lists nothing.
const AT_LEAST: usize = 75;

/// The names in COMMAND LIST: commands, and subcommands as `client|id`.
fn listed(client: &mut Client) -> BTreeSet<String> {
    client.run("COMMAND LIST").elements().iter().map(Value::text).collect()
}

/// The commands of a server that can be called by their names: not `client`, only `client|id`.
pub fn callable(client: &mut Client) -> BTreeSet<String> {
    let listed = listed(client);
    let is_container = |name: &&String| {
        *name != "command" && listed.iter().any(|other| other.starts_with(&format!("{name}|")))
    };
    let callable: BTreeSet<String> = listed.iter().filter(|name| !is_container(name)).cloned().collect();
    assert!(callable.len() >= AT_LEAST, "only {} commands", callable.len());
    callable
}

/// The commands that both servers have with the same arguments.
pub fn compared(pair: &Pair) -> Vec<String> {
    let theirs = listed(&mut pair.redis.client());
    let extended = |name: &String| pair.peer < V7_2 && EXTENDED.iter().any(|(other, _)| other == name);
    let alike = |name: &String| theirs.contains(name) && !extended(name);
    let both: Vec<String> = callable(&mut pair.subject.client()).into_iter().filter(alike).collect();
    assert!(both.len() >= AT_LEAST, "only {} commands in common", both.len());
    both
}

#[test]
fn every_command_that_redis_lacks_is_one_of_a_later_version() {
    let pair = Pair::start("");
    let (here, theirs) = (listed(&mut pair.subject.client()), listed(&mut pair.redis.client()));
    let known = |name: &&String| LATER.iter().any(|(later, _)| later == name);
    let unknown: Vec<&String> = here.difference(&theirs).filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "Redis does not know {unknown:?}");
    let is_old = |since: &str| Version::parse(since).expect("a version") <= pair.peer;
    let wrong: Vec<_> =
        LATER.iter().filter(|(name, since)| theirs.contains(*name) != is_old(since)).collect();
    assert!(wrong.is_empty(), "Redis {} should know, or should not know, {wrong:?}", pair.peer);
}

/// `COMMAND INFO name` without the subcommands, because a server may have fewer of them.
fn command_info(client: &mut Client, name: &str) -> Vec<Value> {
    let all = client.call(&["COMMAND", "INFO", name]).elements();
    assert!(!all[0].is_null(), "COMMAND INFO does not know {name}");
    let mut fields = all[0].elements();
    assert_eq!(fields.len(), 10, "COMMAND INFO {name}");
    fields.pop();
    fields
}

/// The fields of COMMAND INFO that 7.2 did not revise: without the tips, and without the flag that keeps blocking
/// commands out of scripts.
fn as_before_7_2(mut fields: Vec<Value>) -> Vec<Value> {
    fields.remove(7);
    if let Value::Array(flags) | Value::Set(flags) = &mut fields[2] {
        let waits = flags.iter().any(|flag| flag.text() == "blocking");
        flags.retain(|flag| !waits || flag.text() != "noscript");
    }
    fields
}

/// Flags and categories have no order, so they are compared as sets.
fn in_order(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Array(all) | Value::Set(all) = &mut value {
        if all.iter().all(|e| matches!(e, Value::Simple(_) | Value::Bulk(_))) {
            all.sort();
        }
        *all = all.iter().map(in_order).collect();
    }
    value
}

#[test]
fn command_info_of_every_command_is_that_of_redis() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    let mut wrong = Vec::new();
    for protocol in ["HELLO 2", "HELLO 3"] {
        subject.run(protocol);
        redis.run(protocol);
        for name in &compared(&pair) {
            let container = name.split('|').next().filter(|_| name.contains('|'));
            for name in container.into_iter().chain([&**name]) {
                let (here, theirs) = (command_info(&mut subject, name), command_info(&mut redis, name));
                let [here, theirs] = [here, theirs]
                    .map(|fields| if pair.peer < V7_2 { as_before_7_2(fields) } else { fields });
                for (here, theirs) in here.iter().zip(&theirs) {
                    if in_order(here) != in_order(theirs) {
                        wrong.push(format!("{protocol}, {name}: {here:?}, Redis has {theirs:?}"));
                    }
                }
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "COMMAND INFO differs:\n{}", wrong.join("\n"));
}

#[test]
fn command_docs_describe_the_arguments_that_redis_describes() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    let mut wrong = Vec::new();
    for name in compared(&pair) {
        let docs = |client: &mut Client| client.call(&["COMMAND", "DOCS", &name]).elements();
        let (here, theirs) = (docs(&mut subject), docs(&mut redis));
        assert_eq!(here.first(), theirs.first(), "COMMAND DOCS {name}");
        let described: BTreeSet<String> = theirs[1].elements().chunks(2).map(|pair| pair[0].text()).collect();
        let fields: &[&str] = if pair.peer < V7_2 {
            // 7.2 reworded the rest, and renamed arguments.
            &["group"]
        } else {
            &[
                "summary",
                "since",
                "group",
                "complexity",
                "history",
                "deprecated_since",
                "replaced_by",
                "arguments",
            ]
        };
        for &field in fields {
            let there = here[1].elements().chunks(2).any(|pair| pair[0].text() == field);
            if field == "arguments" && NEWER_ARGUMENTS.contains(&&*name) {
                continue;
            }
            if there != described.contains(field) {
                wrong.push(format!("{name}: {field} is {}", if there { "too much" } else { "missing" }));
                continue;
            }
            if !there {
                continue;
            }
            let [here, theirs] = [&here, &theirs].map(|docs| in_order(&docs[1].field(field)));
            if here != theirs {
                wrong.push(format!("{name}: {field} is {here:?}, Redis has {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "COMMAND DOCS differs:\n{}", wrong.join("\n"));
}

#[test]
fn command_list_count_and_info_tell_of_the_same_commands() {
    let pair = Pair::start("");
    let mut client = pair.subject.client();
    let everything = listed(&mut client);
    let listed: BTreeSet<String> = everything.iter().filter(|name| !name.contains('|')).cloned().collect();
    assert_eq!(client.run("COMMAND COUNT").integer(), listed.len() as i64);
    let described = client.run("COMMAND").elements();
    let names: BTreeSet<String> = described.iter().map(|c| c.elements()[0].text()).collect();
    assert_eq!(names, listed);
    let docs = client.run("COMMAND DOCS").elements();
    assert_eq!(docs.chunks(2).map(|pair| pair[0].text()).collect::<BTreeSet<_>>(), listed);
    let subcommands =
        |c: &Value| c.elements()[9].elements().iter().map(|s| s.elements()[0].text()).collect::<Vec<_>>();
    let below: BTreeSet<String> = described.iter().flat_map(subcommands).collect();
    assert_eq!(below, everything.difference(&listed).cloned().collect());
}

#[test]
fn every_wrong_number_of_arguments_is_refused_as_redis_does() {
    let pair = Pair::start("");
    let mut redis = pair.redis.client();
    let mut steps = Vec::new();
    for name in compared(&pair) {
        let arity = command_info(&mut redis, &name)[1].integer();
        for count in 1..=9_i64 {
            let refused = if arity < 0 { count < -arity } else { count != arity };
            let words: Vec<Vec<u8>> = name.split('|').map(|w| w.as_bytes().to_vec()).collect();
            if refused && count >= words.len() as i64 {
                let extra = (words.len()..count as usize).map(|_| b"x".to_vec());
                steps.push(Step::new(words.iter().cloned().chain(extra).collect(), Rule::Exact));
            }
        }
    }
    assert!(steps.len() > 200, "only {} cases", steps.len());
    pair.check(2, &steps, Pace::OneByOne, "arity");
}

fn config(client: &mut Client) -> BTreeMap<String, String> {
    let all = client.run("CONFIG GET *").elements();
    all.chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect()
}

#[test]
fn every_directive_of_redis_is_known_and_has_its_default() {
    // Each server has a different port and directory.
    const OWN: &[&str] = &["port", "dir"];
    let pair = Pair::start("");
    let (here, theirs) = (config(&mut pair.subject.client()), config(&mut pair.redis.client()));
    let mut wrong = Vec::new();
    for (name, default) in &theirs {
        match here.get(name) {
            None => wrong.push(format!("{name} is missing, Redis has '{default}'")),
            Some(value) if value != default && !OWN.contains(&name.as_str()) => {
                wrong.push(format!("{name} is '{value}', Redis has '{default}'"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "CONFIG GET * differs:\n{}", wrong.join("\n"));
}

#[test]
fn every_directive_takes_and_refuses_the_values_that_redis_does() {
    const VALUES: &[&str] = &[
        "abc",
        "",
        "-1",
        "0",
        "1",
        "2",
        "100",
        "1000",
        "yes",
        "no",
        "NO",
        "1.5",
        "1kb",
        "2gb",
        "99999999999999999999",
    ];
    // These would disconnect the test from the server, start a later feature, or change the machine.
    const LEFT_OUT: &[&str] = &[
        "port",
        "bind",
        // Redis would load the certificates, and then those of every tls- directive.
        "tls-port",
        "tls-replication",
        "tls-cluster",
        "requirepass",
        "appendonly",
        "dir",
        "oom-score-adj",
        "oom-score-adj-values",
        // Redis refuses it while it runs.
        "io-threads",
        "activedefrag",
        "min-replicas-to-write",
        "min-slaves-to-write",
    ];
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    let mut wrong = Vec::new();
    for (name, original) in config(&mut redis) {
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        for value in VALUES.iter().copied().chain([&*original]) {
            let set = ["CONFIG", "SET", &name, value];
            let (here, theirs) = (subject.call(&set), redis.call(&set));
            let meant = intended(&set.map(|word| word.as_bytes().to_vec()), &here, &theirs, pair.peer);
            if here != theirs && !meant {
                wrong.push(format!("CONFIG SET {name} '{value}': {here:?}, Redis replies {theirs:?}"));
            }
            let (here, theirs) =
                (subject.call(&["CONFIG", "GET", &name]), redis.call(&["CONFIG", "GET", &name]));
            // If only one of them accepted the value, their values differ.
            if here != theirs && !meant {
                wrong.push(format!("CONFIG GET {name} after '{value}': {here:?}, Redis replies {theirs:?}"));
            }
            for client in [&mut subject, &mut redis] {
                client.call(&["CONFIG", "SET", &name, &original]);
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sections of INFO with the names of their fields, in order.
fn info_fields(client: &mut Client, what: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in client.run(&format!("INFO {what}")).text().lines() {
        if let Some(title) = line.strip_prefix("# ") {
            sections.push((title.to_string(), Vec::new()));
        } else if let Some((field, _)) = line.split_once(':') {
            sections.last_mut().expect("a title before the first field").1.push(field.to_string());
        }
    }
    sections
}

/// Prefixes of INFO fields that exist here and not in an older Redis, or in none.
const MORE_FIELDS: &[(&str, Version)] = &[
    // The name and version of this server.
    ("server_name", Version::LAST),
    ("redstart_version", Version::LAST),
    ("expired_subkeys", V7_4),
    ("evicted_scripts", V7_4),
    ("listener", V7_2),
    ("total_blocking_keys", V7_2),
    ("client_query_buffer_limit_disconnections", V7_4),
    ("client_output_buffer_limit_disconnections", V7_4),
    ("eventloop_", V7_2),
    ("instantaneous_eventloop_", V7_2),
    ("acl_access_denied_", V7_2),
];

#[test]
fn info_has_the_sections_and_fields_of_redis_in_their_order() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    for client in [&mut subject, &mut redis] {
        client.ok("SET k v");
        client.ok("CONFIG SET min-replicas-to-write 0");
    }
    let mut wrong = Vec::new();
    let mut compare = |what: &str| {
        let (here, theirs) = (info_fields(&mut subject, what), info_fields(&mut redis, what));
        let titles = |of: &[(String, Vec<String>)]| of.iter().map(|(t, _)| t.clone()).collect::<Vec<_>>();
        if titles(&here) != titles(&theirs) {
            wrong.push(format!("INFO {what} has {:?}, Redis has {:?}", titles(&here), titles(&theirs)));
        }
        for ((title, mut here), (_, theirs)) in here.into_iter().zip(theirs) {
            if ["Commandstats", "Latencystats"].contains(&&*title) {
                continue;
            }
            let is_more = |field: &String| {
                MORE_FIELDS.iter().any(|(start, since)| pair.peer < *since && field.starts_with(start))
            };
            here.retain(|field| !is_more(field));
            if here != theirs {
                let place = here.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
                let (ours, theirs) = (here.get(place), theirs.get(place));
                wrong.push(format!("INFO {what}, {title}: {ours:?} where Redis has {theirs:?}"));
            }
        }
    };
    for what in [
        "",
        "default",
        "everything",
        "all",
        "server",
        "clients memory",
        "stats",
        "keyspace nosuch cpu server",
    ] {
        compare(what);
    }
    assert!(wrong.is_empty(), "INFO differs:\n{}", wrong.join("\n"));
}

#[test]
fn info_has_the_new_fields_of_7_2_where_7_2_has_them() {
    let pair = Pair::start("");
    let mut client = pair.subject.client();
    let mut fields = |section: &str| info_fields(&mut client, section).remove(0).1;
    let after = |fields: &[String], name: &str| -> Vec<String> {
        let place = fields.iter().position(|f| f == name).expect("the field before");
        fields[place + 1..].to_vec()
    };
    let server = fields("server");
    assert_eq!(after(&server, "io_threads_active"), ["listener0"]);
    assert_eq!(
        after(&fields("clients"), "clients_in_timeout_table"),
        ["total_blocking_keys", "total_blocking_keys_on_nokey"]
    );
    assert_eq!(
        after(&fields("stats"), "io_threaded_writes_processed"),
        [
            "client_query_buffer_limit_disconnections",
            "client_output_buffer_limit_disconnections",
            "reply_buffer_shrinks",
            "reply_buffer_expands",
            "eventloop_cycles",
            "eventloop_duration_sum",
            "eventloop_duration_cmd_sum",
            "instantaneous_eventloop_cycles_per_sec",
            "instantaneous_eventloop_duration_usec",
            "acl_access_denied_auth",
            "acl_access_denied_cmd",
            "acl_access_denied_key",
            "acl_access_denied_channel",
        ]
    );
    assert_eq!(
        fields("debug"),
        [
            "eventloop_duration_aof_sum",
            "eventloop_duration_cron_sum",
            "eventloop_duration_max",
            "eventloop_cmd_per_cycle_max",
        ]
    );
}

#[test]
fn memory_stats_has_the_figures_of_redis_in_their_order() {
    let pair = Pair::start("");
    for protocol in ["HELLO 2", "HELLO 3"] {
        let shape = |server: &crate::support::Server| -> Vec<(String, String)> {
            let mut client = server.client();
            client.run(protocol);
            client.ok("SET k v");
            client.ok("SELECT 3");
            client.ok("SET k v EX 100");
            let kind = |value: &Value| -> String {
                let nested = match value {
                    Value::Array(_) | Value::Map(_) => value.elements(),
                    _ => Vec::new(),
                };
                let names = nested.chunks(2).map(|pair| pair[0].text()).collect::<Vec<_>>().join(" ");
                format!("{:?} {names}", std::mem::discriminant(value))
            };
            let stats = client.run("MEMORY STATS").elements();
            stats.chunks(2).map(|pair| (pair[0].text(), kind(&pair[1]))).collect()
        };
        assert_eq!(shape(&pair.subject), shape(&pair.redis), "{protocol}");
    }
}

#[test]
fn debug_object_says_of_a_string_what_redis_says() {
    let pair = Pair::start("");
    let describe = |client: &mut Client| -> Vec<String> {
        let key = |i: usize| format!("key:{i}");
        let values = [
            "0".to_string(),
            "127".into(),
            "128".into(),
            "-32768".into(),
            "32768".into(),
            "2147483647".into(),
            "2147483648".into(),
            "9223372036854775807".into(),
            "0123".into(),
            String::new(),
            "short".into(),
            "a".repeat(20),
            "a".repeat(21),
            "ab".repeat(50),
            "x".repeat(63),
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!".into(),
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!?".into(),
            (0..5000).map(|i| (i * i).to_string()).collect(),
        ];
        let mut described = Vec::new();
        for compression in ["yes", "no"] {
            client.ok(&format!("CONFIG SET rdbcompression {compression}"));
            for (i, value) in values.iter().enumerate() {
                client.call(&["SET", &key(i), value]);
                let text = client.call(&["DEBUG", "OBJECT", &key(i)]).text();
                // An object shared by many keys does not record accesses.
                let shared = text.contains("refcount:2147483647");
                let own = |word: &&str| {
                    let of_access =
                        word.starts_with("lru:") || shared && word.starts_with("lru_seconds_idle:");
                    !word.starts_with("at:") && !of_access
                };
                let words: Vec<&str> = text.split(' ').filter(own).collect();
                described.push(format!("{} {}", &value[..value.len().min(30)], words.join(" ")));
            }
        }
        // A number with appended digits is stored as text and saved as a number.
        client.ok("SET grown 1");
        client.run("APPEND grown 23");
        let text = client.run("DEBUG OBJECT grown").text();
        described
            .push(text.split(' ').find(|word| word.starts_with("serialized")).unwrap_or_default().into());
        described
    };
    assert_eq!(describe(&mut pair.subject.client()), describe(&mut pair.redis.client()));
}

#[test]
fn debug_help_has_redis_lines_for_what_is_there() {
    // Entries with another text or from another version, and our own subcommands.
    const OWN: &[&str] = &[
        "HTSTATS",
        "HTSTATS-KEY",
        "DICT-RESIZING",
        "CLIENT-ENFORCE-REPLY-LIST",
        "STRINGMATCH-LEN",
        "JOURNAL",
        "RELOAD",
        "HELP",
    ];
    let pair = Pair::start("");
    // The subcommands and their lines, in the order of the reply.
    let help = |client: &mut Client| -> Vec<(String, Vec<String>)> {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for line in client.run("DEBUG HELP").elements().iter().map(Value::text) {
            if line.starts_with(' ') {
                all.last_mut().expect("a name before its lines").1.push(line);
            } else {
                all.push((line, Vec::new()));
            }
        }
        all
    };
    let (here, theirs) = (help(&mut pair.subject.client()), help(&mut pair.redis.client()));
    let is_own = |name: &str| OWN.contains(&name.split(' ').next().unwrap_or_default());
    let here: Vec<_> = here.into_iter().filter(|(name, _)| !is_own(name)).collect();
    let shared: Vec<_> = theirs
        .into_iter()
        .filter(|(name, _)| !is_own(name) && here.iter().any(|(known, _)| known == name))
        .collect();
    assert!(shared.len() > 20, "only {} subcommands", shared.len());
    assert_eq!(here, shared);
}

/// Lines of INFO in order, with times replaced by `?`.
fn without_times(text: &str) -> Vec<String> {
    let timed = |part: &str| {
        let name = part.split('=').next().unwrap_or_default();
        let is_time =
            name.ends_with("usec") || name == "usec_per_call" || name.rsplit(':').next() == Some("usec");
        if is_time || name.contains("p50") || name == "p99" || name == "p99.9" {
            format!("{name}=?")
        } else {
            part.into()
        }
    };
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split(',').map(timed).collect::<Vec<_>>().join(",")).collect();
    lines.sort();
    lines
}

#[test]
fn statistics_of_commands_and_errors_are_counted_as_redis_counts_them() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    let lines = [
        "SET k v",
        "GET k",
        "GET k",
        "get none",
        "GET",
        "GET a b",
        "NOSUCH",
        "INCR k",
        "INCR n",
        "CLIENT ID",
        "CLIENT NOSUCH",
        "CONFIG GET hz",
        "CONFIG SET nosuch 1",
        "OBJECT ENCODING k",
        "EXPIRE n 100",
        "SET k v EX 0",
        "MGET k none",
        "DEL k",
        "SET gone v PXAT 1",
        "GET gone",
        "EXISTS none",
        "TTL none",
        "SELECT 99",
        "PING",
        "CLIENT SETNAME a\nb",
        "AUTH x",
        "HELLO 9",
        "COMMAND GETKEYS",
        "STRLEN n",
        "TYPE none",
        "TOUCH n none",
        "GETSET g v",
        "GETSET g v",
        "SET g v GET",
        "SETNX g v",
        "GETEX g",
        "GETEX none",
        "GETDEL g",
        "GETDEL g",
        "APPEND a v",
        "STRLEN a",
        "MSETNX a 1 b 2",
        "PERSIST a",
        "PERSIST none",
        "EXPIRE none 100",
        "EXPIRETIME a",
        "OBJECT ENCODING a",
        "OBJECT ENCODING none",
        "OBJECT FREQ a",
        "OBJECT IDLETIME none",
        "DEBUG OBJECT a",
        "KEYS *",
        "SCAN 0",
        "SCAN 0 TYPE string",
        "SCAN 0 TYPE list",
        "SET gone v PXAT 1",
        "SCAN 0 TYPE string MATCH nosuch*",
        "SCAN 0 TYPE string MATCH g*",
        "SET gone v PXAT 1",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
    ];
    for client in [&mut subject, &mut redis] {
        client.ok("CONFIG RESETSTAT");
        for line in lines {
            client.run(line);
        }
    }
    for section in ["commandstats", "errorstats", "latencystats", "keyspace"] {
        let info = format!("INFO {section}");
        let (here, theirs) =
            (without_times(&subject.run(&info).text()), without_times(&redis.run(&info).text()));
        // The average time to live in `keyspace` changes with the clock.
        let same = |lines: Vec<String>| {
            lines
                .iter()
                .map(|l| l.split(",avg_ttl").next().unwrap_or_default().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(same(here), same(theirs), "{info}");
    }
    for field in [
        "total_commands_processed",
        "keyspace_hits",
        "keyspace_misses",
        "expired_keys",
        "evicted_keys",
        "total_error_replies",
        "unexpected_error_replies",
        "rejected_connections",
        "total_connections_received",
    ] {
        assert_eq!(subject.info(field), redis.info(field), "INFO {field}");
    }
}
