//! The process around the server: its log, its supervisor, its title, the files it leaves.

pub mod child;
pub mod log;
pub mod supervisor;
pub mod title;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use log::Log;
use supervisor::{Pulse, Supervisor};

use crate::config::Config;
use crate::sys::file;
use crate::sys::process::Starter;

/// The banner of `always-show-logo`.
pub const LOGO: &str = "      ___
   __( o)>
   \\ <_ )      a redstart, on the wire
 ~~~`--'~~~~~~~~~~~~~~~~~~~~~~~~~~~~~";

/// Warnings about web requests are logged at most once per this time.
const MINUTE_MS: i64 = 60_000;

/// The state of the process: its log, its start and its end.
pub struct Process {
    pub(super) log: Log,
    pub(super) started_ms: i64,
    /// The supervisor to notify of the start and the end.
    pub(super) supervisor: Option<Supervisor>,
    /// The parent process of a daemon, which waits until the daemon is ready.
    pub(super) starter: Option<Starter>,
    /// When to notify the supervisor that the server is alive.
    pulse: Pulse,
    /// The kernel's score of the process before `oom-score-adj` changed it.
    oom_score_before: Option<i32>,
    /// The pid file that this process wrote, to be removed at the end.
    pidfile: Option<PathBuf>,
    /// When a web request was last logged, in Unix milliseconds.
    web_request_logged_ms: i64,
    /// Whether a shutdown was requested.
    pub(super) exit: bool,
}

impl Process {
    /// A process that started at `started_ms`, Unix milliseconds.
    pub fn new(log: Log, started_ms: i64) -> Process {
        Process {
            log,
            started_ms,
            supervisor: None,
            starter: None,
            pulse: Pulse::of_environment(),
            oom_score_before: None,
            pidfile: None,
            web_request_logged_ms: 0,
            exit: false,
        }
    }

    /// Logs the start of the server.
    pub fn announce(&self, config: &Config) {
        if config.always_show_logo {
            LOGO.lines().for_each(|line| self.log.notice(format_args!("{line}")));
        }
        self.log.notice(format_args!(
            "Redstart {} is starting: {} bit, {} mode, port {}, pid {}",
            env!("CARGO_PKG_VERSION"),
            usize::BITS,
            if config.cluster_enabled { "cluster" } else { "standalone" },
            config.first_port(),
            std::process::id()
        ));
        match &config.file {
            Some(path) => self.log.notice(format_args!("Configuration loaded from {}", path.display())),
            None => self.log.notice(format_args!(
                "No config file specified, using the default config. To specify one: redstart /path/to/redstart.conf"
            )),
        }
    }

    /// Logs why the server exits. The parent of a daemon that is starting prints it as well.
    pub fn fatal(&self, why: fmt::Arguments<'_>) {
        self.log.warning(why);
        if self.starter.is_some() {
            let _ = writeln!(io::stderr(), "{why}");
        }
    }

    /// Notifies the log, the supervisor and the parent of a daemon that the server accepts connections.
    pub fn announce_ready(&mut self, config: &Config) {
        if config.port != 0 {
            self.log.notice(format_args!("Ready to accept connections tcp"));
        }
        if !config.unixsocket.is_empty() {
            self.log.notice(format_args!("Ready to accept connections unix"));
        }
        if config.tls_port != 0 {
            self.log.notice(format_args!("Ready to accept connections tls"));
        }
        if config.metrics_port != 0 {
            self.announce_metrics(config);
        }
        if let Some(supervisor) = self.supervisor {
            supervisor.tell_ready(&self.log);
        }
        if let Some(starter) = self.starter.take() {
            starter.ready();
        }
    }

    /// Logs the address at which metrics are served.
    pub fn announce_metrics(&self, config: &Config) {
        match config.metrics_port {
            0 => self.log.notice(format_args!("Metrics are not served any more")),
            port if config.metrics_tls => {
                self.log.notice(format_args!("Ready to serve metrics on port {port}, with TLS"));
            }
            port => self.log.notice(format_args!("Ready to serve metrics on port {port}")),
        }
    }

    /// Writes the pid file if one is configured; a daemon has a default name for it. A failure is logged. It is an
    /// error for a daemon with a configured pid file: the scripts that stop the daemon find it by that file.
    pub fn write_pidfile(&mut self, config: &Config) -> Result<(), String> {
        let path = match (config.pidfile.is_empty(), config.daemonize) {
            (false, _) => config.pidfile.as_path().to_owned(),
            (true, true) => PathBuf::from("/var/run/redis.pid"),
            (true, false) => return Ok(()),
        };
        let text = format!("{}\n", std::process::id());
        match file::replace(&path, text.as_bytes()) {
            Ok(()) => self.pidfile = Some(path),
            Err(error) => {
                let why = format!("Failed to write PID file {}: {}", path.display(), file::reason(&error));
                self.log.warning(format_args!("{why}"));
                if config.daemonize && !config.pidfile.is_empty() {
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    /// Warns of a web request, once a minute at most.
    pub fn warn_of_web_request(&mut self, now_ms: i64, client: &str) {
        if now_ms - self.web_request_logged_ms >= MINUTE_MS {
            self.web_request_logged_ms = now_ms;
            self.log.warning(format_args!(
                "Possible SECURITY ATTACK: a client speaks HTTP (POST or Host:). Connection aborted: {client}"
            ));
        }
    }

    /// Begins the shutdown: notifies the supervisor and removes the pid file.
    pub fn begin_shutdown(&mut self) {
        if let Some(supervisor) = self.supervisor {
            supervisor.tell_stopping(&self.log);
        }
        if let Some(path) = self.pidfile.take() {
            self.log.notice(format_args!("Removing the pid file."));
            let _ = std::fs::remove_file(path);
        }
    }
}
