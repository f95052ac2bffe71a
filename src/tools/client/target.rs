//! The server that a tool connects to: the options and URLs of redis-cli.

use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::DEFAULT_PORT;
use crate::resp::Protocol;
use crate::sys::net::Socket;
use crate::tls::{Channel, ClientOptions, Connector, Identity, Password, Suites, Trust};

/// The environment variable for the password, which keeps it out of process listings.
pub const PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or address, and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// Formats the address as redis-cli's prompt does: `host:port`, the host in brackets if it has colons, or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A server, and the parameters of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: Address,
    /// The user to authenticate as; `default` if there is only a password.
    pub user: Option<String>,
    /// The user's password. Without one, there is no authentication.
    pub password: Option<String>,
    /// The database to select.
    pub database: u32,
    /// The protocol to request.
    pub protocol: Protocol,
    /// Whether the URL requests TLS (`rediss://`).
    pub wants_tls: bool,
    /// How to encrypt the connection; `None` if it is not encrypted.
    pub tls: Option<Tls>,
}

/// How connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Creates the sessions.
    pub connector: Connector,
    /// The host name to send to the server.
    pub sni: Option<String>,
}

impl Tls {
    /// Creates the channel of a connection whose handshake has not begun.
    pub fn encrypt(&self, socket: Socket) -> io::Result<Channel> {
        let session = self.connector.session(self.sni.as_deref()).map_err(io::Error::other)?;
        Ok(Channel::encrypted(socket, session))
    }
}

impl Default for Target {
    fn default() -> Self {
        Target {
            address: Address::Tcp("127.0.0.1".to_string(), DEFAULT_PORT),
            user: None,
            password: None,
            database: 0,
            protocol: Protocol::Resp2,
            wants_tls: false,
            tls: None,
        }
    }
}

/// The TLS options, which are those of redis-cli.
pub fn tls_arguments() -> [Arg; 9] {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("PATH").value_parser(value_parser!(PathBuf)).help(help)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        Arg::new("tls").long("tls").action(ArgAction::SetTrue).help("Encrypt the connection"),
        text("sni", "HOST", "Host name to send to the server, as SNI"),
        path("cacert", "PEM file of the trusted CAs"),
        path("cacertdir", "Directory of the trusted CAs; without a file or directory, those of the system"),
        Arg::new("insecure")
            .long("insecure")
            .action(ArgAction::SetTrue)
            .help("Accept any server certificate"),
        path("cert", "Certificate to present to the server"),
        path("key", "Private key of the certificate"),
        text("tls-ciphers", "LIST", "Cipher suites of TLS 1.2 to offer, by their OpenSSL names"),
        text("tls-ciphersuites", "LIST", "Cipher suites of TLS 1.3 to offer"),
    ]
}

/// Loads what [`tls_arguments`] name.
fn tls_of(matches: &ArgMatches) -> Result<Tls, String> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let identity = match (path("cert"), path("key")) {
        (Some(cert), Some(key)) => Some(Identity { cert, key, password: Password::default() }),
        (None, None) => None,
        _ => return Err("--cert and --key have to be used together".into()),
    };
    let connector = Connector::new(&ClientOptions {
        identity,
        trust: Trust { file: path("cacert"), dir: path("cacertdir") },
        suites: Suites {
            protocols: String::new(),
            ciphers: text("tls-ciphers").unwrap_or_default(),
            suites: text("tls-ciphersuites").unwrap_or_default(),
        },
        accepts_all: matches.get_flag("insecure"),
    })?;
    Ok(Tls { connector, sni: text("sni") })
}

/// The options that [`Target::from_matches`] reads: `-h -p -s -u -a --user --pass -n`. `-h` is the host, so the command
/// has to disable clap's own help flag and declare a long one.
pub fn target_arguments() -> [Arg; 7] {
    [
        Arg::new("host").short('h').value_name("HOST").help("Host of the server [default: 127.0.0.1]"),
        Arg::new("port")
            .short('p')
            .value_name("PORT")
            .value_parser(value_parser!(u16))
            .help("Port of the server [default: 6379]"),
        Arg::new("socket")
            .short('s')
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("Socket of the server, instead of host and port"),
        Arg::new("url")
            .short('u')
            .value_name("URL")
            .help("redis://user:password@host:port/database as a whole, or rediss:// for TLS"),
        Arg::new("password")
            .short('a')
            .long("pass")
            .value_name("PASSWORD")
            .help("Password; a variable REDISCLI_AUTH in the environment is safer"),
        Arg::new("user").long("user").value_name("NAME").help("User to authenticate as; needs a password"),
        Arg::new("database")
            .short('n')
            .value_name("DATABASE")
            .value_parser(value_parser!(u32))
            .action(ArgAction::Set)
            .help("Number of the database"),
    ]
}

