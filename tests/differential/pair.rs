//! Two servers that get the same commands, and the comparison of their replies.

use crate::differences;
use crate::reload::{self, Reader};
use crate::support::client::encode;
use crate::support::server::{Launch, Server};
use crate::support::{Client, Reply, Value, Version};
use crate::topology::{self, Names};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The time for shrinking a mismatch before it is printed.
const SHRINKING: Duration = Duration::from_secs(15);

/// How the replies to a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Byte for byte, except for [`differences`].
    Exact,
    /// The same elements in any order.
    Unordered,
    /// The same pairs of field and value in any order, in a map, in a flat array or in an array of pairs.
    UnorderedPairs,
    /// Only the outermost type of the reply, for random values and times.
    Kind,
    /// Integers that differ by at most this; anything else exactly.
    About(i64),
    /// Times, which are integers of a thousand million or more at any depth, may differ.
    Times,
    /// The elements of a complete iteration, in any order.
    Scan,
    /// Integers, addresses of clients and the times of MONITOR may differ, at any depth.
    Masked,
    /// Sends nothing and reads a reply: of a command that was blocked, or a line of MONITOR. Compared like `Masked`.
    Next,
    /// Descriptions of a cluster, compared without times and counters (see [`topology`]).
    Topology,
    /// Lines of CLIENT LIST, except for times, descriptors and the sizes of buffers (see [`clients`]).
    Clients,
    /// With several clients: each may receive its replies in any order.
    Shuffled,
    /// No reply is expected.
    Silent,
    /// Sends the only argument unchanged.
    Raw,
}

/// One command of a sequence.
#[derive(Clone, Debug)]
pub struct Step {
    pub connection: usize,
    pub args: Vec<Vec<u8>>,
    pub rule: Rule,
}

impl Step {
    pub fn new(args: Vec<Vec<u8>>, rule: Rule) -> Step {
        Step { connection: 1, args, rule }
    }

    /// The verdict of the rule and the list of differences on these two replies; `peer` is the version of `redis`.
    pub fn judge(&self, subject: &Value, redis: &Value, peer: Version) -> Verdict {
        if subject == redis {
            return Verdict::Equal;
        }
        if self.are_alike(subject, redis) {
            return Verdict::Alike;
        }
        let reduced = differences::without_consumers(&self.args, subject, redis, peer);
        let intended = reduced
            .is_some_and(|(subject, redis)| subject == redis || self.are_alike(&subject, &redis))
            || differences::intended(&self.args, subject, redis, peer);
        if intended { Verdict::Intended } else { Verdict::Different }
    }

    fn are_alike(&self, subject: &Value, redis: &Value) -> bool {
        match self.rule {
            Rule::Exact | Rule::Raw | Rule::Scan | Rule::Shuffled | Rule::Silent => false,
            Rule::Kind => {
                std::mem::discriminant(subject) == std::mem::discriminant(redis) && !subject.is_error()
            }
            Rule::About(distance) => match (subject, redis) {
                // -1 and -2 are not times.
                (Value::Integer(a), Value::Integer(b)) => *a >= 0 && *b >= 0 && (a - b).abs() <= distance,
                _ => false,
            },
            Rule::Times => without_times(subject) == without_times(redis),
            Rule::Masked | Rule::Next => masked(subject) == masked(redis),
            Rule::Topology => topology::plain(subject) == topology::plain(redis),
            Rule::Clients => clients(subject).is_some_and(|s| Some(s) == clients(redis)),
            Rule::Unordered => sorted(subject).is_some_and(|s| Some(s) == sorted(redis)),
            Rule::UnorderedPairs => in_pairs(subject).is_some_and(|s| Some(s) == in_pairs(redis)),
        }
    }

    /// The command as a line of a script.
    pub fn line(&self) -> String {
        let mut line = if self.connection == 1 { String::new() } else { format!("{}: ", self.connection) };
        let words: Vec<String> = self.args.iter().map(|arg| Step::word(arg)).collect();
        line += &words.join(" ");
        line
    }

