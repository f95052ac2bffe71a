//! Blocking commands: which client is served, when, in which order, and how a wait ends.
//!
//! A scenario is a text of lines, each with the number of a connection. It runs against `redis-server` first, which
//! checks that it expects what Redis does, then against the server under test:
//!
//! ```text
//! 1 waits: BLPOP a 0          sends; continues once the server reports one more blocked client
//! 0: RPUSH a x => 1           sends, and reads this reply
//! 0 sends: GET a | GET b      a pipeline; its replies are read by `gets`
//! 1 gets ["a", "x"]           reads a reply
//! 1 leaves                    disconnects; continues once the server has noticed
//! blocked 2                   this number of clients is blocked now
//! ```
//!
//! In a command `#1` stands for the ID of connection 1, and `<k` for the reply to `DUMP k`. Requests of connections
//! that are not blocked are executed in the order of the lines, because the reply to each line is read before the next.

mod support;

use std::collections::HashMap;
use support::{Client, Launch, Server, Value, eventually};

/// A scenario that runs against one server.
struct Stage<'a> {
    server: &'a Server,
    /// Queries the server; not part of the scenario.
    observer: Client,
    /// The connections by their numbers, with their client IDs.
    clients: HashMap<u32, (Client, i64)>,
}

impl Stage<'_> {
    fn new(server: &Server) -> Stage<'_> {
        Stage { server, observer: server.client(), clients: HashMap::new() }
    }

    fn blocked(&mut self) -> i64 {
        self.observer.info_number("blocked_clients")
    }

    fn client(&mut self, number: u32) -> &mut Client {
        let server = self.server;
        let (client, _) = self.clients.entry(number).or_insert_with(|| {
            let mut client = server.client();
            let id = client.run("CLIENT ID").integer();
            (client, id)
        });
        client
    }

    /// The words of a command, with `#` and `<` replaced.
    fn words(&mut self, command: &str) -> Vec<Vec<u8>> {
        let word = |word: &str| match word.split_at(1) {
            ("#", number) => {
                let number = number.parse().expect("the number of a connection");
                self.client(number);
                self.clients[&number].1.to_string().into_bytes()
            }
            ("<", key) => match self.observer.call(&["DUMP", key]) {
                Value::Bulk(payload) => payload,
                other => panic!("DUMP {key}: {other:?}"),
            },
            _ => word.as_bytes().to_vec(),
        };
        command.split_whitespace().map(word).collect()
    }

    fn play(&mut self, line: &str) {
        let (head, rest) = line.split_once([' ', ':']).expect("a line of at least two words");
        if head == "blocked" {
            return assert_eq!(self.blocked().to_string(), rest, "{line}");
        }
        let number: u32 = head.parse().unwrap_or_else(|_| panic!("no connection in: {line}"));
        let rest = rest.trim();
        if let Some(command) = rest.strip_prefix("waits: ") {
            let words = self.words(command);
            let before = self.blocked();
            self.client(number).send(&words).expect("send");
            self.observer.wait_for_info("blocked_clients", |blocked| blocked == before + 1);
        } else if let Some(pipeline) = rest.strip_prefix("sends: ") {
            let words: Vec<_> = pipeline.split(" | ").map(|command| self.words(command)).collect();
            let bytes: Vec<u8> = words.iter().flat_map(|words| support::client::encode(words)).collect();
            self.client(number).send_raw(&bytes).expect("send");
        } else if let Some(expected) = rest.strip_prefix("gets ") {
            let got = self.client(number).read_reply().unwrap_or_else(|e| panic!("{line}: {e}"));
            // Debug output escapes the quotes of an error.
            assert_eq!(format!("{:?}", got.value).replace("\\'", "'"), expected, "{line}");
        } else if rest == "leaves" {
            let before = self.blocked();
            self.clients.remove(&number);
            self.observer.wait_for_info("blocked_clients", |blocked| blocked < before);
        } else {
            let (command, expected) =
                rest.split_once(" => ").unwrap_or_else(|| panic!("no reply in: {line}"));
            let words = self.words(command);
            let got = self.client(number).call(&words);
            assert_eq!(format!("{got:?}"), expected, "{line}");
        }
    }
}

fn play(server: &Server, scenario: &str) {
    let mut stage = Stage::new(server);
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty()) {
        stage.play(line);
    }
}

