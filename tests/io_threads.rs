//! I/O threads: what clients rely on holds whichever thread has their connection, and while connections move.
//!
//! The rest of the suite runs with threads too: `make test-threads`.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::client::encode;
use support::server::Launch;
use support::{Client, Server, Value, eventually};

const THREADS: &str = "--io-threads 4 --io-threads-always-active yes";

/// A server all of whose threads are in use.
fn threaded(flags: &str) -> Server {
    Launch::subject().flags(THREADS).flags(flags).start()
}

/// Fails unless threads have received requests: a test without them would show nothing.
fn threads_were_used(control: &mut Client) {
    assert!(control.info_number("io_threaded_reads_processed") > 0);
    assert!(control.info_number("io_threaded_writes_processed") > 0);
}

/// Has clients work at the same time, each in a thread of the test.
fn at_once(server: &Server, count: usize, work: impl Fn(usize, Client) + Sync) {
    thread::scope(|scope| {
        for number in 0..count {
            let (client, work) = (server.client(), &work);
            scope.spawn(move || work(number, client));
        }
    });
}

fn replies(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).map(|_| client.read_reply().expect("a reply").value).collect()
}

#[test]
fn each_client_gets_its_own_replies_in_order() {
    const REQUESTS: usize = 2000;
    let server = threaded("");
    at_once(&server, 16, |number, mut client| {
        let key = format!("counter:{number}");
        let requests: Vec<u8> = (0..REQUESTS)
            .flat_map(|at| [encode(&["INCR", &key]), encode(&["ECHO", &format!("{number}/{at}")])].concat())
            .collect();
        let mut writer = client.twin();
        let writing = thread::spawn(move || writer.send_raw(&requests).expect("written"));
        for at in 0..REQUESTS {
            let pair = replies(&mut client, 2);
            assert_eq!((pair[0].integer(), pair[1].text()), (at as i64 + 1, format!("{number}/{at}")));
        }
        writing.join().expect("the writer");
    });
    threads_were_used(&mut server.client());
}

#[test]
fn no_request_is_lost_or_executed_twice_while_threads_come_and_go() {
    let server = threaded("");
    let mut control = server.client();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..8 {
            let (mut client, ends) = (server.client(), &ends);
            scope.spawn(move || {
                let key = format!("counter:{number}");
                let batch = encode(&["INCR", &key]).repeat(20);
                let mut count = 0;
                while !ends.load(Ordering::Relaxed) {
                    client.send_raw(&batch).expect("written");
                    for reply in replies(&mut client, 20) {
                        count += 1;
                        assert_eq!(reply.integer(), count);
                    }
                }
                assert_eq!(client.call(&["GET", &key]).text(), count.to_string());
            });
        }
        for (index, count) in [1, 4, 2, 3, 1, 2, 4, 1, 3, 2].into_iter().cycle().take(40).enumerate() {
            control.ok(&format!("CONFIG SET io-threads {count}"));
            assert_eq!(control.info_number("io_threads_active"), i64::from(count > 1), "change {index}");
            control.run("PING");
        }
        threads_were_used(&mut control);
        ends.store(true, Ordering::Relaxed);
    });
    // A thread ends once it has no lines any more.
    control.ok("CONFIG SET io-threads 1");
    eventually("the threads have ended", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        (names.filter(|name| name.starts_with("io_thd_")).count() == 0).then_some(())
    });
    assert_eq!(control.run("PING").text(), "PONG");
}

