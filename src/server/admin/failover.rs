//! `FAILOVER`: parses the options, checks that a failover can start, and starts or aborts it.

use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, Result, SYNTAX};
use crate::replication::failover::Failover;
use crate::replication::peer::Stage;
use crate::server::Server;
use crate::server::invoke::Caller;

/// The options of a call.
#[derive(Default)]
struct Options {
    target: Option<(String, i64)>,
    timeout_ms: Option<i64>,
    force: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options> {
        let mut options = Options::default();
        let mut at = 1;
        while at < args.len() {
            let left = args.len() - at - 1;
            if left >= 1 && options.timeout_ms.is_none() && args.is(at, "timeout") {
                let timeout_ms = integer(args.get(at + 1))?;
                if timeout_ms <= 0 {
                    return Err(Error::new("ERR FAILOVER timeout must be greater than 0"));
                }
                options.timeout_ms = Some(timeout_ms);
                at += 2;
            } else if left >= 2 && options.target.is_none() && args.is(at, "to") {
                let host = String::from_utf8_lossy(args.get(at + 1)).into_owned();
                options.target = Some((host, integer(args.get(at + 2))?));
                at += 3;
            } else if !options.force && args.is(at, "force") {
                options.force = true;
                at += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }
}

impl Server {
    /// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`: `OK` when the failover has started or was
    /// aborted. `INFO replication` has its state. O(N) in the number of replicas.
    pub(super) fn failover(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if self.cluster.is_some() {
            return Err(Error::new(
                "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
            ));
        }
        if args.len() == 2 && args.is(1, "abort") {
            if self.replication.failover.is_none() {
                return Err(Error::new("ERR No failover in progress."));
            }
            self.abort_failover("Failover manually aborted");
            caller.reply(&mut self.net).ok();
            return Ok(());
        }
        let options = Options::parse(args)?;
        self.check_failover(&options)?;
        let Options { target, timeout_ms, force } = options;
        let log = &self.process.log;
        match &target {
            Some((host, port)) => log.notice(format_args!("FAILOVER requested to {host}:{port}.")),
            None => log.notice(format_args!("FAILOVER requested to any replica.")),
        }
        let now_ms = self.core.keyspace.moment.unix_ms;
        let deadline_ms = timeout_ms.map(|timeout_ms| now_ms.saturating_add(timeout_ms));
        caller.reply(&mut self.net).ok();
        self.begin_failover(Failover::new(target, deadline_ms, force));
        Ok(())
    }

    fn check_failover(&self, options: &Options) -> Result {
        let replication = &self.replication;
        if replication.failover.is_some() {
            return Err(Error::new("ERR FAILOVER already in progress."));
        }
        if replication.upstream.is_some() {
            return Err(Error::new("ERR FAILOVER is not valid when server is a replica."));
        }
        if replication.synchronized().next().is_none() {
            return Err(Error::new("ERR FAILOVER requires connected replicas."));
        }
        if options.force && (options.timeout_ms.is_none() || options.target.is_none()) {
            return Err(Error::new(
                "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
            ));
        }
        let Some((host, port)) = &options.target else { return Ok(()) };
        let is_target = |address: &(String, i64)| address.0.eq_ignore_ascii_case(host) && address.1 == *port;
        match replication.synchronized().find(|replica| is_target(&replica.address())) {
            None => Err(Error::new("ERR FAILOVER target HOST and PORT is not a replica.")),
            Some(replica) if replica.peer.stage != Stage::Online => {
                Err(Error::new("ERR FAILOVER target replica is not online."))
            }
            Some(_) => Ok(()),
        }
    }
}
