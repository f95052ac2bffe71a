//! A selector: a set of commands, keys and channels that a user may use together.
//!
//! Rules are compiled when they are set. A call costs a bit of the command's id, then one match of each key against
//! the patterns: a comparison of bytes for `prefix*`, a glob for anything else. The text of the rules is kept beside
//! the bits, in Redis's normal form, for `ACL LIST` and `ACL GETUSER`.

use super::fault::Fault;
use super::{Denial, Reason};
use crate::command::table::keys::{ACCESS, DELETE, INSERT, KeyPosition, UPDATE};
use crate::command::table::vocabulary::{CATEGORIES, place};
use crate::command::table::{self, Arguments, COMMAND_IDS, Command, flags};
use crate::text::glob;

const WORDS: usize = COMMAND_IDS.div_ceil(64);

/// The flags of a key that is read.
const READS: u64 = ACCESS;
/// The flags of a key that is changed.
const WRITES: u64 = INSERT | UPDATE | DELETE;

/// A set of permissions. A call is permitted if one selector of the user permits all of it.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// The permitted commands, a bit for each id.
    commands: [u64; WORDS],
    /// All commands are permitted, without exception (`+@all`, and no rule after it took one away).
    all_commands: bool,
    /// The rules began with `+@all`, not `-@all`.
    from_all: bool,
    /// The rules for commands since then, in lower case, each only once.
    rules: Vec<Vec<u8>>,
    /// Permitted first arguments of commands that are not permitted otherwise (`+select|0`).
    first_args: Vec<(u16, Box<[u8]>)>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

#[derive(Clone, Debug)]
struct KeyPattern {
    glob: Pattern,
    /// Flags of keys that the pattern permits: [`READS`], [`WRITES`] or both.
    access: u64,
}

#[derive(Clone, Debug)]
struct Pattern {
    bytes: Box<[u8]>,
    /// Whether it is a `*` after bytes that are not special, so that a comparison decides.
    is_prefix: bool,
}

impl Pattern {
    fn new(bytes: &[u8]) -> Pattern {
        let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let is_prefix = matches!(bytes, [prefix @ .., b'*'] if !prefix.iter().any(is_special));
        Pattern { bytes: bytes.into(), is_prefix }
    }

    fn matches(&self, text: &[u8]) -> bool {
        match &*self.bytes {
            // As in Redis, not even `*` matches an empty key.
            [prefix @ .., _] if self.is_prefix => !text.is_empty() && text.starts_with(prefix),
            bytes => glob::matches(bytes, text, false),
        }
    }
}

impl KeyPattern {
    fn permits(&self, key: &[u8], access: u64) -> bool {
        self.access & access == access && self.glob.matches(key)
    }

    fn describe(&self, text: &mut Vec<u8>) {
        match self.access {
            READS => text.extend_from_slice(b"%R~"),
            WRITES => text.extend_from_slice(b"%W~"),
            _ => text.push(b'~'),
        }
        text.extend_from_slice(&self.glob.bytes);
    }
}

/// The access to a key, of a call whose key has these flags.
fn access_of(key_flags: u64) -> u64 {
    (if key_flags & READS != 0 { READS } else { 0 }) | if key_flags & WRITES != 0 { WRITES } else { 0 }
}

impl Selector {
    /// Returns a selector without permissions, except that for all channels if `all_channels`.
    pub fn new(all_channels: bool) -> Selector {
        Selector { all_channels, ..Selector::default() }
    }

    /// Whether it permits every call.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether it permits the call.
    ///
    /// # Errors
    /// The first argument that is not permitted.
    pub fn check<A: Arguments + ?Sized>(
        &self,
        command: &Command,
        args: &A,
        found: &mut Vec<KeyPosition>,
    ) -> Result<(), Denial> {
        if !self.permits_command(command, args) {
            return Err(Denial { reason: Reason::Command, index: 0 });
        }
        if !self.all_keys && !command.keys.are_none() && command.accepts(args.count()) {
            command.keys.find(args, found);
            let denied = found.iter().find(|key| !self.permits_key(args.get(key.index), key.flags));
            if let Some(key) = denied {
                return Err(Denial { reason: Reason::Key, index: key.index });
            }
        }
        if !self.all_channels && command.has(flags::PUBSUB) {
            for (index, is_pattern) in channels_of(command, args.count()) {
                if !self.permits_channel(args.get(index), is_pattern) {
                    return Err(Denial { reason: Reason::Channel, index });
                }
            }
        }
        Ok(())
    }

