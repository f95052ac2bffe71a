//! `redstart cli -c`: follows MOVED and ASK.

use crate::support::{Server, Terminal, Value};
use crate::{address, cli, cluster, id, redis_cli, run, wait_for_agreement};

/// Runs the client on a node with this input, and checks that redis-cli prints the same.
fn compared(node: &Server, arguments: &[&str], input: &str) -> String {
    let port = node.port().to_string();
    let arguments = [&["-p", &port], arguments].concat();
    let own = run(cli(&arguments), input);
    if let Some(other) = redis_cli(&arguments) {
        assert_eq!(own, run(other, input), "{arguments:?}");
    }
    own.good()
}

#[test]
fn redirections_are_followed_with_the_option_only() {
    let nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    let first = &nodes[0];
    // k1 is in slot 12706 of the third node, k2 in 449 of the first one, k3 in 4576 of that, and k4 in 8455 of the second.
    let moved = format!("MOVED 12706 {}\n\n", address(&nodes[2]));
    assert_eq!(compared(first, &["set", "k1", "x"], ""), moved);
    assert_eq!(compared(first, &["-c", "set", "k1", "x"], ""), "OK\n");
    assert_eq!(compared(first, &["-c", "-r", "3", "get", "k1"], ""), "x\nx\nx\n");
    assert_eq!(compared(first, &["-c", "-x", "set", "k1"], "from input"), "OK\n");
    assert_eq!(compared(first, &["-c", "-3", "--json", "get", "k1"], ""), "\"from input\"\n");
    let lines = compared(first, &["-c"], "set k2 a\nget k2\nset k1 b\nget k1\nget k2\n");
    let to =
        |slot: u16, node: &Server| format!("-> Redirected to slot [{slot}] located at {}\n", address(node));
    let wanted = format!("OK\na\n{}OK\nb\n{}a\n", to(12706, &nodes[2]), to(449, first));
    assert_eq!(lines, wanted);
    // A redirection leaves the transaction.
    let lines = compared(first, &["-c"], "multi\nset k2 c\nset k1 d\nexec\nget k1\n");
    let wanted = format!("OK\nQUEUED\n{}OK\nERR EXEC without MULTI\n\nd\n", to(12706, &nodes[2]));
    assert_eq!(lines, wanted);
    assert_eq!(compared(first, &["-c"], "multi\nset k2 e\nexec\n"), "OK\nQUEUED\nOK\n");
    let script = first.directory().join("script.lua");
    std::fs::write(&script, "return redis.call('GET', KEYS[1])").expect("write the script");
    assert_eq!(compared(first, &["-c", "--eval", script.to_str().expect("UTF-8"), "k1"], ""), "d\n");
    // Errors that are no redirections are printed.
    assert!(compared(first, &["-c", "mget", "k1", "k2"], "").starts_with("CROSSSLOT "));
    run(cli(&["-c", "-s", "socket", "ping"]), "").fails_with("Options -c and -s are mutually exclusive.");

    a_slot_on_its_way_is_asked_for(&nodes);
    the_prompt_names_the_node(&nodes);
    shard_channels_are_found(&nodes);
}

fn a_slot_on_its_way_is_asked_for(nodes: &[Server]) {
    let (mut source, mut target) = (nodes[0].client(), nodes[1].client());
    target.ok(&format!("CLUSTER SETSLOT 449 IMPORTING {}", id(&nodes[0])));
    source.ok(&format!("CLUSTER SETSLOT 449 MIGRATING {}", id(&nodes[1])));
    let ask = format!("ASK 449 {}\n\n", address(&nodes[1]));
    assert_eq!(compared(&nodes[0], &["get", "{k2}new"], ""), ask);
    assert_eq!(compared(&nodes[0], &["-c", "set", "{k2}new", "1"], ""), "OK\n");
    assert_eq!(compared(&nodes[1], &["-c", "get", "{k2}new"], ""), "1\n");
    // The existing key is still at the source.
    assert_eq!(compared(&nodes[1], &["-c", "get", "k2"], ""), "e\n");
    let to = |node: &Server| format!("-> Redirected to slot [449] located at {}\n", address(node));
    // ASKING is for one command: the next one is redirected back, and from there again.
    let lines = compared(&nodes[0], &["-c"], "get {k2}new\nget {k2}new\n");
    let expected = format!("{}1\n{}{}1\n", to(&nodes[1]), to(&nodes[0]), to(&nodes[1]));
    assert_eq!(lines, expected);
    source.ok(&format!("MIGRATE 127.0.0.1 {} k2 0 5000", nodes[1].port()));
    target.ok(&format!("CLUSTER SETSLOT 449 NODE {}", id(&nodes[1])));
    source.ok(&format!("CLUSTER SETSLOT 449 NODE {}", id(&nodes[1])));
    assert_eq!(compared(&nodes[0], &["-c", "get", "k2"], ""), "e\n");
}

fn the_prompt_names_the_node(nodes: &[Server]) {
    let mut command = cli(&["-c", "-p", &nodes[0].port().to_string()]);
    command.env("HOME", nodes[0].directory()).env_remove("REDISCLI_AUTH");
    let mut terminal = Terminal::start(command, 100, 30);
    terminal.wait_for(&format!("{}> ", address(&nodes[0])));
    terminal.send("get k1\r");
    terminal
        .wait_for(&format!("-> Redirected to slot [12706] located at {}\r\n\"d\"\r\n", address(&nodes[2])));
    terminal.wait_for(&format!("{}> ", address(&nodes[2])));
    terminal.send("quit\r");
    assert!(terminal.wait_exit().success());
}

fn shard_channels_are_found(nodes: &[Server]) {
    // The channel k1 belongs to the third node.
    let mut command = cli(&["-c", "-p", &nodes[0].port().to_string(), "ssubscribe", "k1"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("start the client");
    let mut publisher = nodes[2].client();
    crate::eventually("the subscriber", || {
        (publisher.run("SPUBLISH k1 hello") == Value::Integer(1)).then_some(())
    });
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    while !text.contains("hello\n") {
        let read = std::io::BufRead::read_line(&mut output, &mut text).expect("a line");
        assert!(read > 0, "{text}");
    }
    child.kill().expect("end the client");
    child.wait().expect("wait");
    assert!(text.starts_with("ssubscribe\nk1\n1\n"), "{text}");
}
