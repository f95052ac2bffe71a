//! Forked snapshots of a large keyspace: the pause of `fork`, the memory that the kernel copies when keys are written
//! while the child runs, and the memory at rest.
//!
//! Each server is filled with keys of 16 bytes and values of 32, and serves GETs and SETs of random keys. Then it saves
//! in the background while a client overwrites random keys as fast as it can, a fixed number of times; then the same
//! with large values. Half as many strings, and as many elements of collections, are then only read until the save is
//! complete, under both kinds of policy that record accesses. The server itself reports the pause and the copies
//! (`latest_fork_usec`, `rdb_last_cow_size`).
//!
//! One server runs at a time, so that the memory suffices. The dump is written to the temporary directory and removed.

use super::client::{Client, Reply, numbered};
use super::load::{Load, Shot};
use super::report::{Report, Row, Target};
use super::servers::{DUMP, Server, Spec};
use super::stats::{grouped, median};
use super::{Bench, Result, say};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The section of these rows in the report.
const SECTION: &str = "fork";

/// The size of values in bytes.
const VALUE_BYTES: usize = 32;

/// The number of keys overwritten while a child runs.
const OVERWRITTEN: usize = 200_000;

/// The size of large values in bytes; and the step in which they are overwritten, a prime.
const LARGE_BYTES: usize = 100_000;
const STRIDE: usize = 7919;

/// The policies that record accesses.
const POLICIES: [&str; 2] = ["allkeys-lru", "allkeys-lfu"];

/// The maximum of copies while keys are only read, in percent of the data.
const READ_PERCENT: f64 = 2.0;

/// The number of elements of a collection that is read.
const ELEMENTS: usize = 1000;

/// The number of reads between two checks whether the child has exited.
const READS: usize = 10_000;

/// The timeout for a child.
const PATIENCE: Duration = Duration::from_secs(300);

/// The figures of one server.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// The pause of each save.
    pauses_ms: Vec<f64>,
    copied_mb: Vec<f64>,
    saved_s: Vec<f64>,
    /// Resident bytes per key before the first save.
    key_bytes: f64,
    get_us: Vec<f64>,
    set_us: Vec<f64>,
    /// The same with large values.
    large_copied_mb: Vec<f64>,
}

/// Removes the dump, which the next server would load.
pub fn remove_dump() {
    let _ = std::fs::remove_file(std::env::temp_dir().join(DUMP));
}

/// Measures all servers, one after the other, and adds the rows to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if bench.chosen(SECTION, "writes") {
        writes(bench, report)?;
    }
    for policy in POLICIES {
        let name = format!("copied while keys are only read, {policy}");
        if !bench.chosen(SECTION, &name) {
            continue;
        }
        let mut values = vec![None];
        for spec in &bench.specs {
            let copied = only_read(bench, spec, policy);
            remove_dump();
            values.push(Some(copied?));
        }
        let section = format!("{SECTION}, {} keys and elements", grouped(bench.scale.fork_keys as i64));
        let target = Some(Target::AtMost(READ_PERCENT));
        report.rows.push(Row { section, name, unit: "%", values, target });
    }
    Ok(())
}

fn writes(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut all = Vec::new();
    for spec in &bench.specs {
        let figures = measure(bench, spec).and_then(|mut figures| {
            for _ in 0..bench.scale.rounds {
                remove_dump();
                figures.large_copied_mb.push(large(bench, spec)?);
            }
            Ok(figures)
        });
        // Even after an error. A peer with its own directory leaves its dump there.
        remove_dump();
        all.push(figures?);
    }
    let keys = bench.scale.fork_keys;
    let section = format!("{SECTION}, {} keys", grouped(keys as i64));
    let mut add = |name: String, unit, value: &dyn Fn(&Figures) -> Option<f64>| {
        // The bare loop stores nothing.
        let values = std::iter::once(None).chain(all.iter().map(value)).collect();
        report.rows.push(Row { section: section.clone(), name, unit, values, target: None });
    };
    let of = |list: fn(&Figures) -> &Vec<f64>| move |figures: &Figures| median(list(figures).iter().copied());
    add("pause of the fork".into(), "ms", &of(|figures| &figures.pauses_ms));
    let written = grouped(OVERWRITTEN.min(keys) as i64);
    add(
        format!("copied while {written} random keys are overwritten"),
        "MB",
        &of(|figures| &figures.copied_mb),
    );
    let large = format!("copied while {} values of 100 KB are", grouped(large_values(bench) as i64));
    add(large, "MB", &of(|figures| &figures.large_copied_mb));
    add("BGSAVE".into(), "s", &of(|figures| &figures.saved_s));
    add("resident, a key".into(), "B", &|figures| Some(figures.key_bytes));
    add("GET of random keys, pipeline 16".into(), "µs", &of(|figures| &figures.get_us));
    add("SET of random keys, pipeline 16".into(), "µs", &of(|figures| &figures.set_us));
    Ok(())
}