    /// An argument as a word of a script; a long one is truncated, a program at a larger length.
    pub fn word(arg: &[u8]) -> String {
        let is_program = arg.contains(&b'\n') && std::str::from_utf8(arg).is_ok();
        let shown = if is_program { 8000 } else { 200 };
        let plain = !arg.is_empty() && arg.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\{}".contains(b));
        let text = arg[..arg.len().min(shown)].escape_ascii();
        let word = if plain { text.to_string() } else { format!("\"{text}\"") };
        if arg.len() > shown { format!("{word}(... {} bytes)", arg.len()) } else { word }
    }
}

/// The result of comparing two replies to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same bytes.
    Equal,
    /// The step's rule allows it.
    Alike,
    /// The list of [`differences`] allows it.
    Intended,
    Different,
}

/// Whether a command waits for the reply to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    OneByOne,
    /// Sends many commands on one connection at once, then reads their replies.
    Piped,
}

/// The most commands, and about the most bytes of them, sent before replies are read. A server may stop reading because
/// of its unread replies, and must not block us: so all of it fits into the buffers of a socket.
const PIPED: (usize, usize) = (128, 48 << 10);

/// The behaviour of a server after a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Reply(Reply),
    /// All replies of a complete iteration, sorted.
    Elements(Vec<Value>),
    Nothing,
    Closed,
    /// Bytes that are not RESP, or no reply before the deadline.
    Broken(String),
}

/// The outcome of one step.
pub struct Outcome {
    pub at: usize,
    pub verdict: Verdict,
    pub subject: Answer,
    pub redis: Answer,
}

/// A step with different replies.
#[derive(Clone)]
pub struct Mismatch {
    pub at: usize,
    pub subject: Answer,
    pub redis: Answer,
}

impl Mismatch {
    /// The command of `steps` and both replies.
    pub fn lines(&self, steps: &[Step]) -> String {
        let (line, here, redis) = (steps[self.at].line(), &self.subject, &self.redis);
        format!("  command: {line}\n  here:    {here:?}\n  redis:   {redis:?}")
    }
}

/// Called for each comparison with the place of the servers in their topology, the verdict, and a paragraph that
/// describes the difference if the verdict is `Different`.
pub type Seen<'a> = dyn FnMut(&'static str, Verdict, Option<String>) + Send + 'a;

/// The server under test and Redis, started with the same flags.
pub struct Pair {
    pub subject: Server,
    pub redis: Server,
    /// The version of `redis`.
    pub peer: Version,
    password: Option<String>,
    /// The flags of both servers.
    flags: String,
    /// The nodes of the two topologies to which the servers belong.
    pub names: [Names; 2],
    /// Loads the AOF of the server under test. Started at the first load (see [`reload`]).
    pub reader: RefCell<Option<Reader>>,
}

impl Pair {
    /// Starts both with `flags`. Both delete expired keys only on access, so DBSIZE does not depend on when a timer
    /// fired. Both write an AOF.
    pub fn start(flags: &str) -> Pair {
        let flags = &format!("--enable-debug-command yes {flags}");
        let password = flags.split(' ').skip_while(|f| *f != "--requirepass").nth(1).map(String::from);
        let redis = Launch::redis().flags(reload::LOGGED).flags(flags).start();
        let peer = version(&redis, password.as_deref());
        let subject = Launch::subject().flags(&reload::logged_for(peer)).flags(flags).start();
        let pair = Pair::with(subject, redis, password, flags);
        for session in pair.sessions(2) {
            session.connect(0, true).ok("DEBUG SET-ACTIVE-EXPIRE 0");
        }
        pair
    }

    /// Two servers that are running already.
    pub fn of(subject: Server, redis: Server) -> Pair {
        Pair::with(subject, redis, None, "")
    }

    fn with(subject: Server, redis: Server, password: Option<String>, flags: &str) -> Pair {
        let peer = version(&redis, password.as_deref());
        let (flags, names, reader) = (flags.into(), Default::default(), RefCell::new(None));
        Pair { subject, redis, peer, password, flags, names, reader }
    }

    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub fn flags(&self) -> &str {
        &self.flags
    }

    /// The first of `commands` that the server under test does not have.
    pub fn missing(&self, commands: &[String]) -> Option<String> {
        let mut client = self.subject.client();
        let unknown = |name: &&String| client.call(&["COMMAND", "INFO", name]).elements()[0].is_null();
        commands.to_vec().iter().find(unknown).cloned()
    }

