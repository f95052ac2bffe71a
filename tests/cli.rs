//! `redstart cli` beside redis-cli: the same arguments and the same input give the same output and the same status.
//!
//! The replies come from a real server, and from one that sends arbitrary bytes on request. redis-cli is the one in the
//! search path, or the one in `REDIS_CLI`; the most important cases are also written out, and tested without it.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use redstart::tls;
use support::server::{free_port, subject_binary, subject_is_redis};
use support::{DEADLINE, Server, Version};

/// The result of a run.
#[derive(Clone, PartialEq, Eq)]
struct Run {
    output: Vec<u8>,
    errors: String,
    status: Option<i32>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.escape_ascii().to_string().replace("\\n", "\n");
        writeln!(f, "status {:?}\n{output}", self.status)?;
        write!(f, "errors: {}", self.errors)
    }
}

/// A client program.
#[derive(Clone, Debug)]
struct Client {
    program: PathBuf,
    first: &'static [&'static str],
    version: Version,
}

impl Client {
    /// The client under test.
    fn subject() -> Client {
        assert!(!subject_is_redis(), "redis-server has no subcommand cli");
        Client { program: subject_binary(), first: &["cli"], version: Version::LAST }
    }

    /// The client to compare with, if there is one.
    fn reference() -> Option<Client> {
        let program = std::env::var_os("REDIS_CLI").map_or_else(|| PathBuf::from("redis-cli"), PathBuf::from);
        let Ok(output) = Command::new(&program).arg("--version").output() else {
            eprintln!("no redis-cli to compare with: only the written-out cases are tested");
            return None;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(1).and_then(Version::parse);
        let version = version.unwrap_or_else(|| panic!("{} says it is {text}", program.display()));
        Some(Client { program, first: &[], version })
    }

    fn run(&self, port: u16, arguments: &[&str], input: &[u8]) -> Run {
        let mut command = Command::new(&self.program);
        command.args(self.first).args(["-p", &port.to_string()]).args(arguments);
        command.env_remove("REDISCLI_AUTH").env_remove("FAKETTY").env("NO_COLOR", "");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // A client that does not read all of its input is not a failure.
        let _ = child.stdin.take().expect("piped").write_all(input);
        let killer = Killer::after_deadline(child.id());
        let output = child.wait_with_output().expect("the client's output");
        drop(killer);
        Run {
            output: output.stdout,
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status.code(),
        }
    }
}

/// Kills a process unless it is dropped before the deadline.
struct Killer {
    _alive: std::sync::mpsc::Sender<()>,
}

impl Killer {
    fn after_deadline(pid: u32) -> Killer {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            if receiver.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let pid = nix::unistd::Pid::from_raw(pid as i32);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        Killer { _alive: sender }
    }
}

/// A server that sends the bytes it is asked for (`REPLY bytes`), until the test ends.
fn parrot() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || repeat(stream.expect("a connection")));
        }
    });
    port
}

fn repeat(mut stream: TcpStream) {
    let mut input = BufReader::new(stream.try_clone().expect("a second handle"));
    while let Some(words) = request(&mut input) {
        let reply: &[u8] = match &words[0].to_ascii_lowercase()[..] {
            b"hello" => b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
            b"reply" => &words[1],
            b"close" => return,
            _ => b"+OK\r\n",
        };
        if stream.write_all(reply).is_err() {
            return;
        }
    }
}

fn request(input: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let count = |input: &mut dyn BufRead| {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        line.get(1..)?.trim().parse::<usize>().ok()
    };
    (0..count(input)?)
        .map(|_| {
            let mut word = vec![0; count(input)? + 2];
            input.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(word)
        })
        .collect()
}

const MODES: [&[&str]; 5] = [&["--no-raw"], &["--raw"], &["--csv"], &["--json"], &["--quoted-json"]];

