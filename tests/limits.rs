//! Limits that keep a client from exhausting the server's memory.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use support::client::encode;
use support::server::subject_is_redis;
use support::{Client, Server, Value, eventually};

const MB: u64 = 1 << 20;

/// A gigabyte of requests in one pipeline; the server never holds more than a few megabytes of it.
#[test]
fn a_pipeline_of_a_gigabyte_is_served_in_bounded_memory() {
    const REQUESTS: usize = 65_536;
    let server = Server::start("");
    let mut reader = server.client();
    reader.ok("SET k v");
    let before = server.resident_bytes();
    let mut writer = reader.twin();
    let sending = std::thread::spawn(move || {
        let batch = encode(&[&b"SET"[..], b"k", &vec![b'x'; 16 * 1024]]).repeat(16);
        (0..REQUESTS / 16).for_each(|_| writer.send_raw(&batch).expect("send"));
    });
    let mut most = before;
    for _ in 0..64 {
        reader.discard(REQUESTS / 64 * b"+OK\r\n".len()).expect("replies");
        most = most.max(server.resident_bytes());
    }
    sending.join().expect("the sender");
    assert!(most < before + 64 * MB, "memory grew from {} to {} MB", before / MB, most / MB);
}

/// The same with a client that sends everything and reads only at the end: the server must not buffer the requests.
#[test]
fn requests_are_not_read_ahead_of_their_execution() {
    let server = Server::start("--enable-debug-command yes");
    let (mut flood, mut control) = (server.client(), server.client());
    let before = server.resident_bytes();
    let mut writer = flood.twin();
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let sending = std::thread::spawn(move || {
        // The reply is a few bytes, the request 64 KB.
        let request = encode(&[&b"EXISTS"[..], &vec![b'x'; 64 * 1024]]);
        (0..4000).for_each(|_| writer.send_raw(&request).expect("send"));
        flag.store(true, Ordering::Release);
    });
    let mut most = before;
    while !done.load(Ordering::Acquire) {
        assert_eq!(control.run("PING"), Value::Simple(b"PONG".to_vec()));
        most = most.max(server.resident_bytes());
    }
    sending.join().expect("the sender");
    flood.discard(4000 * b":0\r\n".len()).expect("replies");
    assert!(most < before + 64 * MB, "memory grew from {} to {} MB", before / MB, most / MB);
}

/// A length alone takes no memory: the server allocates for bytes that have arrived.
#[test]
fn claimed_lengths_take_no_memory() {
    let server = Server::start("");
    let before = server.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = server.client();
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nonly this").expect("send");
        let mut many = server.client();
        many.send_raw(b"*1048576\r\n$4\r\nMGET\r\n$1\r\nk\r\n").expect("send");
        clients.extend([client, many]);
    }
    let mut control = server.client();
    control.wait_for_info("connected_clients", |n| n == 201);
    for _ in 0..100 {
        control.run("PING");
    }
    let after = server.resident_bytes();
    assert!(after < before + 64 * MB, "memory grew from {} to {} MB", before / MB, after / MB);
}

/// The block of an argument has room for a few times the bytes that have arrived, whatever length was announced.
#[test]
fn a_large_argument_that_stays_unfinished_takes_a_few_times_what_has_arrived() {
    const SENT: usize = 300_000;
    const CLIENTS: usize = 20;
    let server = Server::start("");
    let mut control = server.client();
    let before = control.info_number("used_memory");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n").expect("send");
        client.send_raw(&vec![b'x'; SENT]).expect("send");
    }
    control.wait_for_info("total_net_input_bytes", |n| n >= (CLIENTS * SENT) as i64);
    let taken = (control.info_number("used_memory") - before) as usize / CLIENTS;
    assert!((SENT..5 * SENT).contains(&taken), "{taken} bytes for each of {SENT}");
}

/// Sends GETs of a large value and reads nothing, until the server closes the connection.
fn read_nothing(server: &Server, count: usize) -> Client {
    let mut client = server.client();
    for _ in 0..count {
        // The server may close before the last request.
        let _ = client.send(&["GET", "big"]);
    }
    client
}

