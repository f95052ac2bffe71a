//! Starts the server with a configuration. Everything that can fail does so here, with one clear line, before a client
//! is served.

use std::collections::HashSet;
use std::fmt;
use std::io;

use super::clustering;
use super::core::used_memory;
use super::cron::Cron;
use super::defrag::Defrag;
use super::encryption::Encryption;
use super::gate::Gate;
use super::loading::LoadState;
use super::persistence::Persistence;
use super::process::log::Log;
use super::process::supervisor::Supervisor;
use super::process::title;
use super::scripts::Scripts;
use super::scripts::libraries::Libraries;
use super::system;
use super::{Audience, Core, Net, Parts, Process, Server, Web};
use crate::alloc;
use crate::command::acl::{self, User};
use crate::command::{CommandNames, table};
use crate::config::{BindAddress, ByteText, Config, LogLevel, PubsubDefault, RenamedCommand, UserLine};
use crate::persist::aof::Directory;
use crate::persist::syncer::Syncer;
use crate::sys::net::Listener;
use crate::sys::poller::{NativePoller, Poller, Waker};
use crate::sys::process::Starter;
use crate::sys::{crash, file, host, memory, out_of_memory, process, signal};
use crate::text::words::quote;

/// Descriptors that do not belong to clients: listeners, the poller, the log, persistence files.
pub(super) const RESERVED_FILES: u64 = 32;

/// Why the server did not start: one line for the operator. Empty if it was already logged to standard output.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StartError {
    /// With this line.
    pub(super) fn new(line: String) -> StartError {
        StartError(line)
    }
}

/// Whether the operator sees the log: it is the standard output of a process in the foreground.
fn is_seen(config: &Config, log: &Log) -> bool {
    config.logfile.is_empty() && !config.daemonize && log.is_at(LogLevel::Warning)
}

/// Logs an error, as Redis does: nobody may read the standard error of a service. Returns what is left to print.
fn logged(error: StartError, log: &Log, is_seen: bool) -> StartError {
    log.warning(format_args!("{error}"));
    if is_seen { StartError(String::new()) } else { error }
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError(format!("{what}: {error}"))
}

/// Starts a server with `config` and serves until shutdown.
pub fn start(mut config: Config) -> Result<(), StartError> {
    let names = rename_commands(&config)?;
    if config.cluster_enabled {
        config.databases = config.cluster_databases;
        if config.replicaof.0.is_some() {
            return Err(StartError("replicaof directive not allowed in cluster mode".into()));
        }
    }
    std::env::set_current_dir(config.dir.path())
        .map_err(|error| StartError(format!("Can't chdir to '{}': {error}", config.dir)))?;
    let mut log = Log::open(config.logfile.as_path(), config.loglevel)
        .map_err(|error| StartError(format!("Can't open the log file '{}': {error}", config.logfile)))?;
    if config.syslog_enabled {
        log.open_syslog(&config.syslog_ident.to_string(), config.syslog_facility.name());
    }
    let supervisor = Supervisor::of(config.supervised, &log);
    // A supervised process stays in the foreground for its supervisor.
    config.daemonize &= supervisor.is_none();
    let encryption = Encryption::new(&config).map_err(|why| {
        log.warning(format_args!("{why}"));
        StartError("Failed to configure TLS. Check logs for more info.".into())
    });
    let (encryption, (listeners, starter)) = encryption
        .and_then(|it| Ok((it, listen_and_detach(&config, &log)?)))
        .map_err(|error| logged(error, &log, is_seen(&config, &log)))?;
    use_huge_pages(&config);
    limit_clients(&mut config, &log);
    if let Some(processors) = processors(&config.server_cpulist, &log)
        && let Err(error) = host::pin(&processors)
    {
        log.warning(format_args!("Can't keep to the processors {}: {error}", config.server_cpulist));
    }
    let mut server = build(config, log, names)?;
    server.process.supervisor = supervisor;
    server.process.starter = starter;
    server.encryption = encryption;
    server.prepare(listeners).map_err(|error| {
        let (log, config) = (&server.process.log, &server.core.config);
        logged(error, log, is_seen(config, log))
    })?;
    server.process.log.notice(format_args!("Server initialized"));
    if let Err(failed) = server.begin_loading() {
        server.die_of(&failed);
    }
    server.run();
    Ok(())
}

