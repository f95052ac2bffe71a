//! Monitors and pauses, which make requests take the careful path. This file connects the clients, the commands, and
//! the listeners in [`super::audience`].

use std::rc::Rc;

use super::Server;
use super::audience::pause::{PauseMode, Purpose};
use super::core::redact;
use super::invoke::Caller;
use super::net::output::Readers;
use crate::command::waiting::Blocked;
use crate::command::{Args, Command, flags};
use crate::sys::net::Address;
use crate::sys::poller::Token;

impl Server {
    /// Starts sending the MONITOR feed to `token`.
    pub(super) fn start_monitoring(&mut self, token: Token) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        client.session.flags.monitor = true;
        self.audience.monitors().add(token);
        self.refresh_gate();
    }

    /// Stops sending the MONITOR feed to `token`.
    pub(super) fn stop_monitoring(&mut self, token: Token) {
        self.audience.monitors().remove(token);
        self.refresh_gate();
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.flags.monitor = false;
        }
    }

    /// Adds a command that was called to the MONITOR feed, except an administrative one and that of a blocked client
    /// being served: the feed got it when the client was blocked.
    pub(super) fn show_to_monitors(&mut self, caller: &Caller<'_>, args: Args<'_>) {
        let is_hidden = caller.command.flags & (flags::ADMIN | flags::SKIP_MONITOR) != 0;
        if !is_hidden && !self.audience.settling {
            self.show_call(caller, args);
        }
    }

    /// Adds a call of any command to the MONITOR feed: a script appears before the commands that it calls.
    pub(super) fn show_call(&mut self, caller: &Caller<'_>, args: Args<'_>) {
        let monitors = self.audience.monitors();
        if monitors.is_empty() {
            return;
        }
        let (db, words) = (caller.db(&self.net), redact::shown_words(caller.command, args));
        if caller.origin.is_script() {
            return monitors.show(db, format_args!("lua"), words);
        }
        let Some(client) = caller.any_client().and_then(|token| self.net.clients.get(token)) else { return };
        match client.peer() {
            Address::Unix(path) => monitors.show(db, format_args!("unix:{path}"), words),
            peer => monitors.show(db, format_args!("{peer}"), words),
        }
    }

    /// Appends the MONITOR feed to the output of each monitor, except those with replies off and those being closed.
    pub(super) fn deliver_feed(&mut self) {
        let (clients, output) = (&self.net.clients, &mut self.net.output);
        let listens = |token: &Token| {
            clients.get(*token).is_some_and(|client| {
                let flags = client.session.flags;
                !client.session.is_closing() && !flags.reply_off && !flags.reply_skip
            })
        };
        self.audience.monitors().deliver(|feed, watching| {
            let watching = watching.iter().copied().filter(listens).collect();
            output.share(feed, None, Readers::Many(Rc::new(watching)));
        });
    }

    /// Pauses clients for `milliseconds` from now on.
    pub(super) fn pause_clients(&mut self, mode: PauseMode, milliseconds: u64) {
        let now_us = self.core.clock.monotonic_us();
        if self.audience.pause().is_over(now_us) {
            self.end_pause();
        }
        self.audience.begin_pause(mode, now_us.saturating_add(milliseconds.saturating_mul(1000)));
        self.refresh_gate();
    }

    /// Ends the pause: the waiting clients continue in order.
    pub(super) fn end_pause(&mut self) {
        let waiting = self.audience.end_pause();
        self.resume_paused(waiting);
    }

    /// Stops writes for `purpose`, or no longer.
    pub(super) fn stop_writes(&mut self, purpose: Purpose, is_on: bool) {
        let waiting = self.audience.stop_writes(purpose, is_on);
        self.resume_paused(waiting);
    }

    /// Executes the requests of clients again that waited while something was stopped.
    pub(super) fn resume_paused(&mut self, waiting: Vec<Token>) {
        self.refresh_gate();
        for token in waiting {
            if let Some(client) = self.net.clients.get_mut(token) {
                client.session.blocked = None;
                self.net.schedule(token);
            }
        }
    }

    /// Whether `command` of the client `token` must wait for the end of a pause. If so, blocks the client.
    ///
    /// A pause does not end while a script is suspended. The commands that are allowed then change no data, and do not wait
    /// for the pause: otherwise SCRIPT KILL could not end a script that follows CLIENT PAUSE in the same transaction.
    pub(super) fn has_to_wait(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> bool {
        if !self.audience.pause().is_active() || self.is_busy() {
            return false;
        }
        if !self.audience.pause().stops(self.flags_of_call(token, command, args)) {
            return false;
        }
        let Some(client) = self.net.clients.get_mut(token) else { return false };
        if client.session.flags.monitor {
            return false;
        }
        client.session.blocked = Some(Blocked::Pause);
        self.audience.wait_for_end_of_pause(token);
        true
    }
}