#[test]
fn large_values_arrive_whole_in_pieces_of_any_size() {
    let server = threaded("");
    at_once(&server, 6, |number, mut client| {
        let value: Vec<u8> = (0..3_000_000).map(|at| (at * 31 + number) as u8).collect();
        let key = format!("large:{number}");
        let set = encode(&[b"SET", key.as_bytes(), &value]);
        let requests = [encode(&["PING"]), set, encode(&["STRLEN", &key])].concat();
        let mut writer = client.twin();
        let writing = thread::spawn(move || {
            for piece in requests.chunks(7919 * (number + 1)) {
                writer.send_raw(piece).expect("written");
            }
        });
        let [ping, set, len] = &replies(&mut client, 3)[..] else { panic!("three replies") };
        assert_eq!((ping.text(), set.text(), len.integer()), ("PONG".into(), "OK".into(), 3_000_000));
        assert!(client.call(&["GET", &key]) == Value::Bulk(value));
        writing.join().expect("the writer");
    });
    threads_were_used(&mut server.client());
}

#[test]
fn inline_requests_and_protocol_errors_are_answered_as_without_threads() {
    let server = threaded("");
    let mut other = server.client();
    let mut client = server.client();
    client.send_raw(b"PING\r\nSET inline \"a b\"\r\nGET inline\r\n").expect("written");
    let texts: Vec<String> = replies(&mut client, 3).iter().map(Value::text).collect();
    assert_eq!(texts, ["PONG", "OK", "a b"]);
    client.send_raw(b"*1\r\n$4\r\nPING\r\n*1\r\n$x\r\n").expect("written");
    let end = String::from_utf8(client.wait_closed()).expect("text");
    assert_eq!(end, "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(other.run("GET inline").text(), "a b");
    threads_were_used(&mut other);
}

#[test]
fn blocked_clients_are_woken_killed_and_forgotten() {
    let server = threaded("");
    let mut control = server.client();
    let mut waiting: Vec<Client> = (0..6).map(|_| server.client()).collect();
    // One at a time: the first four are those that wait longest.
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(&["BLPOP", "list", "0"]).expect("written");
        control.wait_for_info("blocked_clients", |count| count == number as i64 + 1);
    }
    // A request behind a blocking one waits for it.
    waiting[0].send(&["PING", "behind"]).expect("written");
    drop(waiting.pop());
    control.wait_for_info("blocked_clients", |count| count == 5);
    control.run("RPUSH list a b c d");
    for client in &mut waiting[..4] {
        assert_eq!(client.read_reply().expect("a reply").value.elements()[0].text(), "list");
    }
    assert_eq!(waiting[0].read_reply().expect("a reply").value.text(), "behind");
    control.wait_for_info("blocked_clients", |count| count == 1);
    assert_eq!(control.run("CLIENT KILL TYPE normal SKIPME yes").integer(), 5);
    for client in &mut waiting {
        assert_eq!(client.wait_closed(), b"");
    }
    control.wait_for_info("connected_clients", |count| count == 1);
    threads_were_used(&mut control);
}

#[test]
fn transactions_hold_together_among_clients_of_all_threads() {
    let server = threaded("");
    server.client().ok("SET sum 0");
    at_once(&server, 8, |_, mut client| {
        let mut done = 0;
        while done < 50 {
            client.ok("WATCH sum");
            let sum: i64 = client.run("GET sum").text().parse().expect("a number");
            client.ok("MULTI");
            client.call(&["SET", "sum", &(sum + 1).to_string()]);
            client.run("RPUSH order x");
            done += usize::from(!client.run("EXEC").is_null());
        }
    });
    let mut control = server.client();
    assert_eq!((control.run("GET sum").text(), control.run("LLEN order").integer()), ("400".into(), 400));
    threads_were_used(&mut control);
}

