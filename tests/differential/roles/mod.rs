//! The replies of servers in each role: a primary with a replica, and replicas of all kinds, beside those of Redis.
//!
//! ```text
//!   primary ──▶ replica      of Redstart ─┐  the same commands to the server in the role,
//!   primary ──▶ replica      of Redis ────┴▶ and the same replies
//! ```
//!
//! The commands are those of `roles.txt`, and random ones of all families. The data is written to the primaries before.
//! `ROLE`, `INFO replication` and the lines of `CLIENT LIST` have ports, offsets and IDs in them, so [`state`] compares the
//! rest of them.

use crate::pair::{Outcome, Pace, Pair, Rule, Step, Verdict};
use crate::random::{FAMILIES, Family, Mix};
use crate::script;
use crate::support::random::seeds;
use crate::support::server::{Launch, Server};
use crate::support::{Client, eventually};

const SCRIPT: &str = include_str!("roles.txt");

/// The role of the servers that get the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A primary with a replica.
    Primary,
    /// A primary that needs more replicas than it has (`min-replicas-to-write`).
    Lonely,
    /// A replica with a link.
    Replica,
    /// The same with `replica-read-only no`.
    Writable,
    /// A replica without a link, which serves its data.
    Apart,
    /// A replica without a link, which does not (`replica-serve-stale-data no`).
    Stale,
    /// The same with `replica-read-only no`.
    StaleWritable,
}

/// All roles.
pub const ROLES: [Role; 7] = [
    Role::Primary,
    Role::Lonely,
    Role::Replica,
    Role::Writable,
    Role::Apart,
    Role::Stale,
    Role::StaleWritable,
];

/// Differences that are meant: the role, the first words of the command, and the reason.
const REVIEWED: &[(Role, &str, &str)] = &[];

impl Role {
    fn is_primary(self) -> bool {
        matches!(self, Role::Primary | Role::Lonely)
    }

    /// What makes the replica one of this kind.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Role::Primary | Role::Replica => &[],
            Role::Lonely => &["CONFIG SET min-replicas-to-write 2"],
            Role::Writable => &["CONFIG SET replica-read-only no"],
            Role::Apart => &["REPLICAOF 127.0.0.1 1"],
            Role::Stale => &["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
            Role::StaleWritable => &[
                "CONFIG SET replica-read-only no",
                "CONFIG SET replica-serve-stale-data no",
                "REPLICAOF 127.0.0.1 1",
            ],
        }
    }
}

/// The data of the primaries.
const DATA: &[&str] = &[
    "SET string value",
    "SET number 7",
    "RPUSH list a b c",
    "SADD set a b c",
    "HSET hash f v g w",
    "ZADD zset 1 a 2 b",
    "GEOADD geo 1 1 place",
    "PFADD hll a b c",
    "XADD stream 1-1 f v",
    "XGROUP CREATE stream group 0",
    "SET lasting value EX 100000",
    "HSET gone:hash f v",
    "SADD gone:set a",
    "RPUSH gone:list a b",
    "ZADD gone:zset 1 a",
    "XADD gone:stream 1-1 f v",
    "MSET gone v gone:2 v gone:3 v gone:4 v gone:5 v gone:n 5",
];

const EXPIRED: &[&str] = &[
    "gone",
    "gone:2",
    "gone:3",
    "gone:4",
    "gone:5",
    "gone:n",
    "gone:hash",
    "gone:set",
    "gone:list",
    "gone:zset",
    "gone:stream",
];

const LIBRARY: &str = "#!lua name=lib
local get = function(keys) return redis.call('GET', keys[1]) end
redis.register_function('plain', get)
redis.register_function('writes', function(keys) return redis.call('SET', keys[1], 1) end)
redis.register_function{function_name='reads', callback=get, flags={'no-writes'}}
redis.register_function{function_name='stale', callback=function() return 1 end, flags={'no-writes', 'allow-stale'}}
redis.register_function{function_name='stale_reads', callback=get, flags={'no-writes', 'allow-stale'}}
";

/// A primary and its replica, of one kind.
struct Side {
    primary: Server,
    replica: Server,
}

