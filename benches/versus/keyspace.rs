//! A keyspace of many millions: the memory per key, and the longest pause for another client while keys are set,
//! iterated over and deleted; the same for a collection with as many elements that one command deletes.
//!
//! The other client sends a PING every tenth of a millisecond and records the longest time to a reply, minus the time
//! for which the server's main thread and the client itself waited for a core, which is not the server's fault. Other
//! programs can only increase a figure, so it is the least of the rounds.
//!
//! One server runs at a time, so that the memory suffices: 50 million keys take 2.3 GB in one, 4.7 GB in another.

use super::client::{Client, Reply, numbered};
use super::fork::{field, info, used_memory};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::stats::grouped;
use super::{Bench, Result, say, system};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// The section of these rows in the report, and the option that selects them.
pub const SECTION: &str = "keyspace";

/// The number of SETs sent together: few, so that a PING among them does not wait for long.
const TOGETHER: usize = 64;

/// The number of elements that one request adds during filling.
const ELEMENTS: usize = 64;

/// The most elements of a collection.
const MOST_ELEMENTS: usize = 10_000_000;

/// The pause between two PINGs.
const GAP: Duration = Duration::from_micros(100);

/// The time between two checks whether the server has freed everything.
const GLANCE: Duration = Duration::from_millis(50);

/// The time that PINGs continue after everything was freed, to include later work.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// The timeout for freeing.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest allowed pause for a keyspace, and for a collection, in milliseconds.
const KEYSPACE_MS: f64 = 5.0;
const COLLECTION_MS: f64 = 1.0;

/// The collection to delete, the one that it is copied from, and a small one.
const VICTIM: &str = "victim";
const SOURCE: &str = "source";
const SMALL: &str = "small";