fn measure(bench: &Bench, spec: &Spec) -> Result<Figures> {
    say(&format!("fork: filling {}", spec.name));
    let server = spec.start(bench.cores.server, &[])?;
    let mut client = server.connect()?;
    client.must(&[b"CONFIG", b"SET", b"save", b""])?;
    let before = server.resident_bytes()?;
    let (keys, value) = (bench.scale.fork_keys, [b'x'; VALUE_BYTES]);
    for number in 0..keys {
        client.queue(&[b"SET", &numbered("key:", number), &value])?;
    }
    client.flush()?;
    let mut figures = Figures {
        key_bytes: (server.resident_bytes()?.saturating_sub(before)) as f64 / keys as f64,
        ..Figures::default()
    };
    let load = Load::new(bench.cores.load)?;
    for _ in 0..bench.scale.rounds {
        say(&format!("fork: {} at rest", spec.name));
        figures.get_us.push(visit(bench, &load, &server, &["GET", "key:__rand_int__"])?);
        let value = "y".repeat(VALUE_BYTES);
        figures.set_us.push(visit(bench, &load, &server, &["SET", "key:__rand_int__", &value])?);
    }
    let mut random = 1u64;
    for _ in 0..bench.scale.rounds {
        say(&format!("fork: {} saves", spec.name));
        let save = save(&mut client, &mut |client| {
            (0..OVERWRITTEN.min(keys)).try_for_each(|_| {
                random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                let number = (random >> 33) as usize % keys;
                client.queue(&[b"SET", &numbered("key:", number), &[b'z'; VALUE_BYTES]])
            })
        })?;
        figures.pauses_ms.push(save.pause_ms);
        figures.copied_mb.push(save.copied_mb);
        figures.saved_s.push(save.seconds);
    }
    Ok(figures)
}

fn visit(bench: &Bench, load: &Load, server: &Server, command: &[&str]) -> Result<f64> {
    let shot = Shot {
        requests: bench.scale.requests,
        pipeline: 16,
        clients: 50,
        keyspace: bench.scale.fork_keys,
        command,
    };
    Ok(load.visit(server, &shot)?.cpu_us)
}

/// Megabytes copied while each of a number of large values is overwritten.
fn large(bench: &Bench, spec: &Spec) -> Result<f64> {
    say(&format!("fork: {} with large values", spec.name));
    let server = spec.start(bench.cores.server, &[])?;
    let mut client = server.connect()?;
    client.must(&[b"CONFIG", b"SET", b"save", b""])?;
    let set = |client: &mut Client, number: usize, byte: u8| {
        client.queue(&[b"SET", &numbered("key:", number), &vec![byte; LARGE_BYTES]])
    };
    let values = large_values(bench);
    (0..values).try_for_each(|number| set(&mut client, number, b'x'))?;
    client.flush()?;
    let save = save(&mut client, &mut |client| {
        // Every value once, in an order that is unrelated to that of the table.
        (0..values).try_for_each(|number| set(client, number * STRIDE % values, b'y'))
    })?;
    Ok(save.copied_mb)
}

/// A type of key that is only read: the command that adds element `n` to key number `k`, and the command that reads it.
struct Readable {
    elements: usize,
    add: fn(&[u8], usize) -> Vec<Vec<u8>>,
    read: fn(&[u8], usize) -> Vec<Vec<u8>>,
}

static READABLE: [Readable; 5] = [
    Readable {
        elements: 1,
        add: |key, _| vec![b"SET".into(), key.into(), vec![b'x'; VALUE_BYTES]],
        read: |key, _| vec![b"GET".into(), key.into()],
    },
    Readable {
        elements: ELEMENTS,
        add: |key, n| vec![b"HSET".into(), key.into(), numbered("field:", n), numbered("", n)],
        read: |key, n| vec![b"HGET".into(), key.into(), numbered("field:", n)],
    },
    Readable {
        elements: ELEMENTS,
        add: |key, n| vec![b"SADD".into(), key.into(), numbered("member:", n)],
        read: |key, n| vec![b"SISMEMBER".into(), key.into(), numbered("member:", n)],
    },
    Readable {
        elements: ELEMENTS,
        add: |key, n| vec![b"ZADD".into(), key.into(), n.to_string().into(), numbered("member:", n)],
        read: |key, n| vec![b"ZSCORE".into(), key.into(), numbered("member:", n)],
    },
    Readable {
        elements: ELEMENTS,
        add: |key, n| vec![b"RPUSH".into(), key.into(), numbered("element:", n)],
        read: |key, n| vec![b"LINDEX".into(), key.into(), n.to_string().into()],
    },
];