impl Target {
    /// Reads the target from [`target_arguments`] and the environment. Options override parts of a URL.
    pub fn from_matches(matches: &ArgMatches) -> Result<Target, String> {
        let mut target = match matches.get_one::<String>("url") {
            Some(url) => Target::from_url(url)?,
            None => Target::default(),
        };
        if let Some(path) = matches.get_one::<PathBuf>("socket") {
            target.address = Address::Unix(path.clone());
        }
        if let Address::Tcp(host, port) = &mut target.address {
            if let Some(given) = matches.get_one::<String>("host") {
                host.clone_from(given);
            }
            if let Some(given) = matches.get_one::<u16>("port") {
                *port = *given;
            }
        }
        if let Some(user) = matches.get_one::<String>("user") {
            target.user = Some(user.clone());
        }
        if let Some(password) = matches.get_one::<String>("password") {
            target.password = Some(password.clone());
        } else if target.password.is_none() {
            target.password = std::env::var(PASSWORD_VARIABLE).ok();
        }
        if let Some(database) = matches.get_one::<u32>("database") {
            target.database = *database;
        }
        // Some commands do not have these options.
        if target.wants_tls || matches.try_get_one::<bool>("tls").ok().flatten().is_some_and(|tls| *tls) {
            target.tls = Some(tls_of(matches)?);
        }
        Ok(target)
    }

    /// Parses `redis://[user[:password]@]host[:port][/database]`, or `unix://[user:password@]path` for a Unix socket.
    /// As in redis-cli, a single word before the `@` is a password.
    pub fn from_url(url: &str) -> Result<Target, String> {
        let invalid = |what: &str| Err(format!("Invalid URI '{url}': {what}"));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let mut target = Target::default();
        let (identity, place) = match rest.rsplit_once('@') {
            Some((identity, place)) => (Some(identity), place),
            None => (None, rest),
        };
        match identity.map(|identity| identity.split_once(':').ok_or(identity)) {
            Some(Ok((user, password))) => {
                target.user = Some(percent_decoded(user)?).filter(|user| !user.is_empty());
                target.password = Some(percent_decoded(password)?);
            }
            Some(Err(password)) => target.password = Some(percent_decoded(password)?),
            None => {}
        }
        match scheme {
            "redis" => {}
            "rediss" => target.wants_tls = true,
            "unix" => {
                target.address = Address::Unix(percent_decoded(place)?.into());
                return Ok(target);
            }
            _ => return invalid("it has to begin with redis://, rediss:// or unix://"),
        }
        let (place, database) = place.split_once('/').unwrap_or((place, ""));
        if !database.is_empty() {
            let Ok(number) = database.parse() else { return invalid("the database is not a number") };
            target.database = number;
        }
        let (host, port) = split_port(place);
        let Ok(port) = port.map_or(Ok(DEFAULT_PORT), str::parse) else {
            return invalid("the port is not a number up to 65535");
        };
        let host = if host.is_empty() { "127.0.0.1".to_string() } else { percent_decoded(host)? };
        target.address = Address::Tcp(host, port);
        Ok(target)
    }
}

/// Splits `host:port`, `[host]:port` or a host alone. The brackets of an IPv6 address are dropped.
fn split_port(place: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    }
}

/// Replaces each `%XX` by its byte.
fn percent_decoded(text: &str) -> Result<String, String> {
    let invalid = || format!("Invalid URI: '{text}' has a % without two hexadecimal digits, or is not UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2).ok_or_else(invalid)?;
        let value = |digit: u8| (digit as char).to_digit(16).ok_or_else(invalid);
        bytes.push((value(digits[0])? * 16 + value(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_string(), port)
    }

    #[test]
    fn a_url_names_host_port_user_password_and_database() {
        let target = |url: &str| Target::from_url(url).unwrap();
        assert_eq!(target("redis://cache").address, tcp("cache", 6379));
        assert_eq!(target("redis://cache:7000/3").database, 3);
        assert!(target("rediss://cache").wants_tls && !target("redis://cache").wants_tls);
        assert_eq!(target("redis://[::1]:7000").address, tcp("::1", 7000));
        assert_eq!(target("redis://:7000").address, tcp("127.0.0.1", 7000));
        let full = target("redis://al%20ice:p%40ss:w@cache:7000/2");
        assert_eq!(full.user.as_deref(), Some("al ice"));
        assert_eq!(full.password.as_deref(), Some("p@ss:w"));
        assert_eq!((full.address, full.database), (tcp("cache", 7000), 2));
        let word = target("redis://secret@cache");
        assert_eq!((word.user, word.password.as_deref()), (None, Some("secret")));
        let none = target("redis://:secret@cache");
        assert_eq!((none.user, none.password.as_deref()), (None, Some("secret")));
        assert_eq!(target("unix:///run/redis.sock").address, Address::Unix("/run/redis.sock".into()));
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_is_wrong() {
        for (url, part) in [
            ("cache:6379", "redis://"),
            ("http://cache", "redis://"),
            ("redis://cache:port", "port"),
            ("redis://cache:70000", "port"),
            ("redis://cache/one", "database"),
            ("redis://%4@cache", "%"),
            ("redis://%ff@cache", "UTF-8"),
        ] {
            let error = Target::from_url(url).unwrap_err();
            assert!(error.contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn options_win_over_the_url() {
        let command =
            clap::Command::new("tool").disable_help_flag(true).args(target_arguments()).args(tls_arguments());
        let words = ["tool", "-u", "redis://u:p@cache:7000/2", "-p", "7001", "-n", "5", "--user", "v"];
        let target = Target::from_matches(&command.get_matches_from(words)).unwrap();
        assert_eq!((target.address, target.database), (tcp("cache", 7001), 5));
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("v"), Some("p")));
    }
}
