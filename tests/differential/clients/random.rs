//! Random acts of several clients, from a seed: commands of all families, transactions, subscriptions, tracking,
//! blocking commands, and clients that disconnect.
//!
//! All bytes that any client receives are compared, so only commands take part whose replies depend on nothing but the
//! previous acts; the random sequences of one client compare the others. For the same reason no message matches two
//! patterns of one client: Redis sends these in the order of a hash table.
//!
//! Requests that a client has sent while it was blocked are executed after the command that unblocks it; the server
//! decides whether that is before or after it sends this command's messages to other clients. So a client may receive
//! its messages in another order, but not often.

use super::script::{Act, Deed};
use super::stage::{READ_AT_ONCE, Stage};
use crate::args;
use crate::pair::Rule;
use crate::random::{FAMILIES, Family, Mix, words};
use crate::support::Version;
use crate::support::random::Random;

/// The clients. `x` stays unauthenticated and in RESP2.
const CLIENTS: [char; 5] = ['a', 'b', 'c', 'd', 'e'];

const CHANNELS: [&str; 4] = ["news", "n:1", "n:2", "other"];
/// No channel matches two of these patterns.
const PATTERNS: [&str; 5] =
    ["n:*", "o*", "__keyspace@0__:[a-k]*", "__keyevent@0__:*", "__keyspace@0__:[l-z]*"];

const V7_2: Version = Version::new(7, 2);

/// Families that behave the same in Redis 7.0.
const SAME_FOR_LONG: [&str; 3] = ["strings", "lists", "hashes"];

/// `count` acts. Beside Redis 7.2 and later, clients may speak RESP3, and subscribe at any time: earlier versions put
/// the messages that a client's own transaction causes into the middle of its reply.
pub fn acts(mix: &Mix, peer: Version, seed: u64, count: usize) -> Vec<Act> {
    let mut random = Random::new(seed);
    let beginning = [("e", "SUBSCRIBE news n:1 __redis__:invalidate"), ("e", "PSUBSCRIBE __keyevent@0__:*")];
    let tracks = [("d", "HELLO 3"), ("d", *random.pick(&["CLIENT TRACKING ON", "CLIENT TRACKING ON BCAST"]))];
    let tracks = tracks.into_iter().filter(|_| peer >= V7_2);
    // One client tracks keys all the time: without any tracking client, this server discards the table and Redis does
    // not.
    let mut acts = vec![Act::call('f', words::split("CLIENT TRACKING ON"))];
    let mut begins = |_: &(&str, &str)| peer < V7_2 || random.chance(2);
    for (client, line) in beginning.into_iter().chain(tracks).filter(|line| begins(line)) {
        acts.push(Act::call(client.chars().next().expect("a letter"), words::split(line)));
    }
    acts.extend((0..count).map(|_| act(mix, peer, &mut random)));
    acts
}

/// The commands that take part.
pub fn mix(stage: &Stage) -> Mix {
    let pair = stage.pair();
    // Commands that behave differently in an older Redis would change the data, and then the replies to all later ones.
    let alike = |family: &&&Family| pair.peer >= V7_2 || SAME_FOR_LONG.contains(&family.name);
    let families: Vec<&Family> = FAMILIES.iter().filter(alike).copied().collect();
    let mix = Mix::of(pair, &families).expect("commands that both know").exact(pair);
    // The list of differences applies to the reply to one command, but here a transaction may contain that reply.
    if pair.peer >= V7_2 { mix } else { mix.without_intended(pair) }
}

fn act(mix: &Mix, peer: Version, random: &mut Random) -> Act {
    let among = 3 + random.below(3);
    let client = *random.pick(&CLIENTS[..among]);
    if random.chance(150) {
        return Act { client, deed: Deed::Close, rule: Rule::Exact, held: false };
    }
    if random.chance(25) {
        let count = 2 + random.below(5);
        let requests = pipeline((0..count).map(|_| encode(&call(mix, peer, random))));
        return Act { client, deed: Deed::Raw(requests), rule: Rule::Shuffled, held: false };
    }
    Act { rule: Rule::Shuffled, ..Act::call(client, call(mix, peer, random)) }
}

/// Joins requests, up to the size that every server reads at once. If a server read the rest in a later iteration, it
/// could execute requests of other clients in between, in an order that differs between servers.
fn pipeline(requests: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut text = Vec::new();
    for request in requests {
        if text.len() + request.len() <= READ_AT_ONCE {
            text.extend(request);
        }
    }
    text
}

/// A request as bytes.
fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    crate::support::client::encode(args)
}

/// The words of one command.
fn call(mix: &Mix, peer: Version, random: &mut Random) -> Vec<Vec<u8>> {
    match random.below(20) {
        10 => mix.nonsense(random).args,
        11..14 => transaction(random),
        // Beside an older Redis, only clients that subscribe at the start do so.
        14..16 if peer >= V7_2 => subscription(random),
        0..10 | 14..16 => mix.command(random).args,
        16 | 17 => publication(random),
        18 => tracking(peer, random),
        _ => wait_or_other(peer, random),
    }
}

fn transaction(random: &mut Random) -> Vec<Vec<u8>> {
    match random.below(16) {
        0..4 => args!["MULTI"],
        4..9 => args!["EXEC"],
        9 => args!["DISCARD"],
        10 => args!["UNWATCH"],
        11 => args!["EXEC", "extra"],
        _ => [args!["WATCH"], words::some(random, 3, words::any_key)].concat(),
    }
}

