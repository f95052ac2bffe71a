//! Unsupported directives that protect the server or define its role.
//!
//! Unsupported tuning directives can be ignored. But a server that ignored one of the directives here would run without
//! passwords or without encryption, contrary to its configuration. So the server refuses to start and prints the line and
//! the remedy. CONFIG SET refuses the value.
//!
//! The defaults are accepted, since the configuration files of Redis contain them: `tls-port 0`, `user default on nopass
//! ~* &* +@all`.

use super::{Config, find};

/// A directive that accepts only its default.
struct Refused {
    name: &'static str,
    /// The unsupported feature, the consequence of ignoring it, and the remedy.
    why: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        name: "tls-port",
        why: "TLS is not supported, no connection would be encrypted. Set it to 0, and put a TLS proxy such as stunnel \
              in front of a port on loopback",
    },
    Refused { name: "aclfile", why: NO_USERS },
];

const NO_USERS: &str = "ACL users are not supported, their passwords and permissions would not be checked. Remove the line, \
                        and protect the server with requirepass";

const PASSWORD_HASH: &str = "password hashes of ACL users are not supported. CONFIG REWRITE of Redis writes this line in \
                             addition to requirepass: delete it if requirepass is set to the password, otherwise replace \
                             it with requirepass";

/// Whether a rule of an ACL user is the hash of a password.
fn is_hash(rule: &[u8]) -> bool {
    rule.strip_prefix(b"#").is_some_and(|hash| hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit))
}

/// The reason why a `user` line is refused; `None` if it describes the default user without password and restrictions.
pub(super) fn user(words: &[Vec<u8>]) -> Option<&'static str> {
    const OPEN: [&[u8]; 9] = [
        b"on",
        b"nopass",
        b"sanitize-payload",
        b"~*",
        b"allkeys",
        b"&*",
        b"allchannels",
        b"+@all",
        b"allcommands",
    ];
    let [name, rules @ ..] = words else { return None };
    let has = |either: [&[u8]; 2]| rules.iter().any(|rule| either.contains(&rule.as_slice()));
    let may_all = name == b"default"
        && rules.iter().all(|rule| OPEN.contains(&rule.as_slice()) || is_hash(rule))
        && has([b"on", b"on"])
        && has([b"~*", b"allkeys"])
        && has([b"&*", b"allchannels"])
        && has([b"+@all", b"allcommands"]);
    let hashes = rules.iter().filter(|rule| is_hash(rule)).count();
    match (may_all, has([b"nopass", b"nopass"]), hashes) {
        (true, true, 0) => None,
        (true, false, 1) => Some(PASSWORD_HASH),
        _ => Some(NO_USERS),
    }
}

/// Whether the directive `name` may be refused.
pub(super) fn is_refusable(name: &str) -> bool {
    REFUSED.iter().any(|refused| refused.name == name)
}

/// Returns the first directive of `config` with a refused value, and the reason.
pub(super) fn first(config: &Config) -> Option<(&'static str, &'static str)> {
    let defaults = Config::default();
    REFUSED
        .iter()
        .find(|refused| {
            find(refused.name.as_bytes())
                .is_some_and(|directive| directive.show(config) != directive.show(&defaults))
        })
        .map(|refused| (refused.name, refused.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn every_refused_directive_is_one_without_effect() {
        for refused in REFUSED {
            let directive = find(refused.name.as_bytes()).expect(refused.name);
            assert!(directive.effect.why().is_some(), "{}", refused.name);
        }
        assert_eq!(first(&Config::default()), None);
    }

    #[test]
    fn only_the_default_user_without_password_and_restrictions_is_accepted() {
        for line in [
            "default on nopass ~* &* +@all",
            "default on nopass sanitize-payload ~* &* +@all",
            "default allcommands allkeys allchannels nopass on",
        ] {
            assert_eq!(user(&words(line)), None, "{line}");
        }
        let hash = "#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(
            user(&words(&format!("default on sanitize-payload {hash} ~* &* +@all"))),
            Some(PASSWORD_HASH)
        );
        for line in [
            "alice on nopass ~* &* +@all",
            &format!("alice on {hash} ~* &* +@all"),
            &format!("default on {hash} ~* &* +@read"),
            &format!("default on nopass {hash} ~* &* +@all"),
            &format!("default on {hash} {hash} ~* &* +@all"),
            "default on #abc ~* &* +@all",
            "default on >secret ~* &* +@all",
            "default off nopass ~* &* +@all",
            "default on nopass ~app:* &* +@all",
            "default on nopass ~* &* +@read",
            "default on ~* &* +@all",
            "default on nopass ~* &* +@all -flushall",
        ] {
            assert_eq!(user(&words(line)), Some(NO_USERS), "{line}");
        }
    }
}
