//! `redstart cluster`: a cluster on this machine, to try things out.
//!
//! `start` runs the nodes in the background and forms a cluster of them with the code of `redstart cli --cluster create`;
//! `stop` ends them, `wipe` also deletes their data, `status` shows them. Each may be repeated: it does what is missing.
//!
//! `layout` is the directory: its file `cluster.conf` marks it as ours and has the settings, and each node has a
//! directory named after its port. `node` starts, finds and stops one server process.

mod layout;
mod node;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};

use super::cli::cluster::create;
use super::client::info::field;
use super::console::{self, tell};
use crate::tools::Call;
use layout::{Layout, Settings};
use node::{Node, State};

const EXAMPLES: &str = "Examples:
  redstart cluster start                     three masters with a replica each, on ports 7000 to 7005
  redstart cluster status
  redstart cli -c -p 7000                    type commands to it
  redstart cluster stop                      the data stays, and 'start' continues with it
  redstart cluster wipe                      stop it and delete its data
  redstart cluster start --dir /tmp/c --port 8000 --masters 5 --replicas 2 -- --maxmemory 100mb
                                             directives for the servers follow --";

/// How long nodes may take to start, to form a cluster, or to exit.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The tool's command line.
pub fn command() -> Command {
    Command::new("cluster")
        .about("Start and stop a cluster on this machine, for trying things out")
        .override_usage("redstart cluster start|stop|status|wipe [OPTIONS] [-- --directive value ...]")
        .after_help(EXAMPLES)
        .args([
            Arg::new("action")
                .value_name("ACTION")
                .required(true)
                .value_parser(["start", "stop", "status", "wipe"])
                .help("Start the nodes, stop them, show them, or stop them and delete their data"),
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .default_value("redstart-cluster")
                .help("Directory of the nodes' files"),
            Arg::new("masters")
                .long("masters")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..=1000))
                .help("start: the number of masters [default: 3]"),
            Arg::new("replicas")
                .long("replicas")
                .value_name("N")
                .value_parser(value_parser!(u16).range(0..=1000))
                .help("start: the number of replicas of each master [default: 1]"),
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .value_parser(value_parser!(u16).range(1..))
                .help("start: the port of the first node; the others follow, and each bus port is 10000 above [default: 7000]"),
            Arg::new("server")
                .long("server")
                .value_name("PROGRAM")
                .value_parser(value_parser!(PathBuf))
                .help("start: the server to run, such as redis-server [default: this program]"),
            Arg::new("directives")
                .value_name("DIRECTIVES")
                .num_args(0..)
                .last(true)
                .help("start: directives for the servers, after --"),
        ])
}

/// Runs the tool and returns its exit status: 1 after an error, and for `status` also if a node is missing.
pub fn main(call: &Call) -> ExitCode {
    let matches = match call.matches(command()) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let action = matches.get_one::<String>("action").map_or("", String::as_str);
    let result = match action {
        "start" => start(&matches),
        "stop" => stop(&matches),
        "wipe" => wipe(&matches),
        _ => status(&matches),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            tell(text);
            ExitCode::FAILURE
        }
    }
}

/// The result of an action: whether all is well, or an error message; empty if the error has been printed.
type Outcome = Result<bool, String>;

fn directory(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("dir").cloned().unwrap_or_default()
}

fn say(text: &str) {
    // Nobody reads the output; the action itself goes on.
    let _ = console::print(text.as_bytes());
}

fn start(matches: &ArgMatches) -> Outcome {
    let directory = directory(matches);
    let wanted = wanted(matches)?;
    let mut layout = if let Some(layout) = Layout::load(&directory)? {
        layout.must_match(&wanted)?;
        layout
    } else {
        layout::must_be_new(&directory)?;
        let settings = wanted.or_default()?;
        for port in settings.ports()?.into_iter().flat_map(|port| [port, port + layout::BUS]) {
            node::must_be_free(port)?;
        }
        Layout::create(&directory, settings)?
    };
    if !layout.is_formed {
        // A start was interrupted: its nodes know each other in part, and have no data yet.
        stop_all(&layout)?;
        layout.remove_nodes()?;
    }
    let nodes = nodes(&layout)?;
    let mut started = Vec::new();
    for node in &nodes {
        match node.find()? {
            State::Running(_) => {}
            State::Stopped => {
                for port in [node.port, node.port + layout::BUS] {
                    node::must_be_free(port)?;
                }
                started.push((node, node.start(&layout.settings)?));
            }
        }
    }
    let count = started.len();
    for (node, child) in started {
        node.wait_ready(child, PATIENCE)?;
    }
    if !layout.is_formed {
        form(&nodes, layout.settings.replicas as usize)?;
        layout.is_formed = true;
        layout.save()?;
    }
    wait_until_good(&nodes)?;
    say(&summary(&layout, count));
    Ok(true)
}

/// The settings that the user gives.
fn wanted(matches: &ArgMatches) -> Result<layout::Wanted, String> {
    let directives = matches.get_many::<String>("directives");
    let server = match matches.get_one::<PathBuf>("server") {
        Some(program) => Some(node::program(program)?),
        None => None,
    };
    Ok(layout::Wanted {
        masters: matches.get_one("masters").copied(),
        replicas: matches.get_one("replicas").copied(),
        port: matches.get_one("port").copied(),
        server,
        directives: directives.map(|words| words.cloned().collect()),
    })
}