#[test]
fn a_reader_slower_than_the_hard_limit_is_closed() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 8mb 0 0"]);
    control.call(&[&b"SET"[..], b"big", &vec![b'x'; 1 << 20]]);
    let slow = read_nothing(&server, 100);
    control.wait_for_info("connected_clients", |n| n == 1);
    assert!(server.resident_bytes() < 300 * MB);
    server.wait_for_log("overcoming of output buffer limits");
    drop(slow);
    // A client that reads stays connected, however much it reads in all.
    for _ in 0..50 {
        assert_eq!(control.run("GET big").text().len(), 1 << 20);
    }
}

#[test]
fn a_reader_over_the_soft_limit_is_closed_when_its_time_is_up() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 2mb 1"]);
    control.call(&[&b"SET"[..], b"big", &vec![b'x'; 1 << 20]]);
    let mut slow = read_nothing(&server, 30);
    eventually("the end of the slow reader", || {
        // The server checks the soft limit's time only when it adds a reply.
        let _ = slow.send(&["GET", "big"]);
        (control.info_number("connected_clients") == 1).then_some(())
    });
}

#[test]
fn without_a_limit_a_slow_reader_stays() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&[&b"SET"[..], b"big", &vec![b'x'; 1 << 20]]);
    let mut slow = read_nothing(&server, 60);
    for _ in 0..100 {
        control.run("PING");
    }
    for _ in 0..60 {
        assert_eq!(slow.read_reply().expect("a value").raw.len(), (1 << 20) + b"$1048576\r\n\r\n".len());
    }
}

/// A pipeline of large replies in one packet: the server must check the limit between them.
#[test]
fn a_pipeline_of_large_replies_ends_at_the_hard_limit() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 32mb 0 0"]);
    let values: Vec<Vec<u8>> =
        [b"RPUSH".to_vec(), b"l".to_vec()].into_iter().chain(vec![vec![b'x'; 1000]; 1000]).collect();
    (0..10).for_each(|_| drop(control.call(&values)));
    let before = server.peak_resident_bytes();
    let mut greedy = server.client();
    greedy.send_raw(&encode(&["LRANGE", "l", "0", "-1"]).repeat(64)).expect("send");
    server.wait_for_log("overcoming of output buffer limits");
    control.wait_for_info("connected_clients", |n| n == 1);
    let most = server.peak_resident_bytes();
    assert!(most < before + 128 * MB, "memory grew from {} to {} MB", before / MB, most / MB);
}

/// The limit applies however fast the client reads, as in Redis.
#[test]
fn a_single_reply_beyond_the_hard_limit_ends_its_client() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100kb 0 0"]);
    let words = |size| {
        let value = vec![b'x'; size];
        [&b"RPUSH"[..], b"l"].into_iter().map(<[u8]>::to_vec).chain([value]).collect::<Vec<_>>()
    };
    control.call(&words(30_000));
    control.call(&words(30_000));
    let mut reader = server.client();
    reader.send(&["LRANGE", "l", "0", "-1"]).expect("send");
    assert!(reader.read_reply().is_ok(), "60 KB are within the limit");
    control.call(&words(30_000));
    control.call(&words(30_000));
    reader.send(&["LRANGE", "l", "0", "-1"]).expect("send");
    reader.wait_closed();
    control.call(&[&b"SET"[..], b"big", &vec![b'x'; 200_000]]);
    let mut reader = server.client();
    reader.send(&["GET", "big"]).expect("send");
    reader.wait_closed();
    control.wait_for_info("client_output_buffer_limit_disconnections", |n| n == 2);
}