    fn permits_command<A: Arguments + ?Sized>(&self, command: &Command, args: &A) -> bool {
        self.all_commands
            || command.has(flags::NO_AUTH)
            || self.has(command.id)
            || !self.first_args.is_empty() && self.permits_first_arg(command, args)
    }

    fn permits_first_arg<A: Arguments + ?Sized>(&self, command: &Command, args: &A) -> bool {
        let at = if command.container.is_some() { 2 } else { 1 };
        at < args.count()
            && self
                .first_args
                .iter()
                .any(|(id, first)| *id == command.id && args.get(at).eq_ignore_ascii_case(first))
    }

    fn permits_key(&self, key: &[u8], key_flags: u64) -> bool {
        let access = access_of(key_flags);
        self.keys.iter().any(|pattern| pattern.permits(key, access))
    }

    /// Whether a channel may be used, or a pattern of channels, which must be among the selector's own.
    pub fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|channel| {
                if is_pattern { **channel == *name } else { glob::matches(channel, name, false) }
            })
    }

    /// Whether every key may be read.
    pub fn reads_all_keys(&self) -> bool {
        self.all_keys
            || self.keys.iter().any(|pattern| &*pattern.glob.bytes == b"*" && pattern.access & READS != 0)
    }

    /// Whether all channels are permitted.
    pub fn has_all_channels(&self) -> bool {
        self.all_channels
    }

    fn has(&self, id: u16) -> bool {
        self.commands[usize::from(id) / 64] & 1 << (id % 64) != 0
    }

    /// Applies a rule, such as `+get` or `~prefix:*`.
    ///
    /// # Errors
    /// The reason why it is not a rule; nothing has changed.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), Fault> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            self.all_keys = true;
            self.keys.clear();
        } else if is("resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is("allchannels") || is("&*") {
            self.all_channels = true;
            self.channels.clear();
        } else if is("resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is("allcommands") || is("+@all") {
            self.set_all(true);
        } else if is("nocommands") || is("-@all") {
            self.set_all(false);
        } else {
            return match rule {
                [b'~', pattern @ ..] => self.add_key_pattern(READS | WRITES, pattern),
                [b'%', ..] if self.all_keys => Err(Fault::PatternAfterAll),
                [b'%', rest @ ..] => {
                    let (access, pattern) = split_access(rest)?;
                    self.add_key_pattern(access, pattern)
                }
                [b'&', channel @ ..] => self.add_channel(channel),
                [sign @ (b'+' | b'-'), category @ ..] if category.starts_with(b"@") => {
                    self.set_category(category, *sign == b'+')
                }
                [b'+', name @ ..] => self.permit(name),
                [b'-', name @ ..] => self.forbid(name),
                _ => Err(Fault::Syntax),
            };
        }
        Ok(())
    }

    fn set_all(&mut self, permitted: bool) {
        self.commands = [if permitted { u64::MAX } else { 0 }; WORDS];
        (self.all_commands, self.from_all) = (permitted, permitted);
        self.rules.clear();
        self.first_args.clear();
    }

    fn add_key_pattern(&mut self, access: u64, pattern: &[u8]) -> Result<(), Fault> {
        if self.all_keys {
            return Err(Fault::PatternAfterAll);
        }
        if has_spaces(pattern) {
            return Err(Fault::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.glob.bytes == *pattern) {
            Some(known) => known.access |= access,
            None => self.keys.push(KeyPattern { glob: Pattern::new(pattern), access }),
        }
        Ok(())
    }

    fn add_channel(&mut self, channel: &[u8]) -> Result<(), Fault> {
        if self.all_channels {
            return Err(Fault::ChannelAfterAll);
        }
        if has_spaces(channel) {
            return Err(Fault::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *channel) {
            self.channels.push(channel.into());
        }
        Ok(())
    }

    /// `+@category` and `-@category`.
    fn set_category(&mut self, category: &[u8], permitted: bool) -> Result<(), Fault> {
        let lower = category.to_ascii_lowercase();
        let word = std::str::from_utf8(&lower[1..]).map_err(|_| Fault::Unknown)?;
        let bit = place(CATEGORIES, word).ok_or(Fault::Unknown)?;
        self.note_rule(&lower, permitted);
        for command in table::all().iter().filter(|command| command.acl & 1 << bit != 0) {
            self.set(command, permitted);
        }
        Ok(())
    }

    /// `+command`, `+command|subcommand`, `+command|first-argument`.
    fn permit(&mut self, name: &[u8]) -> Result<(), Fault> {
        if let Some(command) = table::lookup_full(name) {
            self.set(command, true);
            self.note_rule(command.full_name.as_bytes(), true);
            return Ok(());
        }
        let bar = memchr::memrchr(b'|', name).ok_or(Fault::Unknown)?;
        let (name_of, first) = (&name[..bar], &name[bar + 1..]);
        let command = table::lookup_full(name_of).ok_or(Fault::Unknown)?;
        if command.container.is_some() {
            return Err(Fault::FirstArgOfSubcommand);
        }
        if !command.subcommands().is_empty() {
            return Err(Fault::Unknown);
        }
        // With white space it would be other words in a file. (Redis accepts that, and dies when it writes the file.)
        if first.is_empty() || has_spaces(first) {
            return Err(Fault::Syntax);
        }
        let is_known =
            |(id, known): &(u16, Box<[u8]>)| *id == command.id && known.eq_ignore_ascii_case(first);
        if !self.first_args.iter().any(is_known) {
            self.first_args.push((command.id, first.into()));
        }
        self.note_rule(&name.to_ascii_lowercase(), true);
        Ok(())
    }

    /// `-command`, `-command|subcommand`.
    fn forbid(&mut self, name: &[u8]) -> Result<(), Fault> {
        let command = table::lookup_full(name).ok_or(Fault::Unknown)?;
        self.set(command, false);
        self.note_rule(command.full_name.as_bytes(), false);
        Ok(())
    }

    /// Sets the bits of a command and its subcommands.
    fn set(&mut self, command: &Command, permitted: bool) {
        for id in std::iter::once(command.id).chain(command.subcommands().iter().map(|sub| sub.id)) {
            let (word, bit) = (&mut self.commands[usize::from(id) / 64], 1 << (id % 64));
            if permitted {
                *word |= bit;
            } else {
                *word &= !bit;
                self.all_commands = false;
            }
        }
        self.first_args.retain(|(id, _)| *id != command.id);
    }

    /// Appends a rule to the text. Removes earlier rules that it overrides: for the same command or category, for
    /// subcommands of it, and for its first arguments.
    fn note_rule(&mut self, name: &[u8], permitted: bool) {
        let overrides = |rule: &[u8]| matches!(rule[1..].strip_prefix(name), Some([] | [b'|', ..]));
        self.rules.retain(|rule| !overrides(rule));
        let sign: &[u8] = if permitted { b"+" } else { b"-" };
        self.rules.push([sign, name].concat());
    }

    /// The rules for commands, as `ACL GETUSER` shows them.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut text = (if self.from_all { &b"+@all"[..] } else { b"-@all" }).to_vec();
        for rule in &self.rules {
            text.push(b' ');
            text.extend_from_slice(rule);
        }
        text
    }

    /// The patterns of keys, as `ACL GETUSER` shows them.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut text = Vec::new();
        for pattern in &self.keys {
            if !text.is_empty() {
                text.push(b' ');
            }
            pattern.describe(&mut text);
        }
        text
    }

    /// The patterns of channels, as `ACL GETUSER` shows them.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let words: Vec<Vec<u8>> = self.channels.iter().map(|channel| [b"&", &**channel].concat()).collect();
        words.join(&b' ')
    }

    /// All rules, as `ACL LIST` shows them.
    pub fn describe(&self) -> Vec<u8> {
        let reset: &[u8] = if self.all_channels { b"" } else { b"resetchannels" };
        let parts =
            [self.describe_keys(), reset.to_vec(), self.describe_channels(), self.describe_commands()];
        let parts: Vec<Vec<u8>> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(&b' ')
    }
}

/// Splits what follows a `%`: the access, and the pattern after the `~`.
fn split_access(rest: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let mut access = 0;
    for (at, byte) in rest.iter().enumerate() {
        let one = match byte.to_ascii_uppercase() {
            b'R' => READS,
            b'W' => WRITES,
            b'~' if access != 0 => return Ok((access, &rest[at + 1..])),
            _ => return Err(Fault::Syntax),
        };
        if access & one != 0 {
            return Err(Fault::Syntax);
        }
        access |= one;
    }
    // Without a `~` the pattern is empty.
    if access == 0 { Err(Fault::Syntax) } else { Ok((access, &[])) }
}

/// Whether a name or pattern has white space or a zero byte, which a line of a file could not hold.
pub fn has_spaces(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

/// The arguments of a call that are channels to publish or subscribe to, and whether they are patterns.
fn channels_of(command: &Command, count: usize) -> impl Iterator<Item = (usize, bool)> + use<> {
    let (end, is_pattern) = match command.name {
        "publish" | "spublish" => (count.min(2), false),
        "subscribe" | "ssubscribe" => (count, false),
        "psubscribe" => (count, true),
        _ => (0, false),
    };
    (1..end).map(move |index| (index, is_pattern))
}
