//! The compared servers: their command lines, processes and resources.
//!
//! Every server is measured from outside, with the kernel's counters for its process, so the same code measures all of
//! them and none reports on itself. While one is measured the others are stopped (SIGSTOP): they keep their memory, but
//! none of their timers runs on the shared core.
//!
//! Limits: a server must be one process that listens on `127.0.0.1` and stays in the foreground.

use super::Result;
use super::bare;
use super::client::{Client, Reply};
use super::system::{self, CpuTime, Pinned};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The timeout until a server replies to its first request.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The number of retries of a start if another process has taken the free port in the meantime.
const START_ATTEMPTS: usize = 3;

/// The name of the server with targets.
pub const OWN: &str = "Redstart";

/// The placeholder for the port in a peer's arguments.
const PORT: &str = "{port}";

/// A server that can be started.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The name of its column.
    pub name: String,
    program: PathBuf,
    arguments: Vec<String>,
    /// Whether it understands Redis's directives.
    directed: bool,
}

/// The name of a dump in the temporary directory; only an explicit save creates it.
pub const DUMP: &str = "redstart-versus-none.rdb";

/// The arguments of a server with Redis's directives: no persistence, nothing read from disk, little logging.
fn directives() -> Vec<String> {
    let temporary = std::env::temp_dir().display().to_string();
    let text = [
        "--port",
        PORT,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
        "--loglevel",
        "warning",
        "--dbfilename",
        DUMP,
        "--dir",
        &temporary,
    ];
    text.map(String::from).into()
}

impl Spec {
    /// A server that understands Redis's directives. `program` is a path, or a name in `PATH`.
    pub fn directed(name: &str, program: &str) -> Result<Self> {
        let program = find(program).ok_or_else(|| format!("{program} is not installed"))?;
        Ok(Self { name: name.into(), program, arguments: directives(), directed: true })
    }

    /// Another server from the command line: `NAME=PROGRAM`, or `NAME=PROGRAM ARGUMENTS`. If the arguments contain
    /// `{port}`, which is replaced by the port, they are the complete arguments; otherwise they are directives besides
    /// those of every server.
    pub fn peer(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').ok_or("a peer is given as NAME=PROGRAM")?;
        let mut words = command.split_ascii_whitespace().map(String::from);
        let mut spec = Self::directed(name, &words.next().ok_or("a peer needs a program")?)?;
        let arguments: Vec<String> = words.collect();
        if arguments.iter().any(|argument| argument.contains(PORT)) {
            spec.arguments = arguments;
            spec.directed = false;
        } else {
            spec.arguments.extend(arguments);
        }
        Ok(spec)
    }

    /// Whether it is the server with targets, with directives of its own.
    pub fn is_own(&self) -> bool {
        self.name == OWN
    }

    /// Whether it understands Redis's directives.
    pub fn is_directed(&self) -> bool {
        self.directed
    }

    /// The bare loop, which replies to every request with `reply`.
    pub fn bare(reply: &str) -> Result<Self> {
        let arguments = vec![bare::ARGUMENT.into(), PORT.into(), reply.into()];
        Ok(Self { name: "bare loop".into(), program: std::env::current_exe()?, arguments, directed: false })
    }

