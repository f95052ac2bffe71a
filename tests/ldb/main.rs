//! The Lua debugger of redis-cli: sessions produce the same bytes as with Redis, and no session harms the server.
//!
//! `sessions.txt` has a script and commands for each session. `@3 s t` repeats the commands `s` and `t` three times;
//! `!…` is sent as raw bytes. Addresses are not compared, since they differ.

#[path = "../support/mod.rs"]
mod support;
mod tool;

use std::io::Write;
use std::process::{Command, Stdio};

use support::client::encode;
use support::server::Launch;
use support::{Client, Server, Value, eventually};

const SESSIONS: &str = include_str!("sessions.txt");

/// The last line of a session.
const END: &str = "<endsession>";

struct Session {
    name: String,
    script: String,
    commands: Vec<String>,
}

fn sessions() -> Vec<Session> {
    let parse = |text: &str| {
        let (name, rest) = text.split_once('\n').expect("a name");
        let (script, commands) = rest.split_once("---\n").expect("commands");
        let script = match script.strip_prefix('@').and_then(|repeated| repeated.split_once(' ')) {
            Some((count, line)) => line.repeat(count.parse().expect("a number")),
            None => script.to_string(),
        };
        Session { name: name.into(), script, commands: commands.lines().flat_map(repeated).collect() }
    };
    SESSIONS.split("=== ").skip(1).map(parse).collect()
}

fn repeated(line: &str) -> Vec<String> {
    let Some((count, words)) = line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) else {
        return vec![line.to_string()];
    };
    let words: Vec<String> = words.split(' ').map(String::from).collect();
    words.iter().cycle().take(count.parse::<usize>().expect("a number") * words.len()).cloned().collect()
}

/// Starts a session. Returns the client and the server's first lines.
fn begin(server: &Server, mode: &str, script: &str) -> (Client, Vec<u8>) {
    let mut client = server.client();
    client.ok(&format!("SCRIPT DEBUG {mode}"));
    client.send(&["EVAL", script, "1", "key", "argument"]).expect("sent");
    let reply = client.read_reply().expect("the place where the script has stopped").raw;
    (client, reply)
}

fn has_ended(reply: &[u8]) -> bool {
    String::from_utf8_lossy(reply).contains(END)
}

/// Runs a session. Returns the bytes that the server sent.
fn transcript(server: &Server, mode: &str, session: &Session) -> String {
    let (mut client, mut reply) = begin(server, mode, &session.script);
    let mut transcript = String::new();
    let mut show = |reply: &[u8]| transcript.push_str(&without_addresses(&String::from_utf8_lossy(reply)));
    for command in &session.commands {
        show(&reply);
        if has_ended(&reply) {
            break;
        }
        show(format!("> {command}\n").as_bytes());
        match command.strip_prefix('!') {
            Some(raw) => client.send_raw(raw.replace("\\r\\n", "\r\n").as_bytes()).expect("sent"),
            None => client.send(&command.split(' ').collect::<Vec<_>>()).expect("sent"),
        }
        reply =
            client.read_reply().unwrap_or_else(|error| panic!("{}: {command}: {error}", session.name)).raw;
    }
    show(&reply);
    assert!(has_ended(&reply), "{}: is not over", session.name);
    show(&client.wait_closed());
    transcript
}

fn without_addresses(text: &str) -> String {
    let mut parts = text.split("@0x");
    let mut shown = parts.next().unwrap_or_default().to_string();
    for part in parts {
        shown.push('@');
        shown.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()));
    }
    shown
}

/// The keys and their values.
fn data(server: &Server) -> String {
    let mut client = server.client();
    let mut keys: Vec<String> = client.run("KEYS *").elements().iter().map(Value::text).collect();
    keys.sort();
    let lines: Vec<String> =
        keys.iter().map(|key| format!("{key}: {:?}", client.call(&["DUMP", key]))).collect();
    lines.join("\n")
}

fn compare(mode: &str) -> (Server, Server) {
    let (redis, own) = (Launch::redis().start(), Server::start(""));
    for session in sessions() {
        let expected = transcript(&redis, mode, &session);
        let actual = transcript(&own, mode, &session);
        for (n, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
            assert_eq!(actual, expected, "{} in line {n}", session.name);
        }
        assert_eq!(actual, expected, "{}", session.name);
    }
    (redis, own)
}