fn nodes(layout: &Layout) -> Result<Vec<Node>, String> {
    Ok(layout.settings.ports()?.into_iter().map(|port| Node { port, directory: layout.node(port) }).collect())
}

/// Makes a cluster of empty nodes.
fn form(nodes: &[Node], replicas: usize) -> Result<(), String> {
    let target = node::target(0);
    let addresses: Vec<(String, u16)> =
        nodes.iter().map(|node| (node::HOST.to_string(), node.port)).collect();
    let formed = create::gather(&target, &addresses).and_then(|mut cluster| {
        let plan = create::plan_quietly(&mut cluster, replicas);
        create::form(&mut cluster, &plan, true)
    });
    formed.map_err(|_| "The cluster could not be formed; 'redstart cluster wipe' starts over.".to_string())
}

/// Waits until all nodes serve all slots, and all replicas follow their masters.
fn wait_until_good(nodes: &[Node]) -> Result<(), String> {
    let started = Instant::now();
    let mut left: Vec<&Node> = nodes.iter().collect();
    loop {
        left.retain(|node| !node.is_good());
        if left.is_empty() {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            let ports: Vec<String> = left.iter().map(|node| node.port.to_string()).collect();
            return Err(format!(
                "The cluster is not complete after {} s. Look at the nodes on port {} with 'redstart cluster status', and \
                 at their node.log.",
                PATIENCE.as_secs(),
                ports.join(", ")
            ));
        }
        thread::sleep(LOOK);
    }
}

fn summary(layout: &Layout, started: usize) -> String {
    let Settings { masters, replicas, port, .. } = layout.settings;
    let nodes = masters * (replicas + 1);
    let (last, dir) = (port + nodes - 1, layout.directory.display());
    let what = match started {
        0 => "runs already",
        count if count == nodes as usize => "runs",
        _ => "runs again",
    };
    let plural = |count: u16, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let mut text = format!(
        "The cluster {what}: {} with {} each, on ports {port} to {last} of {}.\n",
        plural(masters, "master"),
        plural(replicas, "replica"),
        node::HOST
    );
    let option = if layout.directory.as_os_str() == "redstart-cluster" {
        String::new()
    } else {
        format!(" --dir {dir}")
    };
    let lines = [
        (format!("redstart cli -c -p {port}"), "type commands to it"),
        (format!("redstart cli --cluster check {}:{port}", node::HOST), "check it"),
        (format!("redstart cluster status{option}"), "show its nodes"),
        (format!("redstart cluster stop{option}"), "stop it and keep its data"),
        (format!("redstart cluster wipe{option}"), "stop it and delete its data"),
    ];
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    for (line, what) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {line:<width$}  {what}");
    }
    text
}

fn stop(matches: &ArgMatches) -> Outcome {
    let directory = directory(matches);
    let layout = layout::must_exist(&directory)?;
    let count = stop_all(&layout)?;
    say(&match count {
        0 => "No node runs.\n".to_string(),
        count => format!("Stopped {count} nodes.\n"),
    });
    Ok(true)
}

/// Stops all running nodes. Returns their number.
fn stop_all(layout: &Layout) -> Result<usize, String> {
    let mut running = Vec::new();
    for node in nodes(layout)? {
        if let State::Running(_) = node.find()? {
            let connection = node.shut_down()?;
            running.push((node, connection));
        }
    }
    let count = running.len();
    for (node, connection) in running {
        node.wait_exit(connection, PATIENCE)?;
    }
    Ok(count)
}

fn wipe(matches: &ArgMatches) -> Outcome {
    let directory = directory(matches);
    if !directory.exists() {
        say(&format!("There is no {}.\n", directory.display()));
        return Ok(true);
    }
    let layout = layout::must_exist(&directory)?;
    stop_all(&layout)?;
    layout.remove_nodes()?;
    layout.remove_marker()?;
    // Files of other programs keep the directory.
    let is_gone = fs::remove_dir(&directory).is_ok();
    let rest = if is_gone { "" } else { "; the directory has other files and stays" };
    say(&format!("Deleted the cluster in {}{rest}.\n", directory.display()));
    Ok(true)
}

fn status(matches: &ArgMatches) -> Outcome {
    let layout = layout::must_exist(&directory(matches))?;
    let (mut text, mut is_good) = (String::new(), true);
    let mut states = Vec::new();
    for node in nodes(&layout)? {
        let line = match node.find()? {
            State::Stopped => {
                is_good = false;
                "stopped".to_string()
            }
            State::Running(pid) => {
                let info = node.text(&["CLUSTER", "INFO"]).unwrap_or_default();
                states.push(field(&info, "cluster_state").unwrap_or("unknown").to_string());
                format!("{}, pid {pid}", node.describe())
            }
        };
        let _ = writeln!(text, "{}:{}  {line}", node::HOST, node.port);
    }
    states.sort();
    states.dedup();
    let state = match &states[..] {
        [] => "stopped",
        [one] => one,
        _ => "nodes disagree",
    };
    let _ = writeln!(text, "cluster state: {state}");
    say(&text);
    Ok(is_good && state == "ok")
}

/// Converts a word for a file of settings.
fn word(text: &OsString) -> Result<String, String> {
    text.to_str().map(String::from).ok_or_else(|| format!("{} is not UTF-8", text.display()))
}
