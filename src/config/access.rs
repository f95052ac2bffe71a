//! CONFIG GET and CONFIG SET: values by name, with Redis's replies and error texts.
//!
//! CONFIG SET changes all of its directives or none, in two steps: [`prepare`] works on a copy and returns the
//! resulting configuration; the server then applies the changes outside of the configuration (binds a port, changes the
//! directory) and, if they succeed, installs the copy. If they fail, it replies with [`SetError::Refused`], and nothing
//! needs to be undone here.

use super::refused;
use super::table::flag;
use super::value::Reason;
use super::{Config, DIRECTIVES, Directive, find};
use crate::text::glob;
use crate::text::words::shown;

/// Returns the names and values for the reply of CONFIG GET. A pattern is a name in any case, or a glob. No directive
/// appears twice; one requested by its full name keeps the client's spelling.
pub fn get(config: &Config, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |called: String, directive: &Directive| {
        if !found.iter().any(|(name, _)| name.eq_ignore_ascii_case(&called)) {
            found.push((called, directive.show(config)));
        }
    };
    for pattern in patterns {
        if pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            for directive in DIRECTIVES.iter().filter(|directive| !directive.has(flag::HIDDEN)) {
                for name in directive.names().filter(|name| glob::matches(pattern, name.as_bytes(), true)) {
                    add(name.to_owned(), directive);
                }
            }
        } else if let Some(directive) = find(pattern) {
            add(String::from_utf8_lossy(pattern).into_owned(), directive);
        }
    }
    found
}

/// Why CONFIG SET changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// A name without a value.
    Odd,
    /// A directive cannot be changed while the server loads its data.
    Loading,
    /// No directive has this name.
    Unknown(Vec<u8>),
    /// The directive, as the client spelled it, rejects the value, for this reason.
    Refused(Vec<u8>, Reason),
}

impl SetError {
    /// Returns the error for a change that the configuration permits but the machine does not.
    pub fn refused(directive: &Directive, reason: impl Into<Reason>) -> SetError {
        SetError::Refused(directive.name.into(), reason.into())
    }

    /// The error reply, without the `-` and the line end.
    pub fn message(&self) -> Vec<u8> {
        match self {
            SetError::Odd => b"ERR syntax error".to_vec(),
            SetError::Loading => b"LOADING Redis is loading the dataset in memory".to_vec(),
            SetError::Unknown(name) => {
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", shown(name), b"'"].concat()
            }
            SetError::Refused(name, reason) => [
                b"ERR CONFIG SET failed (possibly related to argument '",
                shown(name),
                b"') - ",
                reason.as_bytes(),
            ]
            .concat(),
        }
    }
}

/// The effect of a CONFIG SET on the configuration.
#[derive(Clone, Debug)]
pub struct Change {
    /// The configuration afterwards.
    pub config: Config,
    /// The directives whose values change or whose files have to be read again, in the order in which they were given.
    pub changed: Vec<&'static Directive>,
}

/// Prepares a CONFIG SET of alternating names and values. `local`: the client is on this machine, where
/// `enable-protected-configs local` permits more directives. `loading`: the server is loading its data, when some
/// directives cannot be changed.
pub fn prepare(config: &Config, arguments: &[&[u8]], local: bool, loading: bool) -> Result<Change, SetError> {
    let pairs: Vec<(&[u8], &[u8])> = arguments.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if pairs.len() * 2 != arguments.len() {
        return Err(SetError::Odd);
    }
    // Redis checks all names before any value; the error that a client gets depends on this order.
    let mut directives: Vec<(&'static Directive, &'static str)> = Vec::with_capacity(pairs.len());
    for &(called, _) in &pairs {
        let directive = find(called).ok_or_else(|| SetError::Unknown(called.to_vec()))?;
        let refuse = |why: &'static str| Err(SetError::Refused(called.to_vec(), why.into()));
        if loading && directive.has(flag::LOADED) {
            return Err(SetError::Loading);
        }
        if directive.has(flag::START) {
            return refuse("can't set immutable config");
        }
        if directive.has(flag::GUARD) && !config.enable_protected_configs.permits(local) {
            return refuse("can't set protected config");
        }
        // Only the same name is a duplicate: Redis treats a name and its alias as two directives.
        let name = directive.names().find(|name| name.as_bytes().eq_ignore_ascii_case(called)).unwrap_or("");
        if directives.iter().any(|(_, earlier)| *earlier == name) {
            return refuse("duplicate parameter");
        }
        directives.push((directive, name));
    }
    let mut next = config.clone();
    for (&(called, value), (directive, _)) in pairs.iter().zip(&directives) {
        directive
            .set(&mut next, &[value], false)
            .map_err(|reason| SetError::Refused(called.to_vec(), reason))?;
        if let Some((name, why)) = refused::first(&next)
            && name == directive.name
        {
            return Err(SetError::Refused(called.to_vec(), why.into()));
        }
    }
    let mut changed: Vec<&'static Directive> = Vec::new();
    for (directive, _) in directives {
        let seen = changed.iter().any(|earlier| std::ptr::eq(*earlier, directive));
        let rereads = directive.has(flag::FILE);
        if !seen && (rereads || directive.show(config) != directive.show(&next)) {
            changed.push(directive);
        }
    }
    Ok(Change { config: next, changed })
}