impl Side {
    fn start(launch: impl Fn() -> Launch, more: &[Step]) -> Side {
        let start = || {
            let flags = "--save  --enable-debug-command yes --repl-diskless-sync-delay 0";
            let server = launch().flags(flags).start();
            server.client().ok("DEBUG SET-ACTIVE-EXPIRE 0");
            server
        };
        let (primary, replica) = (start(), start());
        let mut client = primary.client();
        for step in more {
            client.call(&step.args);
        }
        // After them, since some of them empty a database.
        for line in DATA {
            assert!(!client.run(line).is_error(), "{line}");
        }
        assert_eq!(client.call(&["FUNCTION", "LOAD", LIBRARY]).text(), "lib");
        let mut follower = replica.client();
        follower.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        eventually("the link", || (follower.info("master_link_status") == "up").then_some(()));
        // After the link: a snapshot would leave them out here or there.
        for name in EXPIRED {
            // 1 ms may be over before Redis compares the time.
            assert_eq!(client.run(&format!("PEXPIRE {name} 20")).integer(), 1, "{name}");
        }
        client.ok("SELECT 9");
        client.ok("SET gone:alone v PX 20");
        client.ok("DEBUG SLEEP 0.03");
        let wanted = client.info_number("master_repl_offset");
        eventually("the stream", || (follower.info_number("slave_repl_offset") >= wanted).then_some(()));
        Side { primary, replica }
    }
}

/// Both sides, with the servers in the role as a pair.
pub struct Cast {
    role: Role,
    pub pair: Pair,
    /// The other servers.
    others: [Server; 2],
}

impl Cast {
    /// Starts servers of this role; `more` is written to the primaries, too.
    pub fn start(role: Role, more: &[Step]) -> Cast {
        let sides = [Side::start(Launch::subject, more), Side::start(Launch::redis, more)];
        let [subject, redis] =
            sides.map(
                |Side { primary, replica }| {
                    if role.is_primary() { (primary, replica) } else { (replica, primary) }
                },
            );
        for server in [&subject.0, &redis.0] {
            role.settings().iter().for_each(|line| server.client().ok(line));
        }
        Cast { role, pair: Pair::of(subject.0, redis.0), others: [subject.1, redis.1] }
    }

    /// Runs `steps`; appends a paragraph to `findings` for each reply that differs. Returns how many were compared.
    pub fn compare(
        &self,
        protocol: u8,
        steps: &[Step],
        pace: Pace,
        origin: &str,
        findings: &mut Vec<String>,
    ) -> usize {
        let mut compared = 0;
        self.pair.each_of_present(protocol, steps, pace, |outcome| {
            let Outcome { at, verdict, subject, redis } = outcome;
            compared += 1;
            if verdict == Verdict::Different && !self.is_reviewed(&steps[at]) {
                let line = steps[at].line();
                findings.push(format!("{:?}, RESP{protocol}, {origin}\n  command: {line}\n  here:    {subject:?}\n  redis:   {redis:?}",
                    self.role
                ));
            }
            true
        });
        compared
    }

    fn is_reviewed(&self, step: &Step) -> bool {
        let line = step.line();
        REVIEWED.iter().any(|(role, words, _)| *role == self.role && line.starts_with(words))
    }

    /// Runs the script.
    pub fn run_script(&self, findings: &mut Vec<String>) -> usize {
        let script = script::parse("roles.txt", SCRIPT);
        let mut compared = 0;
        for section in script.sections.iter().filter(|section| section.obstacle(&self.pair).is_none()) {
            for &protocol in &section.protocols {
                compared += self.compare(protocol, &section.steps, Pace::OneByOne, &section.title, findings);
            }
        }
        let [here, redis] = [&self.pair.subject, &self.pair.redis].map(|server| state(&mut server.client()));
        if here != redis {
            findings.push(format!("{:?}\n  here:  {here:#?}\n  redis: {redis:#?}", self.role));
        }
        compared
    }

    /// Whether all servers still accept connections.
    pub fn is_alive(&self) -> bool {
        self.pair.is_alive() && self.others.iter().all(|server| server.try_client().is_some())
    }
}

