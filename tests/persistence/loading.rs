//! Commands that are served while data is loaded, and truncated or damaged AOF files.

use crate::support::server::subject_is_redis;
use crate::support::snapshot::Large;
use crate::support::{Client, Launch, Server, Value, eventually};
use crate::{begin, encoded, names, part, refused_after, restart, restart_after, start};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn append(directory: &Path, name: &str, bytes: &[u8]) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(part(directory, name)).expect("opens");
    file.write_all(bytes).expect("written");
}

/// A server that is loading: its AOF begins with a key that takes long to load, and has commands after it.
fn slow_to_load(count: usize) -> Launch {
    let launch = Launch::subject().flags("--appendonly yes --enable-debug-command yes");
    let mut log = encoded(&["SET first v", "RPUSH list a b", "SET timed v", "PEXPIREAT timed 1000"]);
    // Each command visits a list from its middle, so that even a fast machine takes a while.
    let text = "x".repeat(100);
    for _ in 0..1000 {
        log.extend(encoded(&[&format!(
            "RPUSH long {text} {text} {text} {text} {text} {text} {text} {text}"
        )]));
    }
    let removal = encoded(&["LREM long 1 missing"]);
    log.extend(removal.repeat(count));
    log.extend(encoded(&["PERSIST timed", "SET last v"]));
    fs::write(launch.directory().join("appendonly.aof"), log).expect("written");
    launch
}

const LOADING: &str = "LOADING Redis is loading the dataset in memory";

fn is_refused(reply: &Value) -> bool {
    reply.is_error() && reply.text().starts_with("LOADING")
}

/// Runs `test` with a server that is loading. Retries with more data until the whole test runs before the end of
/// loading.
fn while_loading(mut test: impl FnMut(&mut Server, &mut Client) -> bool) {
    let mut count = 5_000;
    loop {
        let mut server = slow_to_load(count).start_or_exit();
        let mut client = server.client();
        if test(&mut server, &mut client) {
            return;
        }
        count *= 2;
        assert!(count < 10_000_000, "loading has always ended too early");
    }
}

#[test]
fn commands_that_need_the_data_are_refused_while_it_is_loaded_and_others_are_served() {
    while_loading(|_, client| {
        let refused: Vec<String> = [
            "PING",
            "GET k",
            "SET k v",
            "DBSIZE",
            "KEYS *",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "FLUSHALL",
            "WAIT 0 0",
            "CONFIG SET appendonly no",
            "CONFIG SET timeout 0 appendonly yes",
            "CONFIG SET dir /",
            "CONFIG SET timeout x repl-diskless-load disabled",
        ]
        .map(|line| client.run(line).text())
        .to_vec();
        let served: Vec<bool> = [
            "INFO",
            "CONFIG GET appendonly",
            "COMMAND COUNT",
            "TIME",
            "CLIENT ID",
            "ECHO x",
            "SELECT 1",
            "LASTSAVE",
            "CONFIG SET timeout 0",
            "HELLO 3",
            "HELLO 2",
            "ROLE",
        ]
        .map(|line| is_refused(&client.run(line)))
        .to_vec();
        // Redis executes these while it loads, with undefined results.
        let others = ["DEBUG RELOAD", "DEBUG LOADAOF"];
        let others = others.map(|line| subject_is_redis() || client.run(line).is_error());
        // A single reply, in case loading ends between two.
        let text = client.run("INFO persistence").text();
        let field = |name: &str| -> f64 {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
        };
        if field("loading") == 0.0 {
            return false;
        }
        assert!(refused.iter().all(|text| text == LOADING), "{refused:?}");
        assert!(!served.contains(&true), "{served:?}");
        assert_eq!(others, [true; 2]);
        for name in ["loading_start_time", "loading_total_bytes", "loading_loaded_bytes"] {
            assert!(field(name) > 0.0, "{text}");
        }
        assert!(field("loading_eta_seconds") >= 0.0, "{text}");
        assert!(field("loading_loaded_bytes") <= field("loading_total_bytes"), "{text}");
        assert!((0.0..=100.0).contains(&field("loading_loaded_perc")), "{text}");
        true
    });
}

