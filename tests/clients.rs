//! Connections: slow, broken, idle and many ones, and how CLIENT and INFO report them.

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::client::encode;
use support::server::subject_is_redis;
use support::{Client, Launch, Random, Server, Value, eventually};

const PONG: &[u8] = b"+PONG\r\n";

#[test]
fn a_client_that_sends_byte_by_byte_is_served_and_holds_nobody_up() {
    let server = Server::start("");
    let (mut slow, mut other) = (server.client(), server.client());
    let request = encode(&["SET", "slow", "value"]);
    for (sent, byte) in request.iter().enumerate() {
        slow.send_raw(&[*byte]).expect("send");
        other.ok(&format!("SET other {sent}"));
        if sent + 1 < request.len() {
            assert!(other.run("GET slow").is_null(), "half a request does nothing");
        }
    }
    assert_eq!(slow.read_reply().expect("the reply").raw, b"+OK\r\n");
    assert_eq!(other.run("GET slow").text(), "value");
}

#[test]
fn a_client_that_ends_its_stream_behind_a_long_request_has_all_of_its_requests_executed() {
    let server = Server::start("");
    let mut watcher = server.client();
    let names = |prefix: &str| (0..5000).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let of = |command: &str| [vec![command.to_owned()], names("n")].concat();
    for (case, long) in
        [of("WATCH"), of("UNSUBSCRIBE"), of("SUBSCRIBE"), vec!["FLUSHALL".to_owned()]].into_iter().enumerate()
    {
        let keys: Vec<String> = names("k").into_iter().flat_map(|key| [key, "v".to_owned()]).collect();
        watcher.call(&[vec!["MSET".to_owned()], keys].concat());
        let mut client = server.client();
        let behind = [encode(&["UNSUBSCRIBE", "n0"]), encode(&["RESET"]), encode(&["SET", "behind", "it"])];
        client.send_raw(&[encode(&long), behind.concat()].concat()).expect("send");
        client.finish_sending();
        let replies = client.wait_closed();
        let last = &replies[replies.len().saturating_sub(50)..];
        assert!(replies.ends_with(b"+RESET\r\n+OK\r\n"), "case {case}: …{}", last.escape_ascii());
        assert_eq!(watcher.run("GETDEL behind").text(), "it", "case {case}");
    }
}

#[test]
fn half_requests_of_many_clients_wait_without_mixing() {
    let server = Server::start("");
    let mut clients: Vec<Client> = (0..200).map(|_| server.client()).collect();
    let requests: Vec<Vec<u8>> =
        (0..200).map(|n| encode(&["ECHO", &format!("{n}-").repeat(1 + n * 7)])).collect();
    let mut random = Random::new(3);
    let mut sent = vec![0; clients.len()];
    while sent.iter().zip(&requests).any(|(sent, request)| *sent < request.len()) {
        let n = random.below(clients.len());
        let rest = &requests[n][sent[n]..];
        let piece = rest.len().min(1 + random.below(600));
        clients[n].send_raw(&rest[..piece]).expect("send");
        sent[n] += piece;
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let reply = client.read_reply().expect("the reply").value.text();
        assert!(reply == format!("{n}-").repeat(1 + n * 7), "client {n} got another one's reply");
    }
}

#[test]
fn a_pipeline_is_answered_in_order_whatever_its_pieces() {
    let server = Server::start("");
    let mut client = server.client();
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    let mut random = Random::new(4);
    for n in 0..20_000 {
        let value = format!("{n}").repeat(1 + random.below(20));
        stream.extend(encode(&["ECHO", &value]));
        expected.extend(format!("${}\r\n{value}\r\n", value.len()).into_bytes());
    }
    let mut writer = client.twin();
    let sending = std::thread::spawn(move || {
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + random.below(30_000)));
            writer.send_raw(piece).expect("send");
            rest = after;
        }
    });
    let got = client.read_raw(expected.len()).expect("all replies");
    sending.join().expect("the sender");
    assert!(got == expected, "the replies are not those of the requests in order");
}