/// `ROLE`, `INFO replication` and the replication links in `CLIENT LIST`, without ports, times, offsets and IDs.
fn state(client: &mut Client) -> Vec<String> {
    // A replica without a link tries again and again.
    let mut lines = vec![format!("{:?}", client.run("ROLE")).replace("connecting", "connect")];
    lines.extend(client.run("INFO replication").text().lines().map(String::from));
    for class in ["master", "replica"] {
        let list = client.run(&format!("CLIENT LIST TYPE {class}")).text();
        for line in list.lines() {
            let wanted = ["flags=", "db=", "sub=", "multi=", "user=", "resp="];
            let words = line.split(' ').filter(|word| wanted.iter().any(|name| word.starts_with(name)));
            lines.push(format!("{class}: {}", words.collect::<Vec<_>>().join(" ")));
        }
    }
    for name in ["loading", "async_loading", "role"] {
        lines.push(format!("{name}: {}", client.info(name)));
    }
    let without_times = |line: &str| {
        let time = ["seconds_ago:", "since_seconds:", ",lag="].iter().find_map(|name| line.split_once(name));
        time.map_or(line, |(before, _)| before).to_owned()
    };
    lines.iter().map(|line| without_numbers(&without_times(line))).collect()
}

/// IDs and numbers of more than one digit.
fn without_numbers(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit();
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let before = rest[..at].trim_end_matches(is_part).len();
        out += &rest[..before];
        let run = &rest[before..];
        let end = run.find(|c| !is_part(c)).unwrap_or(run.len());
        let word = &run[..end];
        out += if word.len() == 40 {
            "ID"
        } else if word.bytes().all(|b| b.is_ascii_digit()) && word.len() > 1 {
            "N"
        } else {
            word
        };
        rest = &run[end..];
    }
    out + rest
}

/// The families whose commands neither close the connection nor change its replies.
fn families() -> Vec<&'static Family> {
    FAMILIES.iter().filter(|family| family.name != "connection").copied().collect()
}

/// A sequence of random commands. The reply to `WAIT` depends on when a replica has acknowledged.
pub fn random(pair: &Pair, seed: u64, count: usize) -> Vec<Step> {
    let mut steps = Mix::of(pair, &families()).expect("commands that both know").sequence(seed, count);
    for step in steps.iter_mut().filter(|step| step.args[0].eq_ignore_ascii_case(b"WAIT")) {
        step.rule = Rule::Kind;
    }
    steps
}

/// Random data for the primaries, by commands that do the same on both.
pub fn random_data(pair: &Pair, seed: u64, count: usize) -> Vec<Step> {
    let mix = Mix::of(pair, &families()).expect("commands that both know").exact(pair).without_intended(pair);
    mix.sequence(seed, count)
}

/// Runs the script and `count` random commands in each role. Returns the findings, and how many replies were compared.
pub fn run(seed: u64, count: usize) -> (Vec<String>, usize) {
    let (mut findings, mut compared) = (Vec::new(), 0);
    let data = random_data(&Pair::start(""), seed, count);
    for role in ROLES {
        let cast = Cast::start(role, &data);
        compared += cast.run_script(&mut findings);
        for protocol in [2, 3] {
            let steps = random(&cast.pair, seed + u64::from(protocol), count);
            let origin = format!("random commands, seed {seed}");
            compared += cast.compare(protocol, &steps, Pace::Piped, &origin, &mut findings);
        }
        assert!(cast.is_alive(), "a server is gone");
    }
    (findings, compared)
}

#[test]
fn servers_in_each_role_reply_as_redis_does() {
    let (mut findings, mut compared) = (Vec::new(), 0);
    for seed in seeds(&[1]) {
        let (found, count) = run(seed, 300);
        findings.extend(found);
        compared += count;
    }
    println!("{compared} replies compared");
    assert!(findings.is_empty(), "the servers differ\n{}", findings.join("\n"));
    assert!(compared > 7000, "only {compared} replies");
}

#[test]
fn every_reviewed_difference_has_a_reason() {
    for (_, words, reason) in REVIEWED {
        assert!(!words.is_empty() && reason.len() > 10, "{words}: {reason}");
    }
}