/// A pipeline is executed in parts, and a slice is loaded between two of them. So its replies show how far
/// loading was, however seldom the test's process runs. Retries with a larger value until it sees enough
/// places.
#[test]
fn clients_are_served_while_a_single_value_is_loaded() {
    const PIPELINE: usize = 4000;
    for kind in Large::ALL {
        let mut count = 100_000;
        loop {
            let launch = Launch::subject();
            let file = kind.snapshot(count);
            fs::write(launch.directory().join("dump.rdb"), &file).expect("written");
            let server = launch.start_or_exit();
            let mut client = server.client();
            let mut sender = client.twin();
            let requests = encoded(&["INFO persistence", "PING"]).repeat(PIPELINE);
            let sending = std::thread::spawn(move || sender.send_raw(&requests));
            let mut places = BTreeSet::new();
            for _ in 0..PIPELINE {
                let info = client.read_reply().expect("a reply").value.text();
                let ping = client.read_reply().expect("a reply").value;
                assert!(is_refused(&ping) || ping.text() == "PONG", "{ping:?}");
                let loaded = info.lines().find_map(|line| line.strip_prefix("loading_loaded_bytes:"));
                places.extend(loaded.map(|bytes| bytes.parse::<usize>().expect("a number")));
            }
            sending.join().expect("it has ended").expect("sent");
            client.wait_for_info("loading", |loading| loading == 0);
            assert_eq!(client.run(&kind.count_command()).integer(), i64::from(count));
            // Places within the value.
            let seen = places.range(100..file.len() - 100).count();
            if seen >= 5 || subject_is_redis() {
                break;
            }
            count *= 2;
            assert!(count < 10_000_000, "{kind:?}: clients were served at {seen} places");
        }
    }
}

/// The AOF contains the deletion of expired keys, whether or not clients are paused.
#[test]
fn a_pause_while_loading_lets_nothing_expire() {
    while_loading(|_, client| {
        client.ok("CLIENT PAUSE 100000 WRITE");
        client.ok("CLIENT UNPAUSE");
        if client.info("loading") != "1" {
            return false;
        }
        client.wait_for_info("loading", |loading| loading == 0);
        assert_eq!(client.run("GET timed").text(), "v");
        true
    });
}

/// Loading sends no keyspace notifications and no invalidation messages. A `WATCH` of a key that is loaded fails its
/// transaction.
#[test]
fn loading_notifies_no_clients_and_fails_transactions_that_watch_loaded_keys() {
    while_loading(|server, client| {
        client.ok("CONFIG SET notify-keyspace-events KEA");
        let (mut subscriber, mut copier, mut watcher) = (server.client(), server.client(), server.client());
        subscriber.run("PSUBSCRIBE *");
        copier.run("HELLO 3");
        copier.ok("CLIENT TRACKING ON BCAST");
        watcher.ok("WATCH last");
        watcher.ok("MULTI");
        watcher.run("ECHO x");
        if client.info("loading") != "1" {
            return false;
        }
        client.wait_for_info("loading", |loading| loading == 0);
        client.ok("SET after v");
        let messages: Vec<String> =
            (0..2).map(|_| subscriber.read_reply().expect("a message").value.elements()[2].text()).collect();
        assert_eq!(messages, ["__keyspace@0__:after", "__keyevent@0__:set"]);
        if !subject_is_redis() {
            let pushed = copier.read_reply().expect("a message").value;
            assert_eq!(pushed.elements()[1].elements()[0].text(), "after");
        }
        assert!(watcher.run("EXEC").is_null());
        true
    });
}

#[test]
fn all_is_there_once_it_is_loaded_and_what_waited_is_not_lost() {
    let server = start(slow_to_load(100));
    let mut client = server.client();
    assert_eq!(client.run("GET last").text(), "v");
    assert_eq!(client.run("LLEN long").integer(), 8000);
    assert_eq!(client.run("PING").text(), "PONG");
    let text = client.run("INFO persistence").text();
    assert!(!text.contains("loading_"), "{text}");
    client.ok("SET more v");
    let server = restart(server);
    assert_eq!(server.client().run("MGET last more").elements().len(), 2);
}

#[test]
fn a_server_that_loads_can_be_ended() {
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGINT)] {
        while_loading(|server, client| {
            if client.info_number("loading") == 0 {
                return false;
            }
            match signal {
                Some(signal) => server.signal(signal),
                None => client.send(&["SHUTDOWN"]).expect("sent"),
            }
            client.wait_closed();
            let status = server.wait_exit();
            let log = server.log();
            if log.contains("Ready to accept connections") && !subject_is_redis() {
                return false;
            }
            assert_eq!(status.code(), Some(0), "{log}");
            // The server had loaded only a part of the data, and must not save that as a snapshot.
            assert!(!names(server.directory()).contains("dump.rdb"), "{log}");
            true
        });
    }
}