/// A draw with repetition has any length that the client asks for, whatever the data.
#[test]
fn a_command_stops_when_its_reply_is_beyond_the_hard_limit() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 16mb 0 0"]);
    for n in 0..1000 {
        // Of each type one small, packed value and one large value.
        if n < 10 {
            control.run(&format!("SADD s0 member:{n}"));
            control.run(&format!("HSET h0 field:{n} v"));
            control.run(&format!("ZADD z0 {n} member:{n}"));
        }
        control.run(&format!("SADD s1 member:{n}"));
        control.run(&format!("HSET h1 field:{n} v"));
        control.run(&format!("ZADD z1 {n} member:{n}"));
    }
    control.run(&format!("HSET large field {}", "v".repeat(10_000)));
    let before = server.peak_resident_bytes();
    let mut ended = 0;
    for number in 0..2 {
        for request in [
            format!("SRANDMEMBER s{number} -9000000000000000000"),
            format!("HRANDFIELD h{number} -9000000000000000000"),
            format!("HRANDFIELD h{number} -4000000000000000000 WITHVALUES"),
            format!("ZRANDMEMBER z{number} -2147483649"),
            format!("ZRANDMEMBER z{number} -4000000000000000000 WITHSCORES"),
            format!("SORT s1 ALPHA{}", " GET #".repeat(10_000)),
            format!("HMGET large{}", " field".repeat(10_000)),
        ] {
            let mut greedy = server.client();
            greedy.send(&request.split(' ').collect::<Vec<_>>()).expect("send");
            // The rest of its pipeline is not executed.
            let _ = greedy.send(&["INCR", "counter"]);
            assert_eq!(greedy.wait_closed(), b"", "{request}");
            ended += 1;
            control.wait_for_info("client_output_buffer_limit_disconnections", |n| n == ended);
        }
    }
    assert_eq!(control.run("EXISTS counter").integer(), 0);
    let most = server.peak_resident_bytes();
    assert!(most < before + 96 * MB, "memory grew from {} to {} MB", before / MB, most / MB);
    // A count within the limit works as usual.
    assert!(matches!(control.run("SRANDMEMBER s1 -1000"), Value::Array(members) if members.len() == 1000));
}

/// A command may name the same key or field any number of times.
#[test]
fn a_command_of_many_arguments_stops_when_its_reply_is_beyond_the_hard_limit() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"]);
    let value = "v".repeat(10_000);
    for line in [
        format!("SET string {value}"),
        format!("XADD stream 1-1 field {value}"),
        "XGROUP CREATE stream group 0".into(),
        "XREADGROUP GROUP group c STREAMS stream >".into(),
        "SADD set m".into(),
        "ZADD zset 0.123456789 m".into(),
        "GEOADD places 13.361389 38.115556 m".into(),
    ] {
        assert!(!control.run(&line).is_error(), "{line}");
    }
    let id = control.run("CLIENT ID").integer();
    let before = server.peak_resident_bytes();
    let requests = [
        format!("MGET{}", " string".repeat(20_000)),
        format!("XREAD STREAMS{}{}", " stream".repeat(20_000), " 0".repeat(20_000)),
        format!("XREADGROUP GROUP group c STREAMS{}{}", " stream".repeat(20_000), " 0".repeat(20_000)),
        format!("XCLAIM stream group c 0{}", " 1-1".repeat(20_000)),
        format!("ZMSCORE zset{}", " m".repeat(100_000)),
        format!("SMISMEMBER set{}", " m".repeat(300_000)),
        format!("GEOPOS places{}", " m".repeat(100_000)),
        format!("GEOHASH places{}", " m".repeat(100_000)),
        format!("BITFIELD string{}", " GET u32 0".repeat(100_000)),
        format!("BITFIELD number{}", " INCRBY i64 0 1".repeat(150_000)),
        format!("COMMAND INFO{}", " client".repeat(20_000)),
        format!("COMMAND DOCS{}", " client".repeat(20_000)),
        format!("COMMAND GETKEYSANDFLAGS DEL{}", " k".repeat(100_000)),
        format!("CLIENT LIST ID{}", format!(" {id}").repeat(200_000)),
        format!("LATENCY HISTOGRAM{}", " xadd".repeat(200_000)),
    ];
    for (before, request) in requests.iter().enumerate() {
        let mut greedy = server.client();
        greedy.send(&request.split(' ').collect::<Vec<_>>()).expect("send");
        assert_eq!(greedy.wait_closed(), b"", "{}", &request[..40]);
        control.wait_for_info("client_output_buffer_limit_disconnections", |n| n == before as i64 + 1);
    }
    let most = server.peak_resident_bytes();
    assert!(most < before + 48 * MB, "memory grew from {} to {} MB", before / MB, most / MB);
    // A write is executed completely, as in Redis.
    assert_eq!(control.run("BITFIELD number GET i64 0").elements()[0].integer(), 150_000);
}