#[test]
fn a_slow_reader_gets_everything_and_holds_nobody_up() {
    let server = Server::start("");
    let (mut slow, mut other) = (server.client(), server.client());
    let value = Random::new(5).bytes(1 << 20);
    slow.call(&[&b"SET"[..], b"big", &value]);
    for _ in 0..64 {
        slow.send(&["GET", "big"]).expect("send");
    }
    // 64 MB of unread replies are far more than any socket holds: the rest waits in the server.
    for n in 0..1000 {
        other.ok(&format!("SET k {n}"));
    }
    for n in 0..64 {
        let reply = slow.read_reply().expect("the value").value;
        assert!(reply == Value::Bulk(value.clone()), "value {n} differs from the one that was set");
    }
    assert_eq!(slow.run("GET k").text(), "999");
}

#[test]
fn clients_that_vanish_in_the_middle_leave_nothing_behind() {
    let server = Server::start("");
    let mut steady = server.client();
    steady.call(&[&b"SET"[..], b"big", &vec![b'x'; 8 << 20]]);
    let quiet = server.open_files();
    for round in 0..30 {
        let mut client = server.client();
        match round % 6 {
            // Unread replies are in flight.
            0 => (0..8).for_each(|_| client.send(&["GET", "big"]).expect("send")),
            // Half a request, half a length, half a large argument.
            1 => client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva").expect("send"),
            2 => client.send_raw(b"*3\r\n$3").expect("send"),
            3 => {
                client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$104857600\r\n").expect("send");
                client.send_raw(&vec![b'y'; 3 << 20]).expect("send");
            }
            // Disconnects right after a request, and without any request.
            4 => client.send(&["GET", "big"]).expect("send"),
            _ => {}
        }
        drop(client);
        assert_eq!(steady.try_call(&["PING"]).expect("the steady client's reply").raw, PONG);
    }
    steady.wait_for_info("connected_clients", |n| n == 1);
    eventually("closed sockets", || (server.open_files() <= quiet).then_some(()));
    assert!(steady.run("EXISTS k").integer() == 0, "half a SET has set something");
}

#[test]
fn requests_sent_before_hanging_up_are_executed() {
    let server = Server::start("");
    let mut client = server.client();
    for _ in 0..1000 {
        client.send(&["INCR", "counter"]).expect("send");
    }
    client.finish_sending();
    let replies = client.read_to_end().expect("the replies");
    assert!(replies.ends_with(b":1000\r\n"));
    assert_eq!(server.client().run("GET counter").text(), "1000");
}

/// More than any socket holds.
#[test]
fn a_client_that_has_hung_up_one_way_gets_the_rest_of_its_replies() {
    let server = Server::start("");
    let mut control = server.client();
    let value = Random::new(7).bytes(20 << 20);
    control.call(&[&b"SET"[..], b"big", &value]);
    for count in [1, 3] {
        let mut client = server.client();
        client.send_raw(&encode(&["GET", "big"]).repeat(count)).expect("send");
        client.finish_sending();
        for n in 0..count {
            let reply = client.read_reply().expect("the value").value;
            assert!(
                reply == Value::Bulk(value.clone()),
                "value {n} of {count} differs from the one that was set"
            );
        }
        assert_eq!(client.wait_closed(), b"", "and is closed after them");
    }
    // A client that reads nothing any more is closed.
    let gone = server.client();
    gone.twin().send(&["GET", "big"]).expect("send");
    drop(gone);
    control.wait_for_info("connected_clients", |n| n == 1);
}

