//! The replies of servers in each role: a primary with a replica, and replicas of all kinds, beside those of Redis.
//!
//! ```text
//!   primary ──▶ replica [──▶ its replica]      of Redstart ─┐  the same commands to the server in the role,
//!   primary ──▶ replica [──▶ its replica]      of Redis ────┴▶ and the same replies
//! ```
//!
//! The commands are those of `roles.txt` and, for some roles, of another script, and random commands of all families.
//! The data is written to the primaries first. In scripts, `<port0>`, `<port1>` and so on are the ports of the servers
//! above, in that order. `ROLE`, `INFO replication` and the lines of `CLIENT LIST` contain ports, offsets and IDs, so
//! [`state`] compares only their other parts.

use crate::pair::{Pace, Pair, Rule, Seen, Step, Verdict};
use crate::random::{FAMILIES, Family, Mix};
use crate::script;
use crate::support::random::seeds;
use crate::support::server::{Launch, Server};
use crate::support::{Client, eventually};
use crate::topology::{Name, Names};
use nix::sys::signal::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// The scripts: the roles in which they run, their names and texts. A script for a single role may end that role.
const SCRIPTS: &[(&[Role], &str, &str)] = &[
    (&ROLES, "roles.txt", include_str!("roles.txt")),
    (&[Role::Primary], "changes.txt", include_str!("changes.txt")),
    (&[Role::Failover], "failover.txt", include_str!("failover.txt")),
];

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
    /// A replica with a link and a replica of its own.
    Middle,
    /// A replica of such a replica.
    End,
    /// A primary during `FAILOVER`: it waits for a replica to catch up.
    Failover,
}

/// The roles in which a server can get any command.
pub const ROLES: [Role; 9] = [
    Role::Primary,
    Role::Lonely,
    Role::Replica,
    Role::Writable,
    Role::Apart,
    Role::Stale,
    Role::StaleWritable,
    Role::Middle,
    Role::End,
];

/// Intended differences: the role, the first words of the command, and the reason.
pub const REVIEWED: &[(Role, &str, &str)] = &[];