#[test]
fn a_shutdown_while_loading_leaves_the_files_as_they_were() {
    while_loading(|server, client| {
        let before = names(&server.directory().join("appendonlydir"));
        if client.info_number("loading") == 0 {
            return false;
        }
        client.send(&["SHUTDOWN", "SAVE"]).expect("sent");
        client.wait_closed();
        assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
        if server.log().contains("Ready to accept connections") && !subject_is_redis() {
            return false;
        }
        assert!(!names(server.directory()).contains("dump.rdb"), "{}", server.log());
        assert_eq!(names(&server.directory().join("appendonlydir")), before);
        true
    });
}

/// An AOF whose last command is truncated at each of its bytes.
#[test]
fn a_log_that_ends_within_a_command_is_cut_after_the_last_whole_one() {
    let last = encoded(&["SET k second"]);
    let server = begin("--appendonly yes");
    server.client().ok("SET k first");
    let launch = server.stop();
    let log = part(launch.directory(), "1.incr.aof");
    let whole = fs::read(&log).expect("a log");
    let mut launch = launch;
    for cut in 1..last.len() {
        fs::write(&log, [&whole[..], &last[..cut]].concat()).expect("written");
        let server = start(launch);
        assert_eq!(server.client().run("GET k").text(), "first", "after {cut} bytes");
        let text = server.log();
        for says in [
            "!!! Warning: short read while loading the AOF file appendonly.aof.1.incr.aof!!!",
            &format!("!!! Truncating the AOF appendonly.aof.1.incr.aof at offset {} !!!", whole.len()),
            "AOF appendonly.aof.1.incr.aof loaded anyway because aof-load-truncated is enabled",
        ] {
            assert!(text.contains(says), "after {cut} bytes: {text}");
        }
        assert_eq!(fs::read(&log).expect("a log"), whole, "after {cut} bytes");
        launch = server.stop();
    }
    let server = start(launch);
    server.client().ok("SET k third");
    let server = restart(server);
    assert!(!server.log().contains("short read"), "{}", server.log());
    assert_eq!(server.client().run("GET k").text(), "third");
}

#[test]
fn a_log_that_ends_within_a_transaction_leaves_nothing_of_it() {
    for inner in [&["MULTI"][..], &["MULTI", "INCR n"], &["MULTI", "INCR n", "INCR n", "SELECT 3", "SET k v"]]
    {
        let server = begin("--appendonly yes");
        server.client().run("INCR n");
        let path = part(server.directory(), "1.incr.aof");
        let before = fs::read(&path).expect("a log");
        let server = restart_after(server, |directory| append(directory, "1.incr.aof", &encoded(inner)));
        let mut client = server.client();
        assert_eq!(client.run("GET n").text(), "1", "{inner:?}");
        assert_eq!(client.run("DBSIZE").integer(), 1);
        assert_eq!(fs::read(&path).expect("a log"), before, "{inner:?}");
        server.wait_for_log("Revert incomplete MULTI/EXEC transaction in AOF file appendonly.aof.1.incr.aof");
        client.run("INCR n");
        assert_eq!(restart(server).client().run("GET n").text(), "2", "{inner:?}");
    }
}

/// The command that repairs the AOF, as in the server's message.
fn fix_command(directory: &Path) -> String {
    if subject_is_redis() {
        return "./redis-check-aof --fix <filename.manifest>".into();
    }
    let manifest = part(&fs::canonicalize(directory).expect("a directory"), "manifest");
    format!("redstart check-aof --fix {}", manifest.display())
}