/// Runs a scenario against Redis and the server under test.
fn both(scenario: &str) {
    for launch in [Launch::redis(), Launch::subject()] {
        play(&launch.flags("--enable-debug-command yes").start(), scenario);
    }
}

/// Runs a scenario against the server under test only, where Redis 7.0 differs from 7.2.
fn here(scenario: &str) {
    play(&Server::start(""), scenario);
}

#[test]
fn who_waits_longest_is_served_first() {
    both(
        r#"
        1 waits: BLPOP a 0
        2 waits: BRPOP a 0
        3 waits: BLMOVE a other LEFT RIGHT 0
        4 waits: BLMPOP 0 1 a LEFT COUNT 9
        0: RPUSH a x => 1
        1 gets ["a", "x"]
        blocked 3
        1 waits: BLPOP a 0
        0: RPUSH a 1 2 3 4 5 => 5
        2 gets ["a", "5"]
        3 gets "1"
        4 gets ["a", ["2", "3", "4"]]
        blocked 1
        0: EXISTS a => 0
        0: LRANGE other 0 -1 => ["1"]
        0: LPUSH a y => 1
        1 gets ["a", "y"]
        "#,
    );
}

#[test]
fn wait_for_more_replicas_than_there_are_ends_at_its_timeout_or_by_client_unblock() {
    both(
        "
        1: SET k v => +OK
        1: WAIT 1 5 => 0
        1 waits: WAIT 1 0
        blocked 1
        0: CLIENT UNBLOCK #1 => 1
        1 gets 0
        1 waits: WAIT 2 0
        0: CLIENT UNBLOCK #1 ERROR => 1
        1 gets -UNBLOCKED client unblocked via CLIENT UNBLOCK
        1 waits: WAIT 1 0
        1 leaves
        blocked 0
        0: MULTI => +OK
        0: WAIT 1 0 => +QUEUED
        0: EXEC => [0]
        ",
    );
}

#[test]
fn a_client_that_waits_for_several_keys_is_served_by_the_one_that_comes_and_waits_for_none_after() {
    both(
        r#"
        1 waits: BLPOP a b c b 0
        2 waits: BLPOP c 0
        0: RPUSH b x => 1
        1 gets ["b", "x"]
        0: RPUSH a y => 1
        0: RPUSH b y => 1
        0: LLEN a => 1
        0: LLEN b => 1
        0: RPUSH c z => 1
        2 gets ["c", "z"]
        1: BLPOP c b a 0 => ["b", "y"]
        blocked 0
        "#,
    );
}

#[test]
fn all_elements_of_one_push_are_there_when_a_client_is_served() {
    both(
        r#"
        1 waits: BLPOP a 0
        0: LPUSH a 1 2 3 => 3
        1 gets ["a", "3"]
        0: LRANGE a 0 -1 => ["2", "1"]
        "#,
    );
}

#[test]
fn whatever_makes_a_list_wakes_those_who_wait_for_it() {
    both(
        r#"
        0: RPUSH src x y => 2
        0: SADD set 2 1 => 2
        1 waits: BLPOP a 0
        0: COPY src a => 1
        1 gets ["a", "x"]
        0: DEL a => 1
        1 waits: BLPOP a 0
        0: RESTORE a 0 <src => +OK
        1 gets ["a", "x"]
        0: DEL a => 1
        1 waits: BLPOP a 0
        0: RENAME src a => +OK
        1 gets ["a", "x"]
        0: DEL a => 1
        1 waits: BLPOP a 0
        0: SORT set STORE a => 2
        1 gets ["a", "1"]
        0: LMOVE a b LEFT LEFT => "2"
        1 waits: BLPOP a 0
        0: RPOPLPUSH b a => "2"
        1 gets ["a", "2"]
        1 waits: BLPOP a 0
        0: SELECT 1 => +OK
        0: RPUSH a m => 1
        blocked 1
        0: MOVE a 0 => 1
        1 gets ["a", "m"]
        1 waits: BLPOP a 0
        0: RPUSH a s t => 2
        0: SWAPDB 0 1 => +OK
        1 gets ["a", "s"]
        0: LLEN a => 0
        "#,
    );
}

