//! Two servers with the same clients, which act in turn; after each act the bytes that every client has received are
//! compared.
//!
//! The stage finds out that a server will send no more, without waiting for a guessed time. The clients use a Unix
//! socket, where bytes written on one side are available on the other at once. A further client, the *control*, calls
//! an unknown command three times:
//!
//! ```text
//!   act ──▶ call ──▶ refusal ──▶ call ──▶ refusal ──▶ call ──▶ refusal ──▶ read what has arrived, on every client
//! ```
//!
//! Once the first error has arrived, the server has executed the act, or executes it in the same event loop iteration;
//! once the second one has, that iteration has ended, and all its output is written. A server may execute the requests
//! of a client that was blocked until now in the next iteration: the third call is for these. Requests and replies that
//! take more iterations are awaited with more calls. An unknown command is refused even during a pause, and MONITOR
//! does not show it.
//!
//! Both servers give their clients the same IDs: before a sequence, the server that has had fewer connections gets as
//! many as are missing. The socket has the same name on both too, so replies with IDs and addresses in them are the
//! same bytes.

use super::script::{Act, Deed, Section};
use crate::pair::{Pair, Rule, Step, Verdict, shrink};
use crate::support::client::encode;
use crate::support::server::Server;
use crate::support::{Client, DEADLINE, Reply, Value, Version};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The socket, in the directory of each server.
const SOCKET: &str = "clients.sock";

/// If this many bytes have arrived for one client, there may be more than a server sends in one iteration.
const MUCH: usize = 16 << 10;

/// The least number of bytes that a server reads at once from a client.
pub const READ_AT_ONCE: usize = 8 << 10;

/// The timeout for a reply that the other server has sent, while a difference is shrunk.
const SHRINKING: Duration = Duration::from_millis(50);

/// The configuration that scripts may change, with its values at the beginning of each sequence.
const CONFIG: [[&str; 2]; 5] = [
    ["maxmemory", "0"],
    ["maxmemory-policy", "noeviction"],
    ["notify-keyspace-events", ""],
    ["slowlog-log-slower-than", "10000"],
    ["tracking-table-max-keys", "1000000"],
];

/// The bytes that a client has received after an act.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Received {
    pub replies: Vec<Reply>,
    /// The beginning of an incomplete reply.
    rest: Vec<u8>,
    /// Whether the server has closed the connection.
    pub closed: bool,
    /// Bytes that are not RESP, or a missing end.
    broken: Option<String>,
}

/// The bytes that clients have received, without clients that received none.
pub type Scene = BTreeMap<char, Received>;

/// An act after which the clients of the two servers had received different bytes.
#[derive(Clone)]
pub struct Mismatch {
    pub at: usize,
    pub here: Scene,
    pub redis: Scene,
}

/// The outcome of one act.
pub struct Outcome {
    pub at: usize,
    pub verdict: Verdict,
    pub here: Scene,
    pub redis: Scene,
}

/// The settings for all acts of a sequence.
#[derive(Clone)]
pub struct Setting<'a> {
    pub protocol: u8,
    pub tcp: bool,
    pub config: &'a [(String, String)],
}

impl<'a> Setting<'a> {
    /// The settings of a section.
    pub fn of(section: &'a Section, protocol: u8) -> Setting<'a> {
        Setting { protocol, tcp: section.tcp, config: &section.config }
    }

    /// The settings of random acts: RESP2, or RESP3 beside Redis 7.2 and later; every other pair of seeds has all
    /// notifications.
    pub fn random(seed: u64, peer: Version) -> Setting<'static> {
        static NOTIFIED: LazyLock<[(String, String); 1]> =
            LazyLock::new(|| [("notify-keyspace-events".into(), "KEAnm".into())]);
        let config: &[_] = if (seed / 2).is_multiple_of(2) { &*NOTIFIED } else { &[] };
        let newer = peer >= Version::new(7, 2);
        Setting { protocol: if newer { 2 + (seed % 2) as u8 } else { 2 }, tcp: false, config }
    }
}

