//! The command table: the name of each command, its syntax, the positions of its keys, its function, and its
//! documentation.
//!
//! One definition (`src/command/table/*.def`, turned into statics by `build.rs`) drives everything that depends on the
//! commands: lookup and arity checks here, key extraction, ACL categories, `COMMAND` and its subcommands, the HELP of
//! each container, statistics by id. The statics need no initialisation and are never written.
//!
//! A lookup is one probe: the words of the name are hashed into a table without collisions
//! ([`crate::command::table::perfect_hash`]), and one comparison decides. It takes a few nanoseconds in any letter
//! case, allocates nothing, and never matches a name that is not in the table. Commands and subcommands share one array
//! and one numbering, so per-command counters are an array of [`COMMAND_IDS`].

#[cfg(test)]
mod document;
pub mod introspect;
pub mod keys;
pub mod names;
pub mod perfect_hash;
pub mod vocabulary;

use crate::command::error::Result;
use crate::command::table::keys::Keys;
use crate::command::table::perfect_hash::{LONGEST_NAME, Words, shape};
use crate::command::{Args, Context};
use crate::text::words::shown;
use generated::{ALL, INDEX, NAMES, SEED, SLOT_BITS, TOP};

pub use generated::{COMMAND_IDS, ServerCommand};

/// The output of `build.rs`.
#[allow(clippy::unreadable_literal)]
mod generated {
    use super::keys::{BeginSearch, FindKeys, KeyFinder, KeySpec, Keys};
    use super::{Argument, Command, Docs, Handler};
    use crate::command::table::perfect_hash::Name;

    include!(concat!(env!("OUT_DIR"), "/commands.rs"));
}

/// The function of a keyspace command: reads its arguments, and writes its reply into the context.
pub type KeyspaceFn = fn(&mut Context<'_>, Args<'_>) -> Result;

/// The code that executes a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// A function that only needs the keyspace and the caller's session.
    Keyspace(KeyspaceFn),
    /// The server itself.
    Server(ServerCommand),
    /// `<container> HELP`: the reply is [`crate::command::table::introspect::help`] of the container.
    Help,
    /// Nothing: the name only has subcommands.
    Container,
}

/// A command or a subcommand.
#[derive(Debug)]
pub struct Command {
    /// The name in lower case; a subcommand's own, without its container's.
    pub name: &'static str,
    /// `config|get` for a subcommand, else the same as `name`.
    pub full_name: &'static str,
    /// Dense: below [`COMMAND_IDS`], and the index into [`all`].
    pub id: u16,
    /// The id of the container, for a subcommand.
    pub container: Option<u16>,
    /// The number of arguments including the name (and the subcommand's); if negative, the minimum.
    pub arity: i32,
    /// Bits of [`flags`].
    pub flags: u64,
    /// Bits of the ACL categories, in the order of [`vocabulary::CATEGORIES`].
    pub acl: u64,
    /// Where the keys of a call are.
    pub keys: Keys,
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// The ids of the subcommands, as a range.
    subcommands: (usize, usize),
    /// The code that executes it.
    pub handler: Handler,
    /// The documentation for `COMMAND DOCS` and `HELP`. Stored separately because execution never reads it.
    pub docs: &'static Docs,
}

impl Command {
    /// The subcommands, in the order of the definition.
    pub fn subcommands(&self) -> &'static [Command] {
        &ALL[self.subcommands.0..self.subcommands.1]
    }

    /// Whether the command takes `count` arguments, including its name.
    #[inline]
    pub const fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    /// Whether all bits of `wanted`, out of [`flags`], are set.
    #[inline]
    pub const fn has(&self, wanted: u64) -> bool {
        self.flags & wanted == wanted
    }
}

/// The bits of [`Command::flags`].
pub mod flags {
    use super::vocabulary::{FLAGS, bit};