/// Memory copied while keys are only read, in percent of the data.
fn only_read(bench: &Bench, spec: &Spec, policy: &str) -> Result<f64> {
    say(&format!("fork: {} reads only, {policy}", spec.name));
    let server = spec.start(bench.cores.server, &["--maxmemory-policy", policy])?;
    let mut client = server.connect()?;
    let empty = used_memory(&mut client)?;
    let send = |client: &mut Client, words: Vec<Vec<u8>>| {
        client.queue(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    // Half of the keys are strings, and one eighth each are elements of one type of collection.
    let share = |kind: &Readable| (bench.scale.fork_keys / if kind.elements == 1 { 2 } else { 8 }).max(1);
    for (index, kind) in READABLE.iter().enumerate() {
        for number in 0..share(kind) {
            let key = numbered(&format!("{index}:"), number / kind.elements);
            send(&mut client, (kind.add)(&key, number % kind.elements))?;
        }
    }
    client.flush()?;
    let data = used_memory(&mut client)? - empty;
    let mut random = 1u64;
    let save = save(&mut client, &mut |client| {
        loop {
            for index in 0..READS {
                let kind = &READABLE[index % READABLE.len()];
                random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                let number = (random >> 33) as usize % share(kind);
                let key = numbered(&format!("{}:", index % READABLE.len()), number / kind.elements);
                send(client, (kind.read)(&key, number % kind.elements))?;
            }
            if field(&info(client)?, "rdb_bgsave_in_progress") == Some(0.0) {
                return Ok(());
            }
        }
    })?;
    Ok(save.copied_mb * 1e6 / data * 100.0)
}

/// The number of large values: a hundred bytes for each key of the other rows.
fn large_values(bench: &Bench) -> usize {
    // Not a multiple of the stride.
    (bench.scale.fork_keys * 100 / LARGE_BYTES).max(1) | 1
}

/// A server's report of a background save.
struct Save {
    pause_ms: f64,
    copied_mb: f64,
    seconds: f64,
}

/// Saves in the background, and calls `write` meanwhile.
fn save(client: &mut Client, write: &mut dyn FnMut(&mut Client) -> Result<()>) -> Result<Save> {
    let begin = Instant::now();
    client.must(&[b"BGSAVE"])?;
    write(client)?;
    client.flush()?;
    loop {
        let info = info(client)?;
        if field(&info, "rdb_bgsave_in_progress") == Some(0.0) {
            if !info.contains("rdb_last_bgsave_status:ok") {
                return Err("a save in the background has failed".into());
            }
            let figure = |name| field(&info, name).ok_or("INFO lacks figures of the fork");
            return Ok(Save {
                pause_ms: figure("latest_fork_usec")? / 1e3,
                copied_mb: figure("rdb_last_cow_size")? / 1e6,
                seconds: begin.elapsed().as_secs_f64(),
            });
        }
        if begin.elapsed() > PATIENCE {
            return Err("a save in the background does not end".into());
        }
        sleep(Duration::from_millis(20));
    }
}

/// The text of INFO.
pub fn info(client: &mut Client) -> Result<String> {
    match client.must(&[b"INFO"])? {
        Reply::Bulk(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        other => Err(format!("INFO returned {other:?}").into()),
    }
}

/// `used_memory`, in bytes.
pub fn used_memory(client: &mut Client) -> Result<f64> {
    field(&info(client)?, "used_memory").ok_or_else(|| "INFO lacks used_memory".into())
}

/// A number in the text of INFO.
pub fn field(info: &str, name: &str) -> Option<f64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# Stats\r\nlatest_fork_usec_x:7\r\nlatest_fork_usec:1234\r\nrole:master\r\n";
        assert_eq!(field(info, "latest_fork_usec"), Some(1234.0));
        assert_eq!(field(info, "role"), None);
        assert_eq!(field(info, "latest"), None);
    }
}