#[test]
fn before_authentication_replies_that_nobody_reads_take_little_memory() {
    let server = Server::start("--requirepass secret");
    let before = server.resident_bytes();
    let mut flood = server.client();
    let batch = encode(&["GET", "k"]).repeat(1000);
    // The sockets' buffers hold megabytes; the rest would wait in the server.
    let cut_off = (0..4000).any(|_| flood.send_raw(&batch).is_err());
    assert!(cut_off, "four million unread errors");
    let after = server.resident_bytes();
    assert!(after < before + 16 * MB, "memory grew from {} to {} MB", before / MB, after / MB);
    // A client that reads gets any number of replies.
    let mut steady = server.client();
    for _ in 0..100 {
        let mut writer = steady.twin();
        writer.send_raw(&batch).expect("send");
        steady.discard(1000 * b"-NOAUTH Authentication required.\r\n".len()).expect("the errors");
    }
    steady.ok("AUTH secret");
}

#[test]
fn an_argument_larger_than_the_query_buffer_limit_closes_its_client_and_a_request_of_many_does_not() {
    let server = Server::start("--client-query-buffer-limit 1mb");
    let mut control = server.client();
    let mut large = server.client();
    // The server may close before it has received everything.
    let _ = large.send_raw(b"*2\r\n$3\r\nGET\r\n$4194304\r\n");
    let _ = large.send_raw(&vec![b'k'; 4 << 20]);
    large.wait_closed();
    server.wait_for_log("max query buffer");
    // Parsed arguments of a request do not count, large or small.
    let names: Vec<String> =
        std::iter::once("DEL".to_string()).chain((0..300).map(|n| format!("{n:010000}"))).collect();
    assert_eq!(control.call(&names), Value::Integer(0));
    let large = vec![b'x'; 700_000];
    let set: Vec<&[u8]> = vec![b"MSET", b"a", &large, b"b", &large, b"c", &large];
    assert_eq!(control.call(&set), Value::Simple(b"OK".to_vec()));
    assert_eq!(control.run("STRLEN c").integer(), 700_000);
    // A large pipeline is not a large request.
    let pipeline = encode(&[&b"SET"[..], b"k", &vec![b'x'; 100_000]]).repeat(50);
    let mut writer = control.twin();
    let sending = std::thread::spawn(move || writer.send_raw(&pipeline).expect("send"));
    control.discard(50 * b"+OK\r\n".len()).expect("all replies");
    sending.join().expect("the sender");
}

/// Arguments stay where they were received, whatever their size: neither a growing buffer nor the stored value is a
/// copy.
#[test]
fn a_large_request_of_many_arguments_is_held_once_and_given_back() {
    const COUNT: usize = 6400;
    const SIZE: usize = 10_000;
    let server = Server::start("");
    let mut client = server.client();
    client.ok("SET warm up");
    let before = server.peak_resident_bytes();
    let value = vec![b'v'; SIZE];
    let keys: Vec<String> = (0..COUNT).map(|n| format!("key:{n}")).collect();
    let mut words: Vec<&[u8]> = vec![b"MSET"];
    for key in &keys {
        words.extend([key.as_bytes(), &value]);
    }
    assert_eq!(client.call(&words), Value::Simple(b"OK".to_vec()));
    let held = (COUNT * SIZE) as u64;
    let most = server.peak_resident_bytes();
    if !subject_is_redis() {
        assert!(most < before + held * 3 / 2, "{} MB for values of {}", (most - before) / MB, held / MB);
    }
    assert!(client.run("GET key:0") == Value::Bulk(value.clone()));
    assert!(client.run(&format!("GET key:{}", COUNT - 1)) == Value::Bulk(value));
    // The same with arguments of all small sizes, which the server holds only during the execution.
    let words: Vec<Vec<u8>> = std::iter::once(b"EXISTS".to_vec())
        .chain((0..200_000).map(|n| format!("{}{n}", "k".repeat(n % 700)).into_bytes()))
        .chain(keys.iter().map(|key| key.clone().into_bytes()))
        .collect();
    let before = server.resident_bytes();
    assert_eq!(client.call(&words).integer(), COUNT as i64);
    client.ok("MEMORY PURGE");
    let after = server.resident_bytes();
    assert!(after < before + 16 * MB, "{} MB stay of a request of 70", (after - before) / MB);
}