#[test]
fn messages_reach_subscribers_of_all_threads_in_order_and_a_slow_one_is_cut_off() {
    const MESSAGES: usize = 3000;
    let server = threaded("--client-output-buffer-limit pubsub 4mb 0 0");
    let mut publisher = server.client();
    let mut subscribers: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in &mut subscribers {
        client.run("SUBSCRIBE news");
    }
    let mut slow = server.client();
    slow.run("SUBSCRIBE news");
    let filler = "x".repeat(10_000);
    thread::scope(|scope| {
        for client in &mut subscribers {
            scope.spawn(|| {
                for number in 0..MESSAGES {
                    let message = client.read_reply().expect("a message").value.elements()[2].text();
                    assert_eq!(message.split(' ').next(), Some(&*number.to_string()));
                }
            });
        }
        for number in 0..MESSAGES {
            publisher.call(&["PUBLISH", "news", &format!("{number} {filler}")]);
            // Those that read are given the time to.
            eventually("the readers keep up", || {
                let list = publisher.run("CLIENT LIST TYPE pubsub").text();
                let behind = list.lines().filter(|line| !line.contains(" omem=0 ")).count();
                (behind <= 1).then_some(())
            });
        }
    });
    publisher.wait_for_info("client_output_buffer_limit_disconnections", |count| count == 1);
    assert_eq!(publisher.call(&["PUBLISH", "news", "last"]).integer(), 20);
    threads_were_used(&mut publisher);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let server = threaded("--appendonly yes --appendfsync always");
    at_once(&server, 8, |number, mut client| {
        for at in 0..50 {
            client.call(&["SET", &format!("{number}:{at}"), "v"]);
        }
    });
    threads_were_used(&mut server.client());
    server.signal(nix::sys::signal::Signal::SIGKILL);
    let server = server.stop().start();
    assert_eq!(server.client().run("DBSIZE").integer(), 400);
}

#[test]
fn a_client_is_served_by_a_thread_once_it_has_authenticated() {
    let server = threaded("--requirepass secret");
    let mut client = server.client();
    let big = encode(&[b"SET", b"key", &vec![b'x'; 20_000][..]]);
    client.send_raw(&big).expect("written");
    assert!(String::from_utf8_lossy(&client.wait_closed()).contains("unauthenticated bulk length"));
    let mut client = server.client();
    assert!(client.run("GET key").text().starts_with("NOAUTH"));
    client.ok("AUTH secret");
    client.run("PING");
    client.send_raw(&big).expect("written");
    assert_eq!(replies(&mut client, 1)[0].text(), "OK");
    threads_were_used(&mut client);
}

#[test]
fn writes_wait_for_a_pause_and_are_then_executed_in_order() {
    let server = threaded("");
    let mut control = server.client();
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        client.run("PING");
    }
    control.ok("CLIENT PAUSE 100000 WRITE");
    for (number, client) in clients.iter_mut().enumerate() {
        let key = format!("list:{number}");
        let requests: Vec<u8> = (0..100).flat_map(|at| encode(&["RPUSH", &key, &at.to_string()])).collect();
        client.send_raw(&requests).expect("written");
    }
    control.wait_for_info("blocked_clients", |count| count == 4);
    assert_eq!(control.run("DBSIZE").integer(), 0);
    control.ok("CLIENT UNPAUSE");
    for (number, client) in clients.iter_mut().enumerate() {
        let lengths: Vec<i64> = replies(client, 100).iter().map(Value::integer).collect();
        assert_eq!(lengths, (1..=100).collect::<Vec<_>>());
        let order = client.call(&["LRANGE", &format!("list:{number}"), "0", "-1"]).elements();
        assert!(order.iter().enumerate().all(|(at, element)| element.text() == at.to_string()));
    }
    threads_were_used(&mut control);
}

#[test]
fn a_replica_of_a_server_with_threads_has_the_same_data() {
    let primary = threaded("--enable-debug-command yes");
    let flags = format!("--replicaof 127.0.0.1 {} --enable-debug-command yes", primary.port());
    let replica = threaded(&flags);
    at_once(&primary, 4, |number, mut client| {
        for at in 0..500 {
            client.call(&["RPUSH", &format!("list:{number}"), &at.to_string()]);
        }
    });
    let (mut here, mut there) = (primary.client(), replica.client());
    let wanted = here.run("DEBUG DIGEST").text();
    eventually("the replica has the data", || (there.run("DEBUG DIGEST").text() == wanted).then_some(()));
    assert_ne!(wanted, "0".repeat(40));
    threads_were_used(&mut here);
}