impl Server {
    /// Opens what the server needs before it loads its data.
    fn prepare(&mut self, listeners: Listeners) -> Result<(), StartError> {
        self.process.announce(&self.core.config);
        if let Err(why) = self.process.apply_oom_score(&self.core.config) {
            self.process.log.warning(format_args!("{why}"));
        }
        let processors = processors(&self.core.config.bio_cpulist, &self.process.log);
        self.core.keyspace.keep_lazy_to(processors.unwrap_or_default());
        self.set_up_threads();
        self.net.watch_listeners(listeners.clients, false).map_err(failed("Can't watch a listener"))?;
        self.net.watch_listeners(listeners.encrypted, true).map_err(failed("Can't watch a listener"))?;
        self.open_web(listeners.metrics).map_err(failed("Can't watch a listener"))?;
        self.open_cluster(listeners.bus)?;
        self.process.write_pidfile(&self.core.config).map_err(StartError)?;
        title::apply(&self.core.config);
        for (name, why) in self.core.config.without_effect() {
            self.process.log.warning(format_args!("The directive '{name}' has no effect: {why}"));
        }
        system::warn(&self.core.config, &self.process.log);
        Ok(())
    }
}

/// Applies `huge-pages` to the memory that the data set allocates from now on, and `disable-thp` to all other memory.
pub(super) fn use_huge_pages(config: &Config) {
    memory::set_hugepages(config.huge_pages);
    alloc::set_hugepages(config.huge_pages);
    // Only Linux has huge pages, and older kernels do not support the restriction to the data set.
    let _ = process::restrict_huge_pages(restriction(config));
}

/// The memory for which the kernel may use huge pages.
pub(super) fn restriction(config: &Config) -> process::HugePages {
    match (config.disable_thp, config.huge_pages) {
        (false, _) => process::HugePages::AsConfigured,
        (true, true) => process::HugePages::WhereRequested,
        (true, false) => process::HugePages::Nowhere,
    }
}

/// The command names, with the changes of `rename-command` lines.
fn rename_commands(config: &Config) -> Result<CommandNames, StartError> {
    let lines = &config.renamed_commands;
    CommandNames::new(lines.iter().map(|line| (&*line.from, &*line.to))).map_err(|(index, why)| {
        let RenamedCommand { from, to, place } = &lines[index];
        StartError(format!("{place}: rename-command {} {}: {why}", quote(from), quote(to)))
    })
}

/// Defines the users of the ACL file, or those of `user` lines.
fn load_users(core: &mut Core) -> Result<(), StartError> {
    let lines = std::mem::take(&mut core.config.user_lines);
    if !core.config.aclfile.is_empty() {
        if !lines.is_empty() {
            return Err(StartError(
                "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. \
                 This setup is very likely to lead to configuration errors and security holes, please define either an \
                 ACL file or declare users directly in your redis.conf, but not both."
                    .into(),
            ));
        }
        let users = read_acl_file(&core.config).map_err(|why| {
            StartError(format!(
                "Aborting Redis startup because of ACL errors: {}",
                String::from_utf8_lossy(&why)
            ))
        })?;
        core.users.replace(users);
        return Ok(());
    }
    let mut names = HashSet::new();
    for UserLine { name, modifiers, place } in &lines {
        let all_channels = core.config.acl_pubsub_default == PubsubDefault::Allchannels;
        let words = modifiers.iter().map(Vec::as_slice);
        let user = acl::parse_user(name, words, all_channels);
        // One argument can hold the name and a password: `--user "default on >secret"`. Show only its first
        // word.
        let shown = name.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let refused = |why: String| StartError(format!("{place}: user {}: {why}", shown.escape_ascii()));
        if !names.insert(name) {
            return Err(refused(
                "Duplicate user found. A user can only be defined once in config files".into(),
            ));
        }
        core.users.put(user.map_err(refused)?);
    }
    Ok(())
}