#[test]
fn what_a_client_sends_while_it_waits_is_kept_in_order_and_its_memory_given_back() {
    const COUNT: usize = 40_000;
    let server = Server::start("");
    let (mut waiting, mut control) = (server.client(), server.client());
    let id = waiting.run("CLIENT ID").integer();
    control.ok("SET k 0");
    let before = server.resident_bytes();
    control.ok("CLIENT PAUSE 100000 WRITE");
    let mut requests = Vec::new();
    for n in 0..COUNT {
        requests.extend(encode(&["SET", "k", &format!("{n:01000}"), "GET"]));
    }
    waiting.send_raw(&requests).expect("all is taken, though nothing is executed");
    let line = eventually("the whole pipeline in the server", || {
        let line = control.run(&format!("CLIENT LIST ID {id}")).text();
        let number = |name: &str| {
            let text = line.split(' ').find_map(|pair| pair.strip_prefix(name)).expect("a field");
            text.parse::<usize>().expect("a number")
        };
        (number("qbuf=") + number("argv-mem=") > COUNT * 1000).then(|| line.clone())
    });
    assert!(line.contains("cmd=set"), "{line}");
    assert_eq!(control.run("GET k").text(), "0");
    control.ok("CLIENT UNPAUSE");
    for n in 0..COUNT {
        let expected = if n == 0 { "0".to_string() } else { format!("{:01000}", n - 1) };
        assert!(waiting.read_reply().expect("a reply").value.text() == expected, "reply {n}");
    }
    control.ok("MEMORY PURGE");
    let after = server.resident_bytes();
    assert!(after < before + 16 * MB, "{} MB stay of a pipeline of 40", (after - before) / MB);
}

/// The wait ends while a large argument of the next request is being received.
#[test]
fn a_large_argument_is_whole_though_a_wait_ends_while_it_arrives() {
    let server = Server::start("");
    let (mut waiting, mut control) = (server.client(), server.client());
    let id = waiting.run("CLIENT ID").integer();
    let value: Vec<u8> = (0..50_000_u32).flat_map(|n| (n as u16).to_le_bytes()).collect();
    let mut requests = encode(&["BLPOP", "list", "0"]);
    requests.extend(encode(&[b"SET", &b"k"[..], &value]));
    requests.extend(encode(&["STRLEN", "k"]));
    let (first, second) = requests.split_at(60_000);
    waiting.send_raw(first).expect("send");
    eventually("the server has the first part", || {
        let line = control.run(&format!("CLIENT LIST ID {id}")).text();
        let query = line.split(' ').find_map(|pair| pair.strip_prefix("qbuf=")).expect("a field");
        (line.contains("flags=b") && query.parse::<usize>().expect("a number") > 50_000).then_some(())
    });
    control.run("RPUSH list x");
    assert_eq!(waiting.read_reply().expect("the reply to BLPOP").value.elements().len(), 2);
    waiting.send_raw(second).expect("send");
    assert_eq!(waiting.read_reply().expect("the reply to SET").value.text(), "OK");
    assert_eq!(waiting.read_reply().expect("the reply to STRLEN").value.integer(), value.len() as i64);
    assert!(matches!(control.run("GET k"), Value::Bulk(bytes) if bytes == value));
}