/// Replies of every kind, quoted as at the prompt.
const REPLIES: &[&str] = &[
    r#"+OK \"q\"\r\n"#,
    r"+\r\n",
    r#"-ERR bad \"x\"\r\n"#,
    r":42\r\n",
    r":-9223372036854775808\r\n",
    r",3.140\r\n",
    r",1e5\r\n",
    r",inf\r\n",
    r",-inf\r\n",
    r",nan\r\n",
    r"#t\r\n",
    r"#f\r\n",
    r"_\r\n",
    r"$-1\r\n",
    r"*-1\r\n",
    r"$0\r\n\r\n",
    r#"$10\r\na\x00\"\\\n\x07\xff\xc3\xa9\t\r\n"#,
    r"$12\r\n\b\x0b\x0c\x7f/\a\x1b<>&'\r\r\n",
    r#"$8\r\n\x1f\x80\xe2\x82\xac\"]]\r\n"#,
    r#"=15\r\ntxt:line\nli\"\x01\xffx\r\n"#,
    r"*0\r\n",
    r"~0\r\n",
    r"%0\r\n",
    r"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n_\r\n",
    r"*2\r\n*2\r\n:1\r\n*2\r\n:2\r\n:3\r\n~2\r\n:4\r\n%1\r\n+k\r\n*2\r\n:5\r\n:6\r\n",
    r"*11\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n*2\r\n:1\r\n:2\r\n$1\r\nb\r\n",
    r"%2\r\n$1\r\na\r\n:1\r\n*2\r\n:8\r\n:9\r\n%1\r\n:1\r\n,1.5\r\n",
    r"%10\r\n:1\r\n:1\r\n:2\r\n:1\r\n:3\r\n:1\r\n:4\r\n:1\r\n:5\r\n:1\r\n:6\r\n:1\r\n:7\r\n:1\r\n:8\r\n:1\r\n:9\r\n:1\r\n:10\r\n*2\r\n:1\r\n:2\r\n",
    r"*2\r\n-ERR x\r\n:1\r\n",
    r"*5\r\n#t\r\n,1.5\r\n=5\r\ntxt:a\r\n+OK\r\n$-1\r\n",
    r"~3\r\n$1\r\na\r\n$1\r\nb\r\n~1\r\n:1\r\n",
    r"%3\r\n#t\r\n:1\r\n,1.5\r\n:2\r\n_\r\n_\r\n",
    r"%2\r\n:1\r\n*1\r\n:7\r\n:2\r\n*0\r\n",
    r"%3\r\n:1\r\n~1\r\n:7\r\n:2\r\n~2\r\n:1\r\n:2\r\n:3\r\n%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
    r"%1\r\n:1\r\n%1\r\n:2\r\n%1\r\n:3\r\n*2\r\n:4\r\n%1\r\n:5\r\n:6\r\n",
    r"%1\r\n:1\r\n%1\r\n:2\r\n:3\r\n",
    r"%1\r\n:1\r\n*1\r\n*2\r\n:3\r\n:4\r\n",
    r"%1\r\n:1\r\n%1\r\n:1\r\n*0\r\n",
    r"%1\r\n:1\r\n*1\r\n=7\r\ntxt:a\nb\r\n",
    r"%1\r\n*2\r\n:1\r\n:2\r\n*2\r\n:3\r\n:4\r\n",
    r"%1\r\n:1\r\n>2\r\n:2\r\n:3\r\n",
    r"%2\r\n-ERR k\r\n-ERR v\r\n*1\r\n$1\r\na\r\n=5\r\ntxt:a\r\n",
    r#"%2\r\n=5\r\ntxt:a\r\n:1\r\n$2\r\n\"\n\r\n:2\r\n"#,
    r"%2\r\n:1\r\n=8\r\ntxt:a\nb\n\r\n:2\r\n+x\r\n",
    r"*2\r\n*1\r\n:1\r\n*1\r\n*1\r\n*2\r\n:1\r\n:2\r\n",
    r"*1\r\n>1\r\n:1\r\n",
    r">2\r\n+hey\r\n:1\r\n+OK\r\n",
    r">0\r\n+OK\r\n",
    r">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+OK\r\n",
    r">2\r\n$10\r\ninvalidate\r\n_\r\n+OK\r\n",
    r">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\n\n'\r\n+OK\r\n",
    r">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n+OK\r\n",
];

