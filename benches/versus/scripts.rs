//! CPU time per request of scripts and functions that call a command or a few, as most scripts do.
//!
//! The method is that of `workloads.rs` at pipeline 16. A request runs a script that calls commands, so the figure is
//! mostly the cost of the script around its commands. `benches/lua.rs` measures the speed of the language itself.

use redstart::codec::hex;
use redstart::codec::sha1::sha1;

use super::client::{Client, numbered};
use super::load::{Load, Shot};
use super::report::{Report, Target};
use super::workloads::{Tour, add_row};
use super::{Bench, Result, say};

/// The name of this section on the command line and in the report.
pub const SECTION: &str = "scripts";

/// The maximum ratio of CPU time to that of Redis.
const TARGET: f64 = 0.6;

/// Connections, and requests in flight on each.
const CLIENTS: usize = 50;
const PIPELINE: usize = 16;

const KEY: &str = "key:__rand_int__";
const COUNTER: &str = "counter:__rand_int__";
const LOCK: &str = "lock:__rand_int__";

const ONE: &str = "return 1";
const GET: &str = "return redis.call('get', KEYS[1])";

/// Counts a request in a time window that begins with the first. Returns whether it is allowed.
const LIMITER: &str = "local count = redis.call('INCR', KEYS[1])\n\
                       if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end\n\
                       if count > tonumber(ARGV[2]) then return 0 end\n\
                       return 1";

/// Takes a lock and releases it if the caller still owns it, which applications usually do in two scripts.
const LOCKED: &str = "if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end\n\
                      if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end\n\
                      return 0";

/// Many commands, and tables.
const HASH: &str = "local all = {}\n\
                    for i = 1, 20 do\n\
                      local n = redis.call('HINCRBY', KEYS[1], 'field:' .. i, i)\n\
                      all[#all + 1] = n\n\
                    end\n\
                    return all";

/// The functions of the `FCALL` rows.
const LIBRARY: &str = "#!lua name=bench\n\
                       redis.register_function('bench_get', function(keys) return redis.call('get', keys[1]) end)\n\
                       redis.register_function('bench_limiter', function(keys, args)\n\
                         local count = redis.call('INCR', keys[1])\n\
                         if count == 1 then redis.call('EXPIRE', keys[1], args[1]) end\n\
                         if count > tonumber(args[2]) then return 0 end\n\
                         return 1\n\
                       end)";

/// The way in which a row calls.
enum Call {
    /// `EVALSHA` of this script.
    Digest(&'static str),
    /// `EVAL` of this script.
    Source(&'static str),
    /// `FCALL` of this function.
    Function(&'static str),
}

/// One row.
struct Row {
    name: &'static str,
    call: Call,
    /// The number of keys, keys and arguments.
    arguments: &'static [&'static str],
    target: Option<f64>,
    /// The divisor of the run's number of requests.
    weight: usize,
}

const fn row(
    name: &'static str,
    call: Call,
    arguments: &'static [&'static str],
    target: Option<f64>,
    weight: usize,
) -> Row {
    Row { name, call, arguments, target, weight }
}

static ROWS: [Row; 8] = [
    row("EVALSHA of `return 1`", Call::Digest(ONE), &["0"], None, 2),
    row("EVALSHA of a GET", Call::Digest(GET), &["1", KEY], Some(TARGET), 2),
    row("EVAL of a GET", Call::Source(GET), &["1", KEY], None, 2),
    row("FCALL of a GET", Call::Function("bench_get"), &["1", KEY], Some(TARGET), 2),
    row(
        "EVALSHA of a rate limiter (INCR, EXPIRE, compare)",
        Call::Digest(LIMITER),
        &["1", COUNTER, "10000", "100"],
        Some(TARGET),
        4,
    ),
    row(
        "FCALL of a rate limiter",
        Call::Function("bench_limiter"),
        &["1", COUNTER, "10000", "100"],
        Some(TARGET),
        4,
    ),
    row(
        "EVALSHA of a lock (SET NX, GET, compare, DEL)",
        Call::Digest(LOCKED),
        &["1", LOCK, "0123456789abcdef", "30000"],
        None,
        4,
    ),
    row("EVALSHA of 20 HINCRBY, their sums as reply", Call::Digest(HASH), &["1", "hash"], None, 20),
];

impl Row {
    /// The words of the request.
    fn words(&self) -> Vec<String> {
        let (command, what) = match self.call {
            Call::Digest(script) => ("EVALSHA", hex(&sha1(script.as_bytes()))),
            Call::Source(script) => ("EVAL", script.to_string()),
            Call::Function(name) => ("FCALL", name.to_string()),
        };
        let arguments = self.arguments.iter().map(ToString::to_string);
        [command.to_string(), what].into_iter().chain(arguments).collect()
    }

    /// Loads the script or the function, and sets the keys.
    fn fill(&self, client: &mut Client, keys: usize) -> Result<()> {
        match self.call {
            Call::Digest(script) => drop(client.must(&[b"SCRIPT", b"LOAD", script.as_bytes()])?),
            Call::Source(_) => {}
            Call::Function(_) => drop(client.must(&[b"FUNCTION", b"LOAD", LIBRARY.as_bytes()])?),
        }
        if self.arguments.contains(&KEY) {
            for number in 0..keys {
                client.queue(&[b"SET", &numbered("key:", number), b"xxx"])?;
            }
        }
        Ok(())
    }
}

/// The request of [`GET`].
pub fn evalsha_of_a_get() -> Vec<String> {
    ["EVALSHA", &hex(&sha1(GET.as_bytes())), "1", KEY].map(String::from).into()
}

/// Loads the script of [`evalsha_of_a_get`].
pub fn load_get(client: &mut Client) -> Result<()> {
    client.must(&[b"SCRIPT", b"LOAD", GET.as_bytes()]).map(drop)
}

/// Measures all chosen rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let load = Load::new(bench.cores.load)?;
    let keys = bench.scale.keys_piped;
    for row in ROWS.iter().filter(|row| bench.chosen(SECTION, row.name)) {
        say(&format!("{SECTION}: {}", row.name));
        let words = row.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let shot = Shot {
            requests: (bench.scale.requests / row.weight).max(CLIENTS * PIPELINE),
            pipeline: PIPELINE,
            clients: CLIENTS,
            keyspace: keys,
            command: &words,
        };
        let fill = |client: &mut Client| row.fill(client, keys);
        let tour = Tour { bare_reply: None, extra: &[], fill: &fill, reset: &|_| Ok(()), shot };
        let visits = tour.run(bench, &load)?;
        add_row(report, SECTION, row.name, row.target.map(Target::OfRedis), &visits);
    }
    Ok(())
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::each_is_named_once;
    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_words_that_the_load_passes_on() {
        each_is_named_once(ROWS.iter().map(|row| row.name));
        for row in &ROWS {
            assert!(row.words().len() > 2, "{}", row.name);
        }
    }
}
