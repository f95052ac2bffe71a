//! The cluster client of the `redis` crate during failovers and resharding: see `cluster.rs` for the commands.
//!
//! The crate has transactions and sharded pub/sub in a cluster for asynchronous clients alone.

use std::collections::{BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Commands, FromRedisValue, RedisResult};

use crate::support::eventually;

/// The crate sends `READONLY` on all connections. The first line marks the script as one that writes; without
/// it, a demoted primary would execute the script and refuse its writes, as Redis does.
const PAIR: &str = "#!lua\nreturn {redis.call('INCR', KEYS[1]), redis.call('INCR', KEYS[2])}";

/// Does the typical requests, and executes the commands of the harness until the input ends.
pub fn run(ports: &str, tags: &str, input: impl std::io::Read, mut output: impl Write) {
    let nodes = ports.split(',').map(|port| format!("redis://127.0.0.1:{port}/?protocol=resp3"));
    let client = ClusterClient::builder(nodes)
        // A pause of writes during a failover may take seconds on a busy machine.
        .response_timeout(Duration::from_secs(60))
        .build()
        .expect("a client");
    typical_requests(&mut client.get_connection().expect("connected"), ports);
    let mut reply = |text: &str| writeln!(output, "> {text}").expect("the harness reads");
    reply("ready");
    let (mut workers, mut period) = (Vec::new(), 0);
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("start", mode) => {
                period += 1;
                let start = |tag| Worker::start(&client, tag, period, mode);
                workers = tags.split(',').map(start).collect();
            }
            ("advance", _) => {
                let goals: Vec<usize> = workers.iter().map(|worker| worker.rounds() + 3).collect();
                for (worker, goal) in workers.iter().zip(goals) {
                    eventually("a worker goes on", || (worker.rounds() >= goal).then_some(()));
                }
                reply("advanced");
            }
            ("stop", _) => {
                let errors: BTreeSet<String> = workers.drain(..).flat_map(Worker::stop).collect();
                for kind in errors {
                    reply(&format!("error {kind}"));
                }
                reply("stopped");
            }
            _ => panic!("what is '{line}'?"),
        }
    }
}

fn typical_requests(c: &mut ClusterConnection, ports: &str) {
    let () = c.set("key", "value").expect("set");
    assert_eq!(c.get::<_, String>("key").expect("get"), "value");
    let many: Vec<(String, usize)> = (0..300).map(|n| (format!("many:{n}"), n)).collect();
    let names: Vec<&String> = many.iter().map(|(key, _)| key).collect();
    // The crate splits these by slots.
    let () = c.mset(&many).expect("mset");
    assert_eq!(c.mget::<_, Vec<usize>>(&names).expect("mget"), (0..300).collect::<Vec<_>>());
    let () = c.mset(&[("{tag}:a", 1), ("{tag}:b", 2)]).expect("mset");
    assert_eq!(c.mget::<_, [u8; 2]>(&["{tag}:a", "{tag}:b"]).expect("mget"), [1, 2]);
    let error = c.rename::<_, _, ()>("a", "b").expect_err("two slots");
    assert_eq!(error.code(), Some("CROSSSLOT"));
    let mut pipe = cluster_pipe();
    for name in &names {
        pipe.incr(name, 1);
    }
    let counts: Vec<usize> = pipe.query(c).expect("a pipeline");
    assert_eq!(counts, (1..=300).collect::<Vec<_>>());
    let both: (u8, u8) = pair(c, "{tag}:a", "{tag}:b").expect("a script");
    assert_eq!(both, (2, 3));
    let found: HashSet<String> = scan(c, ports);
    assert_eq!(found.len(), 303, "{found:?}");
    assert!(names.iter().all(|name| found.contains(*name)));
    assert_eq!(redis::cmd("DBSIZE").query::<usize>(c).expect("dbsize"), 303);
    assert_eq!(c.del::<_, usize>(&names).expect("del"), 300);
    let () = redis::cmd("FLUSHALL").query(c).expect("flushall");
    assert_eq!(redis::cmd("DBSIZE").query::<usize>(c).expect("dbsize"), 0);
}

/// The keys of all primaries.
fn scan(c: &mut ClusterConnection, ports: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for port in ports.split(',').map(|port| port.parse().expect("a port")) {
        let node = SingleNodeRoutingInfo::ByAddress { host: "127.0.0.1".to_owned(), port };
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("COUNT").arg(7);
            let reply = c.route_command(&command, RoutingInfo::SingleNode(node.clone())).expect("scan");
            let keys: Vec<String>;
            (cursor, keys) = redis::from_redis_value(reply).expect("a cursor and keys");
            found.extend(keys);
            if cursor == 0 {
                break;
            }
        }
    }
    found
}