    macro_rules! flags {
        ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
            $($(#[$doc])* pub const $name: u64 = bit(FLAGS, $word);)*
        };
    }

    flags! {
        /// Changes the keyspace.
        WRITE = "write";
        /// Reads keys and changes none.
        READONLY = "readonly";
        /// Refused when `maxmemory` is reached.
        DENYOOM = "denyoom";
        /// For the administrator.
        ADMIN = "admin";
        /// Publishes or subscribes.
        PUBSUB = "pubsub";
        /// Cannot be called from scripts.
        NOSCRIPT = "noscript";
        /// May block its client.
        BLOCKING = "blocking";
        /// Allowed while the server loads its data.
        LOADING = "loading";
        /// Allowed on a replica whose data is stale.
        STALE = "stale";
        /// Not shown by MONITOR.
        SKIP_MONITOR = "skip_monitor";
        /// Not recorded in the slow log.
        SKIP_SLOWLOG = "skip_slowlog";
        /// Works on a slot that is being imported.
        ASKING = "asking";
        /// Takes constant or logarithmic time.
        FAST = "fast";
        /// Allowed before authentication.
        NO_AUTH = "no_auth";
        /// May change data on replicas although it is not a write.
        MAY_REPLICATE = "may_replicate";
        /// May be called without a key although it takes keys.
        NO_MANDATORY_KEYS = "no_mandatory_keys";
        /// Refused unless the configuration enables it.
        PROTECTED = "protected";
        /// Refused while data is loaded in the background.
        NO_ASYNC_LOADING = "no_async_loading";
        /// Not allowed in a transaction.
        NO_MULTI = "no_multi";
        /// The positions of some keys depend on the arguments.
        MOVABLEKEYS = "movablekeys";
        /// Allowed while a script runs for too long.
        ALLOW_BUSY = "allow_busy";
        /// Its reply does not show data, and it changes none, so it does not wait for replicas
        /// (`min-replicas-to-ack`). `EXEC` waits if one of its commands does. `HELP` has it without a word.
        NO_DATA = "no_data";
    }
}

/// The documentation of a command.
#[derive(Debug)]
pub struct Docs {
    /// One sentence.
    pub summary: &'static str,
    /// The version of Redis that introduced it.
    pub since: &'static str,
    /// One of [`vocabulary::GROUPS`].
    pub group: &'static str,
    /// Its time complexity.
    pub complexity: Option<&'static str>,
    /// The version that deprecated it, and the replacement.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Whether it is an internal command.
    pub syscmd: bool,
    /// Versions and their changes.
    pub history: &'static [(&'static str, &'static str)],
    /// The syntax.
    pub arguments: &'static [Argument],
    /// Its lines of HELP.
    pub help: &'static [&'static str],
}

/// A node of a command's syntax.
#[derive(Debug)]
pub struct Argument {
    /// Its name in the documentation.
    pub name: &'static str,
    /// One of [`vocabulary::ARGUMENT_KINDS`].
    pub kind: &'static str,
    /// The name to show to readers, if `name` only serves to be unique.
    pub display: Option<&'static str>,
    /// The key specification that finds it, if it is a key.
    pub key_spec: Option<usize>,
    /// The keyword before it, or of which it consists.
    pub token: Option<&'static str>,
    /// The version of Redis that introduced it.
    pub since: Option<&'static str>,
    /// The version that deprecated it.
    pub deprecated_since: Option<&'static str>,
    /// Whether it can be omitted.
    pub optional: bool,
    /// Whether it can be repeated.
    pub multiple: bool,
    /// Whether its token is repeated with it.
    pub multiple_token: bool,
    /// The alternatives of a `oneof`, the parts of a `block`.
    pub arguments: &'static [Argument],
}

/// The commands, in the order of the definition, without their subcommands.
pub fn commands() -> &'static [Command] {
    &ALL[..TOP]
}

/// The commands and then the subcommands: the index is the id.
pub fn all() -> &'static [Command] {
    &ALL
}

/// Finds the command with this name, in any case.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    probe(name, 0)
}

/// Finds the subcommand of `container` with this name, in any case.
#[inline]
pub fn lookup_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    probe(name, container.id + 1)
}

/// Finds the command or subcommand with this full name (`config|get`), in any case.
pub fn lookup_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        Some(bar) => lookup_subcommand(lookup(&name[..bar])?, &name[bar + 1..]),
        None => lookup(name),
    }
}

#[inline(always)]
fn probe(name: &[u8], scope: u16) -> Option<&'static Command> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let (words, shape) = (Words::of(name), shape(name.len(), scope));
    let slot = words.hash(shape, SEED) >> (u64::BITS - SLOT_BITS);
    let id = INDEX[slot as usize] as usize;
    if NAMES[id].matches(words, shape) { Some(&ALL[id]) } else { None }
}

/// The arguments of a call, starting with the command's name, wherever they are stored.
pub trait Arguments {
    /// The number of arguments; at least one.
    fn count(&self) -> usize;
    /// The argument at `index`, which is below [`Arguments::count`].
    fn get(&self, index: usize) -> &[u8];
}

impl<T: AsRef<[u8]>> Arguments for [T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        self[index].as_ref()
    }
}

/// The reason why a call has no command.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// No command has this name.
    UnknownCommand,
    /// The container has no such subcommand.
    UnknownSubcommand,
    /// The command takes a different number of arguments.
    WrongArity(&'static Command),
}

/// Finds the command or subcommand that a call names, and checks the number of its arguments.
#[inline]
pub fn resolve<A: Arguments + ?Sized>(args: &A) -> Result<&'static Command, Refusal> {
    let command = find(args)?;
    if command.accepts(args.count()) { Ok(command) } else { Err(Refusal::WrongArity(command)) }
}

