//! RDB files are exchangeable: this server loads files of `redis-server` to the same digest, and `redis-server` loads
//! ours. `check-rdb` reports on a file as `redis-check-rdb` does.

mod support;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use redstart::db::digest;
use redstart::db::{Keyspace, Moment};
use redstart::dict::Seed;
use redstart::persist::rdb::file::{
    About, LoadOptions, Loader, Report, SaveOptions, Step, Version as Format, save,
};
use support::random::{Random, seeds};
use support::server::{Directory, redis_binary, subject_binary};
use support::{Client, Launch, Value, Version, run_bounded};

const DATABASES: usize = 16;

/// The first version that writes RDB version 11, and whose digest uses the shortest digits of scores.
const FORMAT_11: Version = Version::new(7, 2);

const LOAD: LoadOptions = LoadOptions { checksum: true, drop_expired_before: None, merge: false };

fn text(random: &mut Random, longest: usize) -> Vec<u8> {
    let len = random.below(longest + 1);
    match random.below(5) {
        0 => ((random.next() as i64) >> random.below(64)).to_string().into_bytes(),
        1 => random.bytes(len),
        2 => b"lorem ipsum ".iter().copied().cycle().take(len).collect(),
        _ => format!("{:x}", random.next()).into_bytes(),
    }
}

/// Calls that fill a server with keys of every type, in every encoding, in several databases; some of the keys expire.
fn fill(client: &mut Client, random: &mut Random, keys: usize) {
    for n in 0..keys {
        let db = *random.pick(&["0", "0", "1", "15"]);
        client.call(&["SELECT", db]);
        let key = [format!("{n}:").into_bytes(), text(random, 40)].concat();
        let most = *random.pick(&[3, 30, 700]);
        let count = 1 + random.below(most);
        let longest = *random.pick(&[5, 60, 100, 5000]);
        let kind = *random.pick(&["SET", "RPUSH", "SADD", "HSET", "ZADD", "XADD"]);
        let mut call = vec![kind.as_bytes().to_vec(), key.clone()];
        for element in 0..if kind == "SET" { 1 } else { count } {
            let text = text(random, longest);
            match kind {
                "ZADD" => {
                    call.extend([format!("{}", random.below(1000) as f64 / 8.0 - 9.0).into_bytes(), text]);
                }
                "HSET" => call.extend([text, element.to_string().into_bytes()]),
                "SADD" if longest == 5 => call.push(random.below(100_000).to_string().into_bytes()),
                "XADD" => {
                    let id = format!("{}-{element}", element / 3 + 1);
                    let reply = client.call(&[b"XADD", &key[..], id.as_bytes(), b"field", &text]);
                    assert!(!reply.is_error(), "{reply:?}");
                }
                _ => call.push(text),
            }
        }
        if kind == "XADD" {
            read_by_groups(client, &key, count);
        } else {
            let reply = client.call(&call);
            assert!(!reply.is_error(), "{kind}: {reply:?}");
        }
        if random.chance(4) {
            client.call(&[b"PEXPIREAT", &key[..], b"99999999999999"]);
        }
    }
}

/// Creates groups with consumers and pending entries in a stream, and deletes an entry.
fn read_by_groups(client: &mut Client, key: &[u8], count: usize) {
    let half = (count / 2 + 1).to_string();
    let calls: [&[&[u8]]; 6] = [
        &[b"XGROUP", b"CREATE", key, b"unread", b"$"],
        &[b"XGROUP", b"CREATE", key, b"read", b"0"],
        &[b"XGROUP", b"CREATECONSUMER", key, b"unread", b"idle"],
        &[b"XREADGROUP", b"GROUP", b"read", b"alice", b"COUNT", half.as_bytes(), b"STREAMS", key, b">"],
        &[b"XREADGROUP", b"GROUP", b"read", b"bob", b"COUNT", b"2", b"STREAMS", key, b">"],
        &[b"XDEL", key, b"1-1"],
    ];
    for call in calls {
        let reply = client.call(call);
        assert!(!reply.is_error(), "{reply:?}");
    }
}

fn load(path: &Path) -> (Keyspace, Report) {
    let mut keyspace = Keyspace::new(DATABASES, Seed::new([1, 2]));
    keyspace.moment = Moment::at(1_700_000_000_000);
    let file = File::open(path).expect("the file");
    let mut loader = Loader::open(file, LOAD).unwrap_or_else(|error| panic!("{error}"));
    while loader.load_some(&mut keyspace, 10_000).unwrap_or_else(|error| panic!("{error}")) == Step::More {}
    let (report, rest, _) = loader.into_rest();
    assert!(rest.is_empty());
    (keyspace, report)
}

fn hex_digit(digit: u8) -> char {
    char::from_digit(digit.into(), 16).expect("four bits")
}

