//! `ACL`: the users, their rules, and the log of denied calls.

use std::io;

use crate::command::acl::log::{Entry, Place};
use crate::command::acl::{self, DEFAULT, Fault, Reason, Selector, User, UserId, Users, join_parentheses};
use crate::command::error::{Error, NOT_AN_INTEGER, Result};
use crate::command::table::vocabulary::{CATEGORIES, place};
use crate::command::{Args, table};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::startup::read_acl_file;
use crate::sys::{file, process};
use crate::text::number::parse_i64;
use crate::text::words::{self, shown};

use super::usage;

const NO_FILE: Error = Error::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
     in the Redis configuration.",
);

/// The number of entries that `ACL LOG` returns without a count.
const SHOWN: usize = 10;

/// The default and the largest size of a generated password, in bits.
const PASSWORD_BITS: i64 = 256;
const MAX_PASSWORD_BITS: i64 = 4096;

impl Server {
    /// `ACL WHOAMI`: the name of the user.
    pub(super) fn acl_whoami(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let user = caller.session(&mut self.net).rights.user;
        caller.reply(&mut self.net).bulk(&self.core.users.get(user).name);
        Ok(())
    }

    /// `ACL USERS`: the names of all users.
    pub(super) fn acl_users(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        let users = self.core.users.iter();
        reply.array(users.len());
        users.for_each(|user| reply.bulk(&user.name));
        Ok(())
    }

    /// `ACL LIST`: the users as lines of an ACL file.
    pub(super) fn acl_list(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        let users = self.core.users.iter();
        reply.array(users.len());
        users.for_each(|user| reply.bulk(&user.describe()));
        Ok(())
    }

    /// `ACL GETUSER name`: a map of the user's properties, or null.
    pub(super) fn acl_getuser(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        let Some(id) = self.core.users.find(args.get(2)) else {
            reply.null();
            return Ok(());
        };
        let user = self.core.users.get(id);
        reply.map(6);
        reply.bulk(b"flags");
        let flags: Vec<&str> = user.flags().collect();
        reply.set(flags.len());
        for flag in flags {
            reply.bulk(flag.as_bytes());
        }
        reply.bulk(b"passwords");
        let hashes = user.hashes();
        reply.array(hashes.len());
        hashes.for_each(|hash| reply.bulk(hash.as_bytes()));
        write_selector(user.root(), &mut reply);
        reply.bulk(b"selectors");
        reply.array(user.others().len());
        for selector in user.others() {
            reply.map(3);
            write_selector(selector, &mut reply);
        }
        Ok(())
    }

