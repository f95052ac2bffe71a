//! The debugger of `redstart cli`, compared with that of redis-cli through pipes, and at a terminal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::server::subject_binary;
use crate::support::{Server, Terminal, Value};

const SCRIPT: &str = "\
local x = redis.call('incr', KEYS[1])
x = x + 1
redis.debug('here', x, {1, 2}, '<value>')
redis.log(redis.LOG_WARNING, 'x')
if x > 1000 then return redis.error_reply('MANY') end
return {x, ARGV[1], {ok='fine'}}
";

/// Scripts, and the user's input.
const CASES: [(&str, &str); 10] = [
    (
        SCRIPT,
        "s\nhelp\nb 3\nc\np\np x\ne x\ne return 1\nr get key\nt\nw\nl 2 1\nm 5\nc\nget key\n2 get key\n",
    ),
    // The code to evaluate keeps its quotes and spaces.
    (
        SCRIPT,
        "e redis.call(\"set\",\"key\",\"1\")\ne return \"x  y\"\neval return 'x' .. \"\\\"\\n\" \ne \ne  return 1\n\
            e return [[\"]]\neval\nE return 'x'\n e return \"x\"\n2 e return 'x'\nr set \"a b\" '1\nr get \"key\"\nc\ne x\n",
    ),
    (SCRIPT, "n\n2 s\nabort\nget key\nping\n"),
    (SCRIPT, "s\nrestart\ns\ns\nrestart\nc\nget key\nrestart\nc\n:set nohints\nquit\nget key\n"),
    (SCRIPT, "nosuch\n\n\"\n0 s\n-1 s\nclear x\nRESTART\nexit\n"),
    (SCRIPT, ""),
    ("return (", "s\nget key\n"),
    ("", "s\nget key\n"),
    ("error('no')", "c\nget key\nrestart\nc\n"),
    ("return {1, {2, {3}}, false, 'text'}", "c\n"),
];

fn output(mut command: Command, server: &Server, arguments: &[&str], term: &str, input: &str) -> Output {
    command.args(["-p", &server.port().to_string()]).args(arguments);
    command.env("TERM", term).env_remove("REDISCLI_AUTH").env_remove("FAKETTY").env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // It may exit before it has read all its input.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the client exits")
}

fn subject() -> Command {
    let mut command = Command::new(subject_binary());
    command.arg("cli");
    command
}

fn reference() -> Command {
    Command::new(std::env::var_os("REDIS_CLI").map_or_else(|| PathBuf::from("redis-cli"), PathBuf::from))
}

fn write(directory: &Path, script: &str) -> String {
    let path = directory.join("script.lua");
    std::fs::write(&path, script).expect("write the script");
    path.display().to_string()
}

#[test]
fn a_session_is_printed_as_redis_cli_prints_it() {
    let server = Server::start("");
    for mode in ["--ldb", "--ldb-sync-mode"] {
        for (script, input) in CASES {
            for term in ["dumb", "xterm-256color"] {
                let path = write(server.directory(), script);
                let arguments = [mode, "--eval", &path, "key", ",", "argument"];
                let [wanted, printed] = [reference(), subject()].map(|command| {
                    server.client().ok("FLUSHALL");
                    let output = output(command, &server, &arguments, term, input);
                    (String::from_utf8(output.stdout).expect("text"), output.status.code(), data(&server))
                });
                assert!(wanted.0.starts_with("Lua debugging session started"), "{wanted:?}");
                assert_eq!(printed, wanted, "{mode} {script:?} {input:?}");
            }
        }
    }
}

fn data(server: &Server) -> Value {
    server.client().run("GET key")
}

#[test]
fn script_debug_at_the_prompt_begins_a_session_with_eval() {
    let server = Server::start("");
    let input = "script debug yes\nscript debug no\neval \"return 1\" 0\nscript debug yes\n\
        eval \"return redis.call('incr', 'key')\" 0\ns\nc\nget key\nscript debug yes\neval \"return (\" 0\nget key\nrestart\n";
    let [wanted, printed] =
        [reference(), subject()].map(|command| output(command, &server, &["--raw"], "dumb", input).stdout);
    assert_eq!(String::from_utf8(printed).expect("text"), String::from_utf8(wanted).expect("text"));
}

#[test]
fn the_script_is_not_executed_if_it_cannot_be_debugged() {
    let server = Server::start("--rename-command SCRIPT nosuch");
    let path = write(server.directory(), "return redis.call('incr', KEYS[1])");
    let refused = output(subject(), &server, &["--ldb", "--eval", &path, "key"], "dumb", "c\n");
    let errors = String::from_utf8(refused.stderr).expect("text");
    assert!(errors.starts_with("SCRIPT DEBUG failed: ERR unknown command 'SCRIPT'"), "{errors}");
    assert_eq!((refused.status.code(), data(&server)), (Some(1), Value::NullBulk));
    for (arguments, text) in [
        (
            &["--ldb"][..],
            "Options --ldb and --ldb-sync-mode require --eval.\nTry redstart cli --help for more information.\n",
        ),
        (&["--ldb", "--eval", "nosuch.lua"], "Can't open file 'nosuch.lua': No such file or directory\n"),
    ] {
        let output = output(subject(), &server, arguments, "dumb", "");
        assert_eq!(String::from_utf8(output.stderr).expect("text"), text);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_script_is_debugged_at_a_prompt_and_ctrl_c_ends_an_endless_eval() {
    let server = Server::start("");
    let path = write(server.directory(), SCRIPT);
    let mut command = subject();
    command.args(["-p", &server.port().to_string(), "--ldb", "--eval", &path, "key", ",", "argument"]);
    command.env("HOME", server.directory()).env_remove("REDISCLI_AUTH").env_remove("REDISCLI_HISTFILE");
    let mut terminal = Terminal::start(command, 100, 30);
    terminal.wait_for("\x1b[0;33;49m-> 1   local x = redis.call('incr', KEYS[1])\x1b[0m\r\n");
    terminal.wait_for("lua debugger> ");
    terminal.send("s\r");
    terminal.wait_for("<reply> 1");
    terminal.wait_for("lua debugger> ");
    terminal.send("restart\r");
    terminal.wait_for("Lua debugging session started");
    terminal.wait_for("lua debugger> ");
    terminal.send("c\r");
    terminal.wait_for("(Lua debugging session ended -- dataset changes rolled back)");
    let prompt = format!("127.0.0.1:{}> ", server.port());
    terminal.wait_for(&prompt);
    assert_eq!(data(&server), Value::NullBulk);
    terminal.send("restart\r");
    terminal.wait_for("lua debugger> ");
    terminal.send("e while true do end\r");
    // Ctrl-C is a key in the editor, and a signal outside of it.
    crate::support::eventually("the editor has ended", || terminal.is_restored().then_some(()));
    terminal.send("\x03");
    terminal.wait_for(&prompt);
    terminal.send("get key\r");
    terminal.wait_for("(nil)\r\n");
}
