//! The cost of listeners: transactions, messages to many subscribers, patterns, keyspace notifications, and tracked
//! keys.
//!
//! The servers are visited in turn, as in `workloads.rs`, but the load is that of `relay.rs`, because messages arrive
//! on other connections than those that sent the request. Its connections stay open between visits. CPU time is that of
//! the server, for each unit that the row names; most of it is the kernel's, which is the same for all servers, so the
//! part in user mode has a separate row. The first visit warms up, and compares messages byte for byte.
//!
//! The bare loop is not measured: it has no subscribers.

use super::client::{Client, numbered, push_request};
use super::relay::{DEPTH, Listener, Member, Numbers, Relay, Team, Template};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::stats::median;
use super::{Bench, Result, Scale, say, system};

/// The name of this section on the command line and in the report.
pub const SECTION: &str = "listeners";

/// The number of sending connections, unless there is only one.
const CLIENTS: usize = 50;

/// Connections of one tracking client and one that sets its keys.
const PAIRS: usize = CLIENTS / 2;

/// The number of SETs in one transaction.
const SETS: usize = 10;

/// The number of keys that clients have read with tracking on: a tenth of the elements of the run, at most this many.
const TRACKED: usize = 100_000;

/// The number of patterns in the rows about patterns.
const PATTERNS: usize = 1000;

/// The greatest number of subscribers of a row.
const MOST_SUBSCRIBERS: usize = 1000;

/// A key, and the value of all keys.
const KEY: &str = "key:000000000000";
const VALUE: &str = "xxx";

/// The published message: 64 bytes.
const PAYLOAD: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/// A channel with ten letters at the end; a pattern may have `?` for each.
const CHANNEL: &str = "news.17.abcdefghij";
const OPEN_LETTERS: usize = 10;

/// One measurement.
struct Case {
    name: &'static str,
    /// The same figure divided by this, under another name.
    divided: Option<(&'static str, usize)>,
    /// The number of messages per unit: if there is more than one, the figure is per message.
    messages: usize,
    /// The divisor of the run's number of units.
    weight: usize,
    /// The maximum ratio of CPU time to that of Redis.
    target: Option<f64>,
    /// Fills a server and connects the load to it.
    stage: fn(&Server, &Scale) -> Result<Relay>,
}

const fn case(
    name: &'static str,
    weight: usize,
    target: Option<f64>,
    stage: fn(&Server, &Scale) -> Result<Relay>,
) -> Case {
    Case { name, divided: None, messages: 1, weight, target, stage }
}

/// A single publisher waits for the kernel after every [`DEPTH`] messages, and so does the server: most of that figure
/// is the cost of wake-ups, whatever the server does. The target is for as many publishers as other rows have clients.
const fn publish<const PUBLISHERS: usize, const SUBSCRIBERS: usize>(
    name: &'static str,
    weight: usize,
) -> Case {
    let target = if PUBLISHERS > 1 { OF_MESSAGES } else { None };
    let stage = |server: &Server, _: &Scale| subscribers(server, PUBLISHERS, SUBSCRIBERS);
    Case { messages: SUBSCRIBERS, ..case(name, weight, target, stage) }
}

/// The target of transactions, and that of all messages and tracked keys.
const OF_TRANSACTIONS: Option<f64> = Some(0.55);
const OF_MESSAGES: Option<f64> = Some(0.6);

static CASES: [Case; 16] = [
    Case {
        divided: Some(("MULTI/EXEC of 10 SETs, a SET", SETS)),
        ..case("MULTI/EXEC of 10 SETs", 2 * SETS, OF_TRANSACTIONS, transactions)
    },
    publish::<CLIENTS, 1>("PUBLISH to 1 subscriber", 2),
    publish::<CLIENTS, 100>("PUBLISH to 100 subscribers, a message", 50),
    publish::<CLIENTS, 1000>("PUBLISH to 1,000 subscribers, a message", 500),
    publish::<1, 1>("PUBLISH to 1 subscriber, one publisher", 4),
    publish::<1, 100>("PUBLISH to 100 subscribers, one publisher, a message", 200),
    publish::<1, 1000>("PUBLISH to 1,000 subscribers, one publisher, a message", 1000),
    case("PUBLISH beside 1,000 patterns of one client, one matches", 100, OF_MESSAGES, |server, _| {
        patterns_of_one(server, "news.17.sport", Some("news.17.*"))
    }),
    case("PUBLISH beside 1,000 patterns of one client, none matches", 100, OF_MESSAGES, |server, _| {
        patterns_of_one(server, "news.1000.sport", None)
    }),
    Case {
        messages: PATTERNS,
        ..case("PUBLISH to 1,000 patterns of as many clients, a message", 500, OF_MESSAGES, |server, _| {
            patterns_of_many(server)
        })
    },
    case("GET beside 100,000 keys that another client tracks", 2, OF_MESSAGES, |server, scale| {
        beside_tracked(server, scale, &["GET", KEY], &format!("${}\r\n{VALUE}\r\n", VALUE.len()), 0)
    }),
    case("GET of 100,000 keys by the clients that track them", 2, OF_MESSAGES, reads_of_trackers),
    case("SET of a tracked key, and GET by the client that tracks it", 4, OF_MESSAGES, tracked_writes),
    case("SET of an untracked key beside 100,000 tracked ones", 2, OF_MESSAGES, |server, scale| {
        beside_tracked(server, scale, &["SET", KEY, VALUE], "+OK\r\n", 1)
    }),
    case("SET, `notify-keyspace-events KEA`, nobody subscribed", 2, None, |server, scale| {
        notified(server, scale, false)
    }),
    case("SET, `notify-keyspace-events KEA`, one pattern for all of it", 4, None, |server, scale| {
        notified(server, scale, true)
    }),
];

/// The figures of one visit.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    /// Microseconds of the server's CPU time for each unit.
    cpu_us: f64,
    /// The time that the server was ready but something else ran on its core, over its CPU time.
    disturbed: f64,
    /// Clock ticks in user and in system mode.
    ticks: [u64; 2],
}