/// Replies that redis-cli prints in this form since 7.2.
const NEWER: &[&str] = &[r",nan\r\n", "SUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE a"];

impl Client {
    fn is_comparable(&self, what: &str) -> bool {
        self.version >= Version::new(7, 2) || !NEWER.contains(&what)
    }
}

#[test]
fn every_kind_of_reply_is_printed_as_redis_cli_prints_it() {
    let Some(reference) = Client::reference() else { return };
    let (subject, port) = (Client::subject(), parrot());
    for reply in REPLIES.iter().filter(|reply| reference.is_comparable(reply)) {
        for mode in MODES {
            let reply = format!("\"{reply}\"");
            let arguments =
                [mode, &["-3", "--show-pushes", "yes", "--quoted-input", "reply", &reply]].concat();
            let wanted = reference.run(port, &arguments, b"");
            assert_eq!(subject.run(port, &arguments, b""), wanted, "{arguments:?}");
        }
    }
}

#[test]
fn replies_are_printed_for_people_and_for_programs() {
    let (subject, port) = (Client::subject(), parrot());
    for (reply, texts) in [
        (r"*-1\r\n", ["(nil)\n", "\n", "NULL\n", "null\n", "null\n"]),
        (
            r"-ERR x\r\n",
            ["(error) ERR x\n", "ERR x\n\n", "ERROR,\"ERR x\"\n", "error:\"ERR x\"\n", "error:\"ERR x\"\n"],
        ),
        (r"+OK\r\n", ["OK\n", "OK\n", "\"OK\"\n", "\"OK\"\n", "\"OK\"\n"]),
        (
            r#"$4\r\na\n\"\xff\r\n"#,
            [
                "\"a\\n\\\"\\xff\"\n",
                "a\n\"\u{fffd}\n",
                "\"a\\n\\\"\\xff\"\n",
                "\"a\\n\\\"\u{fffd}\"\n",
                "\"a\\\\n\\\\\"\\\\xff\"\n",
            ],
        ),
        (
            r"%2\r\n$1\r\na\r\n*2\r\n:1\r\n,1.50\r\n$1\r\nb\r\n#t\r\n",
            [
                "1# \"a\" => \n   1) (integer) 1\n   2) (double) 1.50\n2# \"b\" => (true)\n",
                "a 1\n1.50\nb (true)\n",
                "\"a\",1,1.50,\"b\",true\n",
                "{\"a\":[1,1.50],\"b\":true}\n",
                "{\"a\":[1,1.50],\"b\":true}\n",
            ],
        ),
        (
            r"~2\r\n(1234567890123456789012\r\n!5\r\nERR y\r\n",
            [
                "1~ (big number) 1234567890123456789012\n2~ (error) ERR y\n",
                "1234567890123456789012\nERR y\n\n",
                "1234567890123456789012,ERROR,\"ERR y\"\n",
                "[1234567890123456789012,error:\"ERR y\"]\n",
                "[1234567890123456789012,error:\"ERR y\"]\n",
            ],
        ),
        (r"|1\r\n+ttl\r\n:1\r\n+OK\r\n", ["OK\n", "OK\n", "\"OK\"\n", "\"OK\"\n", "\"OK\"\n"]),
    ] {
        for (mode, text) in MODES.into_iter().zip(texts) {
            let reply = format!("\"{reply}\"");
            let run = subject.run(port, &[mode, &["-3", "--quoted-input", "reply", &reply]].concat(), b"");
            assert_eq!(String::from_utf8_lossy(&run.output), text, "{mode:?} {reply}");
            assert_eq!((run.errors.as_str(), run.status), ("", Some(0)));
        }
    }
}