/// Reads the users of the ACL file.
///
/// # Errors
/// The reasons, in Redis's words.
pub(super) fn read_acl_file(config: &Config) -> Result<Vec<User>, Vec<u8>> {
    let path = config.aclfile.as_path();
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| {
        format!("Error loading ACLs, opening file '{name}': {}", file::reason(&error)).into_bytes()
    })?;
    acl::parse_file(&name, &text, config.acl_pubsub_default == PubsubDefault::Allchannels)
}

/// The listening sockets.
struct Listeners {
    clients: Vec<Listener>,
    encrypted: Vec<Listener>,
    metrics: Vec<Listener>,
    bus: Vec<Listener>,
}

/// Opens the sockets, and then daemonizes if the configuration says so: the parent process waits until the daemon
/// serves clients ([`process::daemonize`]).
fn listen_and_detach(config: &Config, log: &Log) -> Result<(Listeners, Option<Starter>), StartError> {
    let aborting = |error| StartError(format!("{error}, aborting."));
    let mut listeners = open_listeners(config, config.port, log).map_err(aborting)?;
    if !config.unixsocket.is_empty() {
        let path = config.unixsocket.as_path();
        let listener = Listener::unix(path, config.unixsocketperm, config.tcp_backlog);
        listeners.push(listener.map_err(|error| {
            StartError(format!("Failed opening Unix socket '{}': {error}", path.display()))
        })?);
    }
    let encrypted = open_listeners(config, config.tls_port, log).map_err(aborting)?;
    if listeners.is_empty() && encrypted.is_empty() {
        return Err(StartError("Configured to not listen anywhere, exiting.".into()));
    }
    let metrics = open_listeners(config, config.metrics_port, log).map_err(aborting)?;
    let bus = if config.cluster_enabled {
        open_listeners(config, clustering::bus_port(config).map_err(StartError)?, log).map_err(aborting)?
    } else {
        Vec::new()
    };
    let starter = config.daemonize.then(process::daemonize).transpose().map_err(failed("Can't daemonize"))?;
    Ok((Listeners { clients: listeners, encrypted, metrics, bus }, starter))
}

/// The CPUs in a list of the configuration; `None` means all.
fn processors(list: &ByteText, log: &Log) -> Option<Vec<usize>> {
    if list.is_empty() {
        return None;
    }
    let processors = host::parse_processors(&list.to_string());
    if processors.is_none() {
        log.warning(format_args!("'{list}' is not a list of processors"));
    }
    processors
}

/// Creates a server that does not listen yet.
fn build(config: Config, log: Log, names: CommandNames) -> Result<Server, StartError> {
    let is_seen = is_seen(&config, &log);
    let (core, net, persistence) =
        assemble(config, &log, names).map_err(|error| logged(error, &log, is_seen))?;
    let process = Process::new(log, core.clock.unix_ms());
    let cron = Cron::new(core.config.hz);
    let mut server = Server {
        core,
        net,
        audience: Audience::default(),
        persistence,
        replication: super::Replication::new(super::syncing::random_id()),
        cluster: None,
        applying: super::Applying::default(),
        libraries: Libraries::default(),
        process,
        cron,
        defrag: Defrag::default(),
        loading: LoadState::Idle,
        gate: Gate::default(),
        stopping: None,
        waiting_for_memory: Vec::new(),
        is_crowded: false,
        parts: Parts::default(),
        scripts: Scripts::default(),
        encryption: Encryption::default(),
        debugging: super::Debugging::default(),
        suspended: None,
        web: Web::default(),
        history: None,
        log_complained_us: None,
    };
    server.core.keyspace.wake_by(server.net.poller.waker());
    server.refresh_announcer();
    server.limit_client_memory();
    Ok(server)
}