/// Finds the command or subcommand that a call names, with any number of arguments.
#[inline]
pub fn find<A: Arguments + ?Sized>(args: &A) -> Result<&'static Command, Refusal> {
    find_below(lookup(args.get(0)), args)
}

/// Like [`find`], if the command of the call's first word is already known.
#[inline(always)]
pub(super) fn find_below<A: Arguments + ?Sized>(
    first: Option<&'static Command>,
    args: &A,
) -> Result<&'static Command, Refusal> {
    let Some(command) = first else { return Err(Refusal::UnknownCommand) };
    if command.subcommands.0 == command.subcommands.1 || args.count() == 1 {
        return Ok(command);
    }
    lookup_subcommand(command, args.get(1)).ok_or(Refusal::UnknownSubcommand)
}

/// Checks the command of a call in an AOF that has `count` words; `found` is the result of its lookup.
///
/// # Errors
/// The reason why neither this server nor Redis loads the AOF.
pub fn loadable(
    found: Result<&'static Command, Refusal>,
    count: usize,
) -> Result<&'static Command, &'static str> {
    match found {
        Ok(command) if command.accepts(count) => Ok(command),
        Ok(_) => Err("Wrong number of arguments for command"),
        Err(_) => Err("Unknown command"),
    }
}

impl Refusal {
    /// The error's text in Redis's words, without the leading `-`. Quotes up to 128 bytes of a name.
    pub fn message<A: Arguments + ?Sized>(&self, args: &A) -> Vec<u8> {
        match self {
            Refusal::UnknownCommand => unknown_command(args),
            Refusal::UnknownSubcommand => {
                let container = args.get(0).to_ascii_uppercase();
                [b"ERR unknown subcommand '", quoted(args.get(1)), b"'. Try ", &container[..], b" HELP."]
                    .concat()
            }
            Refusal::WrongArity(command) => {
                format!("ERR wrong number of arguments for '{}' command", command.full_name).into_bytes()
            }
        }
    }
}

/// The most bytes of a client's words that an error quotes.
const QUOTED: usize = 128;

/// Returns the part of a client's word that an error quotes: up to [`QUOTED`] bytes, and up to the first zero byte.
fn quoted(word: &[u8]) -> &[u8] {
    shown(&word[..word.len().min(QUOTED)])
}