impl Role {
    /// Its description in the report.
    pub fn title(self) -> &'static str {
        match self {
            Role::Primary => "primary with a replica",
            Role::Lonely => "primary with fewer replicas than `min-replicas-to-write`",
            Role::Replica => "replica",
            Role::Writable => "replica with `replica-read-only no`",
            Role::Apart => "replica without a link",
            Role::Stale => "replica without a link, `replica-serve-stale-data no`",
            Role::StaleWritable => {
                "replica without a link, `replica-serve-stale-data no`, `replica-read-only no`"
            }
            Role::Middle => "replica with a replica",
            Role::End => "replica of a replica",
            Role::Failover => "primary during `FAILOVER`",
        }
    }

    /// The index of the server that gets the commands.
    fn place(self) -> usize {
        match self {
            Role::Primary | Role::Lonely | Role::Failover => 0,
            Role::End => 2,
            _ => 1,
        }
    }

    /// What makes the replica one of this kind.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Role::Lonely => &["CONFIG SET min-replicas-to-write 2"],
            Role::Writable => &["CONFIG SET replica-read-only no"],
            Role::Apart => &["REPLICAOF 127.0.0.1 1"],
            Role::Stale => &["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
            Role::StaleWritable => &[
                "CONFIG SET replica-read-only no",
                "CONFIG SET replica-serve-stale-data no",
                "REPLICAOF 127.0.0.1 1",
            ],
            _ => &[],
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

/// How long the servers may take to reach the same state.
const SETTLING: Duration = Duration::from_secs(30);

/// A primary, its replica and, for some roles, a replica of that replica. All are of one kind.
struct Side(Vec<Server>);

impl Side {
    fn start(role: Role, launch: impl Fn() -> Launch, more: &[Step]) -> Side {
        let start = || {
            let flags = "--save  --enable-debug-command yes --repl-diskless-sync-delay 0";
            let server = launch().flags(flags).start();
            server.client().ok("DEBUG SET-ACTIVE-EXPIRE 0");
            server
        };
        let mut servers: Vec<Server> = (0..=role.place().max(1)).map(|_| start()).collect();
        servers.extend((role == Role::Middle).then(start));
        let mut client = servers[0].client();
        for step in more {
            client.call(&step.args);
        }
        // After them, since some of them empty a database.
        for line in DATA {
            assert!(!client.run(line).is_error(), "{line}");
        }
        assert_eq!(client.call(&["FUNCTION", "LOAD", LIBRARY]).text(), "lib");
        for at in 1..servers.len() {
            let mut follower = servers[at].client();
            follower.ok(&format!("REPLICAOF 127.0.0.1 {}", servers[at - 1].port()));
            eventually("the link", || (follower.info("master_link_status") == "up").then_some(()));
        }
        // After the link: a snapshot would leave them out here or there.
        for name in EXPIRED {
            // 1 ms may be over before Redis compares the time.
            assert_eq!(client.run(&format!("PEXPIRE {name} 20")).integer(), 1, "{name}");
        }
        client.ok("SELECT 9");
        client.ok("SET gone:alone v PX 20");
        client.ok("DEBUG SLEEP 0.03");
        let wanted = client.info_number("master_repl_offset");
        for server in &servers[1..] {
            let mut follower = server.client();
            eventually("the stream", || (follower.info_number("slave_repl_offset") >= wanted).then_some(()));
        }
        let side = Side(servers);
        if role == Role::Failover {
            side.begin_failover();
        }
        side
    }

    /// Begins a failover that does not end, because the replica is stopped.
    fn begin_failover(&self) {
        let mut primary = self.0[0].client();
        self.0[1].signal(Signal::SIGSTOP);
        primary.ok("SET behind 1");
        primary.ok(&format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 100000000", self.0[1].port()));
    }
}

/// Both sides, with the servers in the role as a pair.
pub struct Cast {
    role: Role,
    pub pair: Pair,
    /// The other servers.
    others: Vec<Server>,
}

impl Cast {
    /// Starts servers in this role; `more` is written to the primaries as well.
    pub fn start(role: Role, more: &[Step]) -> Cast {
        let mut others = Vec::new();
        let sides = [Side::start(role, Launch::subject, more), Side::start(role, Launch::redis, more)];
        let [(subject, ours), (redis, theirs)] = sides.map(|Side(mut servers)| {
            let name = |server: &Server| Name {
                id: String::new(),
                shard: String::new(),
                port: server.port(),
                bus_port: 0,
            };
            let names = Names(servers.iter().map(name).collect());
            let server = servers.remove(role.place());
            others.extend(servers);
            (server, names)
        });
        for server in [&subject, &redis] {
            role.settings().iter().for_each(|line| server.client().ok(line));
        }
        let mut pair = Pair::of(subject, redis);
        pair.names = [ours, theirs];
        Cast { role, pair, others }
    }

    /// Runs `steps` on the current data.
    fn compare(&self, protocol: u8, steps: &[Step], pace: Pace, origin: &str, seen: &mut Seen<'_>) {
        self.pair.judge_in(
            self.role.title(),
            origin,
            (protocol, steps, pace),
            |step| self.is_reviewed(step),
            seen,
        );
    }

    fn is_reviewed(&self, step: &Step) -> bool {
        let line = step.line();
        REVIEWED.iter().any(|(role, words, _)| *role == self.role && line.starts_with(words))
    }

    /// Compares the descriptions of the role, runs the scripts, and compares the descriptions again.
    fn run_scripts(&self, seen: &mut Seen<'_>) {
        self.compare_state(seen);
        for (_, name, text) in SCRIPTS.iter().filter(|(roles, ..)| roles.contains(&self.role)) {
            for (section, protocol) in script::parse(name, text).runs(&self.pair) {
                self.compare(protocol, &section.steps, Pace::OneByOne, &section.title, seen);
            }
        }
        self.compare_state(seen);
    }

    /// Compares the descriptions of the role until they are equal: replicas acknowledge and reconnect at different
    /// times.
    fn compare_state(&self, seen: &mut Seen<'_>) {
        let started = Instant::now();
        loop {
            let [here, redis] =
                [&self.pair.subject, &self.pair.redis].map(|server| state(&mut server.client()));
            if here == redis {
                return seen(self.role.title(), Verdict::Alike, None);
            }
            if started.elapsed() > SETTLING {
                let text = format!("{:?}\n  here:  {here:#?}\n  redis: {redis:#?}", self.role);
                return seen(self.role.title(), Verdict::Different, Some(text));
            }
            thread::sleep(Duration::from_millis(20));
        }
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
        let time = ["first_byte_offset:", "seconds_ago:", "since_seconds:", ",lag="]
            .iter()
            .find_map(|name| line.split_once(name));
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
pub fn families() -> Vec<&'static Family> {
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

/// Runs the scripts and `count` random commands in each of `roles`.
pub fn run(roles: &[Role], seed: u64, count: usize, seen: &mut Seen<'_>) {
    let data = random_data(&Pair::start(""), seed, count);
    for &role in roles {
        let cast = Cast::start(role, &data);
        cast.run_scripts(seen);
        // During the failover, writes would block.
        if role != Role::Failover {
            for protocol in [2, 3] {
                let steps = random(&cast.pair, seed + u64::from(protocol), count);
                let origin = format!("random commands, seed {seed}");
                cast.compare(protocol, &steps, Pace::Piped, &origin, seen);
            }
        }
        assert!(cast.is_alive(), "a server is gone");
    }
}

/// All roles.
pub fn all() -> Vec<Role> {
    ROLES.into_iter().chain([Role::Failover]).collect()
}

#[test]
fn servers_in_each_role_reply_as_redis_does() {
    let (mut findings, mut compared) = (Vec::new(), 0);
    for seed in seeds(&[1]) {
        run(&all(), seed, 300, &mut |_, _, paragraph| {
            compared += 1;
            findings.extend(paragraph);
        });
    }
    println!("{compared} replies compared");
    assert!(findings.is_empty(), "the servers differ\n{}", findings.join("\n"));
    assert!(compared > 9000, "only {compared} replies");
}

#[test]
fn every_reviewed_difference_has_a_reason() {
    for (_, words, reason) in REVIEWED {
        assert!(!words.is_empty() && reason.len() > 10, "{words}: {reason}");
    }
}
