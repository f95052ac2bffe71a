//! CPU time per request of commands on whole collections: intersections and unions of a million, ranges, whole hashes,
//! streams, iterations over the keyspace.
//!
//! The method is that of `workloads.rs`, but each row has its own number of requests, because one request takes a
//! second and another a microsecond. The target is the same for all: one and a half times Redis's efficiency. The bare
//! loop is not measured here, because the kernel's share does not matter for replies of megabytes.

use super::client::{Client, numbered};
use super::load::{Load, Shot};
use super::report::{Report, Target};
use super::servers::Server;
use super::workloads::{Tour, add_row};
use super::{Bench, Result, say};

/// The section of these rows in the report.
const SECTION: &str = "collections";

/// The maximum ratio of CPU time to that of Redis.
const TARGET: f64 = 1.0 / 1.5;

/// The number of elements that one request adds during filling.
const TOGETHER: usize = 100;

/// The second of two collections begins this many tenths into the first, so the two have one tenth in common.
const OVERLAP: usize = 9;

/// One row.
struct Row {
    name: &'static str,
    command: &'static [&'static str],
    extra: &'static [&'static str],
    /// Fills the server with this number of elements.
    fill: fn(&mut Client, usize) -> Result<()>,
    reset: fn(&Server) -> Result<()>,
    /// The divisor of the run's number of requests.
    weight: usize,
    /// Connections, and requests in flight on each.
    load: [usize; 2],
}

/// Many requests in flight, as at pipeline 16.
const PIPED: [usize; 2] = [50, 16];
/// One request at a time, for requests that take long.
const ALONE: [usize; 2] = [1, 1];

const fn row(
    name: &'static str,
    command: &'static [&'static str],
    fill: fn(&mut Client, usize) -> Result<()>,
    weight: usize,
    load: [usize; 2],
) -> Row {
    Row { name, command, extra: &[], fill, reset: |_| Ok(()), weight, load }
}

static ROWS: [Row; 11] = [
    row("SINTER of two sets of 1M", &["SINTER", "a", "b"], fill_sets, 100_000, ALONE),
    Row {
        extra: &["--set-max-intset-entries", "100000000"],
        ..row("SINTER of two intsets of 1M", &["SINTER", "a", "b"], fill_intsets, 100_000, ALONE)
    },
    row(
        "ZUNIONSTORE of two sorted sets of 1M",
        &["ZUNIONSTORE", "c", "2", "a", "b"],
        fill_sorted_sets,
        500_000,
        ALONE,
    ),
    row(
        "ZRANGE, 100 from the middle of 1M",
        &["ZRANGE", "a", "500000", "500099"],
        fill_sorted_sets,
        20,
        PIPED,
    ),
    row("HGETALL of 1,000 fields", &["HGETALL", "hash"], fill_hash, 50, PIPED),
    row("LRANGE 0 599", &["LRANGE", "list", "0", "599"], fill_list, 50, PIPED),
    Row {
        reset: |server| server.connect()?.must(&[b"DEL", b"stream"]).map(drop),
        ..row("XADD", &["XADD", "stream", "*", "field", "value"], |_, _| Ok(()), 1, PIPED)
    },
    Row {
        reset: renew_group,
        ..row(
            "XREADGROUP of 10",
            &["XREADGROUP", "GROUP", "group", "consumer", "COUNT", "10", "STREAMS", "stream", ">"],
            fill_stream,
            20,
            PIPED,
        )
    },
    row("KEYS of 1M, a hundredth matches", &["KEYS", "key:*42"], fill_keys, 100_000, ALONE),
    row("SCAN of 1M, 10 at a time", &["SCAN", "__rand_int__"], fill_keys, 5, PIPED),
    row("SCAN of 1M, 1,000 at a time", &["SCAN", "__rand_int__", "COUNT", "1000"], fill_keys, 200, PIPED),
];

/// Measures all chosen rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let load = Load::new(bench.cores.load)?;
    let elements = bench.scale.keys_piped;
    for row in ROWS.iter().filter(|row| bench.chosen(SECTION, row.name)) {
        say(&format!("{SECTION}: {}", row.name));
        let [clients, pipeline] = row.load;
        let shot = Shot {
            requests: (bench.scale.requests / row.weight).max(clients * pipeline),
            pipeline,
            clients,
            keyspace: elements,
            command: row.command,
        };
        let fill = |client: &mut Client| (row.fill)(client, elements);
        let tour = Tour { bare_reply: None, extra: row.extra, fill: &fill, reset: &row.reset, shot };
        let visits = tour.run(bench, &load)?;
        add_row(report, SECTION, row.name, Some(Target::OfRedis(TARGET)), &visits);
    }
    Ok(())
}

/// Queues requests of `command key`, each with [`TOGETHER`] elements of `range`.
fn fill(
    client: &mut Client,
    command: &[&[u8]],
    range: std::ops::Range<usize>,
    words: impl Fn(usize) -> Vec<Vec<u8>>,
) -> Result<()> {
    let numbers: Vec<usize> = range.collect();
    for chunk in numbers.chunks(TOGETHER) {
        let elements: Vec<Vec<u8>> = chunk.iter().flat_map(|number| words(*number)).collect();
        let mut request = command.to_vec();
        request.extend(elements.iter().map(Vec::as_slice));
        client.queue(&request)?;
    }
    Ok(())
}

/// Queues the elements of `a` and then those of `b`, whose numbers begin later.
fn fill_two(
    client: &mut Client,
    elements: usize,
    command: &[u8],
    words: impl Fn(usize) -> Vec<Vec<u8>>,
) -> Result<()> {
    fill(client, &[command, b"a"], 0..elements, &words)?;
    let first = elements / 10 * OVERLAP;
    fill(client, &[command, b"b"], first..first + elements, &words)
}

fn fill_sets(client: &mut Client, elements: usize) -> Result<()> {
    fill_two(client, elements, b"SADD", |number| vec![numbered("element:", number)])
}

fn fill_intsets(client: &mut Client, elements: usize) -> Result<()> {
    fill_two(client, elements, b"SADD", |number| vec![number.to_string().into_bytes()])
}

fn fill_sorted_sets(client: &mut Client, elements: usize) -> Result<()> {
    fill_two(client, elements, b"ZADD", |number| {
        vec![number.to_string().into_bytes(), numbered("element:", number)]
    })
}

fn fill_hash(client: &mut Client, _: usize) -> Result<()> {
    fill(client, &[b"HSET", b"hash"], 0..1000, |number| vec![numbered("field:", number), b"xxx".to_vec()])
}

fn fill_list(client: &mut Client, _: usize) -> Result<()> {
    fill(client, &[b"RPUSH", b"list"], 0..1000, |_| vec![b"xxx".to_vec()])
}

fn fill_keys(client: &mut Client, elements: usize) -> Result<()> {
    fill(client, &[b"MSET"], 0..elements, |number| vec![numbered("key:", number), b"xxx".to_vec()])
}

fn fill_stream(client: &mut Client, elements: usize) -> Result<()> {
    (0..elements).try_for_each(|_| client.queue(&[b"XADD", b"stream", b"*", b"field", b"value"]))
}

/// Deletes and creates the group, so that it has read nothing.
fn renew_group(server: &Server) -> Result<()> {
    let mut client = server.connect()?;
    client.must(&[b"XGROUP", b"DESTROY", b"stream", b"group"])?;
    client.must(&[b"XGROUP", b"CREATE", b"stream", b"group", b"0"])?;
    Ok(())
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::each_is_named_once;
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        each_is_named_once(ROWS.iter().map(|row| row.name));
    }
}