/// Runs [`prepare`] and applies the change: for directives that affect nothing outside of the configuration.
pub fn set(
    config: &mut Config,
    arguments: &[&[u8]],
    local: bool,
) -> Result<Vec<&'static Directive>, SetError> {
    let change = prepare(config, arguments, local, false)?;
    *config = change.config;
    Ok(change.changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Allowed;

    fn bytes<'a>(words: &[&'a str]) -> Vec<&'a [u8]> {
        words.iter().map(|word| word.as_bytes()).collect()
    }

    fn get_all(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
        get(config, &bytes(patterns))
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8(value).unwrap()))
            .collect()
    }

    fn get_one(config: &Config, name: &str) -> String {
        let found = get_all(config, &[name]);
        assert_eq!(found.len(), 1, "{name}");
        found[0].1.clone()
    }

    fn refusal(arguments: &[&str]) -> String {
        let mut config = Config::default();
        let error = set(&mut config, &bytes(arguments), true).expect_err("it should be refused");
        assert_eq!(config, Config::default());
        String::from_utf8(error.message()).unwrap()
    }

    /// The reason in an error with "possibly related to".
    fn reason(name: &str, value: &str) -> String {
        let message = refusal(&[name, value]);
        let start = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        message.strip_prefix(&start).unwrap_or_else(|| panic!("{message}")).to_owned()
    }

    #[test]
    fn get_returns_names_globs_and_aliases_once_each() {
        let config = Config::default();
        let names = |patterns: &[&str]| -> Vec<String> {
            get_all(&config, patterns).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&["port", "PORT", "por?"]), ["port"]);
        assert_eq!(names(&["Port"]), ["Port"]);
        assert_eq!(names(&["h?", "HZ"]), ["hz"]);
        assert_eq!(names(&["LFU-*"]), ["lfu-log-factor", "lfu-decay-time"]);
        assert_eq!(names(&["replicaof", "slave[o]f"]), ["replicaof", "slaveof"]);
        assert!(names(&["nosuch", "", "por\\t", "include"]).is_empty());
        assert!(names(&["*"]).len() > 190);
    }

    #[test]
    fn a_hidden_directive_is_shown_only_by_its_full_name() {
        let config = Config::default();
        assert!(get_all(&config, &["watchdog-perio?"]).is_empty());
        assert_eq!(get_one(&config, "watchdog-period"), "0");
    }

    #[test]
    fn directives_that_loading_depends_on_cannot_be_set_during_loading() {
        let refused = |words: &[&str]| prepare(&Config::default(), &bytes(words), true, true).unwrap_err();
        for name in ["appendonly", "dir", "repl-diskless-load"] {
            assert_eq!(refused(&[name, "nonsense"]), SetError::Loading, "{name}");
        }
        // The first refused directive decides.
        assert_eq!(refused(&["maxmemory", "x", "dir", "/", "nosuch", "1"]), SetError::Loading);
        assert_eq!(refused(&["nosuch", "1", "dir", "/"]), SetError::Unknown(b"nosuch".to_vec()));
        assert!(matches!(refused(&["databases", "1", "dir", "/"]), SetError::Refused(..)));
        assert!(prepare(&Config::default(), &bytes(&["maxmemory", "1"]), true, true).is_ok());
    }

    #[test]
    fn set_takes_all_or_none() {
        let mut config = Config::default();
        let changed = set(&mut config, &bytes(&["timeout", "5", "HZ", "20", "port", "6379"]), false).unwrap();
        assert_eq!(changed.iter().map(|directive| directive.name).collect::<Vec<_>>(), ["timeout", "hz"]);
        assert_eq!((config.timeout, config.hz), (5, 20));
        assert!(set(&mut config, &bytes(&["timeout", "6", "hz", "x"]), false).is_err());
        assert_eq!((config.timeout, config.hz), (5, 20));
    }

    #[test]
    fn names_are_refused_before_values_and_the_first_wrong_one_is_named() {
        assert_eq!(refusal(&["a", "b", "c"]), "ERR syntax error");
        let unknown = "ERR Unknown option or number of arguments for CONFIG SET - 'NoSuch'";
        assert_eq!(refusal(&["NoSuch", "1"]), unknown);
        assert_eq!(refusal(&["timeout", "x", "NoSuch", "2"]), unknown);
        assert_eq!(refusal(&["include", "x"]), unknown.replace("NoSuch", "include"));
        let immutable = |name| {
            format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config"
            )
        };
        assert_eq!(refusal(&["DATABASES", "4", "nosuch", "1"]), immutable("DATABASES"));
        assert_eq!(refusal(&["timeout", "1", "databases", "4"]), immutable("databases"));
        assert_eq!(
            refusal(&["timeout", "1", "TIMEOUT", "x"]),
            "ERR CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate parameter"
        );
    }

    #[test]
    fn a_name_and_its_alias_may_be_set_in_one_call_and_the_last_counts() {
        let mut config = Config::default();
        let changed =
            set(&mut config, &bytes(&["slave-priority", "1", "replica-priority", "2"]), false).unwrap();
        assert_eq!(changed.len(), 1);
        assert_eq!(config.replica_priority, 2);
    }

    #[test]
    fn protected_directives_ask_enable_protected_configs() {
        for (allowed, remote, local) in
            [(Allowed::No, false, false), (Allowed::Local, false, true), (Allowed::Yes, true, true)]
        {
            let config = Config { enable_protected_configs: allowed, ..Config::default() };
            for (is_local, permitted) in [(false, remote), (true, local)] {
                let result = prepare(&config, &bytes(&["dbfilename", "x"]), is_local, false);
                assert_eq!(result.is_ok(), permitted, "{allowed:?} {is_local}");
            }
        }
        assert_eq!(reason("dir", "/"), "can't set protected config");
    }

    #[test]
    fn wrong_numbers_are_refused_in_words_of_their_kind() {
        for value in ["x", "", " 1", "+1", "01", "1k", "-0", "99999999999999999999"] {
            assert_eq!(reason("timeout", value), "argument couldn't be parsed into an integer", "{value}");
        }
        assert_eq!(reason("timeout", "-1"), "argument must be between 0 and 2147483647 inclusive");
        assert_eq!(
            reason("list-max-listpack-size", "-9999999999"),
            "argument must be between -2147483648 and 2147483647 inclusive"
        );
        assert_eq!(reason("maxmemory", "1tb"), "argument must be a memory value");
        assert_eq!(
            reason("proto-max-bulk-len", "1"),
            "argument must be between 1048576 and 9223372036854775807 inclusive"
        );
        assert_eq!(reason("maxmemory-clients", "x"), "argument must be a memory or percent value");
        assert_eq!(reason("maxmemory-clients", "07%"), "argument must be a memory or percent value");
        assert_eq!(reason("maxmemory-clients", "101%"), "percentage argument must be less or equal to 100");
    }

    #[test]
    fn wrong_names_and_texts_are_refused_in_words_of_their_kind() {
        assert_eq!(reason("activerehashing", "maybe"), "argument must be 'yes' or 'no'");
        assert_eq!(
            reason("appendfsync", "1"),
            "argument(s) must be one of the following: everysec, always, no"
        );
        assert_eq!(
            reason("shutdown-on-sigint", ""),
            "argument(s) must be one of the following: default, save, nosave, now, force"
        );
        assert_eq!(
            reason("shutdown-on-sigint", "save nosave"),
            "shutdown options SAVE and NOSAVE can't be used simultaneously"
        );
        assert_eq!(
            reason("notify-keyspace-events", "q"),
            "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
        );
        let title = "template format is invalid or contains unknown variables";
        for template in ["", " ", "{title}", "{foo}", "{title", "}{", "{ title}"] {
            assert_eq!(reason("proc-title-template", template), title, "{template}");
        }
        let host = "Hostnames may only contain alphanumeric characters, hyphens or dots";
        assert_eq!(reason("cluster-announce-hostname", "a_b"), host);
    }

    #[test]
    fn wrong_lists_are_refused_in_words_of_their_kind() {
        for value in ["900", "900 1  300 10", "0 1", "1 -1", "a b", " 5 1", "- 1"] {
            assert_eq!(reason("save", value), "Invalid save parameters", "{value}");
        }
        let limit = |value| reason("client-output-buffer-limit", value);
        assert_eq!(limit("normal 1 2"), "Wrong number of arguments in buffer limit configuration.");
        assert_eq!(limit("master 1 2 3"), "Invalid client class specified in buffer limit configuration.");
        for value in ["normal 1 2 x", "normal 1 2 -1", "pubsub x 2 3"] {
            let text = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            assert_eq!(limit(value), text, "{value}");
        }
        let percentile = |value| reason("latency-tracking-info-percentiles", value);
        assert_eq!(percentile("50  99"), "Invalid latency-tracking-info-percentiles parameters");
        assert_eq!(
            percentile("101"),
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
        );
        assert_eq!(reason("oom-score-adj-values", "1 2"), "wrong number of arguments");
        assert_eq!(
            reason("oom-score-adj-values", "1 2 3000"),
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
        );
        assert_eq!(reason("bind", &"1 ".repeat(16)), "Too many bind addresses specified.");
    }

    #[test]
    fn values_are_shown_in_the_form_of_their_kind_whatever_way_they_were_written() {
        let mut config = Config { enable_protected_configs: Allowed::Yes, ..Config::default() };
        for (name, written, shown) in [
            ("maxmemory", "1KB", "1024"),
            ("maxmemory", "", "0"),
            ("hz", "1000", "500"),
            ("hz", "0", "1"),
            ("repl-backlog-size", "1", "16384"),
            ("maxmemory-clients", "5%", "5%"),
            ("maxmemory-clients", "0%", "0"),
            ("maxmemory-clients", "5m", "5000000"),
            ("activerehashing", "NO", "no"),
            ("loglevel", "WARNING", "warning"),
            ("oom-score-adj", "relative", "yes"),
            ("shutdown-on-sigint", "FORCE now save save", "save now force"),
            ("shutdown-on-sigint", "default", "default"),
            ("save", "900 1 300 10", "900 1 300 10"),
            ("save", "+5 1", "5 1"),
            ("save", "", ""),
            (
                "client-output-buffer-limit",
                "NORMAL 1mb 2mb 60 replica 1 2 3",
                "normal 1048576 2097152 60 slave 1 2 3 pubsub 33554432 8388608 60",
            ),
            ("notify-keyspace-events", "mnedtxzhsl$gKE", "AKEm"),
            ("notify-keyspace-events", "mxnedthzsl$", "$lshzxetdnm"),
            ("notify-keyspace-events", "nmKg", "gnKm"),
            ("latency-tracking-info-percentiles", "0.0 1e1 33.333333333333", "0 10 33.333333"),
            ("latency-tracking-info-percentiles", "99.99999999 0x10 100", "100 16 100"),
            ("oom-score-adj-values", "-2000 +1 2000", "-2000 1 2000"),
            ("bind", "127.0.0.1 -::1", "127.0.0.1 -::1"),
            ("proc-title-template", "{{x {port}", "{{x {port}"),
            ("requirepass", "a b", "a b"),
            ("dir", "/usr/./lib/..", "/usr"),
        ] {
            set(&mut config, &bytes(&[name, written]), false)
                .unwrap_or_else(|error| panic!("{name} {written}: {error:?}"));
            assert_eq!(get_one(&config, name), shown, "{name} {written}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_refused_with_the_systems_reason() {
        let config = Config { enable_protected_configs: Allowed::Yes, ..Config::default() };
        for (path, why) in [
            ("/no/such/place", "No such file or directory"),
            ("", "No such file or directory"),
            ("/etc/passwd", "Not a directory"),
        ] {
            let error = prepare(&config, &bytes(&["dir", path]), false, false).unwrap_err();
            assert_eq!(error, SetError::Refused(b"dir".to_vec(), why.into()), "{path}");
        }
    }

    #[test]
    fn a_percentage_of_memory_is_taken_of_maxmemory() {
        let mut config = Config::default();
        set(&mut config, &bytes(&["maxmemory-clients", "5%"]), false).unwrap();
        assert_eq!(config.maxmemory_clients.bytes(2000), 100);
        assert_eq!(config.maxmemory_clients.bytes(0), 0);
    }
}