/// Command lines whose replies depend only on the lines before them.
const LINES: &[&str] = &[
    "PING",
    "PING hello",
    "ECHO \"a\\x00\\xff\\n\"",
    "ECHO ''",
    "SET k \"value with \\\"quotes\\\" and \\x01\"",
    "GET k",
    "GET nosuch",
    "SET k v XX GET",
    "STRLEN k",
    "APPEND k \"\\xe2\\x82\\xac\"",
    "GET k",
    "GETRANGE k 0 0",
    "INCR n",
    "INCRBY n -5",
    "INCRBYFLOAT f 3.25",
    "INCR k",
    "MSET a 1 b 2 c 3",
    "MGET a b nosuch c",
    "EXISTS a b nosuch",
    "TYPE a",
    "TYPE nosuch",
    "TTL a",
    "EXPIRE a 1000",
    "PERSIST a",
    "RENAME a aa",
    "RENAME nosuch x",
    "OBJECT ENCODING n",
    "OBJECT ENCODING k",
    "OBJECT HELP",
    "RPUSH l a b c d e f g h i j k l",
    "LRANGE l 0 -1",
    "LRANGE l 0 8",
    "LRANGE nosuch 0 -1",
    "LINDEX l 0",
    "LINDEX l 100",
    "LPOS l c",
    "LPOP l 2",
    "LPOP nosuch 2",
    "LMPOP 1 l LEFT COUNT 2",
    "LMPOP 1 nosuch LEFT",
    "LLEN k",
    "SADD s one",
    "SMEMBERS s",
    "SMEMBERS nosuch",
    "SISMEMBER s one",
    "SMISMEMBER s one two",
    "SINTER s s",
    "HSET h f v",
    "HSET h g \"\\x00\"",
    "HGETALL h",
    "HGETALL nosuch",
    "HGET h f",
    "HMGET h f nosuch",
    "HKEYS h",
    "HRANDFIELD nosuch 2 WITHVALUES",
    "ZADD z 1 a 2.5 b inf c",
    "ZRANGE z 0 -1",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZSCORE z b",
    "ZSCORE z c",
    "ZSCORE z nosuch",
    "ZMSCORE z a nosuch",
    "ZINCRBY z 0.1 a",
    "ZRANK z b WITHSCORE",
    "ZPOPMIN z",
    "ZPOPMIN z 5",
    "ZADD z nx gt 1 a",
    "ZMPOP 1 z MIN",
    "XADD x 1-1 f v",
    "XADD x 2-0 f v g \"w w\"",
    "XRANGE x - +",
    "XLEN x",
    "XREAD STREAMS x 0",
    "XREAD STREAMS x 5",
    "XGROUP CREATE x g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
    "XPENDING x g",
    "XINFO GROUPS x",
    "XINFO STREAM nosuch",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOPOS geo Palermo nosuch",
    "GEODIST geo Palermo Catania km",
    "GEOSEARCH geo FROMMEMBER Palermo BYRADIUS 200 km ASC WITHCOORD WITHDIST",
    "PFADD p a b c",
    "PFCOUNT p",
    "SETBIT bits 7 1",
    "BITCOUNT bits",
    "BITFIELD bits GET u8 0 INCRBY u2 100 1 OVERFLOW FAIL INCRBY u2 102 3",
    "BITPOS bits 1",
    "DUMP nosuch",
    "SORT l ALPHA DESC LIMIT 0 3",
    "SCAN 0 MATCH nosuch COUNT 1000",
    "DBSIZE",
    "KEYS nosuch*",
    "EVAL \"return {1,'two',{3,{4}},redis.status_reply('fine'),redis.error_reply('bad'),false,true}\" 0",
    "EVAL \"redis.setresp(3) return {map={a={double=1.5}},n=1}\" 0",
    "EVAL \"return {map={a={double=1.5},b={set={x=true}},c=true}}\" 0",
    "EVAL \"return {double=3.0}\" 0",
    "EVAL \"return {big_number='12'}\" 9",
    "EVAL \"return {set={}}\" 0",
    "EVAL \"return {map={}}\" 0",
    "EVAL nonsense 0",
    "EVAL \"return redis.call('nosuch')\" 0",
    "SCRIPT EXISTS a b",
    "FUNCTION LIST",
    "CONFIG GET maxmemory",
    "CONFIG GET nosuch",
    "CONFIG SET nosuch 1",
    "COMMAND COUNT x",
    "COMMAND GETKEYS MSET a 1 b 2",
    "COMMAND INFO get nosuch",
    "COMMAND DOCS ping",
    "CLIENT GETNAME",
    "CLIENT SETNAME \"a b\"",
    "CLIENT NO-EVICT maybe",
    "CLIENT KILL ID 999999",
    "CLIENT CACHING yes",
    "ACL WHOAMI",
    "ACL GETUSER nosuch",
    "ACL CAT nosuch",
    "LATENCY DOCTOR",
    "LATENCY GRAPH x",
    "LATENCY LATEST",
    "MEMORY USAGE nosuch",
    "MEMORY HELP",
    "MEMORY NOSUCH",
    "SLOWLOG RESET",
    "CLUSTER INFO",
    "CLUSTER NODES",
    "CLUSTER SLOTS",
    "PUBLISH nobody hears",
    "PUBSUB CHANNELS",
    "PUBSUB NUMSUB a",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE a",
    "SUBSCRIBE",
    "WATCH a",
    "MULTI",
    "EXEC",
    "DISCARD",
    "SELECT 3",
    "SELECT 99",
    "SWAPDB 0 99",
    "RESET",
    "WAIT 0 0",
    "OBJECT FREQ b",
    "nosuch with \"args\"",
    "nosuch \"\\x00\\xff\"",
    "''",
    "GET",
    "SET a b c d",
    "LOLWUT VERSION nosuch",
    "INFO nosuch",
    "DEBUG nosuch",
    "MOVE b 2",
    "COPY b bb",
    "RESTORE r 0 garbage",
    "FLUSHALL",
];

