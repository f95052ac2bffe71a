//! Server processes for tests: the binary under test, and `redis-server` to compare with.
//!
//! Every server runs in a temporary directory of its own, which also has its output, listens on a free port, and dies
//! with the [`Server`] value. A test that fails keeps the directory and prints the end of the log.

use super::client::Client;
use super::{DEADLINE, eventually};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// The binary under test.
pub fn subject_binary() -> PathBuf {
    std::env::var_os("REDSTART_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_redstart")), PathBuf::from)
}

/// The number of threads with which the binary under test serves clients, if the tests set it: `REDSTART_IO_THREADS=4`
/// tests I/O threads. All of them are in use from the start.
fn io_threads() -> Option<String> {
    std::env::var("REDSTART_IO_THREADS").ok()
}

/// Whether the tests run against Redis itself, to check the tests.
pub fn subject_is_redis() -> bool {
    subject_binary().file_name().is_some_and(|name| name == "redis-server")
}

/// The name of a config file in a server's directory.
const CONFIG: &str = "redstart.conf";

/// The Redis to compare with: `redis-server` of the search path, or the binary in `REDIS_BIN`.
pub fn redis_binary() -> PathBuf {
    std::env::var_os("REDIS_BIN").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// Whether it is Valkey, whose texts and some replies differ from those of Redis.
pub fn redis_is_valkey() -> bool {
    let binary = redis_binary();
    binary.file_name().is_some_and(|name| name.to_string_lossy().contains("valkey"))
}

/// A port that was free a moment ago. It is below the kernel's ephemeral range, so no outgoing connection takes it
/// before the server does, and above the numbers of hash slots, so that no slot in a reply looks like a port.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 16_384 + (std::process::id().wrapping_mul(97).wrapping_add(step) % 15_616) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A directory that is removed when the value is dropped.
pub struct Directory(PathBuf);

impl Directory {
    /// Makes a new one. A killed test, whose process ID is used again, may have left one of the same name.
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("redstart-test-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("a temporary directory");
                    return Directory(path);
                }
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(self.join("output.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("--- kept {}, end of its log:\n{end}\n---", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A child process that is killed when the value is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The settings for starting a server.
pub struct Launch {
    binary: PathBuf,
    directory: Directory,
    has_config: bool,
    flags: Vec<String>,
    stdin: Option<String>,
    environment: Vec<(String, String)>,
    inherits_environment: bool,
    /// Options of `ulimit` with their values.
    limits: Vec<(&'static str, u64)>,
    port: u16,
}

impl Launch {
    /// The binary under test, with only the flags for its directory and port.
    pub fn subject() -> Launch {
        Launch::of(subject_binary())
    }

    /// Redis, the reference.
    pub fn redis() -> Launch {
        Launch::of(redis_binary())
    }

    fn of(binary: PathBuf) -> Launch {
        let (directory, port) = (Directory::new(), free_port());
        Launch {
            binary,
            directory,
            has_config: false,
            flags: Vec::new(),
            stdin: None,
            environment: Vec::new(),
            inherits_environment: true,
            limits: Vec::new(),
            port,
        }
    }

    /// Adds arguments to the command line, as in `flags("--timeout 1")`; `''` is an empty argument.
    #[must_use]
    pub fn flags(mut self, words: &str) -> Launch {
        let words = words.split_whitespace().map(|word| if word == "''" { "" } else { word });
        self.flags.extend(words.map(String::from));
        self
    }

    /// Removes the last `words` arguments of the command line.
    #[must_use]
    pub fn without_flags(mut self, words: usize) -> Launch {
        self.flags.truncate(self.flags.len() - words);
        self
    }

    /// Uses a config file of this text (`redstart.conf` in the server's directory). A restarted server reads the file
    /// as the first one has left it.
    #[must_use]
    pub fn config(mut self, text: &str) -> Launch {
        self.has_config = true;
        self.file(CONFIG, text)
    }

    /// Writes another file into the server's directory before it starts.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Launch {
        fs::write(self.directory.join(name), text).expect("write a file for the server");
        self
    }

    /// Adds a variable to the server's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Launch {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// Removes the environment of the tests.
    #[must_use]
    pub fn without_environment(mut self) -> Launch {
        self.inherits_environment = false;
        self
    }

    /// Limits the address space of the server (`ulimit -v`), or removes the limit.
    #[must_use]
    pub fn address_space(mut self, mebibytes: Option<u64>) -> Launch {
        self.limits.retain(|(option, _)| *option != "-v");
        self.limits.extend(mebibytes.map(|mebibytes| ("-v", mebibytes << 10)));
        self
    }

    /// Starts the server with this soft limit of open files (`ulimit -S -n`).
    #[must_use]
    pub fn open_files(mut self, limit: u64) -> Launch {
        self.limits.push(("-Sn", limit));
        self
    }

    /// Reads the configuration from standard input (`-`), which has this text.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Launch {
        self.stdin = Some(text.to_string());
        self
    }

    /// The port on which the server will listen.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a server on its port and waits until it replies.
    pub fn start(self) -> Server {
        let (server, ready) = self.start_somewhere();
        ready.unwrap_or_else(|log| panic!("the server did not start:\n{log}"));
        server
    }

    /// Starts a server on its port and waits until it replies or has exited.
    pub fn start_or_exit(self) -> Server {
        self.start_somewhere().0
    }

    /// Starts a server on a free port and waits until it is ready. An error is the log of one that exited.
    fn start_somewhere(mut self) -> (Server, Result<(), String>) {
        for _ in 0..20 {
            let child = self.spawn(true);
            let mut server = Server { child, launch: self };
            let ready = server.wait_ready();
            // Another process took the port between our check and the server's bind.
            if !ready.as_ref().is_err_and(|log| log.contains("Address already in use")) {
                return (server, ready);
            }
            self = server.stop();
            self.port = free_port();
        }
        panic!("found no free port");
    }

    /// Starts the process and returns at once, without a port; the flags have to set one.
    pub fn start_unlistened(self) -> Server {
        Server { child: self.spawn(false), launch: self }
    }

    /// Waits for a reply on the port of this launch, from any process: for flags that make the server fork.
    pub fn wait_for_answer(&self) -> Client {
        eventually("a reply on the port", || Client::tcp(self.port).ok())
    }

    /// Runs the binary until it exits. Returns the exit status and the output.
    pub fn run_to_exit(self) -> (ExitStatus, String) {
        let mut server = self.start_unlistened();
        let status = server.wait_exit();
        (status, server.log())
    }

    fn spawn(&self, listen: bool) -> Process {
        let mut command = if self.limits.is_empty() {
            Command::new(&self.binary)
        } else {
            let limits = self.limits.iter().map(|(option, value)| format!("ulimit {option} {value} && "));
            let mut shell = Command::new("sh");
            shell.args(["-c", &(limits.collect::<String>() + "exec \"$@\""), "sh"]);
            shell.arg(&self.binary);
            shell
        };
        if self.has_config {
            command.arg(self.directory.join(CONFIG));
        }
        if self.stdin.is_some() {
            command.arg("-");
        }
        if listen {
            command.args(["--port", &self.port.to_string()]);
        }
        command.args(["--dir", self.directory.path().to_str().expect("a path of UTF-8"), "--save", ""]);
        if let Some(count) =
            io_threads().filter(|_| listen && !self.has_config && self.binary == subject_binary())
        {
            command.args(["--io-threads", &count, "--io-threads-always-active", "yes"]);
        }
        command.args(&self.flags);
        let output = File::create(self.directory.join("output.log")).expect("create the log");
        command.stdout(output.try_clone().expect("clone")).stderr(output);
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.current_dir(self.directory.path());
        if !self.inherits_environment {
            command.env_clear();
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("cannot run {}: {e}", self.binary.display()));
        if let (Some(text), Some(mut pipe)) = (&self.stdin, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).expect("write to the server's standard input");
        }
        Process(child)
    }
}

/// A running server.
pub struct Server {
    child: Process,
    launch: Launch,
}

impl Server {
    /// Starts the binary under test with these flags, and waits until it is ready.
    pub fn start(flags: &str) -> Server {
        Launch::subject().flags(flags).start()
    }

    /// Kills the process. Returns its launch, which can start another one in the same directory.
    pub fn stop(self) -> Launch {
        self.launch
    }

    pub fn port(&self) -> u16 {
        self.launch.port
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub fn directory(&self) -> &Path {
        self.launch.directory.path()
    }

    pub fn client(&self) -> Client {
        Client::tcp(self.port()).expect("connect")
    }

    /// A client, if the server accepts one now.
    pub fn try_client(&self) -> Option<Client> {
        Client::tcp(self.port()).ok()
    }

    /// A client connected to the socket `name` in the server's directory.
    pub fn unix_client(&self, name: &str) -> Client {
        Client::unix(&self.directory().join(name)).expect("connect to the socket")
    }

    /// The server's output so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.launch.directory.join("output.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log has a line with `text`.
    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("'{text}' in the log"), || self.log().contains(text).then_some(()));
    }

    /// Waits until our process replies on the port. Another process there does not count.
    fn wait_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            if self.child.0.try_wait().expect("wait").is_some() {
                return Err(self.log());
            }
            if let Ok(mut client) = Client::tcp(self.port())
                && let Ok(reply) = client.try_call(&["INFO", "server"])
            {
                // A server that requires a password hides its process ID; then it is enough that the process runs.
                let own = format!("process_id:{}\r", self.pid());
                if reply.value.is_error() || reply.value.text().contains(&own) {
                    return Ok(());
                }
            }
            if started.elapsed() > DEADLINE {
                return Err(format!("no reply within {DEADLINE:?}\n{}", self.log()));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.0.try_wait().expect("wait").is_none()
    }

    /// Waits until the process exits.
    pub fn wait_exit(&mut self) -> ExitStatus {
        eventually("the server's exit", || self.child.0.try_wait().expect("wait"))
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid() as i32);
        nix::sys::signal::kill(pid, signal).expect("send a signal to the server");
    }

    /// Resident memory of the server in bytes.
    pub fn resident_bytes(&self) -> u64 {
        super::resident_bytes(self.pid())
    }

    /// The peak of the server's resident memory in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        super::peak_resident_bytes(self.pid())
    }

    /// The soft limit of open files of the process.
    pub fn open_files_limit(&self) -> u64 {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.pid())).expect("its limits");
        let line =
            limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit of open files");
        line.split_whitespace().nth(3).expect("a number").parse().expect("a number")
    }

    /// Changes the soft limit of open files of the running process.
    pub fn limit_open_files(&self, limit: u64) {
        let limit = format!("--nofile={limit}:");
        let status = Command::new("prlimit").args(["--pid", &self.pid().to_string(), &limit]).status();
        assert!(status.expect("util-linux is installed").success());
    }

    /// The number of open file descriptors of the server.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the server's descriptors").count()
    }
}
