//! The table of directives beside `redis-server`: names, defaults, the values that CONFIG SET accepts and its replies,
//! the lines that a config file may hold, and the output of CONFIG REWRITE. It compares the library with Redis and
//! starts no server of ours. `REDIS_BIN` names another binary than the `redis-server` of the search path.

use redstart::config::{self, Config};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Directives of Redis 7.0 that are not compared, each with its reason.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("port", "binding it is the server's part"),
    ("tls-port", "Redis would load the certificates, and then those of every tls- directive"),
    ("tls-replication", "the same"),
    ("tls-cluster", "the same"),
    ("bind", "binding them is the server's part"),
    ("maxclients", "raising the limit of open files is the server's part"),
    ("appendonly", "Redis starts a child for it"),
    ("requirepass", "Redis would require it from the test"),
    ("activedefrag", "the accepted values depend on the build"),
    ("watchdog-period", "Redis raises a small one to its own minimum; it is kept here"),
    ("oom-score-adj", "the kernel may refuse it"),
    (SETTABLE, "Redis refuses it while it runs"),
];

/// The only directive of Redis that can be set here while the server runs, and there only at its start.
const SETTABLE: &str = "io-threads";

/// Directives that Redis does not have.
const OWN: &[&str] = &[
    "cluster-databases",
    "huge-pages",
    "metrics-port",
    "metrics-tls",
    "min-replicas-ack-timeout",
    "min-replicas-to-ack",
    "rdb-write-version",
];

/// Directives added after the 7.0 that the test runs against.
const NEWER: &[&str] = &[
    "aof-rewrite-cpulist",
    "bgsave-cpulist",
    "bio-cpulist",
    "cluster-announce-human-nodename",
    "locale-collate",
    "server-cpulist",
    "set-max-listpack-entries",
    "set-max-listpack-value",
];

/// Values that Redis wraps around and this server refuses.
const WRAPPED: &[(&str, &str)] =
    &[("maxmemory-clients", "99999999999999999999"), ("maxmemory-clients", "9223372036854775808")];

/// An error text as in 7.0; 7.2 added the log level `nothing`.
fn without_newer(text: &str) -> String {
    text.replace("warning, nothing", "warning")
}

fn is_compared(name: &str) -> bool {
    !NOT_COMPARED.iter().any(|(other, _)| *other == name)
}

fn redis_binary() -> OsString {
    std::env::var_os("REDIS_BIN").unwrap_or_else(|| "redis-server".into())
}