    /// Runs `steps` on empty keyspaces with new connections and passes each outcome to `go_on`, until that returns
    /// false.
    pub fn each(&self, protocol: u8, steps: &[Step], pace: Pace, go_on: impl FnMut(Outcome) -> bool) {
        self.clear();
        self.each_of_present(protocol, steps, pace, go_on);
    }

    /// Empties both servers: keys, scripts and functions.
    pub fn clear(&self) {
        for session in self.sessions(2) {
            let mut client = session.connect(0, true);
            client.ok("FLUSHALL");
            // A renamed command, or one added in 7.0, is an error.
            client.run("SCRIPT FLUSH");
            client.run("FUNCTION FLUSH");
        }
    }

    /// Like [`each`](Self::each), but on the current data sets.
    pub fn each_of_present(
        &self,
        protocol: u8,
        steps: &[Step],
        pace: Pace,
        mut go_on: impl FnMut(Outcome) -> bool,
    ) {
        let [mut subject, mut redis] = self.sessions(protocol);
        let mut from = 0;
        while from < steps.len() {
            let to = from + if pace == Pace::Piped { batch(&steps[from..]) } else { 1 };
            // Both get the commands before any reply is read, so they work at the same time.
            subject.send(&steps[from..to]);
            redis.send(&steps[from..to]);
            let mut going = true;
            for (at, step) in steps.iter().enumerate().take(to).skip(from) {
                let (subject, redis) = (subject.answer(step), redis.answer(step));
                let verdict = judge(step, &subject, &redis, self.peer);
                // Reads all replies, because later steps must not overlap with these.
                going = going && go_on(Outcome { at, verdict, subject, redis });
            }
            if !going {
                return;
            }
            from = to;
        }
    }

    /// Runs `steps`, which come from `origin`, on the current data sets of servers in `place`. Differences for which
    /// `is_meant` returns true are intended.
    pub fn judge_in(
        &self,
        place: &'static str,
        origin: &str,
        (protocol, steps, pace): (u8, &[Step], Pace),
        is_meant: impl Fn(&Step) -> bool,
        seen: &mut Seen<'_>,
    ) {
        self.each_of_present(protocol, steps, pace, |Outcome { at, verdict, subject, redis }| {
            let is_different = verdict == Verdict::Different;
            if is_different && is_meant(&steps[at]) {
                seen(place, Verdict::Intended, None);
            } else {
                let lines = || Mismatch { at, subject, redis }.lines(steps);
                seen(
                    place,
                    verdict,
                    is_different.then(|| format!("{place}, RESP{protocol}, {origin}\n{}", lines())),
                );
            }
            true
        });
    }

    fn sessions(&self, protocol: u8) -> [Session<'_>; 2] {
        let [ours, theirs] = &self.names;
        [(&self.subject, ours), (&self.redis, theirs)].map(|(server, names)| Session {
            server,
            names,
            protocol,
            password: self.password.as_deref(),
            clients: BTreeMap::new(),
        })
    }

    /// Runs `steps` on empty keyspaces with new connections until the servers differ.
    pub fn run(&self, protocol: u8, steps: &[Step], pace: Pace) -> Option<Mismatch> {
        let mut found = None;
        self.each(protocol, steps, pace, |outcome| {
            let Outcome { at, verdict, subject, redis } = outcome;
            found = (verdict == Verdict::Different).then_some(Mismatch { at, subject, redis });
            found.is_none()
        });
        found
    }

    /// Runs `steps`; a mismatch is shrunk, printed and fails the test.
    pub fn check(&self, protocol: u8, steps: &[Step], pace: Pace, origin: &str) {
        if let Some(first) = self.run(protocol, steps, pace) {
            panic!("{origin}, RESP{protocol}: {}", self.explain(protocol, steps, pace, first));
        }
    }

    /// Whether both servers still accept connections.
    pub fn is_alive(&self) -> bool {
        [&self.subject, &self.redis].iter().all(|server| server.try_client().is_some())
    }