/// Creates the parts of which each can fail.
fn assemble(config: Config, log: &Log, names: CommandNames) -> Result<(Core, Net, Persistence), StartError> {
    let poller = NativePoller::new().map_err(failed("Can't create the event poller"))?;
    signal::install(&poller.waker()).map_err(failed("Can't install signal handlers"))?;
    out_of_memory::set_used_memory(used_memory);
    alloc::when_refused(out_of_memory::end);
    watch_for_crashes(&config).map_err(failed("Can't install the crash handler"))?;
    let mut core = Core::new(config, names);
    load_users(&mut core)?;
    let now = core.clock.unix_ms() / 1000;
    let persistence = persistence(&core.config, now, log, poller.waker())?;
    Ok((core, Net::new(poller), persistence))
}

/// Creates the persistence part; loads nothing.
fn persistence(config: &Config, now: i64, log: &Log, waker: Waker) -> Result<Persistence, StartError> {
    // A later change of `dir` does not move the AOF.
    let home = std::env::current_dir().map_err(failed("Can't find the working directory"))?;
    let directory = Directory::new(&home, &config.appenddirname, &config.appendfilename);
    let mut syncer = Syncer::new(processors(&config.bio_cpulist, log).unwrap_or_default());
    syncer.wake_by(waker);
    Ok(Persistence::new(directory, syncer, now))
}

/// Enables or disables crash reports in the log, according to `crash-log-enabled`.
pub(super) fn watch_for_crashes(config: &Config) -> io::Result<()> {
    crash::set_exit_on_panic(config.use_exit_on_panic);
    if config.crash_log_enabled {
        crash::install(crash::Program {
            version: concat!("Redstart ", env!("CARGO_PKG_VERSION")),
            command_name: |id| table::all().get(usize::from(id)).map_or("?", |command| command.full_name),
        })
    } else {
        crash::uninstall()
    }
}

/// The number of clients that a limit of open files allows.
pub(super) fn clients_for(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVED_FILES).max(1)
}

/// Raises the limit of open files for `maxclients`. If the system refuses, lowers `maxclients` to the possible number.
fn limit_clients(config: &mut Config, log: &Log) {
    let wanted = u64::from(config.maxclients) + RESERVED_FILES;
    let reached = process::raise_open_files(wanted).unwrap_or(1024);
    if reached < wanted {
        let possible = clients_for(reached);
        log.warning(format_args!(
            "You requested maxclients of {} requiring at least {wanted} max file descriptors. The limit is {reached}: \
             maxclients has been reduced to {possible}.",
            config.maxclients
        ));
        config.maxclients = possible as u32;
    }
}

/// The beginning of the error, in Redis's words, which other programs search for.
fn cannot_listen(port: u16) -> String {
    format!("Failed listening on port {port} (tcp)")
}

/// Opens the listening sockets of `bind` for a port; none for port 0. An address with a leading `-` may be unavailable.
pub(super) fn open_listeners(config: &Config, port: u16, log: &Log) -> Result<Vec<Listener>, String> {
    let backlog = config.tcp_backlog;
    let mut listeners = Vec::new();
    if port == 0 {
        return Ok(listeners);
    }
    for address in &config.bind {
        let BindAddress { host, optional } = BindAddress::parse(address);
        match Listener::tcp(host, port, backlog) {
            Ok(listener) => {
                if config.socket_mark_id > 0
                    && let Err(error) = listener.set_mark(config.socket_mark_id)
                {
                    log.warning(format_args!("Can't mark the socket of {host}: {error}"));
                }
                listeners.push(listener);
            }
            Err(error) if optional && is_missing(&error) => {
                log.verbose(format_args!("Not listening on {host}: {error}"));
            }
            Err(error) => {
                log.warning(format_args!(
                    "Warning: Could not create server TCP listening socket {}:{port}: bind: {}",
                    address.strip_prefix('-').unwrap_or(address),
                    file::reason(&error)
                ));
                return Err(cannot_listen(port));
            }
        }
    }
    if listeners.is_empty() && !config.bind.is_empty() {
        return Err(cannot_listen(port));
    }
    Ok(listeners)
}

/// Whether the machine lacks the address or its protocol, rather than refusing it.
fn is_missing(error: &io::Error) -> bool {
    let missing = [libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|code| missing.contains(&code))
}