#[test]
fn a_forked_session_sends_what_redis_sends_and_changes_nothing() {
    let (_, own) = compare("YES");
    assert_eq!(data(&own), "");
    assert!(own.client().info_number("total_forks") >= 10, "each session has a process");
}

#[test]
fn a_session_in_the_server_sends_what_redis_sends_and_its_writes_stay() {
    let (redis, own) = compare("SYNC");
    let data = data(&own);
    assert!(data.contains("kept: "), "{data}");
    let keys = |server: &Server| {
        let mut keys = server.client().run("KEYS *").elements().iter().map(Value::text).collect::<Vec<_>>();
        keys.sort();
        keys
    };
    assert_eq!(keys(&own), keys(&redis));
}

#[test]
fn writes_of_a_session_in_the_server_reach_the_log_and_those_of_a_forked_one_do_not() {
    let server = Server::start("--appendonly yes --enable-debug-command yes");
    for (mode, expected) in [("YES", Value::NullBulk), ("SYNC", Value::Bulk(b"1".to_vec()))] {
        let (mut client, _) = begin(&server, mode, "redis.call('incr', KEYS[1])\nreturn 7");
        client.send(&["c"]).expect("sent");
        assert!(has_ended(&client.read_reply().expect("the end").raw));
        assert_eq!(client.read_reply().expect("the script's reply").value, Value::Integer(7));
        client.wait_closed();
        assert_eq!(server.client().run("GET key"), expected, "{mode}");
        server.client().ok("DEBUG LOADAOF");
        assert_eq!(server.client().run("GET key"), expected, "{mode}, after loading the log");
    }
}

/// The server's child processes.
fn children(server: &Server) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", server.pid());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_session_blocks_no_other_client_and_ends_with_its_client_or_the_server() {
    let mut server = Server::start("--busy-reply-threshold 50");
    let clients = || server.client().run("CLIENT LIST").text().lines().count();
    let (client, _) = begin(&server, "YES", "while true do\nend");
    assert_eq!(children(&server).len(), 1);
    assert_eq!(clients(), 1, "only the child has the connection");
    // Without its client, an endless script ends at the timeout and leaves no zombie.
    drop(client);
    eventually("the child is gone", || children(&server).is_empty().then_some(()));

    let (mut client, _) = begin(&server, "YES", "while true do\nend");
    client.send(&["c"]).expect("sent");
    let stopped = client.read_reply().expect("stopped").value;
    assert_eq!(stopped.elements()[0].text(), "* Stopped at 1, stop reason = timeout reached, infinite loop?");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(server.wait_exit().success());
    client.wait_closed();
}

#[test]
fn a_session_in_the_server_ends_when_its_client_disconnects() {
    let server = Server::start("--busy-reply-threshold 50");
    for commands in [&[][..], &["c"], &["s", "s"], &["e while true do end"]] {
        let (mut client, _) = begin(&server, "SYNC", "while true do\n  local x = 1\nend");
        for command in commands {
            client.send(&command.splitn(2, ' ').collect::<Vec<_>>()).expect("sent");
        }
        drop(client);
        assert_eq!(server.client().run("PING").text(), "PONG", "{commands:?}");
    }
}

#[test]
fn a_signal_shuts_the_server_down_during_a_session_in_it() {
    let mut server = Server::start("");
    let (mut client, _) = begin(&server, "SYNC", "redis.call('set', KEYS[1], 1)\nreturn 7");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(String::from_utf8_lossy(&client.wait_closed()).contains(END));
    assert!(server.wait_exit().success());
}