/// Two servers for sequences of acts.
pub struct Stage {
    pair: Pair,
    password: Option<String>,
    /// The number of the current act.
    current: Cell<usize>,
    /// The timeout for late replies.
    patience: Cell<Duration>,
}

impl Stage {
    /// Starts both servers with `flags`.
    pub fn start(flags: &str) -> Stage {
        let pair = Pair::start(&format!("--unixsocket {SOCKET} {flags}"));
        let password = flags.split(' ').skip_while(|f| *f != "--requirepass").nth(1).map(String::from);
        Stage { pair, password, current: Cell::new(0), patience: Cell::new(DEADLINE) }
    }

    pub fn peer(&self) -> Version {
        self.pair.peer
    }

    /// The last act.
    pub fn current(&self) -> usize {
        self.current.get()
    }

    /// The lines of the server's log about its crash.
    pub fn panics(&self) -> String {
        let log = self.pair.subject.log();
        let told = log.lines().skip_while(|line| !line.contains("panicked")).take(3);
        told.flat_map(|line| ["  log:     ", line, "\n"]).collect()
    }

    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Runs `acts` on empty keyspaces and passes each outcome to `go_on`, until that returns false.
    pub fn each(&self, setting: &Setting<'_>, acts: &[Act], mut go_on: impl FnMut(Outcome) -> bool) {
        self.current.set(0);
        let [mut here, mut redis] = [&self.pair.subject, &self.pair.redis]
            .map(|server| Side::new(server, setting, self.password.as_deref()));
        while here.number != redis.number {
            let behind = if here.number < redis.number { &mut here } else { &mut redis };
            behind.connect_control();
        }
        here.prepare(setting);
        redis.prepare(setting);
        for (at, act) in acts.iter().enumerate() {
            self.current.set(at);
            here.act(act);
            redis.act(act);
            let (theirs, mut ours) = (redis.finish(act), here.finish(act));
            here.catch_up(&theirs, &mut ours, self.patience.get());
            let (here, redis) = (ours, theirs);
            let verdict = judge(act, &here, &redis, self.pair.peer);
            if !go_on(Outcome { at, verdict, here, redis }) {
                break;
            }
        }
    }

    /// Runs `acts` until the servers differ.
    pub fn run(&self, setting: &Setting<'_>, acts: &[Act]) -> Option<Mismatch> {
        let mut found = None;
        self.each(setting, acts, |Outcome { at, verdict, here, redis }| {
            found = (verdict == Verdict::Different).then_some(Mismatch { at, here, redis });
            found.is_none()
        });
        found
    }

    /// A mismatch with the shortest sequence found that reproduces it, as lines for a person.
    pub fn explain(&self, setting: &Setting<'_>, acts: &[Act], first: Mismatch) -> String {
        let all = acts[..=first.at].to_vec();
        // Each shortened sequence would run into the full timeout.
        self.patience.set(SHRINKING);
        let was_broken = first.redis.values().any(|received| received.broken.is_some());
        let (sequence, last) = shrink(all, first, |acts| {
            let mismatch = if self.pair.is_alive() { self.run(setting, acts)? } else { return None };
            let broken = mismatch.redis.values().any(|received| received.broken.is_some());
            (was_broken || !broken).then_some((mismatch.at, mismatch))
        });
        self.patience.set(DEADLINE);
        let lines: Vec<String> = sequence.iter().map(|act| format!("    {}", act.line())).collect();
        format!(
            "the servers differ\n{}\n  this sequence shows it:\n{}",
            last.lines(&sequence),
            lines.join("\n")
        )
    }
}