/// A type of collection: the command that fills it, and the requests that delete it.
struct Kind {
    name: &'static str,
    command: &'static str,
    /// The arguments of element `n`.
    words: fn(usize) -> Vec<Vec<u8>>,
    /// The number of elements in one request.
    together: usize,
    ways: &'static [&'static [&'static str]],
}

static KINDS: [Kind; 5] = [
    Kind {
        name: "list",
        command: "RPUSH",
        words: |n| vec![numbered("element:", n)],
        together: ELEMENTS,
        ways: &[&["UNLINK", VICTIM], &["LTRIM", VICTIM, "0", "0"], &["LTRIM", VICTIM, "1", "0"]],
    },
    Kind {
        name: "set",
        command: "SADD",
        words: |n| vec![numbered("element:", n)],
        together: ELEMENTS,
        ways: &[
            &["UNLINK", VICTIM],
            &["DEL", VICTIM],
            &["SET", VICTIM, "value"],
            &["RENAME", SMALL, VICTIM],
            &["SINTERSTORE", VICTIM, SMALL],
            &["PEXPIRE", VICTIM, "1"],
            &["FLUSHDB", "ASYNC"],
        ],
    },
    Kind {
        name: "hash",
        command: "HSET",
        words: |n| vec![numbered("field:", n), numbered("", n)],
        together: ELEMENTS,
        ways: &[&["UNLINK", VICTIM], &["COPY", SMALL, VICTIM, "REPLACE"]],
    },
    Kind {
        name: "sorted set",
        command: "ZADD",
        words: |n| vec![n.to_string().into_bytes(), numbered("element:", n)],
        together: ELEMENTS,
        ways: &[
            &["UNLINK", VICTIM],
            &["ZREMRANGEBYRANK", VICTIM, "0", "-1"],
            &["ZREMRANGEBYRANK", VICTIM, "0", "-2"],
        ],
    },
    Kind {
        name: "stream",
        command: "XADD",
        words: |n| vec![format!("{}-1", n + 1).into_bytes(), b"field".to_vec(), b"value".to_vec()],
        together: 1,
        ways: &[&["UNLINK", VICTIM], &["XTRIM", VICTIM, "MAXLEN", "1"]],
    },
];

/// The figures of one server in one round, in the order of the report.
type Figures = Vec<(String, &'static str, f64, Option<Target>)>;

/// Measures all servers and adds the rows to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    type Part = fn(&Bench, &Spec) -> Result<Figures>;
    let keys = bench.scale.fork_keys;
    let parts: [(String, Part); 2] = [
        (format!("{SECTION} of {} keys of 16 B with 3 B", grouped(keys as i64)), many_keys),
        (format!("{SECTION}: {} elements go", grouped(elements(bench) as i64)), collections),
    ];
    for (section, part) in parts {
        if !bench.chosen(SECTION, &section) {
            continue;
        }
        let mut least: Vec<Option<Figures>> = bench.specs.iter().map(|_| None).collect();
        for _ in 0..bench.scale.rounds {
            for (spec, least) in bench.specs.iter().zip(&mut least) {
                keep_least(least, part(bench, spec)?);
            }
        }
        let Some(Some(first)) = least.first() else { continue };
        for (index, (name, unit, _, target)) in first.iter().enumerate() {
            let of = |figures: &Option<Figures>| Some(figures.as_ref()?.get(index)?.2);
            // The bare loop stores nothing.
            let values = std::iter::once(None).chain(least.iter().map(of)).collect();
            report.rows.push(Row {
                section: section.clone(),
                name: name.clone(),
                unit,
                values,
                target: *target,
            });
        }
    }
    Ok(())
}

fn elements(bench: &Bench) -> usize {
    bench.scale.fork_keys.min(MOST_ELEMENTS)
}

/// Keeps the lower of each pair of figures.
fn keep_least(least: &mut Option<Figures>, round: Figures) {
    match least {
        None => *least = Some(round),
        Some(least) => {
            for (kept, new) in least.iter_mut().zip(round) {
                kept.2 = kept.2.min(new.2);
            }
        }
    }
}

/// Sets keys, iterates over them, and deletes them.
fn many_keys(bench: &Bench, spec: &Spec) -> Result<Figures> {
    let keys = bench.scale.fork_keys;
    say(&format!("{SECTION}: {} with {} keys", spec.name, grouped(keys as i64)));
    let fresh = Fresh::start(bench, spec, &[])?;
    let server = &fresh.server;
    let mut client = server.connect()?;
    let (resident, used) = (server.resident_bytes()?, used_memory(&mut client)?);
    let cpu = server.settled_cpu_time()?;
    let (taken, pause_ms) = beside(&fresh, || fill_keys(&mut client, keys))?;
    let cpu = server.settled_cpu_time()?.since(cpu);
    let full = server.resident_bytes()?;
    let each = |bytes: f64| bytes / keys as f64;
    let mut figures: Figures = vec![
        (
            "resident, a key".into(),
            "B",
            each(full.saturating_sub(resident) as f64),
            Some(Target::AtMost(50.0)),
        ),
        ("used_memory, a key".into(), "B", each(used_memory(&mut client)? - used), None),
        ("until all are there".into(), "s", taken.as_secs_f64(), None),
        ("CPU time of a SET".into(), "µs", cpu.run_ns as f64 / 1e3 / keys as f64, Some(Target::OfRedis(1.0))),
        ("longest pause beside the SETs".into(), "ms", pause_ms, Some(Target::AtMost(KEYSPACE_MS))),
    ];
    let (taken, pause_ms) = beside(&fresh, || walk(&mut client, keys))?;
    figures.push((
        "SCAN through all, COUNT 1000".into(),
        "s",
        taken.as_secs_f64(),
        Some(Target::OfRedis(1.0)),
    ));
    figures.push(("longest pause beside it".into(), "ms", pause_ms, Some(Target::AtMost(KEYSPACE_MS))));
    let mut replied_ms = 0.0;
    let (taken, pause_ms) = beside(&fresh, || {
        let begin = Instant::now();
        client.must(&[b"FLUSHALL", b"ASYNC"])?;
        replied_ms = begin.elapsed().as_secs_f64() * 1e3;
        // Memory that has been unused for some seconds returns to the system.
        wait_until(|| Ok(server.resident_bytes()? < resident + (full - resident) / 10))
    })?;
    figures.push(("FLUSHALL ASYNC, reply".into(), "ms", replied_ms, None));
    figures.push(("longest pause beside it".into(), "ms", pause_ms, Some(Target::AtMost(KEYSPACE_MS))));
    figures.push(("until nine tenths of the memory are back".into(), "s", taken.as_secs_f64(), None));
    Ok(figures)
}

/// Sets new keys, and waits for the replies after each [`TOGETHER`].
fn fill_keys(client: &mut Client, keys: usize) -> Result<()> {
    for number in 0..keys {
        client.queue(&[b"SET", &numbered("key:", number), b"xxx"])?;
        if number % TOGETHER == TOGETHER - 1 {
            client.flush()?;
        }
    }
    client.flush()
}

/// Iterates over all keys; SCAN must return at least `keys`.
fn walk(client: &mut Client, keys: usize) -> Result<()> {
    let (mut cursor, mut seen) = (b"0".to_vec(), 0);
    loop {
        let (next, count) = client.scan(&cursor, b"1000")?;
        seen += count;
        cursor = next;
        if cursor == b"0" {
            break;
        }
    }
    if seen < keys { Err(format!("SCAN returned {seen} of {keys} keys").into()) } else { Ok(()) }
}

/// Deletes collections of each type, in several ways.
fn collections(bench: &Bench, spec: &Spec) -> Result<Figures> {
    let elements = elements(bench);
    let mut figures = Figures::new();
    for kind in &KINDS {
        say(&format!("{SECTION}: {} with a {} of {}", spec.name, kind.name, grouped(elements as i64)));
        let server = Fresh::start(bench, spec, &[])?;
        let mut client = server.server.connect()?;
        let (_, pause_ms) = beside(&server, || fill(&mut client, kind, SOURCE, elements))?;
        let name = format!("{} comes by {}", kind.name, kind.command);
        figures.push((name, "ms", pause_ms, Some(Target::AtMost(KEYSPACE_MS))));
        for way in kind.ways {
            client.must(&[b"DEL", SMALL.as_bytes(), VICTIM.as_bytes()])?;
            fill(&mut client, kind, SMALL, 1)?;
            client.must(&[b"COPY", SOURCE.as_bytes(), VICTIM.as_bytes()])?;
            wait_until_freed(&mut client)?;
            let pause_ms = goes(&server, &mut client, way)?;
            let words: Vec<&str> =
                way.iter().map(|word| if *word == VICTIM { kind.name } else { word }).collect();
            figures.push((words.join(" "), "ms", pause_ms, Some(Target::AtMost(COLLECTION_MS))));
        }
    }
    Ok(figures)
}

/// Queues the elements of a collection and waits for the replies, a few requests at a time.
fn fill(client: &mut Client, kind: &Kind, key: &str, elements: usize) -> Result<()> {
    let mut begin = 0;
    while begin < elements {
        let end = elements.min(begin + kind.together);
        let words: Vec<Vec<u8>> = (begin..end).flat_map(kind.words).collect();
        let mut request = vec![kind.command.as_bytes(), key.as_bytes()];
        request.extend(words.iter().map(Vec::as_slice));
        client.queue(&request)?;
        if end.is_multiple_of(ELEMENTS) {
            client.flush()?;
        }
        begin = end;
    }
    client.flush()
}

/// The longest pause from a request that deletes a collection until some time after its memory is freed.
fn goes(server: &Fresh, client: &mut Client, way: &[&str]) -> Result<f64> {
    let words: Vec<&[u8]> = way.iter().map(|word| word.as_bytes()).collect();
    let (_, pause_ms) = beside(server, || {
        client.must(&words)?;
        if way[0] == "PEXPIRE" {
            wait_until(|| Ok(client.must(&[b"EXISTS", VICTIM.as_bytes()])? == Reply::Line("0".into())))?;
        }
        wait_until_freed(client)?;
        sleep(AFTERWARDS);
        Ok(())
    })?;
    Ok(pause_ms)
}

fn wait_until_freed(client: &mut Client) -> Result<()> {
    wait_until(|| Ok(field(&info(client)?, "lazyfree_pending_objects").unwrap_or(0.0) == 0.0))
}

fn wait_until(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err("the server does not finish freeing memory".into());
        }
        sleep(GLANCE);
    }
    Ok(())
}