#[test]
fn proto_max_bulk_len_limits_one_argument() {
    let server = Server::start("--proto-max-bulk-len 1mb");
    let mut client = server.client();
    client.call(&[&b"SET"[..], b"k", &vec![b'x'; 1 << 20]]);
    assert_eq!(client.run("STRLEN k").integer(), 1 << 20);
    client.send_raw(format!("*2\r\n$4\r\nECHO\r\n${}\r\n", (1 << 20) + 1).as_bytes()).expect("send");
    assert_eq!(client.wait_closed(), b"-ERR Protocol error: invalid bulk length\r\n");
    let mut client = server.client();
    let refused = client.call(&["APPEND", "k", "x"]).text();
    assert_eq!(refused, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
}

#[test]
fn large_values_come_back_as_they_were_sent() {
    let server = Server::start("");
    let mut client = server.client();
    let mut random = support::Random::new(9);
    for size in [0, 1, 16_383, 16_384, 32_767, 32_768, 65_536, 1_000_000, 10_000_000, 64_000_000] {
        let value = random.bytes(size);
        client.call(&[&b"SET"[..], b"k", &value]);
        assert!(client.run("GET k") == Value::Bulk(value), "{size} bytes");
    }
}

/// Large and small arguments, received together or in pieces, from several clients in turn.
#[test]
fn pipelines_of_values_of_all_sizes_are_whole_however_they_arrive() {
    let server = Server::start("");
    let mut random = support::Random::new(14);
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    let mut control = server.client();
    for round in 0..20 {
        let mut values = Vec::new();
        let mut streams = Vec::new();
        for client in 0..clients.len() {
            let mut stream = Vec::new();
            for number in 0..12 {
                let longest = 1 << (4 + random.below(16));
                let len = random.below(longest);
                let (key, value) = (format!("{client}:{number}"), random.bytes(len));
                stream.extend(encode(&[&b"SET"[..], key.as_bytes(), &value]));
                values.push((key, value));
            }
            streams.push(stream);
        }
        let mut sent = [0; 3];
        while (0..3).any(|client| sent[client] < streams[client].len()) {
            for (client, stream) in streams.iter().enumerate() {
                let longest = 1 << (6 + random.below(13));
                let piece = (1 + random.below(longest)).min(stream.len() - sent[client]);
                clients[client].send_raw(&stream[sent[client]..][..piece]).expect("send");
                sent[client] += piece;
            }
        }
        for client in &mut clients {
            (0..12).for_each(|_| assert_eq!(client.read_reply().expect("a reply").value.text(), "OK"));
        }
        for (key, value) in values {
            assert!(control.run(&format!("GET {key}")) == Value::Bulk(value), "{key}, round {round}");
        }
    }
}

#[test]
fn memory_of_deleted_values_is_used_again() {
    let server = Server::start("");
    let mut client = server.client();
    let value = vec![b'x'; 8 << 20];
    let mut most = 0;
    for round in 0..40 {
        client.call(&[&b"SET"[..], format!("k{round}").as_bytes(), &value]);
        client.run(&format!("{} k{round}", if round % 2 == 0 { "DEL" } else { "UNLINK" }));
        most = most.max(server.resident_bytes());
    }
    assert!(most < 160 * MB, "{} MB for one value of 8 MB at a time", most / MB);
    client.wait_for_info("lazyfree_pending_objects", |n| n == 0);
}

#[test]
fn the_buffer_that_a_client_cut_off_has_filled_is_freed_at_once() {
    let server = Server::start("");
    let (mut client, mut control) = (server.client(), server.client());
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]);
    control.ok(&format!("SET value {}", "x".repeat(1024)));
    let before = control.info_number("used_memory");
    client.send_raw(&b"GET value\r\n".repeat(150)).expect("sent");
    client.wait_closed();
    let after = control.info_number("used_memory");
    assert!(after < before + 100_000, "{before} {after}");
}
