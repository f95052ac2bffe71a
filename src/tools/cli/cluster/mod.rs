//! `redstart cli --cluster`: creates, checks, repairs and changes clusters, as redis-cli 7.2 does.
//!
//! ```text
//! options ─▶ picture (nodes, connections) ─▶ check ─▶ a plan, without I/O ─▶ confirmation ─▶ commands to nodes
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `slots`, `node`, `picture` | sets of slots; a line of CLUSTER NODES; the loaded cluster |
//! | `allocation`, `balance`, `repair` | the decisions of `create`, of `reshard` and `rebalance`, of `fix` |
//! | `moving`, `progress` | moves one slot with its keys; shows how far many moves are |
//! | `check`, `fix`, `create`, `reshard`, `members`, `call`, `import`, `backup` | the subcommands |
//! | `options`, `screen` | the command line; the printed lines and the questions |
//!
//! A subcommand prints its errors where they occur, to standard output as redis-cli does, and returns
//! [`Failure::Told`].

mod allocation;
mod backup;
mod balance;
mod call;
mod check;
pub mod create;
mod fix;
mod import;
mod members;
mod moving;
pub mod node;
pub mod options;
pub mod picture;
mod progress;
mod repair;
mod reshard;
mod screen;
pub mod slots;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::tools::client::Target;
use crate::tools::console::tell;
use options::Settings;

/// Why a subcommand stops.
#[derive(Debug)]
pub enum Failure {
    /// Writing to standard output failed.
    Output(io::Error),
    /// The reason has been printed.
    Told,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// The input of a subcommand.
struct Request<'a> {
    /// The user and the password for the nodes.
    target: &'a Target,
    settings: &'a Settings,
    /// The words after the subcommand.
    words: &'a [OsString],
}

/// A subcommand.
struct Subcommand {
    name: &'static str,
    /// Its arguments, for the help.
    arguments: &'static str,
    /// The options that it has, for the help.
    options: &'static [&'static str],
    /// The least and the greatest number of arguments.
    count: (usize, usize),
    run: fn(&Request<'_>) -> Result<(), Failure>,
}

const MANY: usize = usize::MAX;
const ADDRESS: &str = "<host:port> or <host> <port> - separated by either colon or space";

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "create",
        arguments: "host1:port1 ... hostN:portN",
        options: &["replicas <arg>"],
        count: (2, MANY),
        run: create::run,
    },
    Subcommand {
        name: "check",
        arguments: ADDRESS,
        options: &["search-multiple-owners"],
        count: (1, MANY),
        run: check::run,
    },
    Subcommand { name: "info", arguments: ADDRESS, options: &[], count: (1, MANY), run: check::info },
    Subcommand {
        name: "fix",
        arguments: ADDRESS,
        options: &["search-multiple-owners", "fix-with-unreachable-masters"],
        count: (1, MANY),
        run: fix::run,
    },
    Subcommand {
        name: "reshard",
        arguments: ADDRESS,
        options: &[
            "from <arg>",
            "to <arg>",
            "slots <arg>",
            "yes",
            "timeout <arg>",
            "pipeline <arg>",
            "replace",
        ],
        count: (1, MANY),
        run: reshard::run,
    },
    Subcommand {
        name: "rebalance",
        arguments: ADDRESS,
        options: &[
            "weight <node1=w1...nodeN=wN>",
            "use-empty-masters",
            "timeout <arg>",
            "simulate",
            "pipeline <arg>",
            "threshold <arg>",
            "replace",
        ],
        count: (1, MANY),
        run: reshard::rebalance,
    },
    Subcommand {
        name: "add-node",
        arguments: "new_host:new_port existing_host:existing_port",
        options: &["slave", "master-id <arg>"],
        count: (2, 2),
        run: members::add,
    },
    Subcommand {
        name: "del-node",
        arguments: "host:port node_id",
        options: &[],
        count: (2, 2),
        run: members::remove,
    },
    Subcommand {
        name: "call",
        arguments: "host:port command arg arg .. arg",
        options: &["only-masters", "only-replicas"],
        count: (2, MANY),
        run: call::run,
    },
    Subcommand {
        name: "set-timeout",
        arguments: "host:port milliseconds",
        options: &[],
        count: (2, 2),
        run: call::set_timeout,
    },
    Subcommand {
        name: "import",
        arguments: "host:port",
        options: &["from <arg>", "from-user <arg>", "from-pass <arg>", "from-askpass", "copy", "replace"],
        count: (1, 1),
        run: import::run,
    },
    Subcommand {
        name: "backup",
        arguments: "host:port backup_directory",
        options: &[],
        count: (2, 2),
        run: backup::run,
    },
    Subcommand { name: "help", arguments: "", options: &[], count: (0, MANY), run: help },
];

const INVALID_ADDRESS: &str = "[ERR] Invalid arguments: you need to pass either a valid address (ie. 120.0.0.1:7000) or \
                               space separated IP and port (ie. 120.0.0.1 7000)";

/// Runs the subcommand that the options name and returns the exit status; `None` if they name none.
pub fn main(target: &Target, matches: &ArgMatches) -> Option<ExitCode> {
    let words = options::words(matches)?;
    let (name, words) = words.split_first()?;
    let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| *name == subcommand.name) else {
        return Some(fail("Unknown --cluster subcommand"));
    };
    let (least, most) = subcommand.count;
    if !(least..=most).contains(&words.len()) {
        return Some(fail("[ERR] Wrong number of arguments for specified --cluster sub command"));
    }
    let settings = match Settings::from_matches(matches) {
        Ok(settings) => settings,
        Err(text) => return Some(fail(&text)),
    };
    Some(match (subcommand.run)(&Request { target, settings: &settings, words }) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has gone, as with `| head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => fail(&format!("Error writing: {}", crate::sys::file::reason(&error))),
        Err(Failure::Told) => ExitCode::FAILURE,
    })
}

fn fail(text: &str) -> ExitCode {
    tell(text);
    ExitCode::FAILURE
}

impl<'a> Request<'a> {
    /// Returns the address in the first `count` words; reports an invalid one.
    fn address(&self, count: usize) -> Result<(String, u16), Failure> {
        options::address(&self.words[..count.min(self.words.len())]).ok_or_else(|| {
            tell(INVALID_ADDRESS);
            Failure::Told
        })
    }

    /// Loads the cluster of the node in the first `count` words.
    fn load(&self, count: usize) -> Result<picture::Cluster<'a>, Failure> {
        let (host, port) = self.address(count)?;
        picture::Cluster::load(self.target, &host, port)
    }
}

/// `--cluster help`.
fn help(_: &Request<'_>) -> Result<(), Failure> {
    let mut text = String::from("Cluster Manager Commands:\n");
    // Writing to a string does not fail.
    for Subcommand { name, arguments, options, .. } in SUBCOMMANDS {
        let _ = writeln!(text, "  {name:<15}{arguments}");
        for option in *options {
            let _ = writeln!(text, "{:17}--cluster-{option}", "");
        }
    }
    let names = ["check", "fix", "reshard", "del-node", "set-timeout", "info", "rebalance", "call", "import"];
    let _ = write!(
        text,
        "\nFor {}, backup you can specify the host and port of any working node in the cluster.\n\nCluster Manager \
         Options:\n  --cluster-yes  Automatic yes to cluster commands prompts\n",
        names.join(", ")
    );
    screen::line(text)
}