fn subscription(random: &mut Random) -> Vec<Vec<u8>> {
    let channel = |random: &mut Random| random.pick(&CHANNELS).as_bytes().to_vec();
    match random.below(12) {
        0 | 1 => [args!["SUBSCRIBE"], words::some(random, 3, channel)].concat(),
        2 => args!["PSUBSCRIBE", *random.pick(&PATTERNS)],
        3 => args!["SSUBSCRIBE", channel(random)],
        4..7 => [args!["UNSUBSCRIBE"], words::some(random, 3, channel)].concat(),
        7..9 => args!["PUNSUBSCRIBE", *random.pick(&PATTERNS)],
        9 => args!["SUNSUBSCRIBE", channel(random)],
        10 => args!["RESET"],
        _ => args!["HELLO", *random.pick(&["9", "x"])],
    }
}

fn publication(random: &mut Random) -> Vec<Vec<u8>> {
    let channel = *random.pick(&CHANNELS);
    match random.below(8) {
        0..4 => args!["PUBLISH", channel, words::value(random)],
        4 => args!["SPUBLISH", channel, words::value(random)],
        5 => args!["PUBSUB", "NUMPAT"],
        6 => args!["PUBSUB", "NUMSUB", channel, "nobody"],
        _ => args!["PUBSUB", "SHARDNUMSUB", channel],
    }
}

fn tracking(peer: Version, random: &mut Random) -> Vec<Vec<u8>> {
    const ON: [&str; 9] = [
        "",
        "NOLOOP",
        "OPTIN",
        "OPTOUT",
        "BCAST",
        "BCAST NOLOOP",
        "BCAST PREFIX k PREFIX l",
        "BCAST PREFIX z NOLOOP",
        "REDIRECT {id:b}",
    ];
    match random.below(8) {
        0..3 => words::split(format!("CLIENT TRACKING ON {}", random.pick(&ON)).trim_end()),
        3 => args!["CLIENT", "TRACKING", "OFF"],
        4 => args!["CLIENT", "CACHING", *random.pick(&["YES", "NO"])],
        5 => args!["CLIENT", "TRACKINGINFO"],
        6 => args!["CLIENT", "GETREDIR"],
        _ if peer >= V7_2 => args!["SUBSCRIBE", "__redis__:invalidate"],
        _ => args!["CLIENT", "TRACKINGINFO"],
    }
}

/// A command that blocks until another client unblocks it, or one that affects another client.
fn wait_or_other(peer: Version, random: &mut Random) -> Vec<Vec<u8>> {
    let other = format!("{{id:{}}}", random.pick(&CLIENTS));
    let key = |random: &mut Random, kind: &str| words::key_of(random, kind);
    match random.below(24) {
        // Since 7.2 the command is executed again when it is unblocked, and finds the other key first, of whatever
        // type.
        0 | 1 if peer < V7_2 => args!["BLPOP", key(random, "list"), "0"],
        0 | 1 => args!["BLPOP", key(random, "list"), key(random, "list"), "0"],
        2 => args!["BRPOP", key(random, "list"), "0"],
        3 => args!["BLMOVE", key(random, "list"), key(random, "list"), "LEFT", "RIGHT", "0"],
        4 => args!["BZPOPMIN", key(random, "zset"), "0"],
        5 => args!["BZMPOP", "0", "1", key(random, "zset"), "MAX", "COUNT", "2"],
        6 => args!["XREAD", "BLOCK", "0", "STREAMS", key(random, "stream"), "$"],
        7..17 => args!["CLIENT", "UNBLOCK", other, *random.pick(&["TIMEOUT", "ERROR"])],
        17..20 => args!["CLIENT", "SETNAME", *random.pick(&["one", "two"])],
        _ => args!["SELECT", *random.pick(&["0", "0", "1"])],
    }
}

#[cfg(test)]
mod tests {
    use super::super::differs;
    use super::super::stage::{Outcome, Setting};
    use super::*;
    use crate::pair::Verdict;
    use crate::random::state;
    use crate::reload;
    use crate::support::random::seeds;

    #[test]
    fn random_acts_of_several_clients_show_all_of_them_what_redis_does() {
        let stage = Stage::start("");
        let mix = mix(&stage);
        let (mut received, mut by_others, mut in_another_order) = (0, 0, 0);
        for seed in seeds(&[1, 2, 3, 4, 5, 6, 7, 8]) {
            let (acts, setting) = (acts(&mix, stage.peer(), seed, 1000), Setting::random(seed, stage.peer()));
            let difference = differs(&stage, &setting, &acts, |Outcome { at, verdict, redis, .. }| {
                received += usize::from(!redis.is_empty());
                in_another_order += usize::from(*verdict == Verdict::Alike);
                by_others += usize::from(redis.keys().any(|client| *client != acts[*at].client));
            });
            if let Some(difference) = difference {
                panic!("REDSTART_SEED={seed}: {difference}");
            }
            let origin = format!("REDSTART_SEED={seed}");
            state::check(stage.pair(), &origin);
            reload::check_end(stage.pair(), &origin);
        }
        println!("clients received bytes after {received} acts, other clients after {by_others}");
        assert!(
            received > 500 && by_others > 50,
            "received after {received} acts, by others after {by_others}"
        );
        assert!(in_another_order * 100 < received, "{in_another_order} times in another order");
    }
}