fn digest_here(keyspace: &Keyspace) -> String {
    digest::of_keyspace(keyspace).iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
}

fn digest_there(client: &mut Client) -> String {
    client.run("DEBUG DIGEST").text()
}

/// The digests of the keys whose names are text, to find the one that differs.
fn digests(client: &mut Client) -> Vec<String> {
    let mut all = Vec::new();
    for db in ["0", "1", "15"] {
        client.call(&["SELECT", db]);
        let mut keys: Vec<String> = client.run("KEYS *").elements().iter().map(Value::text).collect();
        keys.sort();
        for key in keys {
            let kind = client.call(&["TYPE", &key]).text();
            let digest = client.call(&["DEBUG", "DIGEST-VALUE", &key]).elements()[0].text();
            all.push(format!("{db} {key}, a {kind}: {digest}"));
        }
    }
    all
}

/// The flags of the peer, and limits low enough to convert small collections from their packed encodings.
fn launches() -> [Launch; 2] {
    let launch = || Launch::redis().flags("--enable-debug-command yes --maxmemory-policy allkeys-lfu");
    [
        launch(),
        launch()
            .flags("--hash-max-listpack-entries 3 --set-max-intset-entries 4 --zset-max-listpack-value 8")
            .flags("--list-max-listpack-size 4 --stream-node-max-entries 5 --list-compress-depth 1"),
    ]
}

#[test]
fn a_data_set_goes_from_redis_to_here_and_back_with_the_same_digest() {
    for seed in seeds(&[1, 2]) {
        for launch in launches() {
            let mut random = Random::new(seed);
            let server = launch.start();
            let mut client = server.client();
            let version = Version::of(&mut client);
            fill(&mut client, &mut random, 150);
            client.run("FUNCTION LOAD #!lua\\x20name=lib");
            client.ok("SAVE");
            let wanted = digest_there(&mut client);
            let before = digests(&mut client);
            drop(client);
            let stopped = server.stop();
            let path = stopped.directory().join("dump.rdb");
            let (keyspace, report) = load(&path);
            assert_eq!(report.keys, (0..DATABASES).map(|db| keyspace.db(db).len() as u64).sum::<u64>());
            if version >= FORMAT_11 {
                assert_eq!(digest_here(&keyspace), wanted, "seed {seed}");
            }

            // The way back: uncompressed, so that parts differ from Redis's file, and in the peer's version.
            let format = if version >= FORMAT_11 { Format::Eleven } else { Format::Ten };
            let options = SaveOptions { compress: false, version: format, ..SaveOptions::default() };
            let functions: Vec<&[u8]> = report.functions.iter().map(Vec::as_slice).collect();
            let about = About {
                redis_version: "7.2.4",
                unix_seconds: 1_700_000_000,
                used_memory: 1,
                aof_base: false,
                replication: None,
                functions: &functions,
            };
            let mut file = File::create(&path).expect("a file");
            save(&keyspace, &about, &options, &mut file, &mut |_| {}).expect("room on the disk");
            let (again, _) = load(&path);
            assert_eq!(digest_here(&again), digest_here(&keyspace), "seed {seed}");
            let server = stopped.start();
            let mut client = server.client();
            client.wait_for_info("loading", |loading| loading == 0);
            let after = digests(&mut client);
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before, after, "seed {seed}");
            }
            assert_eq!(digest_there(&mut client), wanted, "seed {seed}");
        }
    }
}

#[test]
fn strings_are_saved_in_the_same_bytes_as_redis_saves_them() {
    let server = Launch::redis().flags("--enable-debug-command yes").start();
    let mut client = server.client();
    let mut random = Random::new(7);
    for n in 0..300 {
        let (key, longest) = (format!("k{n}"), *random.pick(&[10, 50, 3000, 40_000]));
        let mut value = text(&mut random, longest);
        value.extend(text(&mut random, longest));
        client.call(&[b"SET", key.as_bytes(), &value]);
        if n % 5 == 0 {
            client.call(&["PEXPIREAT", &key, &(99_999_999_999_999_u64 + n).to_string()]);
        }
    }
    client.ok("SAVE");
    let theirs = fs::read(server.directory().join("dump.rdb")).expect("the file");
    let (keyspace, report) = load(&server.directory().join("dump.rdb"));
    let redis_version = String::from_utf8(report.about.redis_version.expect("redis-ver")).expect("text");
    let about = About {
        redis_version: &redis_version,
        unix_seconds: report.about.unix_seconds.expect("ctime"),
        used_memory: report.about.used_memory.expect("used-mem"),
        aof_base: false,
        replication: None,
        functions: &[],
    };
    let version = if theirs.starts_with(b"REDIS0010") { Format::Ten } else { Format::Eleven };
    let mut ours = Vec::new();
    save(&keyspace, &about, &SaveOptions { version, ..SaveOptions::default() }, &mut ours, &mut |_| {})
        .expect("a vector takes everything");
    // Tables order keys differently, so only the lengths, the heads and the sorted records are compared.
    assert_eq!(ours.len(), theirs.len());
    let head =
        |file: &[u8]| file[..file.iter().position(|&byte| byte == 0xfb).expect("RESIZEDB") + 4].to_vec();
    assert_eq!(head(&ours).escape_ascii().to_string(), head(&theirs).escape_ascii().to_string());
    let sum = |file: &[u8]| file[..file.len() - 8].iter().map(|&byte| u64::from(byte)).sum::<u64>();
    assert_eq!(sum(&ours), sum(&theirs));
}