/// Measures all chosen rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    // The connections to all servers are open at once, and each server inherits the limit for its own.
    let wanted = (MOST_SUBSCRIBERS + CLIENTS) * bench.specs.len() + 500;
    let allowed = system::raise_open_files(wanted as u64);
    if allowed < wanted as u64 {
        return Err(format!("the benchmark needs {wanted} open files, the limit is {allowed}").into());
    }
    for case in CASES.iter().filter(|case| bench.chosen(SECTION, case.name)) {
        say(&format!("{SECTION}: {}", case.name));
        let visits = tour(bench, case, report)?;
        add(report, case, &visits);
    }
    Ok(())
}

/// All rounds of one row: the visits of each subject, none if it is not measured.
fn tour(bench: &Bench, case: &Case, report: &mut Report) -> Result<Vec<Vec<Visit>>> {
    let units = (bench.scale.requests / case.weight).max(CLIENTS * DEPTH);
    let mut stages = Vec::new();
    for spec in &bench.specs {
        stages.push(stage(bench, case, spec, report)?);
    }
    // The bare loop's column is the first.
    let mut visits = vec![Vec::new(); stages.len() + 1];
    for round in 0..=bench.scale.rounds {
        for turn in 0..stages.len() {
            let index = (round + turn) % stages.len();
            let Some((server, relay)) = &mut stages[index] else { continue };
            relay.check = round == 0;
            server.resume()?;
            let visit = visit(server, relay, if round == 0 { units.div_ceil(5) } else { units })
                .map_err(|error| format!("{}, {}: {error}", bench.specs[index].name, case.name))?;
            server.pause();
            if round > 0 {
                visits[index + 1].push(visit);
            }
        }
    }
    Ok(visits)
}

/// A stopped server with its load. `None`, with a note, if it lacks a command of the row.
fn stage(bench: &Bench, case: &Case, spec: &Spec, report: &mut Report) -> Result<Option<(Server, Relay)>> {
    let server = spec.start(bench.cores.server, &[])?;
    match (case.stage)(&server, &bench.scale) {
        Ok(relay) => {
            server.pause();
            Ok(Some((server, relay)))
        }
        Err(error) if error.to_string().to_ascii_lowercase().contains("unknown") => {
            report.notes.push(format!("{} is not measured in \"{}\": {error}.", spec.name, case.name));
            Ok(None)
        }
        Err(error) => Err(format!("{}, {}: {error}", spec.name, case.name).into()),
    }
}

