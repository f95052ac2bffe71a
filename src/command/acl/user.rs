//! A user: its passwords, and the selectors that permit calls.

use super::fault::Fault;
use super::selector::Selector;
use super::{Denial, Reason};
use crate::codec::hex;
use crate::codec::sha256::{self, sha256};
use crate::command::Command;
use crate::command::table::Arguments;
use crate::command::table::keys::KeyPosition;

/// A user of the server.
#[derive(Clone, Debug)]
pub struct User {
    /// The name, without spaces or zero bytes.
    pub name: Box<[u8]>,
    /// Whether new connections can authenticate as this user.
    pub is_enabled: bool,
    /// Whether any password is accepted.
    pub needs_no_password: bool,
    /// Whether the payloads of its `RESTORE` are checked with `sanitize-dump-payload clients`.
    pub sanitizes_payload: bool,
    passwords: Vec<sha256::Digest>,
    root: Selector,
    others: Vec<Selector>,
}

impl User {
    /// Returns a disabled user that may do nothing, except use all channels if `all_channels`.
    pub fn new(name: &[u8], all_channels: bool) -> User {
        User {
            name: name.into(),
            is_enabled: false,
            needs_no_password: false,
            sanitizes_payload: true,
            passwords: Vec::new(),
            root: Selector::new(all_channels),
            others: Vec::new(),
        }
    }

    /// Applies a modifier of `ACL SETUSER`. `all_channels` is the default for new and reset selectors
    /// (`acl-pubsub-default`).
    ///
    /// # Errors
    /// The reason why it is not one. A refused list of rules in parentheses may not be applied in part.
    pub fn apply(&mut self, modifier: &[u8], all_channels: bool) -> Result<(), Fault> {
        let is = |word: &str| modifier.eq_ignore_ascii_case(word.as_bytes());
        if is("on") {
            self.is_enabled = true;
        } else if is("off") {
            self.is_enabled = false;
        } else if is("nopass") {
            self.needs_no_password = true;
            self.passwords.clear();
        } else if is("resetpass") {
            self.needs_no_password = false;
            self.passwords.clear();
        } else if is("sanitize-payload") {
            self.sanitizes_payload = true;
        } else if is("skip-sanitize-payload") {
            self.sanitizes_payload = false;
        } else if is("clearselectors") {
            self.others.clear();
        } else if modifier.is_empty() {
            // An empty word changes nothing, as in Redis.
        } else if is("reset") {
            *self = User::new(&self.name, all_channels);
        } else {
            return self.apply_longer(modifier, all_channels);
        }
        Ok(())
    }

    /// Applies a modifier that is more than a word.
    fn apply_longer(&mut self, modifier: &[u8], all_channels: bool) -> Result<(), Fault> {
        match modifier {
            [b'>', password @ ..] => self.add_password(sha256(password)),
            [b'#', hash @ ..] => self.add_password(parse_hash(hash)?),
            [b'<', password @ ..] => self.remove_password(&sha256(password))?,
            [b'!', hash @ ..] => self.remove_password(&parse_hash(hash)?)?,
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(all_channels);
                for rule in rules.split(|byte| *byte == b' ').filter(|rule| !rule.is_empty()) {
                    selector.apply(rule)?;
                }
                self.others.push(selector);
            }
            rule => self.root.apply(rule)?,
        }
        Ok(())
    }

    /// Makes `password` the only one; if it is empty, any password is accepted.
    pub fn set_only_password(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.needs_no_password = password.is_empty();
        if !password.is_empty() {
            self.add_password(sha256(password));
        }
    }

    fn add_password(&mut self, digest: sha256::Digest) {
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, digest: &sha256::Digest) -> Result<(), Fault> {
        let at = self.passwords.iter().position(|known| known == digest).ok_or(Fault::UnknownPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Whether `digest` is that of one of the user's passwords. Takes the same time whatever the digest is.
    pub fn has_password(&self, digest: &sha256::Digest) -> bool {
        let differences = |known: &sha256::Digest| {
            std::hint::black_box(known.iter().zip(digest).fold(0, |sum, (a, b)| sum | (a ^ b)))
        };
        self.passwords.iter().fold(false, |found, known| found | (differences(known) == 0))
    }

    /// All selectors, the root first.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> + Clone {
        std::iter::once(&self.root).chain(&self.others)
    }

    /// The selector that modifiers outside of parentheses change.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The selectors in parentheses.
    pub fn others(&self) -> &[Selector] {
        &self.others
    }

    /// Whether a selector permits all channels.
    pub fn permits_all_channels(&self) -> bool {
        self.selectors().any(Selector::has_all_channels)
    }

    /// Whether a selector permits this channel, or this pattern of channels.
    pub fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors().any(|selector| selector.permits_channel(name, is_pattern))
    }

    /// Whether every call is permitted.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors().any(Selector::is_unrestricted)
    }

    /// Whether the user may make this call.
    ///
    /// # Errors
    /// Why not: of all selectors, the denial of the one that went furthest.
    pub fn check<A: Arguments + ?Sized>(
        &self,
        command: &Command,
        args: &A,
        found: &mut Vec<KeyPosition>,
    ) -> Result<(), Denial> {
        let mut furthest = Denial { reason: Reason::Command, index: 0 };
        for selector in self.selectors() {
            match selector.check(command, args, found) {
                Ok(()) => return Ok(()),
                Err(denial) => furthest = furthest.max(denial),
            }
        }
        Err(furthest)
    }

    /// Whether a selector that permits this call also permits to read every key.
    pub fn reads_all_keys<A: Arguments + ?Sized>(
        &self,
        command: &Command,
        args: &A,
        found: &mut Vec<KeyPosition>,
    ) -> bool {
        self.selectors()
            .any(|selector| selector.reads_all_keys() && selector.check(command, args, found).is_ok())
    }

    /// The names of its flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let password = self.needs_no_password.then_some("nopass");
        let payload = if self.sanitizes_payload { "sanitize-payload" } else { "skip-sanitize-payload" };
        let state = if self.is_enabled { "on" } else { "off" };
        [Some(state), password, Some(payload)].into_iter().flatten()
    }

    /// The hashes of its passwords, in hexadecimal digits.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|digest| hex(digest))
    }

    /// The line of `ACL LIST`, which is also that of an ACL file.
    pub fn describe(&self) -> Vec<u8> {
        let mut line = [b"user ", &*self.name].concat();
        for flag in self.flags() {
            line.push(b' ');
            line.extend_from_slice(flag.as_bytes());
        }
        for hash in self.hashes() {
            line.extend_from_slice(b" #");
            line.extend_from_slice(hash.as_bytes());
        }
        line.push(b' ');
        line.extend_from_slice(&self.root.describe());
        for selector in &self.others {
            line.extend_from_slice(b" (");
            line.extend_from_slice(&selector.describe());
            line.push(b')');
        }
        line
    }
}

fn parse_hash(hash: &[u8]) -> Result<sha256::Digest, Fault> {
    sha256::from_hex(hash).ok_or(Fault::BadHash)
}

/// Joins the words of a selector in parentheses, which may be several arguments.
///
/// # Errors
/// The word with a parenthesis that is never closed.
pub fn join_parentheses<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<&'a [u8]> = None;
    for word in words {
        match joined.last_mut().filter(|_| open.is_some()) {
            Some(selector) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
            }
            None => joined.push(word.to_vec()),
        }
        let opens = open.is_none() && word.starts_with(b"(");
        if opens {
            open = Some(word);
        }
        if open.is_some() && word.ends_with(b")") {
            open = None;
        }
    }
    open.map_or(Ok(joined), Err)
}