#[test]
fn ten_thousand_connections_are_served() {
    const COUNT: usize = 10_000;
    support::raise_open_files(COUNT as u64 + 500);
    let server = Server::start(&format!("--maxclients {} --tcp-backlog 4096", COUNT + 10));
    let address = ("127.0.0.1", server.port());
    let mut clients: Vec<TcpStream> = Vec::with_capacity(COUNT);
    for n in 0..COUNT {
        clients.push(TcpStream::connect(address).unwrap_or_else(|e| panic!("connection {n}: {e}")));
    }
    let mut control = server.client();
    control.wait_for_info("connected_clients", |n| n == COUNT as i64 + 1);
    use std::io::{Read, Write};
    for round in 0..2 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.write_all(&encode(&["INCRBY", "counter", &format!("{}", n % 10)])).expect("send");
        }
        for (n, client) in clients.iter_mut().enumerate() {
            client.set_read_timeout(Some(support::DEADLINE)).expect("set a deadline");
            let mut first = [0; 1];
            client.read_exact(&mut first).unwrap_or_else(|e| panic!("round {round}, client {n}: {e}"));
            assert_eq!(first, *b":");
            let mut rest = [0; 64];
            let _ = client.read(&mut rest).expect("the rest of the number");
        }
    }
    assert_eq!(control.run("GET counter").text(), (2 * 45 * COUNT / 10).to_string());
    drop(clients);
    control.wait_for_info("connected_clients", |n| n == 1);
}

#[test]
fn one_client_more_than_maxclients_is_told_and_closed() {
    let server = Server::start("--maxclients 5");
    let mut clients: Vec<Client> = (0..5).map(|_| server.client()).collect();
    // The connection that saw the server ready may not be closed yet.
    let rejected = eventually("five served clients", || {
        clients.retain_mut(|client| client.try_call(&["PING"]).is_ok_and(|reply| reply.raw == PONG));
        if clients.len() < 5 {
            clients.push(server.client());
            return None;
        }
        Some(clients[0].info_number("rejected_connections"))
    });
    for more in 1..=3 {
        let mut extra = server.client();
        assert_eq!(extra.wait_closed(), b"-ERR max number of clients reached\r\n");
        assert_eq!(clients[0].info_number("rejected_connections"), rejected + more);
    }
    for client in &mut clients {
        assert_eq!(client.try_call(&["PING"]).expect("a reply").raw, PONG);
    }
    clients.pop();
    clients[0].wait_for_info("connected_clients", |n| n == 4);
    clients.push(server.client());
    assert_eq!(
        clients[4].try_call(&["PING"]).expect("a reply").raw,
        PONG,
        "a freed connection slot is reused"
    );
    clients[0].ok("CONFIG SET maxclients 6");
    assert_eq!(server.client().try_call(&["PING"]).expect("a reply").raw, PONG);
}

#[test]
fn idle_clients_are_closed_after_the_timeout_and_busy_ones_are_not() {
    let server = Server::start("");
    let (mut idle, mut half, mut busy) = (server.client(), server.client(), server.client());
    half.send_raw(b"*2\r\n$4\r\nEC").expect("send");
    assert_eq!(idle.try_call(&["PING"]).expect("a reply").raw, PONG);
    busy.ok("CONFIG SET timeout 1");
    let mut latest = Instant::now();
    let (idle, half) =
        (std::thread::spawn(move || idle.wait_closed()), std::thread::spawn(move || half.wait_closed()));
    eventually("the end of the idle clients", || {
        match busy.try_call(&["PING"]) {
            Ok(reply) => assert_eq!(reply.raw, PONG),
            // If the test was not scheduled for the whole timeout, the server was right to close the client as idle.
            Err(_) if latest.elapsed() >= Duration::from_secs(1) => busy = server.client(),
            Err(error) => panic!("a busy client stays: {error}"),
        }
        latest = Instant::now();
        (idle.is_finished() && half.is_finished()).then_some(())
    });
    assert!(idle.join().expect("idle").is_empty());
    assert!(half.join().expect("half").is_empty());
}

