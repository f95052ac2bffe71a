//! Commands that need the whole server: other clients, the configuration, the statistics, shutdown.

#![expect(clippy::unnecessary_wraps, reason = "commands have one form, whether they can fail or not")]

mod acl;
mod clients;
mod cluster;
mod config;
mod control;
mod debug;
mod failover;
mod functions;
mod info;
mod lifecycle;
mod memory;
mod migrate;
mod modules;
mod monitoring;
mod persistence;
mod pubsub;
mod replication;
mod scripts;
mod session;
mod tracking;
mod wait;

pub use info::mem_allocator;
pub(super) use info::{LinkFigures, ReplicaFigures, write_figures};
pub(super) use memory::Overview;

use super::Server;
use super::invoke::Caller;
use crate::command::error::{Error, Result};
use crate::command::{Args, Handler, introspect};
use crate::sys::poller::Token;
use crate::text::words::shown;

/// The function of a server command. The reply has been written unless an error is returned.
type ServerFn = fn(&mut Server, &mut Caller<'_>, Args<'_>) -> Result;

// `FUNCTIONS`, in the order of `ServerCommand`: written by `build.rs` from the command table.
include!(concat!(env!("OUT_DIR"), "/server_commands.rs"));

impl Server {
    /// `COMMAND` and its subcommands: the command table.
    pub(super) fn introspect(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let Handler::Server(which) = caller.command.handler else { return Ok(()) };
        let bound = caller.direct_client().map_or(usize::MAX, |token| self.output_bound(token));
        let names = self.core.names;
        let known = introspect::execute(which, &args, names, &mut caller.reply(&mut self.net), bound);
        debug_assert!(known, "only these name this function");
        if let Some(token) = caller.direct_client() {
            self.end_beyond(token, bound);
        }
        Ok(())
    }
}

impl Server {
    /// As [`crate::command::Context::output_bound`].
    pub(super) fn output_bound(&self, token: Token) -> usize {
        let subscribed = self.net.clients.get(token).is_some_and(|client| client.session.flags.subscribed);
        match self.core.config.client_output_buffer_limit.of(subscribed).hard {
            0 => usize::MAX,
            hard => self.net.output.written().saturating_add(hard as usize),
        }
    }

    /// As [`crate::command::Context::end_beyond`].
    pub(super) fn end_beyond(&mut self, token: Token, bound: usize) {
        if self.net.output.written() > bound {
            self.net.session(token).flags.close_now = true;
        }
    }
}

/// The error of a subcommand with more arguments than it takes.
fn usage(args: Args<'_>) -> Error {
    let (container, subcommand) = (args.get(0).to_ascii_uppercase(), args.get(1));
    Error::concat(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        shown(&subcommand[..subcommand.len().min(128)]),
        b"'. Try ",
        &container,
        b" HELP.",
    ])
}
