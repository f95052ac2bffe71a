//! Access control lists (ACL): the users, and the commands, keys and channels that each of them may use.
//!
//! ```text
//!   AUTH ─▶ Users ─▶ UserId, kept by the session ─▶ User: passwords, selectors
//!                                                    └▶ Selector: bits of commands, patterns of keys and channels
//! ```
//!
//! Rules are compiled when they are set (`selector.rs`). A user without restrictions ([`User::is_unrestricted`]) needs no
//! check of its calls. This module does not know connections: its caller updates the sessions of a changed user, and
//! closes those of a removed one.

mod fault;
mod file;
pub mod log;
mod selector;
#[cfg(test)]
mod tests;
mod user;

use std::collections::BTreeMap;

use crate::codec::sha256::sha256;
use crate::command::Command;
use crate::command::table::Arguments;
use crate::command::table::keys::KeyPosition;

pub use fault::Fault;
pub use file::{format_file, parse_file, parse_user};
pub use selector::{Selector, has_spaces};
pub use user::{User, join_parentheses};

/// The name of the user of connections that have not authenticated.
pub const DEFAULT: &[u8] = b"default";

/// A reason to deny a call or a login. Ordered by how far the checks got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The command is not permitted.
    Command,
    /// A key is not permitted.
    Key,
    /// The user name or the password is wrong.
    Auth,
    /// A channel is not permitted.
    Channel,
}

/// Why a call is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// What is not permitted.
    pub reason: Reason,
    /// The argument that is not permitted.
    pub index: usize,
}

impl Denial {
    /// The text for the client, without an error code. It names the key or the channel only if `names_object`.
    pub fn message<A: Arguments + ?Sized>(
        self,
        user: &[u8],
        command: &Command,
        args: &A,
        names_object: bool,
    ) -> Vec<u8> {
        let object = match self.reason {
            Reason::Command | Reason::Auth => {
                let name = command.full_name.as_bytes();
                return [b"User ", user, b" has no permissions to run the '", name, b"' command"].concat();
            }
            Reason::Key => &b"key"[..],
            Reason::Channel => b"channel",
        };
        if names_object {
            let name = args.get(self.index);
            [b"User ", user, b" has no permissions to access the '", name, b"' ", object].concat()
        } else {
            [b"No permissions to access a ", object].concat()
        }
    }
}

/// A user among [`Users`], as long as it is not deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserId(u32);

impl UserId {
    /// The user `default`, which always exists.
    pub const DEFAULT: UserId = UserId(0);
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Its user.
    pub user: UserId,
    /// Whether it has logged in, or did not have to when it connected.
    pub logged_in: bool,
    /// Whether it may send commands: it has logged in, or nobody has to.
    pub authenticated: bool,
    /// Whether it may make every call, so that none of them is checked.
    pub unrestricted: bool,
}

impl Rights {
    /// The rights of the server itself, such as the loader of an AOF or the connection to the primary.
    pub const SERVER: Rights =
        Rights { user: UserId::DEFAULT, logged_in: true, authenticated: true, unrestricted: true };

    /// The rights of a session whose user is gone.
    pub const NONE: Rights =
        Rights { user: UserId::DEFAULT, logged_in: false, authenticated: false, unrestricted: false };
}

/// All users.
#[derive(Debug)]
pub struct Users {
    /// By id; `None` for ids that are free.
    slots: Vec<Option<User>>,
    names: BTreeMap<Box<[u8]>, UserId>,
    /// Room for the keys of the call that is checked.
    found: Vec<KeyPosition>,
}

impl Default for Users {
    fn default() -> Users {
        let mut users = Users { slots: Vec::new(), names: BTreeMap::new(), found: Vec::new() };
        users.put(unlimited_default());
        users
    }
}

/// The user `default` of a server without configured users: no password and all permissions.
fn unlimited_default() -> User {
    let mut user = User::new(DEFAULT, true);
    for modifier in [&b"on"[..], b"nopass", b"allkeys", b"allcommands"] {
        user.apply(modifier, true).expect("a valid modifier");
    }
    user
}