/// Calls `act`. Returns its duration and the longest PING meanwhile, in milliseconds.
pub fn beside(server: &Fresh, act: impl FnOnce() -> Result<()>) -> Result<(Duration, f64)> {
    Probe::new(server)?.beside(act)
}

/// The other client. It uses a socket that the kernel serves in the writing thread, not in a separate one.
pub struct Probe {
    stream: UnixStream,
    server: u32,
}

impl Probe {
    /// Connects to the server.
    pub fn new(server: &Fresh) -> Result<Self> {
        let stream = UnixStream::connect(&server.socket.0)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, server: server.server.pid() })
    }

    /// See [`beside`].
    pub fn beside(self, act: impl FnOnce() -> Result<()>) -> Result<(Duration, f64)> {
        let mut longest = Duration::ZERO;
        let taken = self.watch(GAP, |ping| longest = longest.max(ping), act)?;
        Ok((taken, longest.as_secs_f64() * 1e3))
    }

    /// Calls `act`. Returns the durations of the PINGs that were due every `period` meanwhile, in nanoseconds and in
    /// ascending order. If one takes longer than `period`, the ones that were due in between count, too.
    pub fn all_beside(self, period: Duration, act: impl FnOnce() -> Result<()>) -> Result<Vec<u32>> {
        let mut pings = Vec::new();
        self.watch(period, |ping| push_all_due(&mut pings, ping, period), act)?;
        pings.sort_unstable();
        Ok(pings)
    }

    /// Calls `act` while PINGs are sent, and passes the duration of each to `note`.
    fn watch(
        self,
        gap: Duration,
        note: impl FnMut(Duration) + Send,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<Duration> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // An error's text can be sent between threads, the error itself cannot.
            let probe = scope.spawn(|| self.run(gap, note, &over).map_err(|error| error.to_string()));
            let begin = Instant::now();
            let outcome = act();
            let taken = begin.elapsed();
            over.store(true, Ordering::Relaxed);
            probe.join().map_err(|_| "the thread that sends PINGs has died")??;
            outcome.map(|()| taken)
        })
    }

    /// Sends PINGs until `over`, and notes the duration of each, minus the time for which the server's main thread or
    /// this one waited for a core. It subtracts the longer of the two waits: they may overlap, and subtracting more
    /// than the PING waited would hide a stall.
    fn run(mut self, gap: Duration, mut note: impl FnMut(Duration), over: &AtomicBool) -> Result<()> {
        system::hurry(0);
        let waits = [system::ThreadTime::of(self.server)?, system::ThreadTime::own()?];
        let waited = || -> Result<[u64; 2]> { Ok([waits[0].now()?.wait_ns, waits[1].now()?.wait_ns]) };
        while !over.load(Ordering::Relaxed) {
            let (before, begin) = (waited()?, Instant::now());
            self.stream.write_all(b"PING\r\n")?;
            self.stream.read_exact(&mut [0; b"+PONG\r\n".len()])?;
            let taken = begin.elapsed();
            let after = waited()?;
            let waited = (after[0] - before[0]).max(after[1] - before[1]);
            note(taken.saturating_sub(Duration::from_nanos(waited)));
            sleep(gap);
        }
        Ok(())
    }
}