fn unknown_command<A: Arguments + ?Sized>(args: &A) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut at = 1;
    while shown.len() < QUOTED && at < args.count() {
        let word = quoted(args.get(at));
        let room = QUOTED - shown.len();
        shown.extend_from_slice(b"'");
        shown.extend_from_slice(&word[..word.len().min(room)]);
        shown.extend_from_slice(b"' ");
        at += 1;
    }
    [b"ERR unknown command '", quoted(args.get(0)), b"', with args beginning with: ", &shown[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled_case(name: &str, mut bits: u64) -> Vec<u8> {
        let mut cased = name.as_bytes().to_vec();
        for byte in &mut cased {
            if bits & 1 == 1 {
                byte.make_ascii_uppercase();
            }
            bits = bits.rotate_right(1);
        }
        cased
    }

    /// A small bit generator for tests: xorshift, seeded by the caller.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn every_name_is_found_in_any_case() {
        let mut state = 0x5eed;
        for command in all() {
            for _ in 0..64 {
                let name = shuffled_case(command.name, next(&mut state));
                let found = match command.container {
                    Some(container) => lookup_subcommand(&ALL[container as usize], &name),
                    None => lookup(&name),
                };
                assert_eq!(found.map(|found| found.id), Some(command.id), "{}", command.full_name);
            }
            assert_eq!(lookup_full(command.full_name.as_bytes()).map(|found| found.id), Some(command.id));
        }
    }

    #[test]
    fn a_name_with_any_byte_changed_added_or_cut_is_not_found() {
        for command in commands() {
            let name = command.name.as_bytes();
            for at in 0..name.len() {
                for byte in 0..=u8::MAX {
                    let mut other = name.to_vec();
                    other[at] = byte;
                    let same = byte.eq_ignore_ascii_case(&name[at]);
                    let is_command = |word: &[u8]| {
                        commands().iter().any(|command| command.name.as_bytes().eq_ignore_ascii_case(word))
                    };
                    assert_eq!(lookup(&other).is_some(), same || is_command(&other), "{other:?}");
                    other.insert(at, byte);
                    assert_eq!(lookup(&other).is_some(), is_command(&other), "{other:?}");
                }
            }
            for end in 0..name.len() {
                let known = commands().iter().any(|command| command.name.as_bytes() == &name[..end]);
                assert_eq!(lookup(&name[..end]).is_some(), known);
            }
        }
    }

    #[test]
    fn random_names_of_any_length_are_not_found() {
        let mut state = 0xf00d;
        let alphabet = b"abcdefghijklmnopqrstuvwxyz-_|@[\0\r\n\xff";
        for _ in 0..200_000 {
            let length = (next(&mut state) % 40) as usize;
            let name: Vec<u8> =
                (0..length).map(|_| alphabet[(next(&mut state) % alphabet.len() as u64) as usize]).collect();
            let known = commands().iter().any(|command| command.name.as_bytes() == name);
            assert_eq!(lookup(&name).is_some(), known, "{name:?}");
        }
        assert!(lookup(&vec![b'a'; 100_000]).is_none());
        assert!(lookup(b"").is_none());
    }

    #[test]
    fn a_subcommand_is_found_only_in_its_own_container() {
        assert!(lookup(b"kill").is_none());
        assert!(lookup_full(b"config|kill").is_none());
        assert!(lookup_full(b"get|kill").is_none());
        assert!(lookup_full(b"client|").is_none());
        assert!(lookup_full(b"client|kill|x").is_none());
        let (config, object) = (lookup_full(b"CONFIG|HELP").unwrap(), lookup_full(b"object|help").unwrap());
        assert_ne!(config.id, object.id);
    }

    #[test]
    fn ids_are_dense_and_the_containers_subcommands_stand_together() {
        for (index, command) in all().iter().enumerate() {
            assert_eq!(command.id as usize, index);
            for subcommand in command.subcommands() {
                assert_eq!(subcommand.container, Some(command.id));
                assert_eq!(subcommand.full_name, format!("{}|{}", command.name, subcommand.name));
            }
        }
        assert_eq!(all().len(), COMMAND_IDS);
        let below: usize = commands().iter().map(|command| command.subcommands().len()).sum();
        assert_eq!(commands().len() + below, COMMAND_IDS);
    }

    #[test]
    fn arity_keys_flags_and_categories_agree_with_each_other() {
        for command in all() {
            let name = command.full_name;
            let least = command.arity.unsigned_abs() as i32;
            // Without names, the command applies to all shard channels.
            let (first, last, step) = command.keys.range();
            assert!(least > first || name == "sunsubscribe", "{name}");
            assert!(last < 0 || last >= first, "{name}");
            assert_eq!(first == 0, step == 0, "{name}");
            let data = flags::WRITE | flags::READONLY;
            assert_ne!(command.flags & data, data, "{name} cannot both write and be read-only");
            let category = |word| command.acl & vocabulary::bit(vocabulary::CATEGORIES, word) != 0;
            assert_eq!(command.has(flags::WRITE), category("write"), "{name}");
            assert!(!command.has(flags::ADMIN) || category("admin"), "{name}");
            assert_eq!(command.has(flags::FAST), category("fast"), "{name}");
            assert_ne!(category("slow"), category("fast"), "{name}");
            let is_help = matches!(command.handler, Handler::Help);
            assert_eq!(is_help, command.container.is_some() && command.name == "help", "{name}");
        }
    }

    #[test]
    fn a_command_shows_data_if_it_has_keys_or_reads_or_writes_them() {
        // These show functions, the keys of a slot, or anything.
        let others =
            ["function|list", "function|dump", "cluster|countkeysinslot", "cluster|getkeysinslot", "debug"];
        for command in all().iter().filter(|command| !matches!(command.handler, Handler::Container)) {
            let name = command.full_name;
            let reads = command.flags & (flags::WRITE | flags::READONLY) != 0 && name != "lolwut";
            let has_keys = !command.keys.are_none();
            let shows_data = reads || has_keys || others.contains(&name);
            assert_ne!(command.has(flags::NO_DATA), shows_data && name != "watch", "{name}");
        }
    }

    #[test]
    fn the_number_of_arguments_is_checked_against_the_subcommand() {
        let call = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            match resolve(args.as_slice()) {
                Ok(command) => command.full_name.to_owned(),
                Err(refusal) => String::from_utf8(refusal.message(args.as_slice())).unwrap(),
            }
        };
        assert_eq!(call("GET a"), "get");
        assert_eq!(call("set a b ex 10"), "set");
        assert_eq!(call("Client KILL id 3"), "client|kill");
        assert_eq!(call("COMMAND"), "command");
        assert_eq!(call("get"), "ERR wrong number of arguments for 'get' command");
        assert_eq!(call("get a b"), "ERR wrong number of arguments for 'get' command");
        assert_eq!(call("client"), "ERR wrong number of arguments for 'client' command");
        assert_eq!(call("client kill"), "ERR wrong number of arguments for 'client|kill' command");
        assert_eq!(call("client x y"), "ERR unknown subcommand 'x'. Try CLIENT HELP.");
        assert_eq!(call("foo"), "ERR unknown command 'foo', with args beginning with: ");
        assert_eq!(call("foo a b"), "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    }
}