#[test]
fn replies_of_a_real_server_are_printed_as_redis_cli_prints_them() {
    let Some(reference) = Client::reference() else { return };
    let subject = Client::subject();
    let (server, other) = (Server::start("--maxmemory-policy noeviction"), Server::start(""));
    for arguments in [
        ["--no-raw", "-2"],
        ["--no-raw", "-3"],
        ["--raw", "-2"],
        ["--csv", "-3"],
        ["--json", "-3"],
        ["--quoted-json", "-2"],
    ] {
        for line in LINES.iter().filter(|line| reference.is_comparable(line)) {
            // redis-cli splits these words as at the prompt.
            let input = format!("{line}\n");
            let wanted = reference.run(other.port(), &arguments, input.as_bytes());
            let run = subject.run(server.port(), &arguments, input.as_bytes());
            assert_eq!(run, wanted, "{arguments:?} {line}");
        }
    }
}

#[test]
fn lines_of_a_pipe_are_executed_one_after_the_other() {
    let subject = Client::subject();
    let server = Server::start("");
    let lines = b"set x 1\nget x\n\n  \n\"open\nincr x\n2 incr x\n-1 incr x\n0 incr x\n5\n:set hints\n:set foo\n:foo\nrestart\n\
        multi\nselect 3\nset y 'a b'\nexec\nget y\nselect 0\nsubscribe a b\nget x\nunsubscribe\nget x\nconnect 127.0.0.1\n\
        client no-evict on\nhello 3\nhgetall nosuch\nbad\nexit\nget x\n";
    let wanted = "OK\n\"1\"\nInvalid argument(s)\n(integer) 2\n(integer) 3\n(integer) 4\n\
        Invalid redis-cli repeat command option value.\nInvalid redis-cli repeat command option value.\n\
        (error) ERR unknown command '5', with args beginning with: \nunknown redis-cli preference 'foo'\n\
        unknown redis-cli internal command ':foo'\nUse 'restart' only in Lua debugging mode.\n\
        OK\nQUEUED\nQUEUED\n1) OK\n2) OK\n\"a b\"\nOK\n\
        1) \"subscribe\"\n2) \"a\"\n3) (integer) 1\n1) \"subscribe\"\n2) \"b\"\n3) (integer) 2\n\
        (error) ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\n\
        1) \"unsubscribe\"\n2) ";
    let run = subject.run(server.port(), &["--no-raw"], lines);
    let text = String::from_utf8(run.output).expect("UTF-8");
    assert!(text.starts_with(wanted), "{text}");
    let end = "\"4\"\n(error) ERR unknown command 'connect', with args beginning with: '127.0.0.1' \nOK\n";
    assert!(text.contains(end), "{text}");
    assert!(text.contains("3# \"proto\" => (integer) 3\n"), "{text}");
    assert!(
        text.ends_with("(empty hash)\n(error) ERR unknown command 'bad', with args beginning with: \n"),
        "{text}"
    );
    assert_eq!((run.errors.as_str(), run.status), ("", Some(0)));
    // With -e an error sets the exit status.
    assert_eq!(subject.run(server.port(), &["-e"], b"get x\nbad\nget x\n").status, Some(1));
    assert_eq!(subject.run(server.port(), &["-e"], b"get x\n").status, Some(0));
}