/// Adds a PING, and those that were due every `period` until its reply.
fn push_all_due(pings: &mut Vec<u32>, ping: Duration, period: Duration) {
    let mut left = Some(ping);
    while let Some(time) = left {
        pings.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
        left = time.checked_sub(period).filter(|time| !time.is_zero());
    }
}

/// A server with a socket in the file system.
pub struct Fresh {
    /// The server process.
    pub server: Server,
    socket: Socket,
}

/// The path of a socket, removed when this is dropped.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Fresh {
    /// Starts the server with further directives.
    pub fn start(bench: &Bench, spec: &Spec, directives: &[&str]) -> Result<Self> {
        let name = format!("redstart-versus-{}.sock", std::process::id());
        let socket = Socket(std::env::temp_dir().join(name));
        let server = {
            let path = socket.0.to_string_lossy();
            spec.start(bench.cores.server, &[&["--unixsocket", &*path], directives].concat())?
        };
        server.hurry();
        let mut client = server.connect()?;
        // The first deleted value starts the background thread.
        client.must(&[b"SET", b"key", b"value"])?;
        client.must(&[b"UNLINK", b"key"])?;
        Ok(Self { server, socket })
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_the_rounds_is_kept_for_each_figure() {
        let round = |a, b| vec![("a".to_string(), "ms", a, None), ("b".to_string(), "ms", b, None)];
        let mut least = None;
        for (a, b) in [(3.0, 1.0), (2.0, 5.0), (4.0, 2.0)] {
            keep_least(&mut least, round(a, b));
        }
        let values: Vec<f64> = least.unwrap().iter().map(|figure| figure.2).collect();
        assert_eq!(values, [2.0, 1.0]);
    }

    #[test]
    fn pings_that_were_due_during_a_long_one_count_too() {
        let mut pings = Vec::new();
        for micros in [300, 2500, 1000] {
            push_all_due(&mut pings, Duration::from_micros(micros), Duration::from_millis(1));
        }
        assert_eq!(pings, [300_000, 2_500_000, 1_500_000, 500_000, 1_000_000]);
    }

    #[test]
    fn a_way_to_go_names_the_collection() {
        assert!(
            KINDS.iter().flat_map(|kind| kind.ways).all(|way| way.contains(&VICTIM) || way[0] == "FLUSHDB")
        );
    }
}
