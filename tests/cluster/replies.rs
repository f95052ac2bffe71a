//! The replies of a node beside those of a node of Redis with the same slots.

use crate::nodes::{Kind, NEVER, Node, cluster, until};
use crate::support::version::Version;
use crate::support::{Launch, Value};

/// Commands for the first of two nodes, which has the slots up to 8191. `b` and `f` are keys of it in different slots, `foo`
/// is one of the other node. `ME`, `OTHER` and `PORT` are the nodes' IDs and the other's port.
const LINES: &[&str] = &[
    "SET b 1",
    "SET f 2",
    "GET foo",
    "SET foo 1",
    "MGET b f",
    "MGET b foo",
    "DEL b f",
    "MSET b 1 f 1",
    "EXISTS {b}1 {b}2",
    "MSET {b}1 one {b}2 two",
    "MSET {b}1 one {b}2",
    "MGET {b}2 {b}1 {b}3",
    "MGET {b}2 {f}1",
    "MGET {foo}1 {foo}2",
    "MSET {foo}1 1 {foo}2 2",
    "RENAME {b}1 {b}4",
    "RENAME {b}4 {f}4",
    "DEL {b}1 {b}2 {b}4",
    "RENAME b f",
    "COPY b {b}c",
    "MOVE b 0",
    "MOVE b 1",
    "SELECT 0",
    "SELECT 1",
    "SELECT 16",
    "SELECT x",
    "SWAPDB 0 1",
    "SORT b BY w_*",
    "SORT l BY nosort",
    "SORT l GET #",
    "SORT l BY {l}_* GET {l}_*",
    "SORT_RO l BY w_*",
    "WATCH b f",
    "WATCH foo",
    "XREAD STREAMS x foo 0 0",
    "BLPOP b f 1",
    "EVAL return{redis.call('GET','foo')} 0",
    "EVAL return{redis.call('GET','b'),redis.call('GET','f')} 0",
    "EVAL return{redis.call('MGET','b','f')} 0",
    "EVAL return{KEYS[1]} 1 foo",
    "EVAL return{KEYS[1]} 2 b f",
    "EVALSHA 0000000000000000000000000000000000000000 1 foo",
    "FCALL nothing 1 foo",
    "EVAL return{KEYS[1]} 1.5 foo",
    "EVAL return{KEYS[1]} 1.5 b",
    "EVAL return{KEYS[1]} x foo",
    "EVAL return{KEYS[1]} 0x1 foo",
    "EVAL return{KEYS[1]} +1 foo",
    "EVAL return{KEYS[1]} 2.7 b f",
    "EVAL return{KEYS[1]} -1 foo",
    "EVAL return{KEYS[1]} -4294967295 foo",
    "EVAL return{KEYS[1]} 4294967297 foo",
    "EVAL return{KEYS[1]} 99999999999999999999 foo",
    "EVAL return{KEYS[1]} 2 foo",
    "EVALSHA 0000000000000000000000000000000000000000 1e3 foo",
    "EVAL_RO return{KEYS[1]} 01 foo",
    "FCALL nothing 1x foo",
    "FCALL_RO nothing x foo",
    "ZUNION 1.5 foo",
    "ZUNION x foo",
    "ZINTER 1.5 b foo",
    "ZDIFF 2.5 b f",
    "ZINTERCARD 1.5 foo",
    "SINTERCARD 1.5 foo",
    "SINTERCARD 1.5 b",
    "LMPOP 1.5 foo LEFT",
    "LMPOP 0 foo LEFT",
    "ZMPOP 1.5 foo MIN",
    "BLMPOP 1 1.5 foo LEFT",
    "BZMPOP 1 1.5 b MIN",
    "ZUNIONSTORE foo 1.5 {foo}1",
    "ZUNIONSTORE foo x {foo}1",
    "ZDIFFSTORE b 1.5 foo",
    "COMMAND GETKEYS EVAL return{KEYS[1]} 1.5 b",
    "COMMAND GETKEYS ZUNIONSTORE foo 1.5 b",
    "COMMAND GETKEYS ZUNIONSTORE foo 4294967297 b",
    "SSUBSCRIBE b f",
    "SSUBSCRIBE foo",
    "SPUBLISH foo x",
    "SPUBLISH b x",
    "PUBLISH foo x",
    "PFCOUNT b f",
    "OBJECT ENCODING foo",
    "MEMORY USAGE foo",
    "DEBUG OBJECT foo",
    "RESTORE foo 0 x",
    "ASKING",
    "READONLY",
    "READWRITE",
    "DBSIZE",
    "FLUSHALL",
    "REPLICAOF NO ONE",
    "REPLICAOF 127.0.0.1 1",
    "SLAVEOF 127.0.0.1 1",
    "FAILOVER",
    "CONFIG GET cluster-enabled",
    "CONFIG SET cluster-enabled no",
    "COMMAND GETKEYSANDFLAGS SSUBSCRIBE a",
    "CLUSTER",
    "CLUSTER NOTHING",
    "CLUSTER MYID",
    "CLUSTER MYID x",
    "CLUSTER KEYSLOT b",
    "CLUSTER KEYSLOT {user1000}.following",
    "CLUSTER KEYSLOT foo{}{bar}",
    "CLUSTER KEYSLOT foo{{bar}}zap",
    "CLUSTER KEYSLOT",
    "CLUSTER COUNTKEYSINSLOT 3300",
    "CLUSTER COUNTKEYSINSLOT -1",
    "CLUSTER COUNTKEYSINSLOT 16384",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER GETKEYSINSLOT 3300 10",
    "CLUSTER GETKEYSINSLOT 3300 0",
    "CLUSTER GETKEYSINSLOT 3300 -1",
    "CLUSTER GETKEYSINSLOT 16384 1",
    "CLUSTER GETKEYSINSLOT x 1",
    "CLUSTER ADDSLOTS 1",
    "CLUSTER ADDSLOTS 16384",
    "CLUSTER ADDSLOTS x",
    "CLUSTER ADDSLOTSRANGE 5 1",
    "CLUSTER ADDSLOTSRANGE 1 2 3",
    "CLUSTER ADDSLOTSRANGE 1 20000",
    "CLUSTER DELSLOTS 16384",
    "CLUSTER DELSLOTS 1 1",
    "CLUSTER DELSLOTSRANGE 5 1",
    "CLUSTER SETSLOT 1 MIGRATING nothing",
    "CLUSTER SETSLOT 1 MIGRATING ME",
    "CLUSTER SETSLOT 9000 MIGRATING OTHER",
    "CLUSTER SETSLOT 1 IMPORTING OTHER",
    "CLUSTER SETSLOT 9000 IMPORTING nothing",
    "CLUSTER SETSLOT 1 NODE nothing",
    "CLUSTER SETSLOT 1 STABLE",
    "CLUSTER SETSLOT 1 STABLE x",
    "CLUSTER SETSLOT 1 nothing",
    "CLUSTER SETSLOT 16384 STABLE",
    "CLUSTER SETSLOT x STABLE",
    "CLUSTER SETSLOT 1 MIGRATING OTHER",
    "CLUSTER SETSLOT 1 STABLE",
    "CLUSTER MEET",
    "CLUSTER MEET nothing 1",
    "CLUSTER MEET 127.0.0.1 x",
    "CLUSTER MEET 127.0.0.1 1 x",
    "CLUSTER MEET 127.0.0.1 70000",
    "CLUSTER MEET 127.0.0.1 0",
    "CLUSTER MEET 127.0.0.1 1 2 3",
    "CLUSTER FORGET nothing",
    "CLUSTER FORGET ME",
    "CLUSTER REPLICATE nothing",
    "CLUSTER REPLICATE ME",
    "CLUSTER REPLICATE OTHER",
    "CLUSTER REPLICAS nothing",
    "CLUSTER REPLICAS ME",
    "CLUSTER SLAVES OTHER",
    "CLUSTER FAILOVER",
    "CLUSTER FAILOVER nothing",
    "CLUSTER FAILOVER FORCE x",
    "CLUSTER RESET nothing",
    "CLUSTER RESET HARD x",
    "CLUSTER SET-CONFIG-EPOCH x",
    "CLUSTER SET-CONFIG-EPOCH -1",
    "CLUSTER SET-CONFIG-EPOCH 5",
    "CLUSTER COUNT-FAILURE-REPORTS nothing",
    "CLUSTER COUNT-FAILURE-REPORTS OTHER",
    "CLUSTER BUMPEPOCH",
    "CLUSTER SAVECONFIG",
    "CLUSTER FLUSHSLOTS x",
    "CLUSTER SLOTS",
    "CLUSTER SLOTS x",
    "SET b 1",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER RESET",
    "CLUSTER COUNTKEYSINSLOT 3300",
    "CLUSTER GETKEYSINSLOT 3300 10",
    "DEBUG CLUSTERLINK KILL ALL nothing",
    "DEBUG CLUSTERLINK KILL ALL OTHER",
];

