//! The options of `--cluster`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::sys::terminal;

/// The heading of these options in the help.
const HEADING: &str = "Cluster options";

/// The parsed options.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The number of replicas per master of a new cluster.
    pub replicas: usize,
    /// The nodes that give slots, or the server to import from.
    pub from: Option<String>,
    /// The node that receives slots.
    pub to: Option<String>,
    /// The number of slots to move.
    pub slots: Option<u16>,
    /// Whether questions are answered with yes.
    pub yes: bool,
    /// The timeout of MIGRATE.
    pub timeout_ms: u64,
    /// The number of keys per MIGRATE.
    pub pipeline: usize,
    /// Whether keys that the target has are replaced.
    pub replace: bool,
    /// Whether an import leaves the keys on the source.
    pub copy: bool,
    /// `node=weight`.
    pub weights: Vec<String>,
    /// Whether masters without slots take part in rebalancing.
    pub use_empty_masters: bool,
    /// Whether rebalancing moves nothing.
    pub simulate: bool,
    /// The imbalance in percent from which rebalancing moves slots.
    pub threshold: f64,
    /// Whether a new node becomes a replica.
    pub as_replica: bool,
    /// The master of a new replica.
    pub master: Option<String>,
    /// Whether a command is sent to masters only.
    pub only_masters: bool,
    /// Whether a command is sent to replicas only.
    pub only_replicas: bool,
    /// Whether a check looks for keys of every slot on every master.
    pub search_multiple_owners: bool,
    /// Whether to fix a cluster with unreachable masters.
    pub fix_with_unreachable_masters: bool,
    /// Whether a check fixes what it finds.
    pub fixes: bool,
    /// The user of the server to import from.
    pub from_user: Option<String>,
    /// The password of that user.
    pub from_password: Option<String>,
    /// Whether details are printed.
    pub verbose: bool,
}

/// The default of `--cluster-timeout`, in milliseconds.
const TIMEOUT_MS: u64 = 60_000;
/// The default of `--cluster-pipeline`.
const PIPELINE: usize = 10;
/// The default of `--cluster-threshold`, in percent.
const THRESHOLD: f64 = 2.0;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            replicas: 0,
            from: None,
            to: None,
            slots: None,
            yes: false,
            timeout_ms: TIMEOUT_MS,
            pipeline: PIPELINE,
            replace: false,
            copy: false,
            weights: Vec::new(),
            use_empty_masters: false,
            simulate: false,
            threshold: THRESHOLD,
            as_replica: false,
            master: None,
            only_masters: false,
            only_replicas: false,
            search_multiple_owners: false,
            fix_with_unreachable_masters: false,
            fixes: false,
            from_user: None,
            from_password: None,
            verbose: false,
        }
    }
}

/// `--cluster` and its options.
pub fn arguments() -> Vec<Arg> {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let arguments = vec![
        Arg::new("cluster")
            .long("cluster")
            .value_names(["COMMAND", "ARGUMENT"])
            .num_args(1..)
            .value_parser(value_parser!(OsString))
            .help("Manage a cluster; --cluster help lists the commands"),
        value("cluster-replicas", "N", "create: replicas per master [default: 0]")
            .value_parser(value_parser!(usize)),
        value("cluster-from", "ID,...", "reshard: the nodes that give slots, or all. import: host:port"),
        value("cluster-to", "ID", "reshard: the node that receives slots"),
        value("cluster-slots", "N", "reshard: the number of slots to move").value_parser(value_parser!(u16)),
        flag("cluster-yes", "Do not ask for confirmation; also with REDISCLI_CLUSTER_YES=1"),
        value("cluster-timeout", "MILLISECONDS", "Timeout of MIGRATE [default: 60000]")
            .value_parser(value_parser!(u64)),
        value("cluster-pipeline", "N", "Keys per MIGRATE [default: 10]").value_parser(value_parser!(usize)),
        flag("cluster-replace", "Replace keys that the target has with another value"),
        flag("cluster-copy", "import: leave the keys on the source"),
        value("cluster-weight", "ID=WEIGHT", "rebalance: weights of nodes [default: 1]").num_args(1..),
        flag("cluster-use-empty-masters", "rebalance: also give slots to masters without slots"),
        flag("cluster-simulate", "rebalance: show the moves only"),
        value("cluster-threshold", "PERCENT", "rebalance: move slots from this imbalance on [default: 2]")
            .value_parser(value_parser!(f64)),
        flag("cluster-slave", "add-node: as a replica").visible_alias("cluster-replica"),
        value("cluster-master-id", "ID", "add-node: of this master; the default has the fewest replicas"),
        flag("cluster-only-masters", "call: only masters"),
        flag("cluster-only-replicas", "call: only replicas"),
        flag(
            "cluster-search-multiple-owners",
            "check, fix: also look for slots with keys on several masters",
        ),
        flag("cluster-fix-with-unreachable-masters", "fix: also give away slots of unreachable masters"),
        value("cluster-from-user", "NAME", "import: the user of the source"),
        value("cluster-from-pass", "PASSWORD", "import: that user's password"),
        flag("cluster-from-askpass", "import: ask for that password at the terminal"),
    ];
    arguments.into_iter().map(|argument| argument.help_heading(HEADING)).collect()
}

