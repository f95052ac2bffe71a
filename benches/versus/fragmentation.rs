//! Fragmentation: the memory that a server holds for each byte in use after scattered deletions, and the cost of
//! returning the rest to the system.
//!
//! The classic pattern: fill with values of 1 KB, delete nine of ten keys at random, refill with values of 1.5 KB,
//! which do not fit the holes. The figure is resident bytes over `used_memory`, both without those of an empty server.
//! Then `activedefrag` is turned on, with its other directives at their defaults, until resident bytes have stopped
//! falling; meanwhile a client sends a PING every few milliseconds. A server that refuses `activedefrag` has no figures
//! for that part.
//!
//! One server runs at a time, so that the memory suffices.

use super::client::{Client, Reply, numbered};
use super::fork::{field, info};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::stats::grouped;
use super::{Bench, Result, say};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The section of these rows in the report.
pub const SECTION: &str = "fragmentation";

/// The size of values in bytes, before and after.
const BEFORE: usize = 1000;
const AFTER: usize = 1500;

/// One of this many keys is kept, and one is added for each of this many.
const KEPT: u64 = 10;
const NEW: usize = 3;

/// The time between two PINGs.
const GAP: Duration = Duration::from_millis(3);

/// The duration of PINGs before defragmentation.
const QUIET: Duration = Duration::from_secs(5);

/// Resident bytes have stopped falling if they fall by less than a hundredth in this time.
const STILL: Duration = Duration::from_secs(8);

/// The timeout for defragmentation.
const PATIENCE: Duration = Duration::from_secs(300);

/// The figures of one server.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    full: f64,
    sparse: f64,
    refilled: f64,
    quiet_ms: f64,
    after: Option<After>,
}

/// The result of defragmentation.
#[derive(Clone, Copy, Debug)]
struct After {
    ratio: f64,
    seconds: f64,
    cpu_seconds: f64,
    worst_ms: f64,
}

/// Measures all servers, one after the other, and adds the rows to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let all = bench.specs.iter().map(|spec| measure(bench, spec)).collect::<Result<Vec<Figures>>>()?;
    let keys = bench.scale.fragmented_keys;
    let section = format!("{SECTION}, {} keys", grouped(keys as i64));
    let mut add = |name: &str, unit, target, value: &dyn Fn(&Figures) -> Option<f64>| {
        // The bare loop stores nothing.
        let values = std::iter::once(None).chain(all.iter().map(value)).collect();
        report.rows.push(Row { section: section.clone(), name: name.into(), unit, values, target });
    };
    let after = |get: fn(&After) -> f64| move |figures: &Figures| figures.after.as_ref().map(get);
    add("resident over used, filled with 1 KB", "×", None, &|figures| Some(figures.full));
    add("after nine of ten keys were deleted", "×", None, &|figures| Some(figures.sparse));
    add("refilled with 1.5 KB", "×", None, &|figures| Some(figures.refilled));
    add("after `activedefrag`", "×", Some(Target::AtMost(1.4)), &after(|after| after.ratio));
    add("it took", "s", None, &after(|after| after.seconds));
    add("and of CPU time", "s", None, &after(|after| after.cpu_seconds));
    add("worst PING before", "ms", None, &|figures| Some(figures.quiet_ms));
    add("worst PING meanwhile", "ms", None, &after(|after| after.worst_ms));
    Ok(())
}

/// Resident bytes over bytes in use, both without those of an empty server.
struct Scale {
    resident: f64,
    used: f64,
}

impl Scale {
    fn ratio(&self, server: &Server, client: &mut Client) -> Result<f64> {
        let used = field(&info(client)?, "used_memory").ok_or("INFO lacks used_memory")?;
        Ok((server.resident_bytes()? as f64 - self.resident) / (used - self.used))
    }
}

fn fill(client: &mut Client, prefix: &str, keys: usize, len: usize) -> Result<()> {
    let value = vec![b'v'; len];
    (0..keys).try_for_each(|number| client.queue(&[b"SET", &numbered(prefix, number), &value]))?;
    client.flush()
}

/// Deletes all keys except one in [`KEPT`], at random but always the same.
fn thin(client: &mut Client, keys: usize) -> Result<()> {
    let mut random = 1u64;
    for number in 0..keys {
        random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        if !(random >> 33).is_multiple_of(KEPT) {
            client.queue(&[b"DEL", &numbered("key:", number)])?;
        }
    }
    client.flush()
}

fn measure(bench: &Bench, spec: &Spec) -> Result<Figures> {
    say(&format!("{SECTION}: filling {}", spec.name));
    let server = spec.start(bench.cores.server, &[])?;
    let mut client = server.connect()?;
    client.must(&[b"CONFIG", b"SET", b"save", b""])?;
    let used = field(&info(&mut client)?, "used_memory").ok_or("INFO lacks used_memory")?;
    let empty = Scale { resident: server.resident_bytes()? as f64, used };
    let keys = bench.scale.fragmented_keys;
    fill(&mut client, "key:", keys, BEFORE)?;
    let mut figures = Figures { full: empty.ratio(&server, &mut client)?, ..Figures::default() };
    thin(&mut client, keys)?;
    // Waits some seconds, in which the server returns the memory that it can return without defragmentation.
    sleep(STILL);
    figures.sparse = empty.ratio(&server, &mut client)?;
    fill(&mut client, "new:", keys * NEW / 10, AFTER)?;
    sleep(STILL);
    figures.refilled = empty.ratio(&server, &mut client)?;
    let quiet = Instant::now();
    while quiet.elapsed() < QUIET {
        figures.quiet_ms = figures.quiet_ms.max(ping(&mut client)?);
    }
    if matches!(client.ask(&[b"CONFIG", b"SET", b"activedefrag", b"yes"])?, Reply::Error(_)) {
        return Ok(figures);
    }
    say(&format!("{SECTION}: {} moves", spec.name));
    figures.after = Some(defragment(&server, &mut client, &empty)?);
    Ok(figures)
}

/// Milliseconds until the reply to a PING, after a gap.
fn ping(client: &mut Client) -> Result<f64> {
    sleep(GAP);
    let sent = Instant::now();
    client.must(&[b"PING"])?;
    Ok(sent.elapsed().as_secs_f64() * 1e3)
}

/// Waits until resident bytes have stopped falling.
fn defragment(server: &Server, client: &mut Client, empty: &Scale) -> Result<After> {
    let (begin, cpu) = (Instant::now(), server.cpu_time()?);
    let mut least = server.resident_bytes()?;
    // The time of the last fall by a hundredth, and the CPU time until then.
    let (mut reached, mut used) = (begin, cpu);
    let mut worst_ms = 0f64;
    while reached.elapsed() < STILL && begin.elapsed() < PATIENCE {
        worst_ms = worst_ms.max(ping(client)?);
        let now = server.resident_bytes()?;
        if now < least - least / 100 {
            (least, reached, used) = (now, Instant::now(), server.cpu_time()?);
        }
    }
    Ok(After {
        ratio: empty.ratio(server, client)?,
        seconds: (reached - begin).as_secs_f64(),
        cpu_seconds: used.since(cpu).run_ns as f64 / 1e9,
        worst_ms,
    })
}