    /// A mismatch with the shortest sequence found that reproduces it, as lines for a person.
    pub fn explain(&self, protocol: u8, steps: &[Step], pace: Pace, first: Mismatch) -> String {
        let all = steps[..=first.at].to_vec();
        // A server that is gone cannot run shorter sequences.
        let (sequence, last) =
            if self.is_alive() { self.shrink(protocol, all, pace, first) } else { (all, first) };
        let lines: Vec<String> = sequence.iter().map(|step| format!("    {}", step.line())).collect();
        format!(
            "the servers differ\n{}\n  after a FLUSHALL this sequence shows it{}:\n{}",
            last.lines(&sequence),
            if pace == Pace::Piped { ", sent at once" } else { "" },
            lines.join("\n")
        )
    }

    /// The shortest sequence found that still reproduces a mismatch.
    pub fn shrink(
        &self,
        protocol: u8,
        steps: Vec<Step>,
        pace: Pace,
        found: Mismatch,
    ) -> (Vec<Step>, Mismatch) {
        // Steps that wait for a removed step block on both sides: that is a different mismatch.
        let was_broken = matches!(found.redis, Answer::Broken(_));
        shrink(steps, found, |steps| {
            let mismatch = if self.is_alive() { self.run(protocol, steps, pace)? } else { return None };
            let same = was_broken || !matches!(mismatch.redis, Answer::Broken(_));
            same.then_some((mismatch.at, mismatch))
        })
    }
}

fn version(redis: &Server, password: Option<&str>) -> Version {
    Version::of(&mut reload::connect(redis, password))
}

/// Removes steps, half of them first, as long as `run` still finds a mismatch. `run` also returns its step.
pub fn shrink<S: Clone, T>(
    mut steps: Vec<S>,
    mut found: T,
    run: impl Fn(&[S]) -> Option<(usize, T)>,
) -> (Vec<S>, T) {
    let (mut chunk, started) = (steps.len() / 2, Instant::now());
    while chunk > 0 && started.elapsed() < SHRINKING {
        let mut from = 0;
        while from + chunk < steps.len() && started.elapsed() < SHRINKING {
            let mut fewer = steps.clone();
            fewer.drain(from..from + chunk);
            if let Some((at, still)) = run(&fewer) {
                fewer.truncate(at + 1);
                (steps, found) = (fewer, still);
            } else {
                from += chunk;
            }
        }
        chunk = (chunk / 2).min(steps.len() / 2).max(usize::from(chunk > 1));
    }
    (steps, found)
}

/// The connections of one run to one server.
struct Session<'a> {
    server: &'a Server,
    names: &'a Names,
    protocol: u8,
    password: Option<&'a str>,
    clients: BTreeMap<usize, Result<Client, Answer>>,
}

impl Session<'_> {
    fn connect(&self, number: usize, authenticated: bool) -> Client {
        let mut client = self.server.client();
        // Connections 8 and 9 of a script keep the initial state: RESP2 and not authenticated.
        if number < 8 {
            if let (Some(password), true) = (self.password, authenticated) {
                client.call(&["AUTH", password]);
            }
            if self.protocol == 3 && authenticated {
                client.run("HELLO 3");
            }
        }
        client
    }

    fn client(&mut self, number: usize) -> &mut Result<Client, Answer> {
        if !self.clients.contains_key(&number) {
            let client = self.connect(number, true);
            self.clients.insert(number, Ok(client));
        }
        self.clients.get_mut(&number).expect("just inserted")
    }

    /// Sends steps of one connection.
    fn send(&mut self, steps: &[Step]) {
        let names = self.names;
        if let Ok(client) = self.client(steps[0].connection) {
            let mut request = Vec::new();
            for step in steps {
                match step.rule {
                    Rule::Raw => request.extend_from_slice(&step.args[0]),
                    Rule::Next => {}
                    _ => request.extend(encode(&names.request(&step.args))),
                }
            }
            // A server may close the connection meanwhile; the replies before that are read as usual.
            let _ = client.send_raw(&request);
        }
    }

    fn answer(&mut self, step: &Step) -> Answer {
        let names = self.names;
        let slot = self.client(step.connection);
        let client = match slot {
            Ok(client) => client,
            Err(answer) => return answer.clone(),
        };
        if step.rule == Rule::Silent {
            return Answer::Nothing;
        }
        let answer = match client.read_reply() {
            Ok(reply) => {
                let answer =
                    if step.rule == Rule::Scan { iterate(client, step, reply) } else { Answer::Reply(reply) };
                return match answer {
                    Answer::Reply(reply) if !names.0.is_empty() => Answer::Reply(names.reply(reply)),
                    answer => answer,
                };
            }
            Err(e) => match e.kind() {
                std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::BrokenPipe => Answer::Closed,
                _ => Answer::Broken(e.to_string()),
            },
        };
        *slot = Err(answer.clone());
        answer
    }
}

