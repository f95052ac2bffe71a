//! Commands that need the server itself: other clients, the configuration, the statistics, the end.

#![expect(clippy::unnecessary_wraps, reason = "commands have one form, whether they can fail or not")]

mod clients;
mod config;
mod control;
mod debug;
mod functions;
mod info;
mod lifecycle;
mod memory;
mod modules;
mod monitoring;
mod persistence;
mod pubsub;
mod scripts;
mod session;
mod tracking;
mod wait;

pub use info::mem_allocator;
pub(super) use info::write_figures;
pub use lifecycle::reply_time;
pub(super) use memory::Overview;

use super::Server;
use super::audience::subscribers::Kind;
use crate::command::error::{Error, Result};
use crate::command::{Args, Command, Handler, ServerCommand, introspect};
use crate::sys::poller::Token;
use crate::text::words::shown;

/// Executes a command that is not of the keyspace for the client `token`, which is connected.
pub(super) fn call(server: &mut Server, token: Token, command: &'static Command, args: Args<'_>) -> Result {
    match command.handler {
        Handler::Server(which) => run(server, token, command, which, args),
        Handler::Help => {
            reply_help(server, token, command, args);
            Ok(())
        }
        Handler::Keyspace(_) | Handler::Container => unreachable!("called elsewhere, and nothing to call"),
    }
}

/// `<container> HELP`.
fn reply_help(server: &mut Server, token: Token, command: &'static Command, args: Args<'_>) {
    introspect::help(introspect::container_of(command), args.get(0), &mut server.net.reply_to(token));
}

/// Executes `which` for the client `token`, which is connected.
fn run(
    server: &mut Server,
    token: Token,
    command: &'static Command,
    which: ServerCommand,
    args: Args<'_>,
) -> Result {
    use ServerCommand as C;
    match which {
        C::Auth => server.auth(token, args),
        C::Hello => server.hello(token, args),
        C::Reset => server.reset(token),
        C::Quit => server.quit(token),
        C::Multi => server.multi(token),
        C::Exec => server.exec(token),
        C::Discard => server.discard(token),
        C::Wait => server.wait_for_replicas(token, args),
        C::Waitaof => server.waitaof(token, args),
        C::Watch => server.watch(token, args),
        C::Unwatch => server.unwatch(token),
        C::Subscribe => server.subscribe(token, Kind::Channel, args),
        C::Psubscribe => server.subscribe(token, Kind::Pattern, args),
        C::Ssubscribe => server.subscribe(token, Kind::Shard, args),
        C::Unsubscribe => server.unsubscribe(token, Kind::Channel, args),
        C::Punsubscribe => server.unsubscribe(token, Kind::Pattern, args),
        C::Sunsubscribe => server.unsubscribe(token, Kind::Shard, args),
        C::Publish => server.publish(token, Kind::Channel, args),
        C::Spublish => server.publish(token, Kind::Shard, args),
        C::PubsubChannels => server.pubsub_channels(token, Kind::Channel, args),
        C::PubsubShardchannels => server.pubsub_channels(token, Kind::Shard, args),
        C::PubsubNumsub => server.pubsub_numsub(token, Kind::Channel, args),
        C::PubsubShardnumsub => server.pubsub_numsub(token, Kind::Shard, args),
        C::PubsubNumpat => server.pubsub_numpat(token),
        C::ClientId => server.client_id(token),
        C::ClientGetname => server.client_getname(token),
        C::ClientSetname => server.client_setname(token, args),
        C::ClientSetinfo => server.client_setinfo(token, args),
        C::ClientInfo => server.client_info(token, args),
        C::ClientList => server.client_list(token, args),
        C::ClientKill => server.client_kill(token, args),
        C::ClientNoEvict => server.client_no_evict(token, args),
        C::ClientNoTouch => server.client_no_touch(token, args),
        C::ClientReply => server.client_reply(token, args),
        C::ClientPause => server.client_pause(token, args),
        C::ClientUnpause => server.client_unpause(token),
        C::ClientUnblock => server.client_unblock(token, args),
        C::ClientGetredir => server.client_getredir(token),
        C::ClientTrackinginfo => server.client_trackinginfo(token),
        C::ClientCaching => server.client_caching(token, args),
        C::ClientTracking => server.client_tracking(token, args),
        C::ConfigGet => server.config_get(token, args),
        C::ConfigSet => server.config_set(token, args),
        C::ConfigRewrite => server.config_rewrite(token),
        C::ConfigResetstat => server.config_resetstat(token),
        C::Info => server.info(token, args),
        C::Shutdown => server.shutdown(token, args),
        C::Time => server.time(token),
        C::Lolwut => server.lolwut(token, args),
        C::SlowlogGet => server.slowlog_get(token, args),
        C::SlowlogLen => server.slowlog_len(token),
        C::SlowlogReset => server.slowlog_reset(token),
        C::LatencyLatest => server.latency_latest(token),
        C::LatencyHistory => server.latency_history(token, args),
        C::LatencyReset => server.latency_reset(token, args),
        C::LatencyGraph => server.latency_graph(token, args),
        C::LatencyDoctor => server.latency_doctor(token),
        C::LatencyHistogram => server.latency_histogram(token, args),
        C::Monitor => server.monitor(token),
        C::Role => server.role(token),
        C::Lastsave => server.last_save(token),
        C::Save => server.save(token),
        C::Bgsave => server.bgsave(token, args),
        C::Bgrewriteaof => server.bgrewriteaof(token),
        C::ModuleList => server.module_list(token),
        C::ModuleLoad | C::ModuleLoadex => server.module_load(args),
        C::ModuleUnload => Server::module_unload(),
        C::MemoryUsage => server.memory_usage(token, args),
        C::MemoryStats => server.memory_stats(token),
        C::MemoryDoctor => server.memory_doctor(token),
        C::MemoryPurge => server.memory_purge(token),
        C::MemoryMallocStats => server.memory_malloc_stats(token),
        C::FunctionLoad | C::FunctionDelete | C::FunctionFlush | C::FunctionRestore => {
            server.change_functions(token, which, args)
        }
        C::Fcall | C::FcallRo => server.fcall(token, command, args),
        C::FunctionKill => server.function_kill(token),
        C::FunctionDump => server.function_dump(token),
        C::FunctionList => server.function_list(token, args),
        C::FunctionStats => server.function_stats(token),
        C::Debug => server.debug(token, args),
        C::Eval | C::EvalRo => server.eval(token, command, args),
        C::Evalsha | C::EvalshaRo => server.evalsha(token, command, args),
        C::ScriptDebug => server.script_debug(token, args),
        C::ScriptExists => server.script_exists(token, args),
        C::ScriptFlush => server.script_flush(token, args),
        C::ScriptKill => server.script_kill(token),
        C::ScriptLoad => server.script_load(token, args),
        command => {
            let (names, bound) = (server.core.names, server.output_bound(token));
            let known = introspect::execute(command, &args, names, &mut server.net.reply_to(token), bound);
            debug_assert!(known, "every command of the table is executed somewhere");
            server.end_beyond(token, bound);
            Ok(())
        }
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

/// Equality in a time that does not depend on where the two differ.
fn same_secret(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = given.len() ^ secret.len();
    for (i, byte) in given.iter().enumerate() {
        let other = secret.get(i % secret.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(byte ^ other);
    }
    difference == 0
}

/// A subcommand was called with more arguments than it takes.
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