/// Commands with other replies in Redis 7.0.
const LINES_OF_7_2: &[&str] = &["COPY b {b}c DB 1", "CONFIG GET databases", "CLUSTER HELP"];

/// Transactions, each on a connection of its own.
const TRANSACTIONS: &[&[&str]] = &[
    &["MULTI", "SET b 1", "GET b", "EXEC"],
    &["MULTI", "SET b 1", "SET f 1", "EXEC", "GET b"],
    &["MULTI", "GET foo", "GET b", "EXEC"],
    &["MULTI", "ASKING", "EXEC"],
    &["WATCH b", "MULTI", "SET b 2", "EXEC"],
    &["MULTI", "EXEC"],
    &["MULTI", "CLUSTER MYID", "PING", "EXEC"],
    &["ASKING", "MULTI", "GET foo", "EXEC"],
    &["READONLY", "GET foo", "READWRITE"],
];

/// A pair of nodes of one kind.
struct Pair {
    nodes: [Node; 2],
    ids: [String; 2],
}

impl Pair {
    fn start(kind: Kind) -> Pair {
        let nodes = cluster(2, [(kind, NEVER), (kind, NEVER)]);
        let ids = [nodes[0].id(), nodes[1].id()];
        Pair { nodes, ids }
    }

    fn line(&self, line: &str) -> String {
        line.replace("OTHER", &self.ids[1]).replace("ME", &self.ids[0])
    }