/// Follows a cursor, starting with the first reply. An error or a reply of another form is returned unchanged.
fn iterate(client: &mut Client, step: &Step, first: Reply) -> Answer {
    let at = step.args.iter().position(|arg| arg == b"0").expect("~scan needs a cursor of 0");
    let (mut reply, mut elements) = (first, Vec::new());
    for _ in 0..100_000 {
        let Value::Array(parts) = &reply.value else { return Answer::Reply(reply) };
        let [Value::Bulk(cursor), Value::Array(found)] = &parts[..] else { return Answer::Reply(reply) };
        elements.extend(found.iter().cloned());
        if cursor == b"0" {
            elements.sort();
            elements.dedup();
            return Answer::Elements(elements);
        }
        let mut args = step.args.clone();
        args[at].clone_from(cursor);
        match client.try_call(&args) {
            Ok(next) => reply = next,
            Err(e) => return Answer::Broken(e.to_string()),
        }
    }
    Answer::Broken("the iteration does not end".into())
}

/// The number of `steps` that can be sent at once: following a cursor needs the connection alone, and Redis 7.2 does
/// not reply to a wrong password while another reply is pending.
fn batch(steps: &[Step]) -> usize {
    let alone = |step: &Step| {
        let authenticates =
            ["AUTH", "HELLO"].iter().any(|name| step.args[0].eq_ignore_ascii_case(name.as_bytes()));
        authenticates || matches!(step.rule, Rule::Scan | Rule::Silent | Rule::Next | Rule::Raw)
    };
    let mut bytes = 0;
    let fits = |step: &&Step| {
        bytes += step.args.iter().map(|arg| arg.len() + 20).sum::<usize>();
        !alone(step) && step.connection == steps[0].connection && bytes < PIPED.1
    };
    steps.iter().take(PIPED.0).take_while(fits).count().max(1)
}

/// Elements in an order that does not depend on the digits of numbers.
fn by_number(elements: &[Value]) -> Vec<Value> {
    let number = |value: &Value| match value {
        Value::Bulk(text) => {
            std::str::from_utf8(text).ok()?.parse::<f64>().ok().map(|number| format!("{number:e}"))
        }
        _ => None,
    };
    let mut elements = elements.to_vec();
    elements.sort_by_cached_key(|value| {
        number(value).map_or_else(|| value.clone(), |text| Value::Bulk(text.into()))
    });
    elements
}

fn judge(step: &Step, subject: &Answer, redis: &Answer, peer: Version) -> Verdict {
    match (subject, redis) {
        // Two broken replies never count as equal.
        (Answer::Broken(_), _) => Verdict::Different,
        _ if subject == redis => Verdict::Equal,
        (Answer::Reply(subject), Answer::Reply(redis)) => step.judge(&subject.value, &redis.value, peer),
        (Answer::Elements(subject), Answer::Elements(redis)) => {
            step.judge(&Value::Array(by_number(subject)), &Value::Array(by_number(redis)), peer)
        }
        _ => Verdict::Different,
    }
}

/// The elements in order, with the type of their aggregate.
fn sorted(value: &Value) -> Option<Value> {
    let mut value = value.clone();
    match &mut value {
        Value::Array(all) | Value::Set(all) | Value::Push(all) => all.sort(),
        Value::Map(pairs) => pairs.sort(),
        _ => return None,
    }
    Some(value)
}

/// The reply with all times made equal.
fn without_times(value: &Value) -> Value {
    let all = |all: &[Value]| all.iter().map(without_times).collect();
    match value {
        Value::Integer(n) if *n >= 1_000_000_000 => Value::Integer(1_000_000_000),
        Value::Array(elements) => Value::Array(all(elements)),
        Value::Set(elements) => Value::Set(all(elements)),
        Value::Map(pairs) => Value::Map(pairs.iter().map(|(k, v)| (k.clone(), without_times(v))).collect()),
        other => other.clone(),
    }
}