#[test]
fn the_input_and_a_file_can_be_arguments() {
    let subject = Client::subject();
    let server = Server::start("");
    let run = |arguments: &[&str], input: &[u8]| {
        let run = subject.run(server.port(), arguments, input);
        (String::from_utf8_lossy(&run.output).into_owned(), run.errors, run.status)
    };
    let good = |text: &str| (text.to_string(), String::new(), Some(0));
    assert_eq!(run(&["-x", "set", "k"], b"a\0\n\"b\""), good("OK\n"));
    assert_eq!(run(&["--no-raw", "get", "k"], b""), good("\"a\\x00\\n\\\"b\\\"\"\n"));
    assert_eq!(run(&["-X", "TAG", "set", "TAG", "v"], b"name"), good("OK\n"));
    assert_eq!(run(&["get", "name"], b""), good("v\n"));
    let (_, errors, status) = run(&["-x", "-X", "TAG", "get", "TAG"], b"name");
    assert_eq!((errors.as_str(), status), ("Options -x and -X are mutually exclusive.\n", Some(1)));
    let (_, errors, status) = run(&["-X", "TAG", "get", "name"], b"name");
    assert_eq!((errors.as_str(), status), ("Using -X option but stdin tag not match.\n", Some(1)));
    assert_eq!(run(&["--quoted-input", "set", "\"a\\x00b\"", "'it'"], b""), good("OK\n"));
    assert_eq!(run(&["--quoted-input", "get", "\"a\\x00b\""], b""), good("it\n"));
    let (_, errors, status) = run(&["--quoted-input", "get", "\"a"], b"");
    assert_eq!((errors.as_str(), status), ("Invalid quoted string\n", Some(1)));

    let script = server.directory().join("script.lua");
    std::fs::write(&script, "return {KEYS[1] or 'none', #KEYS, ARGV[1], ARGV[2]}").expect("write the script");
    let script = script.to_str().expect("UTF-8");
    assert_eq!(run(&["--eval", script, "k", ",", "a", "b"], b""), good("k\n1\na\nb\n"));
    assert_eq!(run(&["--eval", script, "k", "l"], b""), good("k\n2\n"));
    assert_eq!(run(&["--eval", script], b""), good("none\n0\n"));
    let (_, errors, status) = run(&["--eval", "/nosuch.lua"], b"");
    assert_eq!(
        (errors.as_str(), status),
        ("Can't open file '/nosuch.lua': No such file or directory\n", Some(1))
    );
}