#[test]
fn a_value_of_another_type_wakes_nobody_and_what_replaces_it_does() {
    both(
        r#"
        1 waits: BLPOP a 0
        0: SET a v => +OK
        0: DEL a => 1
        0: SADD a v => 1
        0: RPUSH list x => 1
        blocked 1
        0: COPY list a REPLACE => 1
        1 gets ["a", "x"]
        1 waits: BLMOVE a dst LEFT LEFT 0
        0: SET dst v => +OK
        0: RPUSH a x => 1
        1 gets -WRONGTYPE Operation against a key holding the wrong kind of value
        0: LLEN a => 1
        blocked 0
        "#,
    );
}

#[test]
fn a_wait_ends_after_its_timeout_in_seconds_with_a_fraction() {
    both(
        r"
        1: BLPOP a 0.001 => (null array)
        1: BRPOP a b 0.0001 => (null array)
        1: BLMOVE a b LEFT LEFT 1e-2 => (null array)
        1: BRPOPLPUSH a b 0x0.01 => (null array)
        1: BLMPOP 0.01 2 a b LEFT => (null array)
        1: XREAD BLOCK 1 STREAMS s 0 => (null array)
        0: XGROUP CREATE s g 0 MKSTREAM => +OK
        1: XREADGROUP GROUP g c BLOCK 1 STREAMS s > => (null array)
        1: BZPOPMIN z 0.001 => (null array)
        ",
    );
}

#[test]
fn who_was_woken_in_vain_still_waits_no_longer_than_it_said() {
    both(
        r#"
        0: XADD s 5-0 f v => "5-0"
        1 waits: XREAD BLOCK 400 STREAMS s 10
        0: XADD s 6-0 f v => "6-0"
        0: XADD s 7-0 f v => "7-0"
        1 gets (null array)
        blocked 0
        0: XADD s 11-0 f v => "11-0"
        1: PING => +PONG
        "#,
    );
}

#[test]
fn a_served_move_serves_the_next_who_waits() {
    both(
        r#"
        1 waits: BLMOVE a b LEFT RIGHT 0
        2 waits: BLMOVE b c LEFT RIGHT 0
        3 waits: BRPOPLPUSH c d 0
        4 waits: BLPOP d 0
        0: RPUSH a x => 1
        1 gets "x"
        2 gets "x"
        3 gets "x"
        4 gets ["d", "x"]
        blocked 0
        0: EXISTS a b c d => 0
        1 waits: BLMOVE a b LEFT RIGHT 0
        2 waits: BLMOVE b a LEFT RIGHT 0
        0: RPUSH a x => 1
        1 gets "x"
        2 gets "x"
        0: LRANGE a 0 -1 => ["x"]
        "#,
    );
}

#[test]
fn who_waits_is_served_before_the_next_request_of_the_same_pipeline() {
    both(
        r#"
        1 waits: BLPOP a 0
        2 waits: XREAD BLOCK 0 STREAMS s $
        0 sends: RPUSH a x | LLEN a | XADD s 1-0 f v | DEL s | RPUSH a y | LLEN a
        0 gets 1
        0 gets 0
        0 gets "1-0"
        0 gets 1
        0 gets 1
        0 gets 1
        1 gets ["a", "x"]
        2 gets [["s", [["1-0", ["f", "v"]]]]]
        "#,
    );
}

#[test]
fn what_a_client_sends_behind_its_command_waits_with_it() {
    both(
        r#"
        0: SET n 0 => +OK
        1 sends: BLPOP a 0 | INCR n | BLPOP b 0 | INCR n | PING
        0: PING => +PONG
        0: PING => +PONG
        blocked 1
        0: GET n => "0"
        0: RPUSH a x => 1
        1 gets ["a", "x"]
        1 gets 1
        0: PING => +PONG
        0: GET n => "1"
        0: RPUSH b y => 1
        1 gets ["b", "y"]
        1 gets 2
        1 gets +PONG
        blocked 0
        "#,
    );
}

#[test]
fn client_unblock_ends_a_wait_in_vain_or_with_an_error() {
    both(
        r"
        1 waits: BLPOP a 0
        0: CLIENT UNBLOCK #1 => 1
        1 gets (null array)
        1 waits: BLMOVE a b LEFT LEFT 0
        0: CLIENT UNBLOCK #1 TIMEOUT => 1
        1 gets (null array)
        1 waits: XREAD BLOCK 0 STREAMS s $
        0: CLIENT UNBLOCK #1 ERROR => 1
        1 gets -UNBLOCKED client unblocked via CLIENT UNBLOCK
        0: CLIENT UNBLOCK #1 ERROR => 0
        0: RPUSH a x => 1
        0: LLEN a => 1
        1: PING => +PONG
        blocked 0
        ",
    );
}