fn visit(server: &Server, relay: &mut Relay, units: usize) -> Result<Visit> {
    let (before, ticks_before) = (server.settled_cpu_time()?, server.ticks()?);
    let units = relay.run(units)?;
    let used = server.settled_cpu_time()?.since(before);
    let ticks = server.ticks()?;
    relay.is_quiet()?;
    Ok(Visit {
        cpu_us: used.run_ns as f64 / 1000.0 / units as f64,
        disturbed: used.wait_ns as f64 / used.run_ns.max(1) as f64,
        ticks: [ticks[0] - ticks_before[0], ticks[1] - ticks_before[1]],
    })
}

/// The share of user mode in all visits of a server: ticks are too coarse for a single one.
fn user_share(visits: &[Visit]) -> Option<f64> {
    let sum = |mode: usize| visits.iter().map(|visit| visit.ticks[mode]).sum::<u64>() as f64;
    let all = sum(0) + sum(1);
    (all > 0.0).then(|| sum(0) / all)
}

/// Adds a row's medians, their parts in user mode, and the divided ones.
fn add(report: &mut Report, case: &Case, visits: &[Vec<Visit>]) {
    let each = |divisor: usize| {
        let us = |visit: &Visit| visit.cpu_us / divisor as f64;
        visits.iter().map(|visits| median(visits.iter().map(us))).collect::<Vec<_>>()
    };
    let total = each(case.messages);
    let user = visits.iter().zip(&total).map(|(visits, total)| Some((*total)? * user_share(visits)?));
    let user: Vec<Option<f64>> = user.collect();
    let mut add = |name: &str, values, target| {
        let (section, name) = (SECTION.into(), name.into());
        report.rows.push(Row { section, name, unit: "µs", values, target });
    };
    add(case.name, total, case.target.map(Target::OfRedis));
    add("… of it in user mode", user, None);
    if let Some((name, divisor)) = case.divided {
        add(name, each(divisor), None);
    }
    visits.iter().flatten().for_each(|visit| report.disturbance.add(visit.disturbed));
}

/// The number of tracked keys, a multiple of the number of pairs.
fn tracked_keys(scale: &Scale) -> usize {
    scale.keys_piped.min(TRACKED) / CLIENTS * CLIENTS
}

/// Sets the keys with these numbers.
fn fill(server: &Server, keys: std::ops::Range<usize>) -> Result<()> {
    let mut client = server.connect()?;
    for number in keys {
        client.queue(&[b"SET", &numbered("key:", number), VALUE.as_bytes()])?;
    }
    client.flush()
}

