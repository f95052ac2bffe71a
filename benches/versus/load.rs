//! The load: one run of `redis-benchmark` against one server, and its cost for the server.
//!
//! The client is often the bottleneck, so its throughput says little about the server. The figure is therefore the
//! server's CPU time over the run, from the kernel, divided by the requests; throughput and latencies are reported beside
//! it. Connecting and closing the 50 clients is part of the run, for all servers alike.
//!
//! Commands are given in full rather than by the names of `-t`: some of those run more than one test.

use super::Result;
use super::servers::{Server, find};
use super::system::Pinned;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The timeout for one run, after which the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// The load generator of Redis, pinned to some cores.
#[derive(Debug)]
pub struct Load {
    program: PathBuf,
    cores: Vec<usize>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Shot<'a> {
    /// Requests to send; rounded up to whole pipelines.
    pub requests: usize,
    /// Requests in flight on each connection.
    pub pipeline: usize,
    /// Connections.
    pub clients: usize,
    /// The range of `__rand_int__`.
    pub keyspace: usize,
    /// The command and its arguments.
    pub command: &'a [&'a str],
}

/// The figures of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visit {
    /// Microseconds of the server's CPU time per request.
    pub cpu_us: f64,
    /// The time that the server was ready but something else ran on its core, over its CPU time.
    pub disturbed: f64,
    /// The load's report.
    pub seen: Seen,
}

/// The report of `redis-benchmark` for a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Requests per second.
    pub rps: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of latency in milliseconds.
    pub p99_ms: f64,
}

impl Load {
    /// Finds `redis-benchmark` in `PATH`, for one core.
    pub fn new(core: usize) -> Result<Self> {
        Self::over(&[core])
    }

    /// The same for some cores.
    pub fn over(cores: &[usize]) -> Result<Self> {
        let program = find("redis-benchmark")
            .ok_or("redis-benchmark is not installed; on Debian: apt-get install redis-tools redis-server")?;
        Ok(Self { program, cores: cores.to_vec() })
    }

    /// Runs one shot against `server` and measures it.
    pub fn visit(&self, server: &Server, shot: &Shot) -> Result<Visit> {
        let requests = shot.requests.next_multiple_of(shot.pipeline);
        let before = server.settled_cpu_time()?;
        let seen = self.fire(server.port, shot)?;
        let used = server.settled_cpu_time()?.since(before);
        Ok(Visit {
            cpu_us: used.run_ns as f64 / 1000.0 / requests as f64,
            disturbed: used.wait_ns as f64 / used.run_ns.max(1) as f64,
            seen,
        })
    }

    /// Runs one shot.
    pub fn fire(&self, port: u16, shot: &Shot) -> Result<Seen> {
        let requests = shot.requests.next_multiple_of(shot.pipeline);
        let mut command = Command::new(&self.program);
        command.args(["-h", "127.0.0.1", "--csv"]);
        let options = [
            ("-p", usize::from(port)),
            ("-c", shot.clients),
            ("-n", requests),
            ("-P", shot.pipeline),
            ("-r", shot.keyspace),
        ];
        for (option, value) in options {
            command.args([option, &value.to_string()]);
        }
        // Both outputs are a few lines, less than a pipe holds, so they can be read after the exit.
        command.args(shot.command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Pinned::spawn(&mut command, &self.cores)?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = process.child().try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                return Err(format!("redis-benchmark {:?} does not exit", shot.command).into());
            }
            sleep(Duration::from_millis(5));
        };
        let (mut output, mut complaints) = (String::new(), String::new());
        process.child().stdout.take().ok_or("no output")?.read_to_string(&mut output)?;
        process.child().stderr.take().ok_or("no output")?.read_to_string(&mut complaints)?;
        if complaints.contains("Error from server") || output.contains("Error from server") {
            return Err(
                format!("{:?}: {}", shot.command, complaints.lines().next().unwrap_or(&output)).into()
            );
        }
        parse_csv(&output)
            .ok_or_else(|| format!("redis-benchmark exited with {status}:\n{output}{complaints}").into())
    }
}

/// Reads the last line of `redis-benchmark --csv` by the names in its heading. Text before the heading (warnings about a
/// server without CONFIG) is skipped.
pub fn parse_csv(output: &str) -> Option<Seen> {
    let mut lines = output.lines().skip_while(|line| !line.starts_with("\"test\","));
    let names = fields(lines.next()?);
    let values = fields(lines.last()?);
    let value = |name: &str| {
        let index = names.iter().position(|field| field == name)?;
        // A command may contain a quote or comma itself, so the figures are counted from the end.
        let index = values.len().checked_sub(names.len() - index)?;
        values[index].parse().ok()
    };
    Some(Seen { rps: value("rps")?, p50_ms: value("p50_latency_ms")?, p99_ms: value("p99_latency_ms")? })
}

/// The quoted fields of a line.
fn fields(line: &str) -> Vec<String> {
    line.trim().trim_matches('"').split("\",\"").map(String::from).collect()
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    const HEADING: &str = r#""test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms""#;

    #[test]
    fn csv_gives_throughput_and_latencies() {
        let output = format!(
            "{HEADING}\n{}\n",
            r#""get key:__rand_int__","55710.31","0.578","0.040","0.559","0.839","1.063","4.535""#
        );
        assert_eq!(parse_csv(&output), Some(Seen { rps: 55710.31, p50_ms: 0.559, p99_ms: 1.063 }));
    }

    #[test]
    fn csv_is_found_behind_warnings_and_the_last_line_counts() {
        let output = format!(
            "WARNING: Could not fetch server CONFIG\n{HEADING}\n{}\n{}\n",
            r#""LPUSH (needed to benchmark LRANGE)","512820.50","1.083","0.232","0.983","1.823","4.415","4.511""#,
            r#""a "quoted","name"","114942.53","5.120","1.040","5.071","9.111","10.447","11.343""#
        );
        assert_eq!(parse_csv(&output), Some(Seen { rps: 114_942.53, p50_ms: 5.071, p99_ms: 10.447 }));
    }

    #[test]
    fn output_without_figures_is_refused() {
        assert_eq!(parse_csv(""), None);
        assert_eq!(parse_csv(HEADING), None);
        assert_eq!(parse_csv("Could not connect to Redis at 127.0.0.1:1: Connection refused\n"), None);
        assert_eq!(parse_csv(&format!("{HEADING}\n\"x\",\"nan?\"\n")), None);
    }
}