#[test]
fn a_client_that_is_gone_is_not_served() {
    both(
        r#"
        1 waits: BLPOP a 0
        2 waits: BLPOP a 0
        1 leaves
        blocked 1
        0: RPUSH a x => 1
        2 gets ["a", "x"]
        3 waits: BLPOP a 0
        0: CLIENT KILL ID #3 => 1
        0: RPUSH a y => 1
        0: LLEN a => 1
        blocked 0
        "#,
    );
}

/// The requests are one pipeline, so they are executed before the connection is closed.
#[test]
fn a_client_that_was_killed_takes_no_element() {
    both(
        r#"
        1 waits: BLPOP a 0
        2 waits: BLPOP a 0
        0 sends: CLIENT KILL ID #1 | RPUSH a x | LLEN a
        0 gets 1
        0 gets 1
        0 gets 0
        2 gets ["a", "x"]
        3 waits: BLMOVE a b LEFT LEFT 0
        4 waits: BLPOP b 0
        0 sends: CLIENT KILL ID #3 | RPUSH a y | LLEN a
        0 gets 1
        0 gets 1
        0 gets 1
        blocked 1
        "#,
    );
}

#[test]
fn a_reader_of_streams_gets_what_is_new_since_it_began_to_wait() {
    both(
        r#"
        0: XADD s 1-0 f v => "1-0"
        1 waits: XREAD BLOCK 0 STREAMS s t $ $
        2 waits: XREAD COUNT 1 BLOCK 0 STREAMS t s $ 1
        3 waits: XREAD BLOCK 0 STREAMS s 5-0
        0: XADD s 3-0 f v => "3-0"
        1 gets [["s", [["3-0", ["f", "v"]]]]]
        2 gets [["s", [["3-0", ["f", "v"]]]]]
        blocked 1
        2 waits: XREAD BLOCK 0 STREAMS t $
        0: XADD t 1-0 f v => "1-0"
        2 gets [["t", [["1-0", ["f", "v"]]]]]
        0: DEL s => 1
        0: SET s v => +OK
        0: DEL s => 1
        blocked 1
        0: XADD s 6-0 f v => "6-0"
        3 gets [["s", [["6-0", ["f", "v"]]]]]
        "#,
    );
}

#[test]
fn an_entry_that_is_trimmed_at_once_serves_nobody() {
    here(
        r#"
        1 waits: XREAD BLOCK 0 STREAMS s $
        0: XADD s MAXLEN 0 2-0 f v => "2-0"
        blocked 1
        0: XADD s 3-0 f v => "3-0"
        1 gets [["s", [["3-0", ["f", "v"]]]]]
        "#,
    );
}

#[test]
fn consumers_of_a_group_get_an_entry_each_in_their_order() {
    both(
        r#"
        0: XGROUP CREATE s g $ MKSTREAM => +OK
        1 waits: XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        2 waits: XREADGROUP GROUP g d BLOCK 0 NOACK STREAMS s >
        0: XADD s 1-0 f v => "1-0"
        1 gets [["s", [["1-0", ["f", "v"]]]]]
        blocked 1
        0: XADD s 2-0 f v => "2-0"
        2 gets [["s", [["2-0", ["f", "v"]]]]]
        0: XPENDING s g => [1, "1-0", "1-0", [["c", "1"]]]
        1: XREADGROUP GROUP g c BLOCK 0 STREAMS s 0 => [["s", [["1-0", ["f", "v"]]]]]
        blocked 0
        "#,
    );
}

#[test]
fn a_consumer_is_told_when_its_group_is_gone() {
    let no_group = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    let make = "0: XGROUP CREATE s g 0 MKSTREAM => +OK\n1 waits: XREADGROUP GROUP g c BLOCK 0 STREAMS s >";
    for gone in
        ["DEL s => 1", "XGROUP DESTROY s g => 1", "RENAME s t => +OK", "FLUSHALL => +OK", "SWAPDB 0 1 => +OK"]
    {
        here(&format!("{make}\n0: {gone}\n1 gets {no_group}\nblocked 0"));
    }
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    here(&format!("{make}\n0: SET s v => +OK\n1 gets {wrong_type}\nblocked 0"));
    here(&format!("{make}\n0: XGROUP SETID s g 0 => +OK\n0: XGROUP DELCONSUMER s g c => 0\nblocked 1"));
}