impl Mismatch {
    /// The act, and what the clients received where it differs.
    pub fn lines(&self, acts: &[Act]) -> String {
        let nothing = Received::default();
        let mut lines = vec![format!("  after:   {}", acts[self.at].line())];
        for client in 'a'..='z' {
            let of = |scene: &Scene| scene.get(&client).unwrap_or(&nothing).clone();
            let (here, redis) = (of(&self.here), of(&self.redis));
            if here != redis {
                lines.push(format!("  {client} here:  {here:?}\n  {client} redis: {redis:?}"));
            }
        }
        lines.join("\n")
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = self.replies.iter().map(|reply| format!("{reply:?}")).collect();
        parts.extend((!self.rest.is_empty()).then(|| format!("(cut) \"{}\"", self.rest.escape_ascii())));
        parts.extend(self.closed.then(|| "(closed)".into()));
        parts.extend(self.broken.iter().map(|why| format!("(broken: {why})")));
        f.write_str(if parts.is_empty() { "nothing".into() } else { parts.join(" ") }.as_str())
    }
}

/// Compares the received bytes by the rule of `act`.
fn judge(act: &Act, here: &Scene, redis: &Scene, peer: Version) -> Verdict {
    let is_broken = |scene: &Scene| scene.values().any(|received| received.broken.is_some());
    if is_broken(here) || is_broken(redis) || here.len() != redis.len() {
        return Verdict::Different;
    }
    let args = match &act.deed {
        Deed::Call(args) => args.clone(),
        _ => vec![Vec::new()],
    };
    let (step, lines) = (Step::new(args.clone(), act.rule), Step::new(args, Rule::Masked));
    let mut worst = Verdict::Equal;
    for ((client, a), (other, b)) in here.iter().zip(redis) {
        let alike = client == other && a.closed == b.closed && a.rest == b.rest;
        if !alike || act.rule != Rule::Shuffled && a.replies.len() != b.replies.len() {
            return Verdict::Different;
        }
        if act.rule == Rule::Shuffled {
            if a.replies != b.replies {
                let alike = shuffled(&a.replies) == shuffled(&b.replies);
                worst = if alike { Verdict::Alike } else { return Verdict::Different };
            }
            continue;
        }
        for (a, b) in a.replies.iter().zip(&b.replies) {
            // A line of MONITOR contains its time.
            let is_line = matches!(a.value, Value::Simple(_));
            let step = if is_line { &lines } else { &step };
            match if a.raw == b.raw { Verdict::Equal } else { step.judge(&a.value, &b.value, peer) } {
                Verdict::Different => return Verdict::Different,
                Verdict::Equal => {}
                other => worst = other,
            }
        }
    }
    worst
}

/// Replies sorted, with one entry for each invalidated key, and separately the counts at their ends in the order of
/// arrival: these are the numbers of remaining subscriptions, which do not depend on the order of unsubscribing.
fn shuffled(replies: &[Reply]) -> (Vec<Value>, BTreeSet<Value>, Vec<i64>) {
    let (mut values, mut invalid, mut counts) = (Vec::new(), BTreeSet::new(), Vec::new());
    for reply in replies {
        let mut value = reply.value.clone();
        if let Value::Array(parts) | Value::Push(parts) = &mut value {
            match &mut parts[..] {
                [.., Value::Bulk(kind), Value::Array(keys)]
                    if kind == b"invalidate" || kind == b"__redis__:invalidate" =>
                {
                    invalid.extend(keys.drain(..));
                    continue;
                }
                [.., Value::Integer(count)] => counts.push(std::mem::take(count)),
                _ => {}
            }
        }
        values.push(value);
    }
    values.sort();
    (values, invalid, counts)
}

/// A connection of a side.
struct Player {
    client: Client,
    number: i64,
    closed: bool,
    /// Whether a scene has reported that it was closed.
    told: bool,
    failed: Option<String>,
}

impl Player {
    fn new(client: Client) -> Player {
        Player { client, number: 0, closed: false, told: false, failed: None }
    }
}

/// One server with its clients.
struct Side<'a> {
    server: &'a Server,
    protocol: u8,
    tcp: bool,
    password: Option<&'a str>,
    control: Client,
    /// The client ID of the control, the last one before the clients'.
    number: i64,
    players: BTreeMap<char, Player>,
    /// The number of additional calls by the control until the sent bytes have been read.
    rounds: usize,
    /// Received, and not yet returned by `finish`.
    scene: Scene,
}