impl Users {
    /// Replaces a user, or adds it. Returns its id, which does not change.
    pub fn put(&mut self, user: User) -> UserId {
        if let Some(id) = self.find(&user.name) {
            self.slots[id.0 as usize] = Some(user);
            return id;
        }
        let free = self.slots.iter().position(Option::is_none);
        let index = free.unwrap_or(self.slots.len());
        let id = UserId(u32::try_from(index).expect("fewer users than bytes of memory"));
        self.names.insert(user.name.clone(), id);
        if free.is_none() {
            self.slots.push(None);
        }
        self.slots[index] = Some(user);
        id
    }

    /// Replaces all users. A user keeps its id if one of the same name was there; without a `default` among the new
    /// ones, that is made anew. The caller ends the sessions of the users that are gone.
    pub fn replace(&mut self, users: Vec<User>) {
        let stay = |name: &[u8]| name == DEFAULT || users.iter().any(|user| *user.name == *name);
        let leaving: Vec<Box<[u8]>> = self.names.keys().filter(|name| !stay(name)).cloned().collect();
        for name in leaving {
            self.remove(&name);
        }
        self.put(unlimited_default());
        for user in users {
            self.put(user);
        }
    }

    /// Removes a user. The caller ends its sessions before it adds another user, which may get the same id.
    pub fn remove(&mut self, name: &[u8]) -> Option<UserId> {
        let id = self.names.remove(name)?;
        debug_assert!(id != UserId::DEFAULT, "the default user is never removed");
        self.slots[id.0 as usize] = None;
        Some(id)
    }

    /// Finds a user by name.
    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        self.names.get(name).copied()
    }

    /// The user with this id.
    pub fn get(&self, id: UserId) -> &User {
        self.slots[id.0 as usize].as_ref().expect("the sessions of a removed user are closed")
    }

    /// The users, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &User> {
        self.names.values().map(|id| self.get(*id))
    }

    /// Whether a new connection may send commands without authentication.
    pub fn is_open(&self) -> bool {
        let user = self.get(UserId::DEFAULT);
        user.is_enabled && user.needs_no_password
    }

    /// Whether `default` needs no password, so that whoever can connect can do whatever it may do.
    pub fn needs_no_password(&self) -> bool {
        self.get(UserId::DEFAULT).needs_no_password
    }

    /// The user with this name and password, if it may log in. Takes the same time whether the name or the password is
    /// wrong.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<UserId> {
        let digest = sha256(password);
        let id = self.find(name);
        let user = self.get(id.unwrap_or(UserId::DEFAULT));
        let has_password = user.has_password(&digest);
        id.filter(|_| user.is_enabled && (user.needs_no_password || has_password))
    }

    /// The rights of a session of this user.
    pub fn rights(&self, user: UserId, logged_in: bool) -> Rights {
        let authenticated = logged_in || self.is_open();
        let unrestricted = authenticated && self.get(user).is_unrestricted();
        Rights { user, logged_in, authenticated, unrestricted }
    }

    /// The rights of a new connection.
    pub fn initial_rights(&self) -> Rights {
        self.rights(UserId::DEFAULT, self.is_open())
    }

    /// Whether the user may make this call.
    ///
    /// # Errors
    /// Why not.
    #[inline(never)]
    pub fn check<A: Arguments + ?Sized>(
        &mut self,
        id: UserId,
        command: &Command,
        args: &A,
    ) -> Result<(), Denial> {
        let mut found = std::mem::take(&mut self.found);
        let result = self.get(id).check(command, args, &mut found);
        self.found = found;
        result
    }

    /// Whether the permission for this call includes reading every key, as patterns of `SORT` do.
    pub fn reads_all_keys<A: Arguments + ?Sized>(&mut self, id: UserId, command: &Command, args: &A) -> bool {
        let mut found = std::mem::take(&mut self.found);
        let result = self.get(id).reads_all_keys(command, args, &mut found);
        self.found = found;
        result
    }
}