/// A checker's output for a file, and whether it found the file valid.
fn verdict(mut command: Command, directory: &Path) -> (bool, String) {
    command.current_dir(directory).arg("dump.rdb");
    run_bounded(command)
}

fn redis_check() -> Command {
    let mut command = Command::new(redis_binary());
    command.arg0("redis-check-rdb");
    command
}

fn own_check() -> Command {
    let mut command = Command::new(subject_binary());
    command.arg("check-rdb");
    command
}

/// The part that both reports must share. It leaves out the type that Redis reports before it has read one, and types
/// that Redis has no name for. If Redis reports an error by a position in its source, only the offset in the file
/// counts.
fn essence(text: &str, theirs: &str) -> Vec<String> {
    let is_internal = theirs.contains("Internal error");
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| theirs.contains("Reading key") || !line.contains("Reading type"))
        .filter(|line| !line.contains("Terminating server") && !line.starts_with("[offset 0] Checking"))
        .filter(|line| !line.contains("is not an RDB file"))
        .map(|line| if line.contains("Reading type") { line.split(" (").next() } else { Some(line) })
        .map(Option::unwrap_or_default)
        // Redis prints a key up to its first zero byte.
        .map(|line| match line.split_once("\\x00").filter(|_| line.contains("Reading key")) {
            Some((before, _)) => format!("{before}'"),
            None => line.to_string(),
        })
        .collect();
    if let Some(at) = lines.iter().position(|line| line.contains("ERROR DETECTED")).filter(|_| is_internal) {
        let end = lines[at + 1].find(']').expect("an offset");
        lines[at + 1].truncate(end);
    }
    lines
}

#[test]
fn check_rdb_reports_what_redis_check_rdb_reports() {
    let server = Launch::redis().start();
    let mut client = server.client();
    fill(&mut client, &mut Random::new(3), 40);
    client.call(&["SET", "over", "v", "PXAT", "1"]);
    client.ok("SAVE");
    let good = fs::read(server.directory().join("dump.rdb")).expect("the file");
    let directory = Directory::new();
    let compare = |file: &[u8], expect: Option<bool>| {
        fs::write(directory.join("dump.rdb"), file).expect("write");
        let (theirs, ours) =
            (verdict(redis_check(), directory.path()), verdict(own_check(), directory.path()));
        assert_eq!(essence(&ours.1, &theirs.1), essence(&theirs.1, &theirs.1));
        assert_eq!(ours.0, theirs.0, "{}", ours.1);
        assert!(expect.is_none_or(|expected| ours.0 == expected), "{}", ours.1);
    };
    compare(&good, Some(true));
    let mut random = Random::new(4);
    for _ in 0..30 {
        compare(&good[..random.below(good.len())], Some(false));
    }
    let mut changed = good.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    compare(&changed, Some(false));
    let unsummed = [&good[..good.len() - 8], &[0; 8]].concat();
    compare(&unsummed, Some(true));
    compare(b"REDIS0099", Some(false));
    compare(b"nothing of the kind", Some(false));
    compare(b"REDIS0006\xff12345678", Some(false));
    compare(b"REDIS0003\xff", Some(true));
    compare(b"REDIS0009\x00\x01a\xc4", Some(false));
}

#[test]
fn check_rdb_is_also_called_by_the_name_of_a_link() {
    let directory = Directory::new();
    fs::write(directory.join("dump.rdb"), b"REDIS0003\xff").expect("write");
    for name in ["redis-check-rdb", "redstart-check-rdb"] {
        let mut command = Command::new(subject_binary());
        command.arg0(format!("/usr/local/bin/{name}"));
        let (good, text) = verdict(command, directory.path());
        assert!(good && text.contains("RDB looks OK!"), "{text}");
    }
    let mut command = own_check();
    command.arg("no such file");
    let (good, text) = run_bounded(command);
    assert!(!good && text.contains("Cannot open file no such file"), "{text}");
    let (good, text) = run_bounded(own_check());
    assert!(!good && text.starts_with("Usage: "), "{text}");
}