    /// Starts the server on `core` and waits until it replies. `extra` directives are passed to servers that understand
    /// Redis's.
    pub fn start(&self, core: usize, extra: &[&str]) -> Result<Server> {
        let mut attempt = 1;
        loop {
            match self.try_start(core, extra) {
                Err(_) if attempt < START_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    fn try_start(&self, core: usize, extra: &[&str]) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = scratch_file()?;
        let mut command = Command::new(&self.program);
        command
            .args(self.arguments.iter().map(|argument| argument.replace(PORT, &port.to_string())))
            .args(extra.iter().filter(|_| self.directed))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?);
        let process = Pinned::spawn(&mut command, &[core])
            .map_err(|error| format!("{} does not start: {error}", self.program.display()))?;
        let mut server = Server { port, process };
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if server.greet().is_ok() {
                return Ok(server);
            }
            let ended = server.process.child().try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let what = ended.map_or("does not reply".into(), |status| format!("exited with {status}"));
                return Err(format!("{} {what}; its output:\n{}", self.name, tail_of(log)).into());
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// An unlinked file in the temporary directory, for a child's output, that leaves nothing behind.
fn scratch_file() -> Result<File> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name =
        format!("redstart-versus-{}-{}.log", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The last lines of a server's output.
fn tail_of(mut log: File) -> String {
    let mut text = Vec::new();
    let _ = log.seek(SeekFrom::Start(0)).and_then(|_| log.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Finds a program by path (if it contains a slash) or in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let is_file = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| is_file(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| is_file(path))
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// The port on `127.0.0.1`.
    pub port: u16,
    process: Pinned,
}

impl Server {
    /// A connection to it.
    pub fn connect(&self) -> Result<Client> {
        Client::connect(self.port)
    }

    /// A connection to it with a buffer of `len` bytes.
    pub fn connect_with(&self, len: usize) -> Result<Client> {
        Client::with_buffer(self.port, len)
    }

    fn greet(&self) -> Result<Reply> {
        self.connect()?.ask(&[b"PING"])
    }

    /// Stops it until [`Server::resume`].
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Continues it and waits until its overdue timers have run.
    pub fn resume(&self) -> Result<()> {
        self.process.resume();
        self.settled_cpu_time().map(drop)
    }

    /// The ID of its process, and of its main thread.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Gives its threads a high priority, if that is allowed.
    pub fn hurry(&self) {
        for thread in system::threads(self.process.pid()) {
            system::hurry(thread);
        }
    }

    /// The CPU time of its threads so far.
    pub fn cpu_time(&self) -> Result<CpuTime> {
        Ok(system::cpu_time(self.process.pid())?)
    }

    /// Restricts its threads and later children to `cores`.
    pub fn allow(&self, cores: &[usize]) -> Result<()> {
        let threads = system::threads(self.process.pid());
        Ok(threads.into_iter().try_for_each(|thread| system::allow(thread, cores))?)
    }

    /// Seconds of CPU time, including those of its exited children.
    pub fn cpu_seconds_with_children(&self) -> Result<f64> {
        let ticks: u64 = system::children_ticks(self.process.pid())?.iter().sum();
        Ok(self.cpu_time()?.run_ns as f64 / 1e9 + ticks as f64 / system::ticks_per_second())
    }

    /// Bytes of memory that it and its children use together.
    pub fn family_bytes(&self) -> Result<u64> {
        Ok(system::family_bytes(self.process.pid())?)
    }

    /// Its clock ticks so far in user and in system mode.
    pub fn ticks(&self) -> Result<[u64; 2]> {
        Ok(system::ticks(self.process.pid())?)
    }

    /// Its CPU time once it is idle: work after the last reply belongs to the requests.
    pub fn settled_cpu_time(&self) -> Result<CpuTime> {
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut time = self.cpu_time()?;
        loop {
            sleep(Duration::from_millis(3));
            let now = self.cpu_time()?;
            // The timers of an idle server take some microseconds, which counts as idle.
            if now.since(time).run_ns < 100_000 || Instant::now() > deadline {
                return Ok(now);
            }
            time = now;
        }
    }

    /// Its resident bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        Ok(system::resident_bytes(self.process.pid())?)
    }

    /// Its product and version in `INFO server`, such as `redis 7.0.15`.
    pub fn version(&self) -> Result<String> {
        match self.connect()?.ask(&[b"INFO", b"server"])? {
            Reply::Bulk(text) => Ok(version_in(&String::from_utf8_lossy(&text))),
            _ => Ok("unknown version".into()),
        }
    }
}

/// The product and version in the text of `INFO server`. A product's own field takes precedence over the Redis version
/// with which it is compatible.
fn version_in(info: &str) -> String {
    let fields: Vec<(&str, &str)> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let versions = fields.iter().filter_map(|(name, value)| Some((name.strip_suffix("_version")?, value)));
    let own = versions.clone().find(|(product, _)| !matches!(*product, "redis" | "gcc" | "os" | "monotonic"));
    own.or_else(|| versions.clone().find(|(product, _)| *product == "redis"))
        .map_or("unknown version".into(), |(product, value)| format!("{product} {value}"))
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn version_prefers_the_products_own_field() {
        assert_eq!(version_in("# Server\r\nredis_version:7.0.15\r\ngcc_version:12.2.0\r\n"), "redis 7.0.15");
        assert_eq!(
            version_in("redis_version:7.2.4\r\nserver_name:redstart\r\nredstart_version:0.1.0\r\n"),
            "redstart 0.1.0"
        );
        assert_eq!(version_in("# Server\r\n"), "unknown version");
    }

    #[test]
    fn a_peer_with_arguments_has_its_own_if_they_place_the_port() {
        let plain = Spec::peer("other=sh").unwrap();
        assert_eq!(plain.name, "other");
        assert_eq!(plain.arguments, directives());
        let own = Spec::peer("other=sh -p {port} -q").unwrap();
        assert_eq!((own.arguments, own.directed), (["-p", "{port}", "-q"].map(String::from).into(), false));
        let more = Spec::peer("other=sh --hz 100").unwrap();
        assert_eq!(more.arguments, [directives(), vec!["--hz".into(), "100".into()]].concat());
        assert!(more.directed);
        assert!(Spec::peer("sh").is_err());
        assert!(Spec::peer("other=no-such-program-here").is_err());
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_what_it_said() {
        let spec = Spec {
            name: "broken".into(),
            program: find("sh").unwrap(),
            arguments: vec!["-c".into(), "echo bad directive on {port}; exit 3".into()],
            directed: false,
        };
        let error = spec.start(0, &[]).unwrap_err().to_string();
        assert!(error.contains("bad directive on") && error.contains("exit status: 3"), "{error}");
    }
}