#[test]
fn no_input_of_a_session_harms_the_server() {
    let server = Server::start("");
    for mode in ["YES", "SYNC"] {
        for input in [
            &b"\0\0\0"[..],
            b"*",
            b"*1024\r\n",
            b"*-1\r\n",
            b"*1\r\n$-1\r\n",
            b"*99999999999999999999\r\n",
            b"*2\r\n$1\r\nl\r\n$11\r\n-2147483648\r\n",
            b"*3\r\n$1\r\nl\r\n$11\r\n-2147483648\r\n$11\r\n-2147483648\r\n",
            b"*2\r\n$1\r\nb\r\n$20\r\n-9223372036854775808\r\n",
            b"*2\r\n$1\r\nm\r\n$11\r\n-2147483648\r\n",
            b"*1\r\n$3\r\ns\0x\r\n",
            b"*2\r\n$1\r\nr\r\n$1\r\n\0\r\n",
            b"*2\r\n$1\r\np\r\n$4\r\n\xff\xfe\0x\r\n",
        ] {
            let (mut client, _) = begin(&server, mode, "local t = {}\nt.t = t\nreturn 1");
            client.send_raw(input).expect("sent");
            client.finish_sending();
            assert!(has_ended(&client.wait_closed()), "{mode}: {input:?}");
        }
        // A command that is too long, and a table whose output would be endless.
        let (mut client, _) = begin(&server, mode, "return 1");
        let _ =
            client.send_raw(&[b"*1024\r\n".to_vec(), b"$1024\r\n".to_vec(), vec![b'x'; 2 << 20]].concat());
        assert!(has_ended(&client.wait_closed()));
        let (mut client, _) = begin(&server, mode, "return 1");
        let code = "local t = {} for i = 1, 20 do t[i] = t end return t";
        client.send_raw(&[encode(&["e", code])].concat()).expect("sent");
        let shown = client.read_reply().expect("a value").value.elements();
        assert!(shown[0].text().starts_with("<retval> {{{{{{{{{{<max recursion level"), "{shown:?}");
        client.send(&["c"]).expect("sent");
        client.wait_closed();
    }
    assert_eq!(server.client().run("PING").text(), "PONG");
}

#[test]
fn script_debug_is_refused_in_a_pipeline_and_for_evalsha() {
    let server = Server::start("");
    let mut client = server.client();
    let refused = |value: Value, text: &str| {
        assert!(value.is_error() && value.text() == text, "{value:?}");
    };
    refused(client.run("SCRIPT DEBUG maybe"), "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    client.ok("SCRIPT DEBUG yes");
    let digest = "a".repeat(40);
    let text = "ERR Please use EVAL instead of EVALSHA for debugging";
    refused(client.call(&["EVALSHA", &digest, "0"]), text);
    client.ok("SCRIPT DEBUG no");
    assert_eq!(client.call(&["EVAL", "return redis.breakpoint()", "0"]), Value::NullBulk);
    let requests = [encode(&["PING"]), encode(&["SCRIPT", "DEBUG", "yes"])].concat();
    client.send_raw(&requests).expect("sent");
    client.read_reply().expect("a reply");
    let text = "ERR SCRIPT DEBUG must be called outside a pipeline";
    refused(client.read_reply().expect("a reply").value, text);
}

#[test]
fn redis_cli_debugs_a_script() {
    let directory = support::server::Directory::new();
    let script = directory.join("script.lua");
    std::fs::write(&script, "local a = ARGV[1]\nredis.call('set', KEYS[1], a)\nreturn a\n").expect("written");
    let debug = |server: &Server, mode: &str| {
        let mut cli = Command::new("redis-cli")
            .args(["-p", &server.port().to_string(), mode, "--eval"])
            .arg(&script)
            .args(["key", ",", "value"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli");
        let mut input = cli.stdin.take().expect("its input");
        input.write_all(b"s\np\nb 3\nc\nt\ne ARGV[1] .. 1\nredis get key\nc\nquit\n").expect("written");
        drop(input);
        String::from_utf8_lossy(&cli.wait_with_output().expect("its output").stdout).into_owned()
    };
    for mode in ["--ldb", "--ldb-sync-mode"] {
        let (redis, own) = (Launch::redis().start(), Server::start(""));
        let output = debug(&own, mode);
        assert!(output.contains("<retval> \"value1\""), "{output}");
        assert_eq!(output, debug(&redis, mode));
        assert_eq!(own.client().run("EXISTS key"), Value::Integer(i64::from(mode != "--ldb")));
    }
}