    /// A reply with the names of the nodes instead of their IDs and ports.
    fn plain(&self, reply: &Value) -> String {
        let mut text = format!("{reply:?}");
        for (index, node) in self.nodes.iter().enumerate() {
            text = text.replace(&self.ids[index], &format!("node-{index}"));
            text = text.replace(&format!(":{}", node.port()), &format!(":port-{index}"));
            text = text.replace(&format!(", {}, ", node.port()), &format!(", port-{index}, "));
        }
        text
    }
}

#[test]
fn replies_are_those_of_redis() {
    let pairs = [Pair::start(Kind::Subject), Pair::start(Kind::Redis)];
    let mut different = Vec::new();
    let has_7_2 = Version::new(7, 2).is_reached_by(&mut pairs[1].nodes[0].client(), &LINES_OF_7_2.join(", "));
    for line in LINES.iter().chain(LINES_OF_7_2.iter().filter(|_| has_7_2)) {
        let [own, expected] = [0, 1].map(|index| {
            let pair: &Pair = &pairs[index];
            if line.ends_with("KILL ALL OTHER") {
                // Redis 7.2.6 crashes if one of the two is missing.
                let links = || pair.nodes[0].run("CLUSTER LINKS").elements().len();
                until("there is a link in each direction", || links() == 2);
            }
            pair.plain(&pair.nodes[0].client().run(&pair.line(line)))
        });
        if own != expected {
            different.push(format!("{line}\n  {own}\n  {expected}"));
        }
    }
    for lines in TRANSACTIONS {
        let [own, expected] = [0, 1].map(|index| {
            let pair: &Pair = &pairs[index];
            let mut client = pair.nodes[0].client();
            lines.iter().map(|line| pair.plain(&client.run(&pair.line(line)))).collect::<Vec<_>>()
        });
        if own != expected {
            different.push(format!("{lines:?}\n  {own:?}\n  {expected:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn without_a_cluster_its_commands_are_refused_as_by_redis() {
    let servers = [Launch::subject().start(), Launch::redis().start()];
    for line in [
        "CLUSTER INFO",
        "CLUSTER HELP",
        "CLUSTER NOTHING",
        "CLUSTER",
        "CLUSTER MYID x",
        "ASKING",
        "READONLY",
        "READWRITE",
    ] {
        let [own, expected] = [0, 1].map(|index| {
            let server: &crate::support::Server = &servers[index];
            server.client().run(line)
        });
        assert_eq!(own, expected, "{line}");
    }
}

#[test]
fn a_node_with_too_many_clients_refuses_another_as_redis_does() {
    let [own, expected] = [Kind::Subject, Kind::Redis].map(|kind| {
        let node = Node::start(kind, NEVER);
        let mut first = node.client();
        first.ok("CONFIG SET maxclients 1");
        node.client().read_to_end().expect("an error, and the end")
    });
    assert_eq!(String::from_utf8_lossy(&own), String::from_utf8_lossy(&expected));
}