#[test]
fn a_log_that_is_cut_is_refused_if_that_is_not_allowed() {
    let server = begin("--appendonly yes --aof-load-truncated no");
    server.client().ok("SET k v");
    let mut launch = server.stop();
    let path = part(launch.directory(), "1.incr.aof");
    append(launch.directory(), "1.incr.aof", b"*3\r\n$3\r\nSET\r\n$1\r\nk");
    let mut log = String::new();
    for _ in 0..2 {
        let mut server = launch.start_or_exit();
        assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
        log = server.log();
        launch = server.stop();
    }
    let says = format!(
        "Unexpected end of file reading the append only file appendonly.aof.1.incr.aof. You can: 1) Make a backup of your \
         AOF file, then use {}. 2) Alternatively you can set the 'aof-load-truncated' configuration option to yes and \
         restart the server.",
        fix_command(launch.directory())
    );
    assert!(log.contains(&says), "{log}");
    assert!(fs::read(path).expect("a log").ends_with(b"$1\r\nk"), "it is left as it was");
}

#[test]
fn damage_in_the_middle_is_refused_with_its_place() {
    for damage in [
        &b"nonsense\r\n"[..],
        b"*x\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n+PING\r\n",
        b"*2\r\n$3\r\nGETxx",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let server = begin("--appendonly yes");
        server.client().ok("SET k v");
        let place = fs::metadata(part(server.directory(), "1.incr.aof")).expect("a log").len();
        let mut fix = String::new();
        let log = refused_after(server, |directory| {
            append(directory, "1.incr.aof", damage);
            append(directory, "1.incr.aof", &encoded(&["SET l v", "SET m v"]));
            fix = fix_command(directory);
        });
        let shown = damage.escape_ascii();
        assert!(
            log.contains("Bad file format reading the append only file appendonly.aof.1.incr.aof"),
            "{shown}: {log}"
        );
        assert!(log.contains(&format!("make a backup of your AOF file, then use {fix}")), "{shown}: {log}");
        if !subject_is_redis() {
            assert!(log.contains(&format!("is valid up to offset {place}")), "{shown}: {log}");
        }
    }
}

#[test]
fn a_command_that_does_not_exist_is_refused() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let log = refused_after(server, |directory| append(directory, "1.incr.aof", &encoded(&["NOSUCH a b"])));
    let says = "Unknown command 'NOSUCH' reading the append only file appendonly.aof.1.incr.aof";
    assert!(log.contains(says), "{log}");
    if !subject_is_redis() {
        let offset = encoded(&["SELECT 0", "SET k v"]).len();
        assert!(log.contains(&format!(" at offset {offset}: ")), "{log}");
        assert!(log.contains(&format!("truncate -s {offset} /")), "{log}");
    }
}

/// The following commands would change another database.
#[test]
fn a_log_of_more_databases_than_there_are_is_refused() {
    if subject_is_redis() {
        // Redis continues in the previous database.
        return;
    }
    let server = begin("--appendonly yes --databases 32");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SELECT 20");
    client.ok("SET k w");
    let mut server = server.stop().flags("--databases 16").start_or_exit();
    assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
    assert!(server.log().contains("configured to handle more than 16 databases"), "{}", server.log());
}

#[test]
fn a_log_that_ends_within_an_annotation_is_cut_before_it() {
    if subject_is_redis() {
        // Redis appends to the half line, and cannot read that at the next start.
        return;
    }
    for annotation in ["#", "#TS:", "#TS:1700000000", "#TS:1700000000\r"] {
        let server = begin("--appendonly yes");
        server.client().ok("SET k v");
        let server =
            restart_after(server, |directory| append(directory, "1.incr.aof", annotation.as_bytes()));
        server.client().ok("SET k w");
        let server = restart(server);
        assert_eq!(server.client().run("GET k").text(), "w", "{annotation:?}");
    }
}

/// Only the last file may be truncated: more commands followed the missing end of an earlier one.
#[test]
fn a_part_that_is_cut_and_not_the_last_is_refused() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let log = refused_after(server, |directory| {
        append(directory, "1.incr.aof", b"*3\r\n$3\r\nSET\r\n");
        fs::write(part(directory, "2.incr.aof"), encoded(&["SELECT 0", "SET l v"])).expect("written");
        let manifest = crate::manifest(directory) + "file appendonly.aof.2.incr.aof seq 2 type i\n";
        fs::write(part(directory, "manifest"), manifest).expect("written");
    });
    assert!(log.contains("Fatal error: the truncated file is not the last file"), "{log}");
}

