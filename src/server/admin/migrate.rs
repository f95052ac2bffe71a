//! MIGRATE: moves keys to another server.

use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::waiting::Parking;
use crate::db::Access;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::replication::migrations::Request;

/// The timeout where none is given.
const DEFAULT_TIMEOUT_MS: u64 = 1000;

const KEY_AND_KEYS: Error =
    Error::new("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");

/// Parses a request. The keys are all those that it names.
fn parse(args: Args<'_>, db: usize) -> Result<Request> {
    let (mut copies, mut replaces, mut auth) = (false, false, None);
    let mut keys = 3..4;
    let mut i = 6;
    while i < args.len() {
        let more = args.len() - 1 - i;
        if args.is(i, "copy") {
            copies = true;
        } else if args.is(i, "replace") {
            replaces = true;
        } else if args.is(i, "auth") && more >= 1 {
            i += 1;
            // The user of an `AUTH2` before stays, as in Redis.
            let user = auth.and_then(|(user, _)| user);
            auth = Some((user, args.get(i).to_vec()));
        } else if args.is(i, "auth2") && more >= 2 {
            auth = Some((Some(args.get(i + 1).to_vec()), args.get(i + 2).to_vec()));
            i += 2;
        } else if args.is(i, "keys") {
            if !args.get(3).is_empty() {
                return Err(KEY_AND_KEYS);
            }
            keys = i + 1..args.len();
            break;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    let timeout_ms = integer(args.get(5))?;
    let target_db = integer(args.get(4))?;
    Ok(Request {
        host: args.get(1).to_vec(),
        port: args.get(2).to_vec(),
        target_db,
        db,
        timeout_ms: u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS),
        copies,
        replaces,
        auth,
        keys: keys.map(|index| args.get(index).to_vec()).collect(),
    })
}

impl Server {
    /// `MIGRATE host port key|"" destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password]
    /// [KEYS key …]`: `OK` when the target has the keys, `NOKEY` if there are none. Writes of other clients wait
    /// meanwhile, unless `COPY` is given. O(N) in the size of the values.
    pub(super) fn migrate(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let mut request = parse(args, caller.db(&self.net))?;
        let keyspace = &mut self.core.keyspace;
        request.keys.retain(|name| keyspace.find(keyspace.key(request.db, name), Access::Read).is_some());
        if request.keys.is_empty() {
            caller.reply(&mut self.net).simple("NOKEY");
            return Ok(());
        }
        if caller.origin.may_wait() && self.replication.upstream.is_none() {
            self.migrate_for(token, request)?;
            self.core.wait = Some(Box::new(Parking::Migrating));
            return Ok(());
        }
        self.migrate_at_once(request)?;
        caller.reply(&mut self.net).ok();
        Ok(())
    }
}