/// Returns the subcommand and its arguments.
pub fn words(matches: &ArgMatches) -> Option<Vec<OsString>> {
    Some(matches.get_many::<OsString>("cluster")?.cloned().collect())
}

impl Settings {
    /// Returns the settings. May prompt for a password on the terminal.
    pub fn from_matches(matches: &ArgMatches) -> Result<Settings, String> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let default = Settings::default();
        let from_password = if matches.get_flag("cluster-from-askpass") {
            let prompt = "Please input import source node password: ";
            Some(terminal::read_password(prompt).map_err(|error| error.to_string())?)
        } else {
            text("cluster-from-pass")
        };
        Ok(Settings {
            replicas: matches.get_one("cluster-replicas").copied().unwrap_or(default.replicas),
            from: text("cluster-from"),
            to: text("cluster-to"),
            slots: matches.get_one("cluster-slots").copied().filter(|slots| *slots > 0),
            yes: matches.get_flag("cluster-yes")
                || std::env::var_os("REDISCLI_CLUSTER_YES").is_some_and(|value| value == "1"),
            timeout_ms: matches.get_one("cluster-timeout").copied().unwrap_or(default.timeout_ms),
            pipeline: matches.get_one("cluster-pipeline").copied().unwrap_or(default.pipeline).max(1),
            replace: matches.get_flag("cluster-replace"),
            copy: matches.get_flag("cluster-copy"),
            weights: matches.get_many::<String>("cluster-weight").unwrap_or_default().cloned().collect(),
            use_empty_masters: matches.get_flag("cluster-use-empty-masters"),
            simulate: matches.get_flag("cluster-simulate"),
            threshold: matches.get_one("cluster-threshold").copied().unwrap_or(default.threshold),
            as_replica: matches.get_flag("cluster-slave"),
            master: text("cluster-master-id"),
            only_masters: matches.get_flag("cluster-only-masters"),
            only_replicas: matches.get_flag("cluster-only-replicas"),
            search_multiple_owners: matches.get_flag("cluster-search-multiple-owners"),
            fix_with_unreachable_masters: matches.get_flag("cluster-fix-with-unreachable-masters"),
            fixes: false,
            from_user: text("cluster-from-user"),
            from_password,
            verbose: matches.get_flag("verbose"),
        })
    }
}

/// Splits the address of a node: `host:port`, or two words. A bus port (`@17000`) is ignored.
pub fn address(words: &[OsString]) -> Option<(String, u16)> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str());
    let (host, port) = match words.len() {
        0 => return None,
        1 => {
            let address = text(0)?;
            address.split_once('@').map_or(address, |(address, _)| address).rsplit_once(':')?
        }
        _ => (text(0)?, text(1)?),
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_string(), port)).filter(|(host, _)| !host.is_empty())
}

/// The directory of a backup.
pub fn directory(word: &OsString) -> PathBuf {
    PathBuf::from(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_word_or_two() {
        let parse = |words: &[&str]| address(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let found = |host: &str, port| Some((host.to_string(), port));
        assert_eq!(parse(&["127.0.0.1:7000"]), found("127.0.0.1", 7000));
        assert_eq!(parse(&["node", "7000"]), found("node", 7000));
        assert_eq!(parse(&["10.0.0.1:7000@17000"]), found("10.0.0.1", 7000));
        assert_eq!(parse(&["::1:7000"]), found("::1", 7000));
        assert_eq!(parse(&["[::1]:7000"]), found("::1", 7000));
        for words in [&[][..], &["node"], &[":7000"], &["node:x"], &["node:0"], &["node", "x"]] {
            assert_eq!(parse(words), None, "{words:?}");
        }
    }
}