impl<'a> Side<'a> {
    fn new(server: &'a Server, setting: &Setting<'_>, password: Option<&'a str>) -> Side<'a> {
        let control = server.unix_client(SOCKET);
        let Setting { protocol, tcp, .. } = *setting;
        let (players, scene) = (BTreeMap::new(), BTreeMap::new());
        let mut side =
            Side { server, protocol, tcp, password, control, number: 0, rounds: 0, players, scene };
        side.connect_control();
        side
    }

    /// Connects a new control.
    fn connect_control(&mut self) {
        self.control = self.server.unix_client(SOCKET);
        if let Some(password) = self.password {
            self.control.call(&["AUTH", password]);
        }
        self.number = self.control.run("CLIENT ID").integer();
    }

    /// Brings the server into the initial state of a sequence, whatever the previous one has left.
    fn prepare(&mut self, setting: &Setting<'_>) {
        self.control.ok("CLIENT UNPAUSE");
        let usual = CONFIG.iter().map(|[name, value]| (*name, *value));
        let wanted = setting.config.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in usual.chain(wanted) {
            let reply = self.control.call(&["CONFIG", "SET", name, value]);
            assert!(!reply.is_error(), "CONFIG SET {name} {value}: {reply:?}");
        }
        self.control.ok("DEBUG SET-ACTIVE-EXPIRE 0");
        self.control.ok("FLUSHALL");
        // State in a library's variables is not in the keyspace.
        self.control.ok("FUNCTION FLUSH");
    }

    fn player(&mut self, name: char) -> &mut Player {
        if !self.players.contains_key(&name) {
            let player = self.connect(name);
            self.players.insert(name, player);
        }
        self.players.get_mut(&name).expect("just inserted")
    }

    fn connect(&self, name: char) -> Player {
        let client = if self.tcp { self.server.client() } else { self.server.unix_client(SOCKET) };
        let mut player = Player::new(client);
        if !('x'..='z').contains(&name) {
            if let Some(password) = self.password {
                player.client.call(&["AUTH", password]);
            }
            if self.protocol == 3 {
                player.client.run("HELLO 3");
            }
            player.number = player.client.run("CLIENT ID").integer();
        }
        player
    }

    /// Performs `act`, and requests the first sign that it is done.
    fn act(&mut self, act: &Act) {
        let request = match &act.deed {
            Deed::Call(args) => encode(&args.iter().map(|arg| self.substituted(arg)).collect::<Vec<_>>()),
            // In an encoded request, substitution would make the lengths wrong.
            Deed::Raw(bytes) if bytes.starts_with(b"*") => bytes.clone(),
            Deed::Raw(bytes) => self.substituted(bytes),
            Deed::Close => {
                self.players.remove(&act.client);
                Vec::new()
            }
            Deed::Await(_) | Deed::Until(..) | Deed::Pass(_) => Vec::new(),
        };
        if !request.is_empty() {
            // The server may have closed the connection; the scene reports that.
            let _ = self.player(act.client).client.send_raw(&request);
        }
        self.rounds = request.len() / READ_AT_ONCE;
        let _ = self.call_nothing();
    }

    /// Replaces `{id:b}` by the client ID of b, `{port:b}` by its port.
    fn substituted(&self, arg: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(arg) else { return arg.to_vec() };
        let mut text = text.to_string();
        for (name, player) in &self.players {
            text = text.replace(&format!("{{id:{name}}}"), &player.number.to_string());
            text = text.replace(&format!("{{port:{name}}}"), &player.client.local_port().to_string());
        }
        text.replace("{port}", &self.server.port().to_string()).into_bytes()
    }

    /// Waits until `act` and its effects are complete. Returns the bytes that the clients have received.
    fn finish(&mut self, act: &Act) -> Scene {
        self.settle_begun();
        let started = Instant::now();
        let mut base = None;
        while !self.is_reached(act, &mut base) && started.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_micros(300));
            let _ = self.call_nothing();
            self.settle_begun();
        }
        if act.held { Scene::new() } else { std::mem::take(&mut self.scene) }
    }

    /// Waits until each client has received as many replies as it did from the other server: a flush replies when the
    /// memory is free.
    fn catch_up(&mut self, other: &Scene, own: &mut Scene, patience: Duration) {
        let count =
            |scene: &Scene, name| scene.get(name).map_or(0, |received: &Received| received.replies.len());
        let started = Instant::now();
        while other.keys().any(|name| count(own, name) < count(other, name)) && started.elapsed() < patience {
            let _ = self.call_nothing();
            self.settle_begun();
            for (name, received) in std::mem::take(&mut self.scene) {
                own.entry(name).or_default().replies.extend(received.replies);
            }
        }
    }

    /// Whether the condition of `act` holds; `base` is the server's time at the first check.
    fn is_reached(&mut self, act: &Act, base: &mut Option<i64>) -> bool {
        match &act.deed {
            Deed::Await(count) => {
                let name = act.client;
                self.player(name);
                self.scene.get(&name).is_some_and(|r| r.closed || r.replies.len() >= *count)
            }
            Deed::Until(wanted, args) => {
                let reply = self.control.call(args);
                // The awaited change may have had effects in the same event loop iteration.
                let _ = self.call_nothing();
                self.settle_begun();
                match reply {
                    Value::Array(_) | Value::Map(_) => panic!("{}: {reply:?}", act.line()),
                    other if other.is_null() => wanted == "null",
                    other => other.text() == *wanted,
                }
            }
            Deed::Pass(ms) => {
                let time = self.control.run("TIME").elements();
                let micros = |at: usize| time[at].text().parse::<i64>().expect("a number");
                let now = micros(0) * 1_000_000 + micros(1);
                now > *base.get_or_insert(now) + *ms as i64 * 1000
            }
            _ => true,
        }
    }

    /// After the first call of the control: makes the others, and collects all that has arrived; repeats that while
    /// there may be more.
    fn settle_begun(&mut self) {
        self.await_nothing();
        for _ in 0..=std::mem::take(&mut self.rounds) {
            let _ = self.call_nothing();
            self.await_nothing();
        }
        let (mut more, mut before) = (true, 0);
        while more {
            let _ = self.call_nothing();
            self.await_nothing();
            let bytes = self.collect();
            more = bytes > MUCH || bytes > 0 && before > MUCH;
            before = bytes;
        }
        self.take();
    }

    fn call_nothing(&mut self) -> io::Result<()> {
        self.control.send(&["nothing"])
    }

    /// Waits for the error for the unknown command. A closed control is replaced.
    fn await_nothing(&mut self) {
        while let Err(e) = self.control.read_reply() {
            assert!(e.kind() != io::ErrorKind::TimedOut, "the server does not reply");
            self.connect_control();
            let _ = self.call_nothing();
        }
    }

    /// Receives the bytes that have arrived. Returns the largest number of bytes for one client.
    fn collect(&mut self) -> usize {
        let mut most = 0;
        for player in self.players.values_mut().filter(|player| !player.closed) {
            match player.client.receive_arrived() {
                Ok((bytes, closed)) => {
                    player.closed = closed;
                    most = most.max(bytes);
                }
                Err(e) => player.failed = Some(e.to_string()),
            }
        }
        most
    }

    /// Adds what has been received to the scene.
    fn take(&mut self) {
        for (name, player) in &mut self.players {
            let taken = player.client.take_received();
            let failed = player.failed.take().or_else(|| taken.as_ref().err().map(ToString::to_string));
            let (replies, rest) = taken.unwrap_or_default();
            let ended = player.closed && !std::mem::replace(&mut player.told, player.closed);
            if !replies.is_empty() || !rest.is_empty() || ended || failed.is_some() {
                let all = self.scene.entry(*name).or_default();
                all.replies.extend(replies);
                all.rest.extend(rest);
                all.closed |= ended;
                all.broken = all.broken.take().or(failed);
            }
        }
    }
}