#[test]
fn an_empty_part_is_no_damage() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let server = restart_after(server, |directory| {
        fs::write(part(directory, "2.incr.aof"), "").expect("written");
        let manifest = crate::manifest(directory) + "file appendonly.aof.2.incr.aof seq 2 type i\n";
        fs::write(part(directory, "manifest"), manifest).expect("written");
    });
    let mut client = server.client();
    client.ok("SET l v");
    let log = fs::read(part(server.directory(), "2.incr.aof")).expect("a part");
    assert!(log.starts_with(b"*2\r\n$6\r\nSELECT\r\n"), "a file begins with its database");
    assert_eq!(restart(server).client().run("DBSIZE").integer(), 2);
}

#[test]
fn a_damaged_base_is_refused() {
    let prepare = || {
        let server = begin("--appendonly yes");
        server.client().ok("SET key value");
        crate::rewrite(&mut server.client());
        server
    };
    let len = fs::metadata(part(prepare().directory(), "2.base.rdb")).expect("a base").len();
    for cut in [4, 9, len / 2, len - 1] {
        let log = refused_after(prepare(), |directory| {
            let file = fs::OpenOptions::new().write(true).open(part(directory, "2.base.rdb")).expect("opens");
            file.set_len(cut).expect("cut");
        });
        assert!(!log.contains("Ready to accept connections"), "{cut}: {log}");
        assert!(log.contains("appendonly.aof.2.base.rdb"), "{cut}: {log}");
    }
    let log = refused_after(prepare(), |directory| {
        let path = part(directory, "2.base.rdb");
        let mut bytes = fs::read(&path).expect("a base");
        let at = bytes.len() - 12;
        bytes[at] ^= 0x20;
        fs::write(path, bytes).expect("written");
    });
    assert!(!log.contains("Ready to accept connections"), "{log}");
}

#[test]
fn annotations_and_commands_in_small_letters_are_read() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let server = restart_after(server, |directory| {
        append(directory, "1.incr.aof", b"#TS:1700000000\r\n");
        append(directory, "1.incr.aof", &encoded(&["select 2", "set k w"]));
        append(directory, "1.incr.aof", b"#anything at all\r\n");
        append(directory, "1.incr.aof", &encoded(&["multi", "incr n", "exec"]));
    });
    let mut client = server.client();
    assert_eq!(client.run("GET k").text(), "v");
    client.ok("SELECT 2");
    assert_eq!(client.run("GET k").text(), "w");
    assert_eq!(client.run("GET n").text(), "1");
}

#[test]
fn progress_is_told_in_the_log() {
    let server = start(slow_to_load(100));
    for says in [
        "DB loaded from base file appendonly.aof: ",
        "DB loaded from append only file: ",
        "Ready to accept connections tcp",
    ] {
        assert!(server.log().contains(says), "{}", server.log());
    }
    let server = begin("");
    server.client().ok("SET k v");
    server.client().ok("SAVE");
    let server = restart(server);
    for says in ["Done loading RDB, keys loaded: 1, keys expired: 0", "DB loaded from disk: "] {
        eventually(says, || server.log().contains(says).then_some(()));
    }
}

/// Commands in the AOF block no client, expire no key, and send no messages to blocked clients.
#[test]
fn commands_in_a_log_that_would_wait_do_not() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let server = restart_after(server, |directory| {
        append(directory, "1.incr.aof", &encoded(&["BLPOP none 0", "SET l v"]));
    });
    assert_eq!(server.client().run("GET l").text(), "v");
}

/// Opening a named pipe would wait for a writer.
#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_at_once() {
    if subject_is_redis() {
        // Redis waits forever.
        return;
    }
    let pipe = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let _ = fs::remove_file(path);
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    };
    for (flags, name) in [
        ("", "dump.rdb"),
        ("--appendonly yes", "appendonlydir/appendonly.aof.manifest"),
        ("--appendonly yes", "appendonlydir/appendonly.aof.1.incr.aof"),
        ("--include other.conf", "other.conf"),
    ] {
        let launch = Launch::subject();
        if name.ends_with(".incr.aof") {
            pipe(&launch.directory().join(name));
            fs::write(part(launch.directory(), "manifest"), "file appendonly.aof.1.incr.aof seq 1 type i\n")
                .expect("written");
        } else {
            pipe(&launch.directory().join(name));
        }
        let (status, log) = launch.flags(flags).run_to_exit();
        assert_eq!(status.code(), Some(1), "{name}: {log}");
        assert!(log.to_lowercase().contains("not a regular file"), "{name}: {log}");
    }
}