/// `value` without integers, addresses of clients and times of MONITOR.
fn masked(value: &Value) -> Value {
    let all = |all: &[Value]| all.iter().map(masked).collect();
    match value {
        Value::Integer(_) => Value::Integer(0),
        Value::Bulk(text) => Value::Bulk(masked_text(text)),
        Value::Simple(text) => Value::Simple(masked_text(text)),
        Value::Array(elements) => Value::Array(all(elements)),
        Value::Set(elements) => Value::Set(all(elements)),
        Value::Map(pairs) => Value::Map(pairs.iter().map(|(k, v)| (masked(k), masked(v))).collect()),
        other => other.clone(),
    }
}

fn masked_text(text: &[u8]) -> Vec<u8> {
    const HOST: &str = "127.0.0.1:";
    let text = String::from_utf8_lossy(text);
    let is_time = |word: &str| word.len() == 17 && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let text = match text.split_once(' ') {
        Some((word, rest)) if is_time(word) => rest,
        _ => &text,
    };
    let parts = text.split(HOST).enumerate();
    let without_port = |(i, part): (usize, &str)| {
        if i == 0 {
            part.to_string()
        } else {
            part.trim_start_matches(|c: char| c.is_ascii_digit()).to_string()
        }
    };
    parts.map(without_port).collect::<Vec<_>>().join(HOST).into_bytes()
}

/// The lines of CLIENT LIST without the fields that depend on time or on the server's buffers; of the memory of a
/// client's data only whether it is zero. Sorted, because Redis rotates its list over time. The reply may be inside
/// that of EXEC.
fn clients(value: &Value) -> Option<String> {
    if let Value::Array(all) = value {
        // The replies of a transaction.
        let known = |value: &Value| clients(value).unwrap_or_else(|| format!("{value:?}"));
        return Some(all.iter().map(known).collect());
    }
    let (Value::Bulk(text) | Value::Verbatim(text)) = value else { return None };
    let text = std::str::from_utf8(text).ok()?;
    // The format of a verbatim string is not a part of its first line.
    let text = text.strip_prefix("txt:").unwrap_or(text);
    // A client without a command is the one that waits for the others: its reply may still be pending.
    let is_waiting = |line: &str| line.contains(" cmd=NULL ");
    let word = |waiting: bool, word: &str| match word.split_once('=') {
        Some(("obl", _)) if waiting => String::new(),
        // 7.2 added these, and 7.4 `watch`.
        Some(("lib-name" | "lib-ver", "")) => String::new(),
        Some(("fd" | "age" | "idle" | "qbuf-free" | "rbs" | "rbp" | "tot-mem" | "events" | "watch", _)) => {
            String::new()
        }
        Some((name @ ("qbuf" | "argv-mem" | "multi-mem" | "obl" | "oll" | "omem"), size)) => {
            format!("{name}={} ", if size == "0" { "none" } else { "some" })
        }
        _ => format!("{word} "),
    };
    let line =
        |line: &str| line.split(' ').map(|text| word(is_waiting(line), text)).collect::<String>() + "\n";
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    Some(lines.concat())
}

#[test]
fn a_line_of_monitor_is_compared_without_its_time_and_port() {
    let line = |text: &str| masked(&Value::Simple(text.as_bytes().to_vec()));
    let first = line("1700000000.000001 [0 127.0.0.1:1234] \"GET\" \"127.0.0.1:9 8\"");
    assert_eq!(first, line("1700000099.654321 [0 127.0.0.1:65000] \"GET\" \"127.0.0.1:9 8\""));
    assert_ne!(first, line("1700000000.000001 [1 127.0.0.1:1234] \"GET\" \"127.0.0.1:9 8\""));
    assert_ne!(first, line("1700000000.000001 [0 127.0.0.1:1234] \"GET\""));
}

/// The pairs in order, with the type of their aggregate.
fn in_pairs(value: &Value) -> Option<Value> {
    let Value::Array(all) = value else { return sorted(value) };
    if all.iter().all(|element| matches!(element, Value::Array(_))) {
        return sorted(value);
    }
    let mut pairs: Vec<&[Value]> = all.chunks(2).collect();
    pairs.sort();
    Some(Value::Array(pairs.concat()))
}