/// The `name=value` pairs of one line of CLIENT LIST.
fn fields(line: &str) -> Vec<(String, String)> {
    line.trim_end()
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

fn field(line: &str, name: &str) -> String {
    let found = fields(line).into_iter().find(|(k, _)| k == name);
    found.unwrap_or_else(|| panic!("no {name} in: {line}")).1
}

#[test]
fn client_info_has_the_fields_of_redis_in_their_order() {
    let lines = [Launch::subject(), Launch::redis()].map(|launch| {
        let server = launch.start();
        server.client().run("CLIENT INFO").text()
    });
    // Redis 7.4 added the first, 7.2 the others.
    let names = |line: &str| {
        fields(line)
            .into_iter()
            .map(|(k, _)| k)
            .filter(|k| !["watch", "lib-name", "lib-ver"].contains(&k.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&lines[0]), names(&lines[1]));
    for same in [
        "name", "age", "idle", "flags", "db", "sub", "psub", "multi", "events", "cmd", "user", "redir",
        "resp",
    ] {
        assert_eq!(field(&lines[0], same), field(&lines[1], same), "{same}");
    }
    assert!(lines[0].ends_with('\n') && lines[0].matches('\n').count() == 1);
}

#[test]
fn client_list_shows_who_is_connected_and_what_they_did() {
    let server = Server::start("");
    let (mut one, mut two) = (server.client(), server.client());
    one.ok("CLIENT SETNAME first");
    one.ok("SELECT 3");
    two.run("HELLO 3");
    two.run("GET k");
    let id = two.run("CLIENT ID").integer();
    one.wait_for_info("connected_clients", |n| n == 2);
    let list = one.run("CLIENT LIST").text();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    let line = |id: i64| *lines.iter().find(|l| l.starts_with(&format!("id={id} "))).expect("its line");
    let own = one.run("CLIENT ID").integer();
    assert!(own < id, "later connections have higher numbers");
    assert_eq!(field(line(own), "name"), "first");
    assert_eq!(field(line(own), "db"), "3");
    assert_eq!(field(line(own), "resp"), "2");
    assert_eq!(field(line(own), "cmd"), "client|list");
    assert_eq!(field(line(own), "addr"), format!("127.0.0.1:{}", one.local_port()));
    assert_eq!(field(line(own), "laddr"), format!("127.0.0.1:{}", server.port()));
    assert_eq!(field(line(id), "resp"), "3");
    assert_eq!(field(line(id), "cmd"), "client|id");
    assert_eq!(field(line(id), "user"), "default");
    assert_eq!(one.run(&format!("CLIENT LIST ID {id} 99999")).text().lines().count(), 1);
    assert_eq!(one.run(&format!("CLIENT LIST ID {id} {own}")).text().lines().count(), 2);
    assert_eq!(one.run("CLIENT LIST TYPE normal").text().lines().count(), 2);
    assert_eq!(one.run("CLIENT LIST TYPE pubsub").text(), "");
    if !subject_is_redis() {
        two.ok("CLIENT SETINFO LIB-NAME mylib");
        two.ok("CLIENT SETINFO LIB-VER 1.2");
        let line = one.run(&format!("CLIENT LIST ID {id}")).text();
        assert_eq!(
            (field(line.trim(), "lib-name"), field(line.trim(), "lib-ver")),
            ("mylib".into(), "1.2".into())
        );
    }
}

#[test]
fn client_list_tells_of_a_half_request_in_the_query_buffer() {
    let server = Server::start("");
    let (mut half, mut control) = (server.client(), server.client());
    let id = half.run("CLIENT ID").integer();
    half.send_raw(b"*2\r\n$4\r\nECHO\r\n$100\r\nonly-some").expect("send");
    eventually("bytes in the query buffer", || {
        let line = control.run(&format!("CLIENT LIST ID {id}")).text();
        let held: usize =
            ["qbuf", "argv-mem"].iter().map(|f| field(&line, f).parse::<usize>().expect("a number")).sum();
        (held > 0).then_some(())
    });
}

#[test]
fn the_memory_of_a_client_counts_the_places_of_its_arguments() {
    const COUNT: usize = 60_000;
    let server = Server::start("");
    let (mut half, mut control) = (server.client(), server.client());
    let id = half.run("CLIENT ID").integer();
    half.send_raw(b"*100000\r\n$4\r\nMGET\r\n").expect("send");
    half.send_raw(&b"$1\r\nk\r\n".repeat(COUNT)).expect("send");
    eventually("the memory of many arguments", || {
        let line = control.run(&format!("CLIENT LIST ID {id}")).text();
        (field(line.trim(), "tot-mem").parse::<usize>().expect("a number") > 9 * COUNT).then_some(())
    });
}

#[test]
fn client_kill_closes_those_it_names_and_no_others() {
    let server = Server::start("");
    let mut control = server.client();
    let mut victims: Vec<Client> = (0..6).map(|_| server.client()).collect();
    let ids: Vec<i64> = victims.iter_mut().map(|client| client.run("CLIENT ID").integer()).collect();
    let addresses: Vec<String> = victims.iter().map(|c| format!("127.0.0.1:{}", c.local_port())).collect();

    assert_eq!(control.run(&format!("CLIENT KILL ID {}", ids[0])), Value::Integer(1));
    assert_eq!(control.run(&format!("CLIENT KILL ADDR {}", addresses[1])), Value::Integer(1));
    control.ok(&format!("CLIENT KILL {}", addresses[2]));
    assert_eq!(control.run(&format!("CLIENT KILL ID {} ADDR {}", ids[3], addresses[4])), Value::Integer(0));
    assert_eq!(
        control.run(&format!("CLIENT KILL ID {} ADDR {} USER default TYPE normal", ids[3], addresses[3])),
        Value::Integer(1)
    );
    for (n, victim) in victims.iter_mut().enumerate() {
        if n < 4 {
            assert!(victim.wait_closed().is_empty(), "victim {n} receives nothing");
        } else {
            assert_eq!(victim.try_call(&["PING"]).expect("not killed").raw, PONG);
        }
    }
    let laddr = format!("127.0.0.1:{}", server.port());
    assert_eq!(control.run(&format!("CLIENT KILL LADDR {laddr}")), Value::Integer(2), "but not itself");
    control.wait_for_info("connected_clients", |n| n == 1);
    assert_eq!(control.run(&format!("CLIENT KILL LADDR {laddr} SKIPME no")), Value::Integer(1));
    assert!(control.wait_closed().is_empty());
}

#[test]
fn killing_a_client_with_replies_underway_does_not_touch_others() {
    let server = Server::start("");
    let (mut control, mut victim) = (server.client(), server.client());
    control.call(&[&b"SET"[..], b"big", &vec![b'x'; 4 << 20]]);
    let id = victim.run("CLIENT ID").integer();
    for _ in 0..20 {
        victim.send(&["GET", "big"]).expect("send");
    }
    eventually("replies that wait", || {
        let line = control.run(&format!("CLIENT LIST ID {id}")).text();
        (field(line.trim(), "tot-mem").parse::<usize>().expect("a number") > 1 << 20).then_some(())
    });
    assert_eq!(control.run(&format!("CLIENT KILL ID {id}")), Value::Integer(1));
    control.wait_for_info("connected_clients", |n| n == 1);
    // A new client may get the slot of the old one, but none of its replies.
    let mut next = server.client();
    assert_eq!(next.try_call(&["PING"]).expect("a reply").raw, PONG);
}

#[test]
fn many_clients_that_come_and_go_at_once_get_their_own_replies() {
    let server = Server::start("");
    let port = server.port();
    let threads: Vec<_> = (0..8_usize)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut random = Random::new(thread as u64);
                for round in 0..40 {
                    let mut client = Client::tcp(port).expect("connect");
                    for n in 0..random.below(20) {
                        let word = format!("{thread}-{round}-{n}").repeat(1 + random.below(500));
                        assert!(client.call(&["ECHO", &word]).text() == word, "another client's reply");
                    }
                    if random.chance(3) {
                        client.send(&["ECHO", "this reply is not read"]).expect("send");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a client");
    }
    server.client().wait_for_info("connected_clients", |n| n == 1);
}

/// One client reads a gigabyte in values of 10 MB; requests of another client must be served in between, not after. The
/// measure is replies: a server that serves the large client first would send only a few.
#[test]
fn a_client_that_pulls_large_values_does_not_stop_the_others() {
    const VALUES: usize = 100;
    const SIZE: usize = 10_000_000;
    let server = Server::start("");
    let mut other = server.client();
    other.call(&[&b"SET"[..], b"big", &vec![b'x'; SIZE]]);
    other.ok("SET small value");
    let mut puller = server.client();
    let pulling = std::thread::spawn(move || {
        let frame = SIZE + format!("${SIZE}\r\n").len() + 2;
        for _ in 0..VALUES / 10 {
            for _ in 0..10 {
                puller.send(&["GET", "big"]).expect("send");
            }
            puller.discard(10 * frame).expect("the values");
        }
    });
    let mut answered = 0;
    while !pulling.is_finished() {
        assert_eq!(other.run("GET small").text(), "value");
        answered += 1;
    }
    pulling.join().expect("the puller");
    assert!(answered > 2 * VALUES, "only {answered} replies while {VALUES} large values were sent");
}

/// The same with commands instead of bytes: an endless pipeline must not occupy the event loop.
#[test]
fn a_client_with_an_endless_pipeline_does_not_stop_the_others() {
    for request in [encode(&["INCR", "flood"]), b"INCR flood\n".to_vec()] {
        endless_pipeline(&request);
    }
}

fn endless_pipeline(request: &[u8]) {
    let server = Server::start("");
    let mut other = server.client();
    other.ok("SET small value");
    let mut flood = server.client();
    let mut reader = flood.twin();
    const ROUNDS: usize = 40;
    const BATCH: usize = 5000;
    let batch = request.repeat(BATCH);
    let sending = std::thread::spawn(move || {
        (0..ROUNDS).for_each(|_| flood.send_raw(&batch).expect("send"));
        flood.finish_sending();
    });
    let reading = std::thread::spawn(move || reader.read_to_end().expect("the replies"));
    let mut answered = 0;
    while !reading.is_finished() {
        assert_eq!(other.run("GET small").text(), "value");
        answered += 1;
    }
    sending.join().expect("the sender");
    let replies = reading.join().expect("the reader");
    assert!(replies.ends_with(format!(":{}\r\n", ROUNDS * BATCH).as_bytes()));
    assert!(answered > ROUNDS, "only {answered} replies while {} commands were executed", ROUNDS * BATCH);
}

/// The server receives from all clients that are ready at the same moment, and then executes their requests; one
/// client's request must not affect another's.
#[test]
fn requests_of_many_clients_that_come_at_once_are_each_their_own() {
    const COUNT: usize = 100;
    let server = Server::start("--enable-debug-command yes");
    let mut control = server.client();
    control.call(&[&b"SET"[..], b"big", &vec![b'x'; 400_000]]);
    let mut clients: Vec<Client> = (0..COUNT).map(|_| server.client()).collect();
    let [mut half, mut quitting, mut waiting, mut large, mut broken, mut inline, mut killed] =
        std::array::from_fn(|_| server.client());
    waiting.run("SELECT 1");
    let id = killed.run("CLIENT ID").integer();
    // While the server sleeps, all other clients become ready.
    control.send(&["DEBUG", "SLEEP", "0.5"]).expect("send");
    let pairs = |n: usize| {
        [encode(&["SET", &format!("k{n}"), &format!("v{n}")]), encode(&["GET", &format!("k{n}")])].concat()
    };
    let quit = [encode(&["QUIT"]), encode(&["SET", "quit", "1"])].concat();
    let wait = [encode(&["BLPOP", "q", "0"]), encode(&["ECHO", "after"])].concat();
    let mistake = [encode(&["ECHO", "before"]), b"*1\r\n!\r\n".to_vec()].concat();
    half.send_raw(&encode(&["ECHO", "half of this"])[..20]).expect("send");
    for (n, client) in clients.iter_mut().enumerate() {
        client.send_raw(&pairs(n)).expect("send");
        match n {
            10 => quitting.send_raw(&quit).expect("send"),
            20 => waiting.send_raw(&wait).expect("send"),
            30 => large.send_raw(&encode(&["GET", "big"]).repeat(3)).expect("send"),
            40 => broken.send_raw(&mistake).expect("send"),
            50 => inline.send_raw(b"ECHO inline\r\n").expect("send"),
            60 => finish_and_kill(&mut half, id),
            _ => {}
        }
    }
    let _ = killed.send(&["SET", "killed", "1"]);
    assert_eq!(control.read_reply().expect("the sleeper's reply").raw, b"+OK\r\n");
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read_reply().expect("a reply").raw, b"+OK\r\n");
        assert_eq!(client.read_reply().expect("a reply").value.text(), format!("v{n}"));
    }
    assert_eq!(half.read_reply().expect("the first half was finished").value.text(), "half of this");
    assert_eq!(half.read_reply().expect("the kill").raw, b":1\r\n");
    assert_eq!(quitting.wait_closed(), b"+OK\r\n");
    for _ in 0..3 {
        assert_eq!(large.read_reply().expect("a value").value.text().len(), 400_000);
    }
    assert_eq!(broken.wait_closed(), b"$6\r\nbefore\r\n-ERR Protocol error: expected '$', got '!'\r\n");
    assert_eq!(inline.read_reply().expect("a reply").value.text(), "inline");
    // The client was killed before its request was received, or after it was executed; then the reply may be lost.
    let told = killed.wait_closed() == b"+OK\r\n";
    assert!(control.run("EXISTS killed").integer() == 1 || !told);
    assert_eq!(control.run("EXISTS quit").integer(), 0);
    control.ok("SELECT 1");
    assert_eq!(control.run("RPUSH q element").integer(), 1);
    let popped = vec![Value::Bulk(b"q".to_vec()), Value::Bulk(b"element".to_vec())];
    assert_eq!(waiting.read_reply().expect("the element").value, Value::Array(popped));
    assert_eq!(waiting.read_reply().expect("the reply after it").value.text(), "after");
}

/// Sends the second half of a request, and kills the client `id`.
fn finish_and_kill(half: &mut Client, id: i64) {
    half.send_raw(&encode(&["ECHO", "half of this"])[20..]).expect("send");
    half.send(&["CLIENT", "KILL", "ID", &id.to_string()]).expect("send");
}

#[test]
fn the_accept_queue_is_emptied_while_clients_keep_the_server_busy() {
    let server = Server::start("");
    let mut busy = server.client();
    let mut reader = busy.twin();
    let sending = std::thread::spawn(move || {
        let batch = encode(&["ECHO", "busy"]).repeat(1000);
        for _ in 0..200 {
            busy.send_raw(&batch).expect("send");
        }
        busy.finish_sending();
    });
    let reading = std::thread::spawn(move || reader.read_to_end().expect("the replies").len());
    for _ in 0..300 {
        assert_eq!(server.client().try_call(&["PING"]).expect("a new client's reply").raw, PONG);
    }
    sending.join().expect("the sender");
    assert_eq!(reading.join().expect("the reader"), 200_000 * b"$4\r\nbusy\r\n".len());
}

#[test]
fn a_client_whose_replies_are_off_is_closed_by_quit() {
    let server = Server::start("");
    let mut steady = server.client();
    for mode in ["OFF", "SKIP"] {
        let mut silent = server.client();
        silent.send_raw(format!("CLIENT REPLY {mode}\r\nQUIT\r\n").as_bytes()).expect("send");
        assert_eq!(silent.wait_closed(), b"", "CLIENT REPLY {mode}");
    }
    steady.wait_for_info("connected_clients", |n| n == 1);
}

#[test]
fn client_list_shows_the_clients_that_are_named_in_that_order_and_as_often() {
    let server = Server::start("");
    let (mut first, mut second) = (server.client(), server.client());
    let (a, b) = (first.run("CLIENT ID").integer(), second.run("CLIENT ID").integer());
    let listed = first.run(&format!("CLIENT LIST ID {b} {a} 999 {b}")).text();
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, [format!("id={b}"), format!("id={a}"), format!("id={b}")]);
}
