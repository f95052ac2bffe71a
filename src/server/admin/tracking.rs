//! `CLIENT TRACKING`, `CACHING`, `GETREDIR`, `TRACKINGINFO`: client-side caching with invalidation messages.

use std::collections::BTreeSet;

use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, NOT_AN_INTEGER, Result, SYNTAX};
use crate::server::Server;
use crate::server::audience::trackers::{Options, Redirect, Tracking};
use crate::server::invoke::Caller;
use crate::text::words::shown;

const NO_SUCH_CLIENT: Error = Error::new("ERR The client ID you want redirect to does not exist");
const NOT_OPTIONAL: Error = Error::new(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);

/// The ID of the client that invalidation messages are redirected to, as replies show it; 0 if there is none.
pub(super) fn redirection(tracking: &Tracking) -> i64 {
    tracking.options.redirect.map_or(0, |redirect| redirect.id as i64)
}

impl Server {
    /// `CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`: `OK`. O(N) in the
    /// client's prefixes, and with `REDIRECT` also in the number of clients.
    pub(super) fn client_tracking(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let (options, prefixes) = self.parse_tracking(args)?;
        if args.is(2, "on") {
            let tracking = self.audience.trackers.get(token);
            check_options(options, &prefixes, tracking)?;
            if options.broadcast {
                check_overlaps(&prefixes, tracking.map(|tracking| &tracking.prefixes))?;
            }
            self.track(token, options, &prefixes);
        } else if args.is(2, "off") {
            self.forget_tracking(token);
        } else {
            return Err(SYNTAX);
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    fn parse_tracking<'a>(&self, args: Args<'a>) -> Result<(Options, Vec<&'a [u8]>), Error> {
        let (mut options, mut prefixes) = (Options::default(), Vec::new());
        let mut i = 3;
        while i < args.len() {
            let has_value = i + 1 < args.len();
            if args.is(i, "redirect") && has_value {
                i += 1;
                if options.redirect.is_some() {
                    return Err(Error::new("ERR A client can only redirect to a single other client"));
                }
                options.redirect = Some(self.parse_redirect(args.get(i))?);
            } else if args.is(i, "prefix") && has_value {
                i += 1;
                prefixes.push(args.get(i));
            } else if args.is(i, "bcast") {
                options.broadcast = true;
            } else if args.is(i, "optin") {
                options.opt_in = true;
            } else if args.is(i, "optout") {
                options.opt_out = true;
            } else if args.is(i, "noloop") {
                options.no_loop = true;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        Ok((options, prefixes))
    }

    fn parse_redirect(&self, arg: &[u8]) -> Result<Redirect, Error> {
        let Ok(id) = integer(arg) else { return Err(NOT_AN_INTEGER) };
        let named = |session_id: u64| u64::try_from(id) == Ok(session_id);
        let found = self
            .net
            .clients
            .iter()
            .find(|(_, client)| named(client.session.id) && !client.session.flags.close_now);
        let (token, client) = found.ok_or(NO_SUCH_CLIENT)?;
        Ok(Redirect { id: client.session.id, token })
    }

    /// `CLIENT CACHING YES | NO`: `OK`; the keys that the next command reads are tracked, or are not. O(1).
    pub(super) fn client_caching(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let options = self.audience.trackers.get(token).ok_or(NOT_OPTIONAL)?.options;
        let (wanted, refusal) = if args.is(2, "yes") {
            (options.opt_in, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        } else if args.is(2, "no") {
            (options.opt_out, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        } else {
            return Err(SYNTAX);
        };
        if !wanted {
            return Err(Error::new(refusal));
        }
        caller.session(&mut self.net).flags.caching = true;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT GETREDIR`: the ID of the client that gets this one's invalidation messages, 0 without redirection, -1
    /// without tracking. O(1).
    pub(super) fn client_getredir(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        let redirection = self.audience.trackers.get(token).map_or(-1, redirection);
        caller.reply(&mut self.net).integer(redirection);
        Ok(())
    }

    /// `CLIENT TRACKINGINFO`: a map of the flags, the redirection, and the prefixes. O(N) in their number.
    pub(super) fn client_trackinginfo(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        let caching = caller.session(&mut self.net).flags.caching;
        let tracking = self.audience.trackers.get(token);
        let words = tracking.map_or_else(|| vec!["off"], |tracking| flags(tracking, caching));
        let mut reply = caller.reply(&mut self.net);
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(words.len());
        for word in words {
            reply.bulk(word.as_bytes());
        }
        reply.bulk(b"redirect");
        reply.integer(tracking.map_or(-1, redirection));
        reply.bulk(b"prefixes");
        reply.array(tracking.map_or(0, |tracking| tracking.prefixes.len()));
        for prefix in tracking.iter().flat_map(|tracking| &tracking.prefixes) {
            reply.bulk(prefix);
        }
        Ok(())
    }
}

/// The flags of a client that tracks keys.
fn flags(tracking: &Tracking, caching: bool) -> Vec<&'static str> {
    let options = tracking.options;
    let flags = [
        (true, "on"),
        (options.broadcast, "bcast"),
        (options.opt_in, "optin"),
        (options.opt_in && caching, "caching-yes"),
        (options.opt_out, "optout"),
        (options.opt_out && caching, "caching-no"),
        (options.no_loop, "noloop"),
        (tracking.broken, "broken_redirect"),
    ];
    flags.into_iter().filter_map(|(on, flag)| on.then_some(flag)).collect()
}

/// Checks whether these options are compatible with each other and with the client's current ones.
fn check_options(options: Options, prefixes: &[&[u8]], tracking: Option<&Tracking>) -> Result {
    if !options.broadcast && !prefixes.is_empty() {
        return Err(Error::new("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    if tracking.is_some_and(|tracking| tracking.options.broadcast != options.broadcast) {
        return Err(Error::new(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    if options.broadcast && (options.opt_in || options.opt_out) {
        return Err(Error::new("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if options.opt_in && options.opt_out {
        return Err(Error::new("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    let switches = |tracking: &Tracking| {
        let before = tracking.options;
        options.opt_in && before.opt_out || options.opt_out && before.opt_in
    };
    if tracking.is_some_and(switches) {
        return Err(Error::new(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    Ok(())
}

/// No prefix of a client may begin with another one: a key could otherwise cause two messages.
fn check_overlaps(prefixes: &[&[u8]], existing: Option<&BTreeSet<Box<[u8]>>>) -> Result {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    for (i, prefix) in prefixes.iter().enumerate() {
        let refusal = |kind: &[u8], other: &[u8]| {
            Err(Error::concat(&[
                b"ERR Prefix '",
                shown(prefix),
                b"' overlaps with ",
                kind,
                b" prefix '",
                shown(other),
                b"'. Prefixes for a single client must not overlap.",
            ]))
        };
        let known = existing.into_iter().flatten().find(|known| overlap(known, prefix));
        if let Some(known) = known {
            return refusal(b"an existing", known);
        }
        if let Some(other) = prefixes[i + 1..].iter().find(|other| overlap(other, prefix)) {
            return refusal(b"another provided", other);
        }
    }
    Ok(())
}
