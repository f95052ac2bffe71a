//! Secret arguments: passwords are replaced in the slow log and in the `MONITOR` feed.
//!
//! A refused request is treated like one that succeeded: a password in the wrong place is still a password.

use crate::command::{Args, Command, Handler, ServerCommand};
use crate::config;

/// The replacement for a secret.
const REDACTED: &[u8] = b"(redacted)";

/// Returns the arguments of a call of `command`, with secrets replaced.
pub fn shown_words<'a>(command: &'static Command, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> {
    (0..args.len()).map(move |index| if is_secret(command, args, index) { REDACTED } else { args.get(index) })
}

/// Whether argument `index` of a call of `command` is a secret.
fn is_secret(command: &Command, args: Args<'_>, index: usize) -> bool {
    match command.handler {
        Handler::Server(ServerCommand::Auth) => index > 0,
        Handler::Server(
            ServerCommand::AclSetuser | ServerCommand::AclGetuser | ServerCommand::AclDeluser,
        ) => index > 1,
        Handler::Server(ServerCommand::Migrate) => is_migrate_secret(args, index),
        Handler::Server(ServerCommand::Hello) => is_hello_secret(args, index),
        Handler::Server(ServerCommand::ConfigSet) => {
            index > 2 && index % 2 == 1 && config::is_secret(args.get(index - 1))
        }
        _ => false,
    }
}

/// `HELLO protover [AUTH username password] [SETNAME name]`, with the options in any order.
fn is_hello_secret(args: Args<'_>, index: usize) -> bool {
    let mut option = 2;
    while option < index {
        let values = match args.get(option) {
            word if word.eq_ignore_ascii_case(b"auth") => 2,
            word if word.eq_ignore_ascii_case(b"setname") => 1,
            _ => 0,
        };
        if index <= option + values {
            return values == 2;
        }
        option += 1 + values;
    }
    false
}

/// `MIGRATE host port key destination-db timeout [AUTH password | AUTH2 username password] … [KEYS key …]`.
fn is_migrate_secret(args: Args<'_>, index: usize) -> bool {
    let mut option = 6;
    while option < index {
        let secrets = match args.get(option) {
            word if word.eq_ignore_ascii_case(b"auth") => 1,
            word if word.eq_ignore_ascii_case(b"auth2") => 2,
            word if word.eq_ignore_ascii_case(b"keys") => return false,
            _ => 0,
        };
        if index <= option + secrets {
            return true;
        }
        option += 1 + secrets;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Places, find};
    use crate::resp::Span;

    /// The request as it is shown.
    fn shown(line: &str) -> String {
        let mut spans = Vec::new();
        let mut at = 0;
        for word in line.split(' ') {
            spans.push(Span::window(at, word.len()));
            at += word.len() + 1;
        }
        let places = Places { window: line.as_bytes(), spans: &spans, blocks: &[] };
        let args = places.args();
        let command = find(&args).expect("a command");
        let words: Vec<_> =
            shown_words(command, args).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn passwords_are_not_shown() {
        for (line, expected) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("auth default secret", "auth (redacted) (redacted)"),
            ("ACL SETUSER bob >secret on", "ACL SETUSER (redacted) (redacted) (redacted)"),
            ("ACL WHOAMI", "ACL WHOAMI"),
            ("HELLO 3", "HELLO 3"),
            ("HELLO 3 AUTH default secret", "HELLO 3 AUTH (redacted) (redacted)"),
            ("HELLO 2 SETNAME auth AUTH default secret", "HELLO 2 SETNAME auth AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH setname auth SETNAME x", "HELLO 3 AUTH (redacted) (redacted) SETNAME x"),
            ("HELLO 3 AUTH secret", "HELLO 3 AUTH (redacted)"),
            ("HELLO 9 auth default secret SETNAME x", "HELLO 9 auth (redacted) (redacted) SETNAME x"),
            ("CONFIG SET requirepass secret", "CONFIG SET requirepass (redacted)"),
            ("config set hz 10 MasterAuth secret", "config set hz 10 MasterAuth (redacted)"),
            ("CONFIG SET hz requirepass", "CONFIG SET hz requirepass"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("MIGRATE h 1 auth 0 9 COPY AUTH secret", "MIGRATE h 1 auth 0 9 COPY AUTH (redacted)"),
            (
                "MIGRATE h 1 k 0 9 auth2 u secret REPLACE",
                "MIGRATE h 1 k 0 9 auth2 (redacted) (redacted) REPLACE",
            ),
            ("MIGRATE h 1 k 0 9 AUTH keys KEYS auth a", "MIGRATE h 1 k 0 9 AUTH (redacted) KEYS auth a"),
            ("SET auth secret", "SET auth secret"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