#[test]
fn options_say_where_how_often_and_in_which_form() {
    let subject = Client::subject();
    let server = Server::start("");
    let port = server.port();
    let run = |arguments: &[&str]| {
        let run = subject.run(port, arguments, b"");
        (String::from_utf8_lossy(&run.output).into_owned(), run.errors, run.status)
    };
    let good = |text: &str| (text.to_string(), String::new(), Some(0));
    assert_eq!(run(&["-r", "3", "-i", "0.01", "incr", "n"]), good("1\n2\n3\n"));
    assert_eq!(run(&["rpush", "l", "a", "b"]), good("2\n"));
    assert_eq!(run(&["-d", ", ", "lrange", "l", "0", "-1"]), good("a, b\n"));
    assert_eq!(run(&["-D", ";", "-r", "2", "lrange", "l", "0", "-1"]), good("a\nb;a\nb;"));
    assert_eq!(run(&["-n", "2", "set", "in", "two"]), good("OK\n"));
    assert_eq!(run(&["get", "in"]), good("\n"));
    let url = format!("redis://127.0.0.1:{port}/2");
    assert_eq!(run(&["-u", &url, "get", "in"]), good("two\n"));
    assert_eq!(run(&["--json", "hello"]).0.split(',').nth(2), Some("\"proto\":3"));
    assert_eq!(run(&["--json", "-2", "hello"]).0.split(',').nth(5), Some("2"));
    assert_eq!(run(&["--csv", "--json", "get", "n"]), good("\"3\"\n"));
    assert_eq!(run(&["--json", "--no-raw", "get", "n"]), good("\"3\"\n"));
    assert_eq!(run(&["-c", "get", "n"]), good("3\n"));
    assert_eq!(run(&["-e", "get"]).1, "ERR wrong number of arguments for 'get' command\n");
    assert_eq!(
        run(&["-e", "-r", "3", "get"]),
        (String::new(), "ERR wrong number of arguments for 'get' command\n".into(), Some(1))
    );
    assert_eq!(run(&["get"]).2, Some(0));
    assert_eq!(run(&["client", "reply", "off"]), good(""));
    assert_eq!(
        run(&["-n", "99", "ping"]),
        ("PONG\n".into(), "SELECT 99 failed: ERR DB index is out of range\n".into(), Some(0))
    );
    if !tls::IS_AVAILABLE {
        assert_eq!(run(&["--tls", "ping"]), (String::new(), format!("{}\n", tls::HOW_TO_GET), Some(1)));
    }
    let (_, errors, status) = run(&["-h", "nosuch.invalid", "ping"]);
    let at = format!("Could not connect to Redis at nosuch.invalid:{port}: ");
    assert!(errors.starts_with(&at) && !errors.contains("lookup") && status == Some(1), "{errors}");
    assert_eq!(run(&["-h"]), run(&["--help"]));
    assert_eq!(run(&["echo", "-h"]), good("-h\n"));
    let (_, errors, status) = run(&["--nosuch"]);
    assert!(errors.contains("--nosuch") && status == Some(1), "{errors}");
    assert_eq!(run(&["set", "k", "--nosuch"]), good("OK\n"));
    assert!(run(&["--help"]).0.contains("--quoted-input"));
    assert!(run(&["--version"]).0.starts_with("redstart-cli "));
    assert!(run(&["help", "get"]).0.contains("\n  GET key\n"));
    let socket = server.directory().join("nosuch.sock");
    let socket = socket.to_str().expect("UTF-8");
    let text = format!("Could not connect to Redis at {socket}: No such file or directory\n");
    assert_eq!(run(&["-s", socket, "ping"]), (String::new(), text, Some(1)));
    let dead = free_port();
    let text = format!("Could not connect to Redis at 127.0.0.1:{dead}: Connection refused\n");
    assert_eq!(run(&["-p", &dead.to_string(), "ping"]), (String::new(), text, Some(1)));
}

