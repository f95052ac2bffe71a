//! The rights of clients: whether a client's user may make a call, and how a change of the users affects connections.
//!
//! A session knows its user by id, and whether that user may make every call ([`Rights::unrestricted`]), so that calls of
//! such a user are not checked. The calls of any other user are checked where they are admitted: requests, commands of
//! an EXEC once more when it executes them, and commands that scripts call. Whoever changes the users calls
//! [`Server::users_changed`], which derives the rights of all sessions anew.

use super::Server;
use super::invoke::Caller;
use super::scripts::run::Run;
use crate::command::acl::log::{Denied, Place};
use crate::command::acl::{Denial, Reason, Rights, User, UserId, Users};
use crate::command::error::Error;
use crate::command::{Args, Command, Origin};
use crate::config::PubsubDefault;
use crate::server::audience::subscribers::Kind;
use crate::sys::poller::Token;

/// Whether a session with these rights may make this call. The caller has checked `unrestricted`.
#[inline(never)]
pub(super) fn is_permitted(rights: Rights, users: &mut Users, command: &Command, args: Args<'_>) -> bool {
    rights.authenticated && users.check(rights.user, command, &args).is_ok()
}

impl Server {
    /// Returns the error if the user of `token` may not make this request, and logs the denial.
    #[cold]
    pub(super) fn deny_request(&mut self, token: Token, command: &Command, args: Args<'_>) -> Option<Error> {
        let session = &self.net.clients.get(token)?.session;
        let (rights, place) =
            (session.rights, if session.flags.transaction { Place::Multi } else { Place::Toplevel });
        let denial = self.deny(Some(token), rights, command, args, place)?;
        let user = &self.core.users.get(rights.user).name;
        Some(Error::concat(&[b"NOPERM ", &denial.message(user, command, &args, false)]))
    }

    /// Returns the error if the user of `token` may no longer make a call that was queued.
    #[inline]
    pub(super) fn deny_queued(&mut self, token: Token, command: &Command, args: Args<'_>) -> Option<Error> {
        let rights = self.net.clients.get(token)?.session.rights;
        if rights.unrestricted {
            return None;
        }
        let denial = self.deny(Some(token), rights, command, args, Place::Multi)?;
        let why: &[u8] = match denial.reason {
            Reason::Command => b"no permission to execute the command or subcommand",
            Reason::Key => b"no permission to touch the specified keys",
            Reason::Channel => b"no permission to access one of the channels used as arguments",
            Reason::Auth => b"no permission",
        };
        Some(Error::concat(&[
            b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
              command is no longer allowed for the following reason: ",
            why,
        ]))
    }

    /// Returns the error if the user for which a script runs may not make this call.
    #[cold]
    pub(super) fn deny_script(&mut self, run: &Run, command: &Command, args: Args<'_>) -> Option<Error> {
        let rights = run.session.rights;
        let denial = self.deny(run.client, rights, command, args, Place::Script)?;
        let user = &self.core.users.get(rights.user).name;
        Some(Error::concat(&[b"ERR ACL failure in script: ", &denial.message(user, command, &args, false)]))
    }

    /// Checks a call, and logs it if it is denied.
    fn deny(
        &mut self,
        token: Option<Token>,
        rights: Rights,
        command: &Command,
        args: Args<'_>,
        place: Place,
    ) -> Option<Denial> {
        let denial = self.core.users.check(rights.user, command, &args).err()?;
        let object = match denial.reason {
            Reason::Command | Reason::Auth => command.full_name.as_bytes(),
            Reason::Key | Reason::Channel => args.get(denial.index),
        };
        let user = self.core.users.get(rights.user).name.to_vec();
        self.log_denial(token, Denied { reason: denial.reason, place, object: object.to_vec(), user });
        Some(denial)
    }

    fn log_denial(&mut self, token: Option<Token>, denied: Denied) {
        let client = token.map_or(String::new(), |token| self.describe_client(token));
        let most = self.core.config.acllog_max_len;
        self.core.acl_log.add(denied, client.into(), self.core.keyspace.moment.unix_ms as u64, most);
    }

    /// Logs a login with a wrong name or password; `called` is the command's name as the client wrote it.
    pub(super) fn log_failed_login(&mut self, caller: &mut Caller<'_>, name: &[u8], called: &[u8]) {
        let is_queued = caller.origin == Origin::Exec;
        let place = if is_queued { Place::Multi } else { Place::Toplevel };
        let denied = Denied { reason: Reason::Auth, place, object: called.to_vec(), user: name.to_vec() };
        self.log_denial(caller.any_client(), denied);
    }

    /// Whether new users may use all channels (`acl-pubsub-default`).
    pub(super) fn permits_channels_by_default(&self) -> bool {
        self.core.config.acl_pubsub_default == PubsubDefault::Allchannels
    }

    /// Adds or replaces a user. Closes the connections of its clients with subscriptions that it does not
    /// permit; the connection of `current` closes only after its reply.
    pub(super) fn put_user(&mut self, user: User, current: Option<Token>) {
        let permits_all = user.permits_all_channels();
        let id = self.core.users.put(user);
        if !permits_all {
            self.close_clients(current, |server, token, rights| {
                rights.user == id && server.has_denied_subscription(token, id)
            });
        }
        self.users_changed();
    }

    /// Replaces all users. Closes the connections of all users but `default`, as Redis does, and of that user those with
    /// subscriptions that it does not permit.
    pub(super) fn replace_users(&mut self, users: Vec<User>, current: Option<Token>) {
        self.core.users.replace(users);
        self.close_clients(current, |server, token, rights| {
            rights.user != UserId::DEFAULT || server.has_denied_subscription(token, UserId::DEFAULT)
        });
        self.users_changed();
    }

    /// Removes a user, and closes the connections of its clients. Returns whether it was there.
    pub(super) fn remove_user(&mut self, name: &[u8], current: Option<Token>) -> bool {
        let Some(id) = self.core.users.remove(name) else { return false };
        self.close_clients(current, |_, _, rights| rights.user == id);
        self.users_changed();
        true
    }

    /// Closes the connections for which `ends` returns true. One that stays open for its reply becomes a
    /// connection of the default user that has not logged in.
    fn close_clients(&mut self, current: Option<Token>, ends: impl Fn(&Server, Token, Rights) -> bool) {
        let clients = self.net.clients.iter();
        let victims: Vec<Token> = clients
            .filter(|(token, client)| {
                !client.session.flags.primary && ends(self, *token, client.session.rights)
            })
            .map(|(token, _)| token)
            .collect();
        for token in victims {
            let session = self.net.session(token);
            session.rights = Rights::NONE;
            if current == Some(token) {
                session.flags.close_after_reply = true;
            } else if !self.postpones_close(token) {
                self.close(token);
            }
        }
    }

    /// Whether `token` is subscribed to a channel or pattern that the user does not permit.
    fn has_denied_subscription(&self, token: Token, user: UserId) -> bool {
        let user = self.core.users.get(user);
        self.audience
            .subscribers
            .any_name(token, |kind, name| !user.permits_channel(name, kind == Kind::Pattern))
    }

    /// Derives the rights of all sessions from the users.
    pub(super) fn users_changed(&mut self) {
        let users = &self.core.users;
        for client in self.net.clients.iter_mut().filter(|client| !client.session.flags.primary) {
            let Rights { user, logged_in, .. } = client.session.rights;
            client.session.rights = users.rights(user, logged_in);
        }
    }
}