#[test]
fn a_group_whose_stream_expires_is_gone() {
    here(
        "0: XGROUP CREATE s g 0 MKSTREAM => +OK
         1 waits: XREADGROUP GROUP g c BLOCK 0 STREAMS s >
         0: PEXPIRE s 1 => 1
         1 gets -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
    );
}

#[test]
fn a_key_that_expires_during_a_transaction_serves_no_blocked_client_and_is_deleted() {
    both(
        r#"
        0: DEBUG SET-ACTIVE-EXPIRE 0 => +OK
        1 waits: BLPOP k 0
        0: MULTI => +OK
        0: RPUSH k a => +QUEUED
        0: PEXPIRE k 1 => +QUEUED
        0: DEBUG SLEEP 0.01 => +QUEUED
        0: EXEC => [1, 1, +OK]
        blocked 1
        0: DBSIZE => 0
        0: RPUSH k b => 1
        1 gets ["k", "b"]
        1 waits: BZPOPMIN k 0
        0: MULTI => +OK
        0: ZADD k 1 a => +QUEUED
        0: PEXPIRE k 1 => +QUEUED
        0: DEBUG SLEEP 0.01 => +QUEUED
        0: EXEC => [1, 1, +OK]
        blocked 1
        0: DBSIZE => 0
        0: ZADD k 2 b => 1
        1 gets ["k", "b", "2"]
        1 waits: BLPOP k 0
        0: SELECT 1 => +OK
        0: MULTI => +OK
        0: RPUSH k a => +QUEUED
        0: PEXPIRE k 1 => +QUEUED
        0: SWAPDB 0 1 => +QUEUED
        0: DEBUG SLEEP 0.01 => +QUEUED
        0: EXEC => [1, 1, +OK, +OK]
        blocked 1
        0: SELECT 0 => +OK
        0: DBSIZE => 0
        0: RPUSH k c => 1
        1 gets ["k", "c"]
        "#,
    );
}

#[test]
fn a_command_that_waits_may_change_something_before() {
    // Creating a consumer changes the key that the first client waits for.
    here(
        r#"
        0: XGROUP CREATE s g 0 MKSTREAM => +OK
        1 waits: XREADGROUP GROUP g c BLOCK 0 STREAMS s >
        2 waits: XREADGROUP GROUP g d BLOCK 0 STREAMS s >
        3 waits: XREADGROUP GROUP g e BLOCK 0 STREAMS s >
        0: XADD s 1-0 f v => "1-0"
        1 gets [["s", [["1-0", ["f", "v"]]]]]
        blocked 2
        0: XADD s 2-0 f v => "2-0"
        2 gets [["s", [["2-0", ["f", "v"]]]]]
        0: XADD s 3-0 f v => "3-0"
        3 gets [["s", [["3-0", ["f", "v"]]]]]
        blocked 0
        "#,
    );
}

#[test]
fn of_two_keys_that_come_at_once_the_one_named_first_serves() {
    here(
        r#"
        1 waits: BLPOP b a 0
        0: SELECT 1 => +OK
        0: RPUSH a x => 1
        0: RPUSH b y => 1
        0: SWAPDB 0 1 => +OK
        1 gets ["b", "y"]
        0: SELECT 0 => +OK
        0: LLEN a => 1
        "#,
    );
}

#[test]
fn a_client_that_waits_shows_it_and_its_command_is_counted_once() {
    for launch in [Launch::redis(), Launch::subject()] {
        let server = launch.start();
        let (mut waiting, mut other) = (server.client(), server.client());
        let id = waiting.run("CLIENT ID").integer();
        let shown = |other: &mut Client| other.run(&format!("CLIENT LIST ID {id}")).text();
        assert!(shown(&mut other).contains(" flags=N "));
        other.run("XADD s 1-0 f v");
        waiting.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "5-0"]).expect("send");
        other.wait_for_info("blocked_clients", |blocked| blocked == 1);
        assert!(shown(&mut other).contains(" flags=b "));
        assert!(shown(&mut other).contains(" cmd=xread "));
        for id in ["2-0", "3-0", "6-0"] {
            other.run(&format!("XADD s {id} f v"));
        }
        assert_eq!(waiting.read_reply().expect("a reply").value.elements().len(), 1);
        assert!(shown(&mut other).contains(" flags=N "));
        assert_eq!(other.info_number("blocked_clients"), 0);
        let stats = other.info("cmdstat_xread");
        assert!(
            stats.starts_with("calls=1,") && stats.ends_with("rejected_calls=0,failed_calls=0"),
            "{stats}"
        );
    }
}