fn pair<T: FromRedisValue>(c: &mut ClusterConnection, left: &str, right: &str) -> RedisResult<T> {
    redis::cmd("EVAL").arg(PAIR).arg(2).arg(left).arg(right).query(c)
}

/// A thread that sends requests about the keys of one tag.
struct Worker {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    rounds: AtomicUsize,
    is_stopped: AtomicBool,
    /// The kinds of errors and wrong values.
    errors: Mutex<BTreeSet<String>>,
}

impl Worker {
    fn start(client: &ClusterClient, tag: &str, period: usize, mode: &str) -> Worker {
        let state = Arc::new(State::default());
        let (shared, client, prefix) = (Arc::clone(&state), client.clone(), format!("{{{tag}}}:{period}"));
        let (is_crash, is_failover) = (mode == "crash", mode == "failover");
        let thread = thread::spawn(move || {
            let mut connection = client.get_connection().expect("connected");
            let mut keys = Keys::new(&prefix, 0);
            for generation in 1.. {
                while !shared.is_stopped.load(Ordering::SeqCst) {
                    // Without a pause the workers would use all cores.
                    thread::sleep(Duration::from_millis(2));
                    let round = keys.round(&mut connection, is_failover);
                    shared.rounds.fetch_add(1, Ordering::SeqCst);
                    if let Err(kind) = round
                        && !(is_crash && kind.starts_with("wrong value"))
                    {
                        shared.errors.lock().expect("no panic").insert(kind);
                        break;
                    }
                }
                if shared.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                // After an error, the values of the old keys are unknown.
                keys = Keys::new(&prefix, generation);
            }
        });
        Worker { state, thread }
    }

    fn rounds(&self) -> usize {
        self.state.rounds.load(Ordering::SeqCst)
    }

    fn stop(self) -> BTreeSet<String> {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        self.thread.join().expect("no panic");
        std::mem::take(&mut self.state.errors.lock().expect("no panic"))
    }
}

/// The keys of a worker, and their values.
struct Keys {
    single: String,
    pair: [String; 2],
    texts: [String; 2],
    count: u64,
    pairs: u64,
}

impl Keys {
    fn new(prefix: &str, generation: usize) -> Keys {
        let key = |name: &str| format!("{prefix}:{generation}:{name}");
        let (pair, texts) = ([key("left"), key("right")], [key("text:0"), key("text:1")]);
        Keys { single: key("single"), pair, texts, count: 0, pairs: 0 }
    }

    /// Sends a request of each kind, except pipelines: the crate does not resend their commands to another
    /// node. Returns the kind of the first error or wrong value as the error.
    fn round(&mut self, c: &mut ClusterConnection, is_failover: bool) -> Result<(), String> {
        let [left, right] = &self.pair;
        self.count += 1;
        check(c.incr(&self.single, 1), &self.count)?;
        read(|| c.get(&self.single), &self.count, is_failover)?;
        check(c.mset(&self.texts.each_ref().map(|key| (key, self.count))), &"OK".to_owned())?;
        read(|| c.mget(&self.texts), &[self.count; 2], is_failover)?;
        self.pairs += 1;
        check(pair(c, left, right), &[self.pairs; 2])
    }
}

/// Checks a read. In a failover, waits for the value if need be: on a connection with `READONLY`, the demoted
/// primary executes reads before it has received the last write. Redis does so too.
fn read<T: PartialEq + std::fmt::Debug>(
    mut request: impl FnMut() -> RedisResult<T>,
    wanted: &T,
    is_failover: bool,
) -> Result<(), String> {
    eventually("a read returns the last write", || match request() {
        Ok(reply) if is_failover && reply != *wanted => None,
        reply => Some(check(reply, wanted)),
    })
}

fn check<T: PartialEq + std::fmt::Debug>(reply: RedisResult<T>, wanted: &T) -> Result<(), String> {
    match reply {
        Ok(reply) if reply == *wanted => Ok(()),
        Ok(reply) => Err(format!("wrong value: {reply:?}, not {wanted:?}")),
        Err(error) => Err(error.code().map_or_else(|| format!("{:?}", error.kind()), str::to_owned)),
    }
}