/// A directory that is removed when the value is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("redstart-defaults-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Scratch(path.canonicalize().expect("it is there"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The directives that set each server's files and socket.
    fn preamble(&self) -> String {
        format!("port 0\nunixsocket {0}/socket\nlogfile {0}/log\ndir {0}\n", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A `redis-server` with one connection to it.
struct Redis {
    child: Child,
    stream: BufReader<UnixStream>,
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// A status or an error, without its first byte.
    Line(Vec<u8>),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
}

impl Redis {
    fn start(file: &Path, scratch: &Scratch) -> Redis {
        let mut child =
            Command::new(redis_binary()).arg(file).stdout(Stdio::null()).spawn().unwrap_or_else(|error| {
                panic!("this test needs redis-server (Debian: redis-server): {error}")
            });
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            if let Ok(stream) = UnixStream::connect(scratch.0.join("socket")) {
                let mut redis = Redis { child, stream: BufReader::new(stream) };
                redis.call(&[b"CLIENT", b"NO-EVICT", b"on"]);
                return redis;
            }
            assert_eq!(child.try_wait().expect("a child"), None, "redis-server did not start");
            assert!(Instant::now() < deadline, "redis-server does not listen");
            std::thread::yield_now();
        }
    }

    fn call(&mut self, words: &[&[u8]]) -> Reply {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).expect("redis-server reads");
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("redis-server answers");
        let (kind, text) = line.trim_ascii_end().split_first().expect("redis-server did not close");
        let count = || String::from_utf8_lossy(text).parse::<usize>().expect("a count");
        match kind {
            b'$' => {
                let mut bulk = vec![0; count() + 2];
                self.stream.read_exact(&mut bulk).expect("the whole bulk");
                bulk.truncate(bulk.len() - 2);
                Reply::Bulk(bulk)
            }
            b'*' => Reply::Array((0..count()).map(|_| self.reply()).collect()),
            _ => Reply::Line(text.to_vec()),
        }
    }

    fn config_set(&mut self, arguments: &[&str]) -> String {
        let mut words: Vec<&[u8]> = vec![b"CONFIG", b"SET"];
        words.extend(arguments.iter().map(|word| word.as_bytes()));
        match self.call(&words) {
            Reply::Line(text) => String::from_utf8(text).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    fn config_get(&mut self, pattern: &str) -> Vec<(String, String)> {
        let Reply::Array(replies) = self.call(&[b"CONFIG", b"GET", pattern.as_bytes()]) else {
            panic!("CONFIG GET replies with an array");
        };
        let texts: Vec<String> = replies
            .into_iter()
            .map(|reply| match reply {
                Reply::Bulk(text) => String::from_utf8(text).expect("text"),
                other => panic!("{other:?}"),
            })
            .collect();
        texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn load(file: &Path) -> Config {
    config::load([file.into()], &mut std::io::empty()).unwrap_or_else(|error| panic!("{error}"))
}

/// The reply of CONFIG SET here, as text.
fn config_set(config: &mut Config, arguments: &[&str]) -> String {
    let words: Vec<&[u8]> = arguments.iter().map(|word| word.as_bytes()).collect();
    match config::set(config, &words, true) {
        Ok(_) => "OK".to_owned(),
        Err(error) => String::from_utf8(error.message()).expect("text"),
    }
}

fn config_get(config: &Config, pattern: &str) -> Vec<(String, String)> {
    config::get(config, &[pattern.as_bytes()])
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8(value).expect("text")))
        .collect()
}

#[test]
fn every_directive_of_redis_is_known_with_the_same_default() {
    let scratch = Scratch::new();
    let file = scratch.write("redis.conf", &scratch.preamble());
    let mut redis = Redis::start(&file, &scratch);
    let ours = config_get(&load(&file), "*");
    let theirs = redis.config_get("*");
    assert!(theirs.len() > 150, "{theirs:?}");
    for (name, value) in &theirs {
        let here = ours.iter().find(|(here, _)| here == name).map(|(_, value)| value);
        assert_eq!(here, Some(value), "{name}");
    }
    for (name, _) in &ours {
        let is_there = theirs.iter().any(|(there, _)| there == name);
        let is_other = NEWER.contains(&name.as_str()) || OWN.contains(&name.as_str());
        assert_ne!(is_there, is_other, "{name}");
    }
}

#[test]
fn the_same_directives_are_immutable_protected_and_hidden() {
    let scratch = Scratch::new();
    let file = scratch.write("redis.conf", &scratch.preamble());
    let mut redis = Redis::start(&file, &scratch);
    let mut config = load(&file);
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in redis.config_get("*").into_iter().filter(|(name, _)| name != SETTABLE) {
        // Naming a settable directive twice makes Redis refuse it as well: nothing changes.
        let arguments = [name.as_str(), &value, &name, &value];
        let theirs = redis.config_set(&arguments);
        assert_eq!(config_set(&mut config, &arguments), theirs);
        seen.extend(theirs.rsplit(" - ").next().map(str::to_owned));
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    for name in ["watchdog-period", "use-exit-on-panic", "key-load-delay", "rdb-key-save-delay"] {
        assert_eq!(config_get(&config, name), redis.config_get(name));
        assert_eq!(redis.config_get(&format!("{name}*")), []);
        assert_eq!(config_get(&config, &format!("{name}*")), []);
    }
}

#[test]
fn config_set_answers_and_keeps_what_redis_does_for_every_directive() {
    let scratch = Scratch::new();
    let file =
        scratch.write("redis.conf", &(scratch.preamble() + "enable-protected-configs yes\nsave \"\"\n"));
    let mut redis = Redis::start(&file, &scratch);
    let mut config = load(&file);
    let values = [
        "zzz",
        "",
        "0",
        "1",
        "-1",
        "10",
        "100",
        "500",
        "70000",
        "99999999999",
        "-99999999999",
        "99999999999999999999",
        "9223372036854775808",
        "1.5",
        "1kb",
        "1K",
        "64mb",
        "mb",
        "1 mb",
        "0x10",
        "007",
        " 1",
        "+1",
        "5%",
        "101%",
        "%",
        "yes",
        "NO",
        "local",
        "a b",
        "1 2 3",
        "1 2",
        "a/b",
        "{title}",
    ];
    let mut compared = 0;
    for (name, usual) in redis.config_get("*").into_iter().filter(|(name, _)| is_compared(name)) {
        for value in values {
            // This server refuses to start with these values: see the test of unsupported roles.
            let needs_replicas = name.ends_with("s-to-write") && value != "0";
            if WRAPPED.contains(&(name.as_str(), value)) || needs_replicas {
                continue;
            }
            let theirs = redis.config_set(&[&name, value]);
            let ours = without_newer(&config_set(&mut config, &[&name, value]));
            assert_eq!(ours, theirs, "CONFIG SET {name} {value:?}");
            assert_eq!(
                config_get(&config, &name),
                redis.config_get(&name),
                "after CONFIG SET {name} {value:?}"
            );
            compared += 1;
        }
        assert_eq!(config_set(&mut config, &[&name, &usual]), redis.config_set(&[&name, &usual]));
    }
    assert!(compared > 4000, "{compared}");
}

#[test]
fn config_set_answers_as_redis_does_for_the_values_of_each_kind() {
    let scratch = Scratch::new();
    let file = scratch.write("redis.conf", &(scratch.preamble() + "enable-protected-configs local\n"));
    let mut redis = Redis::start(&file, &scratch);
    let mut config = load(&file);
    for (name, values) in [
        (
            "save",
            &["900 1 300 10", "900 1  300 10", "", " ", "0 1", "1 -1", "1 0", "a b", "- 1", "5 -", "900 "][..],
        ),
        (
            "client-output-buffer-limit",
            &[
                "normal 1mb 2mb 60",
                "x 1 2 3",
                "normal 1 2",
                "normal 1 2 x",
                "NORMAL 1 2 -1",
                "normal x 2 1",
                "replica 1 2 3 pubsub 4kb 5k 6",
                "master 1 2 3",
                "normal 1 2 3 normal 4 5 6",
                "normal 1 2 +3",
                "normal 0 0 0  slave 0 0 0",
                "pubsub 1 2 3 x 4 5 6",
                "normal 1 2 ",
            ],
        ),
        (
            "notify-keyspace-events",
            &["KEA", "Kx", "Kg$lshztdxe", "AKEnm", "q", "mnedtxzhsl$gKE", "E", "nmKg", "mxnedthzsl$", ""],
        ),
        (
            "latency-tracking-info-percentiles",
            &[
                "50 99.99 100",
                "101",
                "-1",
                "x",
                "0.0 1e1 33.333333333333",
                "nan",
                "inf",
                "50  99",
                "0x10",
                " 5",
                "99.99999999 50.10 0.0000001 50 50",
                "50 99 99.9",
            ],
        ),
        (
            "oom-score-adj-values",
            &["1 2 3", "1 2 3000", "3 2 1", "a 2 1", "1 2 3 4", "+1 2 3", "1  2", "- 1 2", "0 200 800"],
        ),
        (
            "shutdown-on-sigint",
            &[
                "save now",
                "nosave save",
                "default force",
                "force now save save",
                "SAVE Now",
                "save  now",
                "default",
            ],
        ),
        (
            "proc-title-template",
            &["{foo}", "{{x", "{title", "x}", "{{title}}", " ", "{}", "}{", "{ title}", "a{{b{title}"],
        ),
        ("maxmemory-clients", &["0%", "100%", "101%", "07%", "-5%", "1.5%", "5m", "05", "+5", "0"]),
        ("cluster-announce-hostname", &["a.b", "-a", "a_b", "a b", ""]),
        ("loglevel", &["NOTICE", "Warning", "none"]),
        ("repl-backlog-size", &["1", "20000", "16384"]),
        ("dir", &["/no/such/place", "/etc/passwd", "/usr/./lib/..", "/tmp", "."]),
        ("dbfilename", &["a/b", "", "x"]),
    ] {
        for value in values {
            let theirs = redis.config_set(&[name, value]);
            let ours = without_newer(&config_set(&mut config, &[name, value]));
            assert_eq!(ours, theirs, "CONFIG SET {name} {value:?}");
            assert_eq!(
                config_get(&config, name),
                redis.config_get(name),
                "after CONFIG SET {name} {value:?}"
            );
        }
    }
}

#[test]
fn config_set_of_several_refuses_the_same_one_first() {
    let scratch = Scratch::new();
    let file = scratch.write("redis.conf", &scratch.preamble());
    let mut redis = Redis::start(&file, &scratch);
    let mut config = load(&file);
    for arguments in [
        &["hz", "20", "timeout", "5"][..],
        &["hz", "20", "timeout"],
        &["nosuch", "1"],
        &["NoSuch", "1", "databases", "4"],
        &["DATABASES", "4", "nosuch", "1"],
        &["timeout", "x", "nosuch", "2"],
        &["timeout", "1", "TIMEOUT", "2"],
        &["timeout", "7", "hz", "x"],
        &["hz", "x", "timeout", "7"],
        &["dir", "/tmp", "timeout", "x"],
        &["slave-priority", "1", "replica-priority", "2"],
        &["list-max-ziplist-entries", "5"],
        &["include", "x"],
        &["", ""],
    ] {
        assert_eq!(config_set(&mut config, arguments), redis.config_set(arguments), "{arguments:?}");
        for name in ["hz", "timeout", "replica-priority"] {
            assert_eq!(config_get(&config, name), redis.config_get(name), "after {arguments:?}");
        }
    }
}

/// The reason why `redis-server` refuses a config file of this one line, or `None` if it accepts the line.
fn redis_refuses(scratch: &Scratch, line: &str) -> Option<String> {
    // The last line is always refused, so that the server does not start.
    let file = scratch.write("bad.conf", &format!("{line}\nend-of-the-test\n"));
    let output = Command::new(redis_binary())
        .arg(file)
        .current_dir(&scratch.0)
        .output()
        .unwrap_or_else(|error| panic!("this test needs redis-server (Debian: redis-server): {error}"));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("Reading the configuration file"));
    let at = at.unwrap_or_else(|| panic!("{line}: {text}"));
    (lines[at] == "Reading the configuration file, at line 1").then(|| lines[at + 2].to_owned())
}

#[test]
fn a_config_file_may_hold_what_redis_lets_it_hold() {
    let scratch = Scratch::new();
    for line in [
        "timeout 5",
        "  TIMEOUT \t 5 ",
        "timeout",
        "timeout 1 2",
        "timeout x",
        "timeout -1",
        "timeout \"5\"",
        "timeout 5 # five",
        "save 900 1",
        "save \"900 1 300 10\"",
        "save",
        "save \"\"",
        "save 900",
        "save 900 1 300",
        "bind 127.0.0.1 -::1",
        "bind",
        "bind \"\"",
        "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
        "client-output-buffer-limit normal 1 2 3 pubsub 4 5 6",
        "client-output-buffer-limit normal 1",
        "client-output-buffer-limit",
        "client-output-buffer-limit x 1 2 3",
        "loglevel NOTICE",
        "loglevel 1",
        "unixsocketperm 777",
        "unixsocketperm 9",
        "unixsocketperm 1000",
        "unixsocketperm -1",
        "unixsocketperm \" 7\"",
        "appendfilename a/b",
        "appendfilename \"\"",
        "appenddirname a/b",
        "appenddirname \"\"",
        "dbfilename \"\"",
        "dbfilename a/b",
        "databases 0",
        "databases 1",
        "supervised x",
        "shutdown-on-sigint save now",
        "shutdown-on-sigint save nosave",
        "slaveof no one",
        "slaveof h",
        "slaveof h x",
        "slaveof h 70000",
        "dir /no/such",
        "dir /tmp",
        "io-threads 0",
        "io-threads 129",
        "tcp-backlog -1",
        "key-load-delay 0",
        "maxmemory 1gb",
        "maxmemory 1tb",
        "include none-at-all*",
        "list-max-ziplist-entries 4",
        "list-max-ziplist-value x",
        "lua-replicate-commands yes",
        "enable-debug-command local",
        "enable-debug-command x",
        "syslog-facility local8",
        "rdbchecksum maybe",
        "notify-keyspace-events \"\"",
        "aclfile \"\"",
        "hash-max-ziplist-entries 5",
        "always-show-logo yes",
        "# anything \"at all",
        "",
    ] {
        let theirs = redis_refuses(&scratch, line);
        let ours = config::load([OsString::from("-")], &mut line.as_bytes())
            .err()
            .map(|error| without_newer(&error.reason));
        assert_eq!(ours, theirs, "{line}");
    }
    // The error texts for these lines are our own.
    for line in [
        "foo 1",
        "timeout \"1",
        "\"timeout\"5",
        "include",
        "user",
        "rename-command a",
        "loadmodule",
        "list-max-ziplist-entries 1 2",
        "sentinel x",
    ] {
        assert!(redis_refuses(&scratch, line).is_some(), "{line}");
        assert!(config::load([OsString::from("-")], &mut line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
#[cfg_attr(feature = "tls", ignore = "this build has TLS")]
fn unsupported_directives_that_protect_the_server_make_it_refuse_to_start() {
    for (line, missing) in [
        ("tls-port 6380", "stdin:2: 'tls-port \"6380\"': TLS is not supported"),
        ("sentinel monitor m 127.0.0.1 6379 2", "stdin:2: 'sentinel': sentinel mode is not supported"),
    ] {
        let text = format!("port 7000\n{line}\n");
        let refused = config::load([OsString::from("-")], &mut text.as_bytes()).err();
        let message = refused.unwrap_or_else(|| panic!("{line} is accepted")).to_string();
        assert!(message.starts_with(missing), "{message}");
        // The remedy follows the reason.
        assert!(["Set it to the default", "Run Sentinel"].iter().any(|it| message.contains(it)), "{message}");
    }
    let arguments = ["-", "--sentinel"].map(OsString::from);
    assert!(config::load(arguments, &mut &b"port 7000\n"[..]).is_err());
}

#[test]
fn a_file_with_the_defaults_of_unsupported_directives_is_accepted() {
    let text = "tls-port 0\ntls-cert-file redis.crt\n";
    config::load([OsString::from("-")], &mut text.as_bytes()).expect("accepted");
    // The last line for a directive counts.
    let arguments = ["-", "--tls-port", "0"].map(OsString::from);
    config::load(arguments, &mut &b"tls-port 6380\n"[..]).expect("accepted");
}

#[test]
#[cfg_attr(feature = "tls", ignore = "this build has TLS")]
fn config_set_refuses_unsupported_directives_that_protect_the_server_or_define_its_role() {
    let (name, value) = ("tls-port", "6380");
    let mut config = Config::default();
    let set =
        |config: &mut Config, value: &str| config::set(config, &[name.as_bytes(), value.as_bytes()], true);
    let message = set(&mut config, value).expect_err("refused").message();
    let message = String::from_utf8(message).expect("text");
    let begins = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - ");
    assert!(message.starts_with(&begins) && message.contains("is not supported"), "{message}");
    assert_eq!(config, Config::default());
    assert!(set(&mut config, "0").is_ok());
}

/// The lines up to the mark of CONFIG REWRITE, and those after it in alphabetical order.
fn halves(text: &str) -> (String, Vec<String>) {
    let (old, new) = text.split_once("# Generated by CONFIG REWRITE\n").unwrap_or((text, ""));
    let mut new: Vec<String> = new.lines().map(str::to_owned).collect();
    // Only Redis writes the default user, and it writes some lines although they have their defaults.
    const DEFAULTS: [&str; 4] =
        ["latency-tracking-info-percentiles 50 99 99.9", "save 3600 1", "save 300 100", "save 60 10000"];
    new.retain(|line| !line.starts_with("user default ") && !DEFAULTS.contains(&line.as_str()));
    new.sort();
    // A blank line separates the halves, if there are two.
    (old.trim_end().to_owned(), new)
}

#[test]
fn config_rewrite_writes_what_redis_writes() {
    for (old, changes) in [
        ("", &[("hz", "20")][..]),
        (
            "# top\n\ntimeout 5\n\n\n\n# twice\ntimeout 6\nslave-priority 7\nrename-command get g\nmaxmemory 2048\n\
             requirepass \"\"\nHZ 10\nmaxmemory-clients 100\n",
            &[("hz", "20"), ("maxmemory", "3145728"), ("timeout", "0"), ("maxmemory-clients", "5%")],
        ),
        (
            "save 900 1\nsave 300 10\nsave 60 1\nlist-max-ziplist-entries 5\nlist-max-ziplist-size -1\n\
             client-output-buffer-limit normal 1 2 3 pubsub 4 5 6\ninclude none-at-all*\nlua-time-limit 7\n",
            &[("save", "1 2"), ("list-max-listpack-size", "-3"), ("busy-reply-threshold", "8")],
        ),
        (
            "save \"\"\nloglevel notice\noom-score-adj-values 1 2 3\n",
            &[
                ("notify-keyspace-events", "KEA"),
                ("client-output-buffer-limit", "normal 1mb 2000 3 replica 4kb 5 6"),
                ("latency-tracking-info-percentiles", "50 99.5"),
                ("shutdown-on-sigint", "save now"),
                ("shutdown-on-sigterm", "force"),
                ("masteruser", "a b"),
                ("masterauth", "x\"y\n\u{7f}\u{e9}"),
                ("auto-aof-rewrite-min-size", "5000"),
                ("stream-node-max-bytes", "8192"),
                ("maxmemory-policy", "allkeys-lru"),
                ("latency-tracking", "no"),
                ("replica-announce-ip", "1.2.3.4"),
                ("key-load-delay", "-5"),
                ("acl-pubsub-default", "allchannels"),
                ("cluster-link-sendbuf-limit", "1gb"),
                ("oom-score-adj-values", "0 200 800"),
            ],
        ),
        (
            "unixsocketperm 777\nlatency-tracking-info-percentiles \"\"\nsave 1 1\nnotify-keyspace-events Ex\n\
             dbfilename \"\"\n# Generated by CONFIG REWRITE\ntimeout 5\nmasteruser m\n",
            &[("notify-keyspace-events", ""), ("masteruser", ""), ("timeout", "0"), ("hz", "11")],
        ),
    ] {
        let scratch = Scratch::new();
        let old = scratch.preamble() + old;
        let file = scratch.write("redis.conf", &old);
        let mut config = load(&file);
        let mut redis = Redis::start(&file, &scratch);
        for (name, value) in changes {
            assert_eq!(redis.config_set(&[name, value]), "OK", "{name}");
            assert_eq!(config_set(&mut config, &[name, value]), "OK", "{name}");
        }
        assert_eq!(redis.call(&[b"CONFIG", b"REWRITE"]), Reply::Line(b"OK".to_vec()));
        let theirs = std::fs::read_to_string(&file).expect("the file");
        let ours = String::from_utf8(config::rewrite(&config, &[], old.as_bytes(), false)).expect("text");
        assert_eq!(halves(&ours), halves(&theirs), "\n--- here\n{ours}\n--- redis\n{theirs}");
    }
}
