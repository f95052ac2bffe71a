//! `CONFIG GET`, `SET`, `REWRITE`, `RESETSTAT`, and the effects of changed directives on the running server.

use crate::command::Args;
use crate::command::error::{Error, Result};
use crate::config::{self, Config, DIRECTIVES, SetError};
use crate::server::Server;
use crate::server::core::memory_limit;
use crate::server::invoke::Caller;
use crate::server::process::title;
use crate::server::startup::{
    RESERVED_FILES, clients_for, open_listeners, use_huge_pages, watch_for_crashes,
};
use crate::sys::{clock, file, process};

impl Server {
    /// `CONFIG GET pattern [pattern …]`: a map from names to values.
    pub(super) fn config_get(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let patterns: Vec<&[u8]> = args.iter_from(2).collect();
        let found = config::get(&self.core.config, &patterns);
        let mut reply = caller.reply(&mut self.net);
        reply.map(found.len());
        for (name, value) in found {
            reply.bulk(name.as_bytes());
            reply.bulk(&value);
        }
        Ok(())
    }

    /// `CONFIG SET name value [name value …]`: sets all of them, or none and returns an error.
    pub(super) fn config_set(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        match self.try_config_set(caller, args) {
            Ok(()) => caller.reply(&mut self.net).ok(),
            Err(error) => return Err(error.message().into()),
        }
        Ok(())
    }