/// Connections that each send one kind of request, on random keys of a range if it has one.
fn senders(
    server: &Server,
    clients: usize,
    request: &Template,
    reply: &str,
    keys: std::ops::Range<usize>,
) -> Result<Vec<Team>> {
    let sender = |client: usize| {
        let stream = server.connect()?.into_stream()?;
        let member = Member::new(stream, request.clone(), vec![Template::new(reply.as_bytes())]);
        let seed = (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ok(Team::new(vec![member], Numbers::Random(keys.start as u64..keys.end as u64, seed)))
    };
    (0..clients).map(sender).collect()
}

fn transactions(server: &Server, scale: &Scale) -> Result<Relay> {
    fill(server, 0..scale.keys_piped)?;
    let mut words: Vec<&[&str]> = vec![&["MULTI"]];
    words.extend([&["SET", KEY, VALUE][..]; SETS]);
    words.push(&["EXEC"]);
    let reply = format!("+OK\r\n{}*{SETS}\r\n{}", "+QUEUED\r\n".repeat(SETS), "+OK\r\n".repeat(SETS));
    server.connect()?.must(&[b"MULTI"])?;
    Relay::new(
        senders(server, CLIENTS, &Template::requests(&words), &reply, 0..scale.keys_piped)?,
        Vec::new(),
    )
}

/// The load of publishers; `clients` receive each message.
fn publishers(
    server: &Server,
    count: usize,
    channel: &str,
    clients: usize,
    listeners: Vec<Listener>,
) -> Result<Relay> {
    let request = Template::requests(&[&["PUBLISH", channel, PAYLOAD]]);
    Relay::new(senders(server, count, &request, &format!(":{clients}\r\n"), 0..1)?, listeners)
}

/// A pub/sub message for a pattern's subscriber.
fn pattern_message(pattern: &str, channel: &str, payload: &str) -> Vec<u8> {
    let mut message = Vec::new();
    push_request(&mut message, &[b"pmessage", pattern.as_bytes(), channel.as_bytes(), payload.as_bytes()]);
    message
}

/// A subscriber's connection, with a small buffer on this side.
fn connect(server: &Server) -> Result<Client> {
    server.connect_with(512)
}

/// Publishers of one channel, and its subscribers.
pub fn subscribers(server: &Server, from: usize, count: usize) -> Result<Relay> {
    let mut message = Vec::new();
    push_request(&mut message, &[b"message", CHANNEL.as_bytes(), PAYLOAD.as_bytes()]);
    let subscriber = |_| {
        let mut client = connect(server)?;
        client.must(&[b"SUBSCRIBE", CHANNEL.as_bytes()])?;
        Ok(Listener::new(client.into_stream()?, Template::new(&message)))
    };
    let listeners = (0..count).map(subscriber).collect::<Result<_>>()?;
    publishers(server, from, CHANNEL, count, listeners)
}

/// One client with the patterns `news.0.*` and so on, of which only `matching` matches the channel.
fn patterns_of_one(server: &Server, channel: &str, matching: Option<&str>) -> Result<Relay> {
    let mut client = connect(server)?;
    for number in 0..PATTERNS {
        client.queue(&[b"PSUBSCRIBE", format!("news.{number}.*").as_bytes()])?;
    }
    let stream = client.into_stream()?;
    let listener = match matching {
        Some(pattern) => Listener::new(stream, Template::new(&pattern_message(pattern, channel, PAYLOAD))),
        None => Listener::idle(stream),
    };
    publishers(server, CLIENTS, channel, usize::from(matching.is_some()), vec![listener])
}

/// Clients with one pattern each, which all match [`CHANNEL`].
fn patterns_of_many(server: &Server) -> Result<Relay> {
    let subscriber = |number: usize| {
        let pattern = matching_pattern(number);
        let mut client = connect(server)?;
        client.must(&[b"PSUBSCRIBE", pattern.as_bytes()])?;
        let message = pattern_message(&pattern, CHANNEL, PAYLOAD);
        Ok(Listener::new(client.into_stream()?, Template::new(&message)))
    };
    let listeners = (0..PATTERNS).map(subscriber).collect::<Result<_>>()?;
    publishers(server, CLIENTS, CHANNEL, PATTERNS, listeners)
}

/// A pattern that matches [`CHANNEL`]: the bits of the number select the letters replaced by `?`.
fn matching_pattern(number: usize) -> String {
    let first = CHANNEL.len() - OPEN_LETTERS;
    let letter = |(at, letter): (usize, char)| {
        if at >= first && number >> (at - first) & 1 == 1 { '?' } else { letter }
    };
    CHANNEL.chars().enumerate().map(letter).collect()
}

/// A connection that has read these keys with tracking on.
fn tracker(server: &Server, keys: std::ops::Range<usize>) -> Result<Client> {
    let mut client = server.connect()?;
    client.must(&[b"HELLO", b"3"])?;
    client.must(&[b"CLIENT", b"TRACKING", b"ON"])?;
    for number in keys {
        client.queue(&[b"GET", &numbered("key:", number)])?;
    }
    client.flush()?;
    Ok(client)
}

/// Requests of clients without tracking, on the tracked keys or (1) on as many keys after them.
fn beside_tracked(
    server: &Server,
    scale: &Scale,
    request: &[&str],
    reply: &str,
    behind: usize,
) -> Result<Relay> {
    let count = tracked_keys(scale);
    fill(server, 0..2 * count)?;
    let tracker = tracker(server, 0..count)?;
    let keys = behind * count..(behind + 1) * count;
    let teams = senders(server, CLIENTS, &Template::requests(&[request]), reply, keys)?;
    Relay::new(teams, vec![Listener::idle(tracker.into_stream()?)])
}

/// The keys of one of `clients` that share the tracked ones.
fn share(client: usize, clients: usize, keys: usize) -> std::ops::Range<usize> {
    let each = keys / clients;
    client * each..(client + 1) * each
}

/// The request and the reply of a GET.
fn get() -> (Template, Template) {
    let reply = format!("${}\r\n{VALUE}\r\n", VALUE.len());
    (Template::requests(&[&["GET", KEY]]), Template::new(reply.as_bytes()))
}

fn reads_of_trackers(server: &Server, scale: &Scale) -> Result<Relay> {
    let count = tracked_keys(scale);
    fill(server, 0..count)?;
    let (request, reply) = get();
    let team = |client: usize| {
        let keys = share(client, CLIENTS, count);
        let stream = tracker(server, keys.clone())?.into_stream()?;
        let member = Member::new(stream, request.clone(), vec![reply.clone()]);
        Ok(Team::new(vec![member], Numbers::Scattered(keys.start as u64..keys.end as u64, 0)))
    };
    Relay::new((0..CLIENTS).map(team).collect::<Result<_>>()?, Vec::new())
}

/// Pairs of a client that sets keys, and one that receives the invalidations and reads the keys again.
fn tracked_writes(server: &Server, scale: &Scale) -> Result<Relay> {
    let count = tracked_keys(scale);
    fill(server, 0..count)?;
    let set = Template::requests(&[&["SET", KEY, VALUE]]);
    let told =
        Template::new(format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{KEY}\r\n", KEY.len()).as_bytes());
    let (request, reply) = get();
    let team = |pair: usize| {
        let keys = share(pair, PAIRS, count);
        let reader = tracker(server, keys.clone())?.into_stream()?;
        let reader = Member::new(reader, request.clone(), vec![told.clone(), reply.clone()]);
        let writer = server.connect()?.into_stream()?;
        let writer = Member::new(writer, set.clone(), vec![Template::new(b"+OK\r\n")]);
        let numbers = Numbers::Scattered(keys.start as u64..keys.end as u64, 0);
        Ok(Team::new(vec![writer, reader], numbers))
    };
    Relay::new((0..PAIRS).map(team).collect::<Result<_>>()?, Vec::new())
}

/// SETs with keyspace notifications.
fn notified(server: &Server, scale: &Scale, heard: bool) -> Result<Relay> {
    fill(server, 0..scale.keys_piped)?;
    server.connect()?.must(&[b"CONFIG", b"SET", b"notify-keyspace-events", b"KEA"])?;
    let mut listeners = Vec::new();
    if heard {
        const PATTERN: &str = "__key*__:*";
        let mut client = connect(server)?;
        client.must(&[b"PSUBSCRIBE", PATTERN.as_bytes()])?;
        let mut messages = pattern_message(PATTERN, &format!("__keyspace@0__:{KEY}"), "set");
        messages.extend(pattern_message(PATTERN, "__keyevent@0__:set", KEY));
        listeners.push(Listener::new(client.into_stream()?, Template::new(&messages)));
    }
    let request = Template::requests(&[&["SET", KEY, VALUE]]);
    Relay::new(senders(server, CLIENTS, &request, "+OK\r\n", 0..scale.keys_piped)?, listeners)
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::{each_is_named_once, sample};
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        each_is_named_once(CASES.iter().map(|case| case.name));
    }

    #[test]
    fn patterns_differ_and_leave_open_what_their_bits_say() {
        assert_eq!(matching_pattern(0), CHANNEL);
        assert_eq!(matching_pattern(0b10_0000_0001), "news.17.?bcdefghi?");
        let patterns: std::collections::HashSet<String> = (0..PATTERNS).map(matching_pattern).collect();
        assert_eq!(patterns.len(), PATTERNS);
    }

    #[test]
    fn clients_share_all_tracked_keys() {
        let shares: Vec<_> = (0..PAIRS).map(|pair| share(pair, PAIRS, 10_000)).collect();
        assert_eq!((shares[0].start, shares[PAIRS - 1].end), (0, 10_000));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn a_figure_is_per_message_with_the_share_of_user_mode_of_all_visits() {
        let visit = |cpu_us, ticks| Visit { cpu_us, disturbed: 0.0, ticks };
        let case = Case {
            messages: 10,
            divided: Some(("half a request", 2)),
            ..case("row", 1, OF_MESSAGES, |_, _| unreachable!())
        };
        let own = vec![visit(40.0, [1, 4]), visit(60.0, [1, 4]), visit(50.0, [3, 7])];
        let redis = vec![visit(100.0, [0, 0])];
        let mut report = Report { rows: Vec::new(), ..sample() };
        add(&mut report, &case, &[Vec::new(), own, redis]);
        let values: Vec<_> = report.rows.iter().map(|row| row.values.clone()).collect();
        assert_eq!(
            values,
            [[None, Some(5.0), Some(10.0)], [None, Some(1.25), None], [None, Some(25.0), Some(50.0)]]
        );
        assert_eq!((report.rows[0].meets(), report.rows[1].meets()), (Some(true), None));
    }
}