#[test]
fn a_reply_that_is_waited_for_comes_in_the_protocol_of_the_client() {
    for launch in [Launch::redis(), Launch::subject()] {
        let server = launch.start();
        let (mut waiting, mut other) = (server.client(), server.client());
        waiting.run("HELLO 3");
        waiting.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]).expect("send");
        other.wait_for_info("blocked_clients", |blocked| blocked == 1);
        other.run("XADD s 1-0 f v");
        let reply = waiting.read_reply().expect("a reply").raw;
        let expected: &[u8] = b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(waiting.try_call(&["BLPOP", "a", "0.001"]).expect("a reply").raw, b"_\r\n");
    }
}

#[test]
fn thousands_of_clients_wait_at_once_and_each_is_served_in_its_turn() {
    const CLIENTS: usize = 3000;
    support::raise_open_files(CLIENTS as u64 + 200);
    let server = Server::start("");
    let mut other = server.client();
    let mut waiting: Vec<Client> = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        let mut client = eventually("a connection", || server.try_client());
        client.send(&["BLPOP", &format!("own:{number}"), "shared", "0"]).expect("send");
        // The clients of the next hundred have to be blocked after these.
        if number % 100 == 99 {
            other.wait_for_info("blocked_clients", |blocked| blocked == number as i64 + 1);
        }
        waiting.push(client);
    }
    for number in (0..CLIENTS).step_by(2) {
        other.run(&format!("RPUSH own:{number} x"));
        let reply = waiting[number].read_reply().expect("a reply").value.elements();
        assert_eq!(reply[0].text(), format!("own:{number}"));
    }
    assert_eq!(other.info_number("blocked_clients"), CLIENTS as i64 / 2);
    let elements: Vec<String> = (0..CLIENTS / 2).map(|number| number.to_string()).collect();
    let push: Vec<&str> =
        ["RPUSH", "shared"].into_iter().chain(elements.iter().map(String::as_str)).collect();
    other.call(&push);
    assert_eq!(other.info_number("blocked_clients"), 0);
    let mut got: Vec<usize> = Vec::new();
    for client in waiting.iter_mut().skip(1).step_by(2) {
        let reply = client.read_reply().expect("a reply").value.elements();
        got.push(reply[1].text().parse().expect("a number"));
    }
    // The server may have received the requests of one hundred in any order.
    assert!(got.iter().enumerate().all(|(place, element)| place / 50 == element / 50), "{got:?}");
    assert_eq!(other.run("EXISTS shared").integer(), 0);
}

#[test]
fn a_swap_that_brings_an_expired_key_leaves_it_where_a_client_waits_for_it() {
    for (command, fill) in
        [("BLPOP k 0", "SET k x"), ("BLPOP k 0", "RPUSH k x"), ("BZPOPMIN k 0", "ZADD k 1 x")]
    {
        let server = Server::start("--enable-debug-command yes");
        let (mut waiting, mut control) = (server.client(), server.client());
        control.ok("DEBUG SET-ACTIVE-EXPIRE 0");
        waiting.send(&command.split(' ').collect::<Vec<_>>()).expect("sent");
        control.wait_for_info("blocked_clients", |clients| clients == 1);
        control.ok("SELECT 1");
        control.run(fill);
        control.run("PEXPIRE k 20");
        // Expires last: a lookup of this key shows that the other one has expired too, without deleting that one.
        control.ok("SET last x PX 20");
        eventually("both have expired", || control.run("GET last").is_null().then_some(()));
        control.ok("SWAPDB 0 1");
        control.ok("SELECT 0");
        assert_eq!(control.run("DBSIZE").integer(), 1, "{command} {fill}");
        assert_eq!(control.info_number("blocked_clients"), 1, "{command} {fill}");
        assert_eq!(control.run("EXISTS k").integer(), 0);
        assert_eq!(control.info_number("expired_keys"), 2, "{command} {fill}");
    }
}