    fn try_config_set(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result<(), SetError> {
        let words: Vec<&[u8]> = args.iter_from(2).collect();
        let local = caller
            .any_client()
            .and_then(|token| self.net.clients.get(token))
            .is_some_and(|c| c.peer().is_loopback());
        let change = config::prepare(&self.core.config, &words, local, self.loading.is_active())?;
        let changed = |name: &str| change.changed.iter().any(|directive| directive.name == name);
        let refuse = |name: &str, why: String| {
            let directive = DIRECTIVES.iter().find(|d| d.name == name).expect("a name of the table");
            SetError::refused(directive, why)
        };
        if changed("maxclients") {
            self.check_open_files(&change.config).map_err(|why| refuse("maxclients", why))?;
        }
        if changed("dir") {
            std::env::set_current_dir(change.config.dir.path())
                .map_err(|error| refuse("dir", format!("Changing directory: {error}")))?;
        }
        let encryption = self.encryption_for(&change)?;
        if let Some(name) =
            ["port", "tls-port", "bind", "metrics-port", "metrics-tls"].into_iter().find(|name| changed(name))
        {
            self.rebind(&change.config).map_err(|why| refuse(name, why))?;
        }
        if changed("oom-score-adj") || changed("oom-score-adj-values") {
            let name = if changed("oom-score-adj") { "oom-score-adj" } else { "oom-score-adj-values" };
            self.process.apply_oom_score(&change.config).map_err(|why| {
                self.process.log.warning(format_args!("{why}"));
                refuse(name, "Failed to set current oom_score_adj. Check server logs.".into())
            })?;
        }
        if changed("crash-log-enabled") || changed("use-exit-on-panic") {
            watch_for_crashes(&change.config)
                .map_err(|error| refuse("crash-log-enabled", error.to_string()))?;
        }
        // A new AOF starts with the other directives set by this command.
        let before = std::mem::replace(&mut self.core.config, change.config);
        if changed("appendonly")
            && let Err(why) = self.switch_log()
        {
            self.core.config = before;
            return Err(refuse("appendonly", why));
        }
        if let Some(encryption) = encryption {
            self.encryption = encryption;
        }
        let retitles = ["proc-title-template", "port", "tls-port", "bind"].into_iter().any(changed);
        for directive in &change.changed {
            if let Some(why) = directive.effect.why() {
                self.process
                    .log
                    .warning(format_args!("The directive '{}' has no effect: {why}", directive.name));
            }
        }
        if change.changed.iter().any(|directive| directive.name.contains("defrag")) {
            self.defrag.reconsider();
        }
        if changed("requirepass") {
            self.core.apply_password();
            self.users_changed();
        }
        self.core.apply_config();
        self.cluster_config_changed();
        if changed("repl-backlog-size") && self.replication.has_backlog {
            let bytes = self.core.config.repl_backlog_size;
            self.core.keyspace.journal.stream_mut().keep_history(bytes);
        }
        if changed("repl-disable-tcp-nodelay") {
            self.tune_replicas();
        }
        self.refresh_gate();
        if changed("maxmemory") && self.core.limit.begin() {
            let warning = memory_limit::warning(&self.core.config);
            self.process.log.warning(format_args!("{warning}"));
        }
        if changed("huge-pages") {
            use_huge_pages(&self.core.config);
        }
        self.limit_client_memory();
        if ["io-threads", "io-threads-always-active", "proto-max-bulk-len"].into_iter().any(changed) {
            self.set_up_threads();
        }
        self.refresh_announcer();
        self.process.log.set_level(self.core.config.loglevel);
        if retitles {
            title::apply(&self.core.config);
        }
        Ok(())
    }

    /// Starts or ends the AOF.
    fn switch_log(&mut self) -> Result<(), String> {
        if self.core.config.appendonly {
            self.begin_log()
        } else {
            self.end_log();
            Ok(())
        }
    }

    /// Raises the limit of open files for the clients that `wanted` allows. Fails with the possible number of clients.
    fn check_open_files(&self, wanted: &Config) -> Result<(), String> {
        let files = u64::from(wanted.maxclients) + RESERVED_FILES + self.bus_files();
        match process::raise_open_files(files) {
            Ok(reached) if reached >= files => Ok(()),
            reached => Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {}",
                reached.map_or(self.core.config.maxclients.into(), |files| clients_for(
                    files - self.bus_files().min(files)
                ))
            )),
        }
    }

    /// Listens as `wanted` says instead of as before; on an error nothing changes.
    fn rebind(&mut self, wanted: &Config) -> Result<(), String> {
        let before = self.core.config.clone();
        self.listen_as(wanted, &before).inspect_err(|_| {
            // Reopen what was closed.
            let _ = self.listen_as(&before, wanted);
        })?;
        if (wanted.metrics_port, wanted.metrics_tls) != (before.metrics_port, before.metrics_tls) {
            self.process.announce_metrics(wanted);
        }
        Ok(())
    }

    /// Opens the listeners of `wanted` that differ from `before`. An address that stays the same cannot be bound twice,
    /// so the old sockets are closed first.
    fn listen_as(&mut self, wanted: &Config, before: &Config) -> Result<(), String> {
        let moves = |port: fn(&Config) -> u16| wanted.bind != before.bind || port(wanted) != port(before);
        let (clients, metrics) = (moves(|config| config.port), moves(|config| config.metrics_port));
        // Existing connections are closed.
        let metrics = metrics || wanted.metrics_tls != before.metrics_tls;
        let encrypted = moves(|config| config.tls_port);
        if clients {
            self.net.close_tcp_listeners(false);
        }
        if encrypted {
            self.net.close_tcp_listeners(true);
        }
        if metrics {
            self.close_web();
        }
        let open = |server: &Server, port| {
            open_listeners(wanted, port, &server.process.log).map_err(|error| {
                server.process.log.warning(format_args!("{error}: the old listeners are kept"));
                if wanted.bind == before.bind {
                    "Unable to listen on this port. Check server logs.".to_string()
                } else {
                    "Failed to bind to specified addresses.".to_string()
                }
            })
        };
        if clients {
            let listeners = open(self, wanted.port)?;
            self.net.watch_listeners(listeners, false).map_err(|error| error.to_string())?;
        }
        if encrypted {
            let listeners = open(self, wanted.tls_port)?;
            self.net.watch_listeners(listeners, true).map_err(|error| error.to_string())?;
        }
        if metrics {
            let listeners = open(self, wanted.metrics_port)?;
            self.open_web(listeners).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// `CONFIG REWRITE`: writes the current configuration to the configuration file.
    pub(super) fn config_rewrite(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        if self.core.config.file.is_none() {
            return Err(Error::new("ERR The server is running without a config file"));
        }
        match self.rewrite_config(false) {
            Ok(()) => caller.reply(&mut self.net).ok(),
            Err(why) => return Err(format!("ERR Rewriting config file: {why}").into()),
        }
        Ok(())
    }

    /// Rewrites the configuration file, if there is one. With `all`, every directive gets a line; otherwise those that
    /// have one or differ from their default. The error is the system's text.
    pub(super) fn rewrite_config(&self, all: bool) -> Result<(), String> {
        let Some(path) = &self.core.config.file else { return Ok(()) };
        // A deleted file is written anew.
        let old = std::fs::read(path).unwrap_or_default();
        let written = file::replace(path, &config::rewrite(&self.core.config, &self.user_lines(), &old, all));
        match &written {
            Ok(()) => self.process.log.notice(format_args!("CONFIG REWRITE executed with success.")),
            Err(error) => self.process.log.warning(format_args!("CONFIG REWRITE failed: {error}")),
        }
        written.map_err(|error| file::reason(&error))
    }

    /// `CONFIG RESETSTAT`: resets the counters.
    pub(super) fn config_resetstat(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.core.stats.reset();
        let dirty = self.core.keyspace.counters.dirty;
        self.core.keyspace.counters = crate::db::Counters { dirty, ..Default::default() };
        self.core.keyspace.lazy().reset();
        self.core.limit.reset();
        self.defrag.reset_times(clock::monotonic_us());
        caller.reply(&mut self.net).ok();
        Ok(())
    }
}