    /// `ACL SETUSER name [modifier …]`: adds or changes a user; applies all modifiers, or none.
    pub(super) fn acl_setuser(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let name = args.get(2);
        if acl::has_spaces(name) {
            return Err(Error::new("ERR Usernames can't contain spaces or null characters"));
        }
        let modifiers = join_parentheses(args.iter_from(3)).map_err(|open| {
            Error::concat(&[b"ERR Unmatched parenthesis in acl selector starting at '", shown(open), b"'."])
        })?;
        let all_channels = self.permits_channels_by_default();
        let known = self.core.users.find(name).map(|id| self.core.users.get(id).clone());
        let mut user = known.unwrap_or_else(|| User::new(name, all_channels));
        for modifier in &modifiers {
            user.apply(modifier, all_channels).map_err(|fault| refusal(modifier, fault))?;
        }
        self.put_user(user, caller.any_client());
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `ACL DELUSER name [name …]`: deletes users; the number of those that existed.
    pub(super) fn acl_deluser(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if args.iter_from(2).any(|name| name == DEFAULT) {
            return Err(Error::new("ERR The 'default' user cannot be removed"));
        }
        let client = caller.any_client();
        let removed = args.iter_from(2).filter(|name| self.remove_user(name, client)).count();
        caller.reply(&mut self.net).integer(removed as i64);
        Ok(())
    }

    /// `ACL CAT [category]`: the categories, or the commands of one.
    pub(super) fn acl_cat(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        match args.len() {
            2 => {
                reply.array(CATEGORIES.len());
                for category in CATEGORIES {
                    reply.bulk(category.as_bytes());
                }
            }
            3 => {
                let lower = args.get(2).to_ascii_lowercase();
                let bit = std::str::from_utf8(&lower).ok().and_then(|word| place(CATEGORIES, word));
                let bit = bit.ok_or_else(|| {
                    let name = shown(args.get(2));
                    Error::concat(&[b"ERR Unknown category '", &name[..name.len().min(128)], b"'"])
                })?;
                let commands = || table::all().iter().filter(|command| command.acl & 1 << bit != 0);
                reply.array(commands().count());
                commands().for_each(|command| reply.bulk(command.full_name.as_bytes()));
            }
            _ => return Err(usage(args)),
        }
        Ok(())
    }

    /// `ACL GENPASS [bits]`: random hexadecimal digits.
    pub(super) fn acl_genpass(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let bits = match args.len() {
            2 => PASSWORD_BITS,
            3 => parse_i64(args.get(2)).ok_or(NOT_AN_INTEGER)?,
            _ => return Err(usage(args)),
        };
        if !(1..=MAX_PASSWORD_BITS).contains(&bits) {
            return Err(format!(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
                 {MAX_PASSWORD_BITS}"
            )
            .into());
        }
        let digits = (bits as usize).div_ceil(4);
        let mut random = vec![0; digits];
        process::random_bytes(&mut random);
        for byte in &mut random {
            *byte = b"0123456789abcdef"[usize::from(*byte & 15)];
        }
        caller.reply(&mut self.net).bulk(&random);
        Ok(())
    }

    /// `ACL DRYRUN user command [argument …]`: `OK`, or why the user may not make this call.
    pub(super) fn acl_dryrun(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let name = args.get(2);
        let id = self
            .core
            .users
            .find(name)
            .ok_or_else(|| Error::concat(&[b"ERR User '", shown(name), b"' not found"]))?;
        let call: Vec<&[u8]> = args.iter_from(3).collect();
        let command = self
            .core
            .names
            .find(call.as_slice())
            .map_err(|_| Error::concat(&[b"ERR Command '", shown(call[0]), b"' not found"]))?;
        if !command.accepts(call.len()) {
            let name = command.full_name.as_bytes();
            return Err(Error::concat(&[b"ERR wrong number of arguments for '", name, b"' command"]));
        }
        let outcome = self.core.users.check(id, command, call.as_slice());
        let mut reply = caller.reply(&mut self.net);
        match outcome {
            Ok(()) => reply.ok(),
            Err(denial) => reply.bulk(&denial.message(name, command, call.as_slice(), true)),
        }
        Ok(())
    }

    /// `ACL LOG [count | RESET]`: the newest denials.
    pub(super) fn acl_log(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let count = match args.len() {
            2 => SHOWN,
            3 if args.is(2, "reset") => {
                self.core.acl_log.clear();
                caller.reply(&mut self.net).ok();
                return Ok(());
            }
            3 => parse_i64(args.get(2)).ok_or(NOT_AN_INTEGER)?.max(0) as usize,
            _ => return Err(usage(args)),
        };
        let now_ms = self.core.keyspace.moment.unix_ms as u64;
        let entries = self.core.acl_log.entries();
        let mut reply = caller.reply(&mut self.net);
        reply.array(entries.len().min(count));
        entries.take(count).for_each(|entry| write_entry(entry, now_ms, &mut reply));
        Ok(())
    }

    /// `ACL LOAD`: replaces the users by those of the ACL file; if a line is faulty, nothing changes.
    pub(super) fn acl_load(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        if self.core.config.aclfile.is_empty() {
            return Err(NO_FILE);
        }
        match read_acl_file(&self.core.config) {
            Ok(users) => self.replace_users(users, caller.any_client()),
            Err(why) => return Err(Error::concat(&[b"ERR ", &why])),
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `ACL SAVE`: writes the users to the ACL file.
    pub(super) fn acl_save(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        if self.core.config.aclfile.is_empty() {
            return Err(NO_FILE);
        }
        if let Err(error) = self.write_acl_file() {
            self.process.log.warning(format_args!("Saving ACL file: {error}"));
            return Err(Error::new(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
            ));
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// The `user` lines of the configuration file; none if there is an ACL file, or if there is only the default user
    /// with the password of `requirepass`.
    pub(super) fn user_lines(&self) -> Vec<Vec<u8>> {
        let users = &self.core.users;
        let mut usual = Users::default().get(UserId::DEFAULT).clone();
        usual.set_only_password(self.core.config.requirepass.as_bytes());
        let is_usual = users.iter().len() == 1 && users.get(UserId::DEFAULT).describe() == usual.describe();
        if is_usual || !self.core.config.aclfile.is_empty() {
            return Vec::new();
        }
        users.iter().map(|user| quote_words(&user.describe())).collect()
    }

    fn write_acl_file(&self) -> io::Result<()> {
        file::replace(self.core.config.aclfile.as_path(), &acl::format_file(&self.core.users))
    }
}

/// Quotes the words of a user's line where a configuration file needs it: an ACL file has no quotes.
fn quote_words(line: &[u8]) -> Vec<u8> {
    let word = |word: &[u8]| {
        let is_plain =
            word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'));
        if is_plain { word.to_vec() } else { words::quote(word).into_bytes() }
    };
    line.split(|byte| *byte == b' ').map(word).collect::<Vec<_>>().join(&b' ')
}

/// Writes three pairs of a map.
fn write_selector(selector: &Selector, reply: &mut Reply<'_>) {
    reply.bulk(b"commands");
    reply.bulk(&selector.describe_commands());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

fn write_entry(entry: &Entry, now_ms: u64, reply: &mut Reply<'_>) {
    let denied = &entry.denied;
    let reason = match denied.reason {
        Reason::Command => "command",
        Reason::Key => "key",
        Reason::Auth => "auth",
        Reason::Channel => "channel",
    };
    let context = match denied.place {
        Place::Toplevel => "toplevel",
        Place::Multi => "multi",
        Place::Script => "lua",
    };
    reply.map(10);
    reply.bulk(b"count");
    reply.integer(entry.count as i64);
    for (name, value) in [
        ("reason", reason.as_bytes()),
        ("context", context.as_bytes()),
        ("object", &denied.object),
        ("username", &denied.user),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
    }
    reply.bulk(b"age-seconds");
    reply.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
    reply.bulk(b"client-info");
    reply.bulk(&entry.client);
    for (name, value) in [
        ("entry-id", entry.id),
        ("timestamp-created", entry.created_ms),
        ("timestamp-last-updated", entry.updated_ms),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(value as i64);
    }
}

fn refusal(modifier: &[u8], fault: Fault) -> Error {
    let why = fault.to_string();
    Error::concat(&[b"ERR Error in ACL SETUSER modifier '", shown(modifier), b"': ", why.as_bytes()])
}