#[test]
fn a_password_comes_from_options_a_url_or_the_environment() {
    const WARNING: &str =
        "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.\n";
    let subject = Client::subject();
    let server = Server::start("--requirepass secret");
    let port = server.port();
    let run = |arguments: &[&str]| {
        let run = subject.run(port, arguments, b"");
        (String::from_utf8_lossy(&run.output).into_owned(), run.errors)
    };
    let pong = |errors: &str| ("PONG\n".to_string(), errors.to_string());
    assert_eq!(run(&["-a", "secret", "ping"]), pong(WARNING));
    assert_eq!(run(&["--pass", "secret", "--user", "default", "--no-auth-warning", "ping"]), pong(""));
    assert_eq!(run(&["-u", &format!("redis://:secret@127.0.0.1:{port}"), "ping"]), pong(WARNING));
    let (output, errors) = run(&["--no-auth-warning", "-a", "wrong", "-n", "2", "ping"]);
    assert_eq!(output, "NOAUTH Authentication required.\n\n");
    assert_eq!(errors, "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\n");
    let output = Command::new(subject_binary())
        .args(["cli", "-p", &port.to_string(), "ping"])
        .env("REDISCLI_AUTH", "secret")
        .output()
        .expect("the client runs");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"PONG\n"[..], &b""[..]));
    // Logging in later still selects the database of `-n`.
    let run = subject.run(port, &["-n", "2", "--no-raw"], b"auth secret\nset a b\nclient info\n");
    assert!(String::from_utf8_lossy(&run.output).contains(" db=2 "), "{run:?}");
}

#[test]
fn a_connection_that_breaks_is_an_error_and_a_closed_pipe_is_not() {
    let subject = Client::subject();
    let port = parrot();
    let run = subject.run(port, &["close"], b"");
    assert_eq!((run.errors.as_str(), run.status), ("Error: Server closed the connection\n", Some(1)));
    let run = subject.run(port, &["reply", "HTTP/1.1 400\r\n"], b"");
    assert_eq!(run.status, Some(1));
    assert!(run.errors.starts_with("Error: Protocol error"), "{run:?}");
    let run = subject.run(port, &[], b"reply \":1\\r\\n\"\nclose\nreply \":2\\r\\n\"\n");
    assert_eq!(
        (&run.output[..], run.errors.as_str()),
        (&b"1\n2\n"[..], "Error: Server closed the connection\n")
    );

    let many = ":1\r\n".repeat(200_000);
    let reply = format!("*200000\r\n{many}");
    let mut child = Command::new(subject_binary())
        .args(["cli", "-x", "-p", &port.to_string(), "reply"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts");
    drop(child.stdout.take());
    child.stdin.take().expect("piped").write_all(reply.as_bytes()).expect("the client reads");
    let output = child.wait_with_output().expect("the client exits");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_sent_to_subscribers_and_monitors_is_printed_as_it_comes() {
    let server = Server::start("");
    for (arguments, first, second) in [
        (&["--csv", "subscribe", "a", "b"][..], "\"subscribe\",\"b\",2", "\"message\",\"a\",\"hi\""),
        (&["--csv", "-3", "subscribe", "a", "b"], "\"subscribe\",\"b\",2", "\"message\",\"a\",\"hi\""),
        (&["--csv", "psubscribe", "*"], "\"psubscribe\",\"*\",1", "\"pmessage\",\"*\",\"a\",\"hi\""),
        (&["monitor"], "OK", "\"PUBLISH\" \"a\" \"hi\""),
    ] {
        let mut child = Command::new(subject_binary())
            .args(["cli", "-p", &server.port().to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let killer = Killer::after_deadline(child.id());
        let mut lines =
            BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("a line"));
        let mut until = |text: &str| {
            let found = lines.by_ref().any(|line| line.ends_with(text));
            assert!(found, "{arguments:?}: no line ends with {text}");
        };
        until(first);
        server.client().call(&["PUBLISH", "a", "hi"]);
        until(second);
        child.kill().expect("kill the client");
        child.wait().expect("wait");
        drop(killer);
    }
}
