//! A script that repeats a hostile call forever, on a server: other clients get `-BUSY`, and can kill the script.
//!
//! Each native function that a script finds in its globals has such a call, and so have instructions. The work between
//! two checks of the budget, which [`steps`](super::steps) counts, bounds the time that other clients wait.

use crate::calls::{self, MORE};
use crate::support::{Client, Server, eventually};

/// Enough for more than one piece of each type of work.
const LENGTH: usize = 1 << 19;
const SIZE: usize = 1 << 13;

/// Calls of the functions that need a server.
const OF_SERVER: &[(&str, &str)] = &[
    ("redis.acl_check_cmd", "redis.acl_check_cmd('MSET', unpack(few))"),
    ("redis.breakpoint", "redis.breakpoint()"),
    ("redis.call", "redis.call('ECHO', a)"),
    ("redis.debug", "redis.debug(a, unpack(few))"),
    ("redis.error_reply", "redis.error_reply(a)"),
    ("redis.log", "redis.log(redis.LOG_DEBUG, a, unpack(few))"),
    ("redis.pcall", "redis.pcall('MGET', unpack(few))"),
    ("redis.replicate_commands", "redis.replicate_commands()"),
    ("redis.set_repl", "redis.set_repl(redis.REPL_ALL)"),
    ("redis.setresp", "redis.setresp(3)"),
    ("redis.sha1hex", "redis.sha1hex(a)"),
    ("redis.status_reply", "redis.status_reply(a)"),
];

/// Starts a script that repeats `call`, waits until it has made one and other clients are refused, and kills it.
fn end_repeated(server: &Server, client: &mut Client, other: &mut Client, name: &str, call: &str) {
    let script = format!(
        "local function main() {}
            local function call() {} end
            call() redis.log(redis.LOG_WARNING, 'repeated: {name};') while true do call() end
         end
         return setfenv(main, setmetatable({{}}, {{__index = _G}}))()",
        calls::setup(LENGTH, SIZE),
        calls::with_count(call)
    );
    client.send(&["EVAL", &script, "0"]).expect("sent");
    server.wait_for_log(&format!("repeated: {name};"));
    eventually(&format!("{name} makes the server busy"), || {
        let reply = other.run("PING");
        reply.text().starts_with("BUSY").then_some(())
    });
    other.ok("SCRIPT KILL");
    let reply = client.read_reply().expect("a reply").value.text();
    assert!(reply.starts_with("ERR Script killed by user with SCRIPT KILL"), "{name}: {reply}");
    assert_eq!(other.run("PING").text(), "PONG", "{name}");
}

#[test]
fn whatever_function_a_script_repeats_others_are_refused_meanwhile_and_can_end_it() {
    let server = Server::start("--busy-reply-threshold 1 --save ''");
    let (mut client, mut other) = (server.client(), server.client());
    let names = client.call(&["EVAL", calls::NAMES, "0"]).text();
    for name in names.split(' ') {
        let mut programs: Vec<String> = calls::calls_of(name).into_iter().map(|(call, _)| call).collect();
        let of_server = OF_SERVER.iter().filter(|(called, _)| *called == name);
        programs.extend(of_server.map(|(_, program)| (*program).to_owned()));
        assert!(!programs.is_empty(), "{name} has no entry");
        end_repeated(&server, &mut client, &mut other, name, &programs.join(" "));
    }
    assert!(names.contains("redis.call") && names.contains("string.rep"), "{names}");
}

#[test]
fn whatever_instruction_a_script_repeats_others_are_refused_meanwhile_and_can_end_it() {
    let server = Server::start("--busy-reply-threshold 1 --save ''");
    let (mut client, mut other) = (server.client(), server.client());
    for (name, program, _) in MORE {
        end_repeated(&server, &mut client, &mut other, name, program);
    }
}
