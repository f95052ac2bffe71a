//! Intended differences from the effects of commands in Redis, each with its reason.

use super::{Call, Effects};
use crate::support::Version;

/// An allowed difference in the effects of one command.
struct Difference {
    /// The command's name in upper case; `*` matches any.
    command: &'static str,
    allowed: Allowed,
    /// Accepted beside a Redis older than this.
    before: Version,
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Allowed {
    /// Events and calls in another order.
    Order,
    /// Consumers that only one of the servers creates.
    Consumers,
    /// One SREM for each member, or one for several.
    Members,
    /// The words of a SET with a time, other than the key, the value and the time.
    Options,
    /// The words LEFT and RIGHT of LMOVE, in any case.
    Ends,
    /// Calls about consumer groups that only this server propagates.
    MoreOfGroups,
    /// Calls that only this server propagates.
    MoreCalls,
    /// Events and calls of a command that has none in Redis.
    MoreEffects,
    /// The SELECT of a transaction's first call, before MULTI or after it.
    Select,
}

const V7_2: Version = Version::new(7, 2);
/// For differences from every Redis.
const ALWAYS: Version = Version::LAST;

const DIFFERENCES: &[Difference] = &[
    Difference {
        command: "*",
        allowed: Allowed::MoreOfGroups,
        before: ALWAYS,
        reason: "Redis 7.2 does not propagate the read counter of a group, the delivery counts of entries read again, and \
                 consumers without entries",
    },
    Difference {
        command: "SCAN",
        allowed: Allowed::Order,
        before: ALWAYS,
        reason: "expired keys are deleted in the order of a hash table",
    },
    Difference { command: "RANDOMKEY", allowed: Allowed::Order, before: ALWAYS, reason: "as SCAN" },
    Difference {
        command: "BITFIELD",
        allowed: Allowed::MoreCalls,
        before: ALWAYS,
        reason: "a string that only grew is changed; Redis does not propagate that",
    },
    Difference {
        command: "PFADD",
        allowed: Allowed::MoreCalls,
        before: ALWAYS,
        reason: "elements added before the corruption was detected stay; Redis does not propagate them",
    },
    Difference {
        command: "*",
        allowed: Allowed::Ends,
        before: V7_2,
        reason: "since 7.2 the LMOVE of a blocked client has the ends in capitals, however the client wrote them",
    },
    Difference {
        command: "*",
        allowed: Allowed::Select,
        before: V7_2,
        reason: "since 7.2 MULTI has no database, so the SELECT of the first call follows it",
    },
    Difference {
        command: "SET",
        allowed: Allowed::Options,
        before: V7_2,
        reason: "since 7.2 SET with a time is propagated as called, except for the time",
    },
    Difference {
        command: "SPOP",
        allowed: Allowed::Members,
        before: V7_2,
        reason: "since 7.2 one SREM removes several members",
    },
    Difference {
        command: "XGROUP",
        allowed: Allowed::MoreEffects,
        before: V7_2,
        reason: "as XREADGROUP: DELCONSUMER deletes a consumer that exists only since 7.2",
    },
    Difference {
        command: "XREADGROUP",
        allowed: Allowed::Consumers,
        before: V7_2,
        reason: "since 7.2 the first read creates the consumer, even if it returns no entries",
    },
    Difference { command: "XCLAIM", allowed: Allowed::Consumers, before: V7_2, reason: "as XREADGROUP" },
    Difference { command: "XAUTOCLAIM", allowed: Allowed::Consumers, before: V7_2, reason: "as XREADGROUP" },
];

/// The commands of the list and the reasons that apply beside a Redis of version `peer`.
pub fn intended_ones(peer: Version) -> impl Iterator<Item = (&'static str, &'static str)> {
    let applying = DIFFERENCES.iter().filter(move |difference| peer < difference.before);
    applying.map(|difference| (difference.command, difference.reason))
}

/// Removes the allowed differences in the effects of the command `args`.
pub fn without_differences(args: &[Vec<u8>], here: &mut Effects, redis: &mut Effects, peer: Version) {
    let name = String::from_utf8_lossy(&args[0]).to_uppercase();
    for difference in DIFFERENCES.iter().filter(|d| peer < d.before && ["*", &*name].contains(&d.command)) {
        if matches!(difference.allowed, Allowed::MoreOfGroups) {
            without_more_of_groups(here, redis);
        }
        for effects in [&mut *here, &mut *redis] {
            difference.allowed.apply(effects);
        }
        if matches!(difference.allowed, Allowed::MoreCalls) && redis.calls.is_empty() {
            here.calls.clear();
        }
        if matches!(difference.allowed, Allowed::MoreEffects) && *redis == Effects::default() {
            *here = Effects::default();
        }
    }
}

impl Allowed {
    /// Converts effects to a form without this difference.
    fn apply(self, effects: &mut Effects) {
        let Effects { events, calls } = effects;
        match self {
            Allowed::Order => {
                events.sort();
                calls.sort_by(|a, b| a.args.cmp(&b.args));
            }
            Allowed::Consumers => {
                events.retain(|event| event.name != b"xgroup-createconsumer");
                calls.retain(|call| {
                    !is_frame(call) && call.args.get(1).is_none_or(|arg| arg != b"CREATECONSUMER")
                });
            }
            Allowed::Members => {
                calls.retain(|call| !is_frame(call));
                *calls = calls.iter().flat_map(one_by_one).collect();
            }
            Allowed::MoreCalls | Allowed::MoreEffects | Allowed::MoreOfGroups => {}
            Allowed::Select => {
                for at in 1..calls.len() {
                    if calls[at - 1].args[0] == b"SELECT" && calls[at].args == [b"MULTI"] {
                        calls.swap(at - 1, at);
                    }
                }
            }
            Allowed::Ends => {
                for call in calls.iter_mut().filter(|call| call.args[0] == b"LMOVE") {
                    call.args.iter_mut().skip(3).for_each(|end| end.make_ascii_uppercase());
                }
            }
            Allowed::Options => calls.iter_mut().for_each(|call| {
                let is_pxat = |arg: &Vec<u8>| arg.eq_ignore_ascii_case(b"PXAT");
                if let Some(at) = call.args.iter().skip(3).rposition(is_pxat) {
                    call.args.drain(3..3 + at);
                    call.args.truncate(5);
                    call.args[0].make_ascii_uppercase();
                }
            }),
        }
    }
}

/// Removes the calls about consumer groups that only this server propagates, and then the MULTI and EXEC around calls.
fn without_more_of_groups(here: &mut Effects, redis: &mut Effects) {
    // The other arguments are times and counts.
    let head = |call: &Call| call.args.iter().take(6).cloned().collect::<Vec<_>>();
    let tells_of_group = |call: &Call| {
        call.args[0] == b"XCLAIM"
            || call.args[0] == b"XGROUP" && [&b"CREATECONSUMER"[..], b"SETID"].contains(&&call.args[1][..])
    };
    let mut known: Vec<_> = redis.calls.iter().map(head).collect();
    let before = here.calls.len();
    // Each call of Redis is matched once: for an entry that is read twice, Redis propagates only the first read.
    here.calls.retain(|call| {
        let found = known.iter().position(|theirs| *theirs == head(call));
        found.map(|at| known.swap_remove(at)).is_some() || !tells_of_group(call)
    });
    if here.calls.len() < before {
        for effects in [here, redis] {
            effects.calls.retain(|call| !is_frame(call));
        }
    }
}

/// Whether this is a MULTI or EXEC around several calls.
fn is_frame(call: &Call) -> bool {
    call.args == [b"MULTI"] || call.args == [b"EXEC"]
}

/// `SREM key a b` as `SREM key a` and `SREM key b`; any other call unchanged.
fn one_by_one(call: &Call) -> Vec<Call> {
    match &call.args[..] {
        [name, key, members @ ..] if name == b"SREM" => {
            let alone = |member: &Vec<u8>| vec![name.clone(), key.clone(), member.clone()];
            members.iter().map(|member| Call { db: call.db, args: alone(member) }).collect()
        }
        _ => vec![call.clone()],
    }
}

/// Each difference needs a reason to count as intended.
#[test]
fn every_difference_has_a_reason() {
    assert!(
        intended_ones(Version::new(0, 0)).all(|(command, reason)| !command.is_empty() && reason.len() > 4)
    );
}
