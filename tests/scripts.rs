//! Scripts beyond their replies: slow scripts, the replies of other clients meanwhile, and their writes on disk.

mod support;

use nix::sys::signal::Signal;
use support::{Client, Launch, Server, Value, eventually};

const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL... script: ";

/// Code that uses `seconds` of processor time.
fn spin(seconds: f64) -> String {
    format!("local spun = os.clock() while os.clock() - spun < {seconds} do end ")
}

/// Code that runs until another client has been refused with this error code, so the script is still running then.
fn until_refused(code: &str) -> String {
    format!(
        "local refused = function() \
         return redis.call('INFO', 'errorstats'):match('errorstat_{code}:count=(%d+)') end \
         local before = refused() while refused() == before do end "
    )
}

fn impatient(flags: &str) -> Server {
    Server::start(&format!("--busy-reply-threshold 20 --save '' {flags}"))
}

fn eval(client: &mut Client, script: &str) -> Value {
    client.call(&["EVAL", script, "0"])
}

fn begin(client: &mut Client, script: &str) {
    client.send(&["EVAL", script, "0"]).expect("sent");
}

fn reply(client: &mut Client) -> Value {
    client.read_reply().expect("a reply").value
}

/// Waits until commands are refused because a script is running.
fn await_busy(client: &mut Client, text: &str) {
    eventually("a script takes long", || {
        let reply = client.run("PING");
        if reply.is_error() {
            assert_eq!(reply.text(), text);
            return Some(());
        }
        None
    });
}

#[test]
fn others_are_told_of_a_script_that_takes_long_and_can_end_it() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    for script in [
        "while true do end",
        "while true do redis.call('GET', 'k') end",
        "while true do redis.pcall('NOSUCH') end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(redis.call, 'NOSUCH') end",
        "local t = {} while true do t = {t} end",
        "while true do local t = {} for i = 1, 1000 do t[i] = {} end end",
        "local function f() return f() end f()",
        "return string.find(string.rep('x', 100000), string.rep('.-', 20) .. 'y')",
        "local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end",
        "table.sort({3, 1, 2}, function() while true do end end)",
        "string.gsub('x', 'x', function() while true do end end)",
        "setmetatable({}, {__index = function() while true do end end}).x = setmetatable({}, {__index = \
         function() while true do end end}).y",
    ] {
        begin(&mut client, script);
        await_busy(&mut other, BUSY);
        for command in
            ["GET k", "SET k v", "INFO", "SCRIPT FLUSH", "FUNCTION KILL", "FUNCTION STATS", "EVALSHA x 0"]
        {
            assert_eq!(other.run(command).text(), BUSY, "{command} during {script}");
        }
        other.ok("SCRIPT KILL");
        let reply = reply(&mut client).text();
        assert!(reply.starts_with(KILLED), "{script}: {reply}");
        assert_eq!(client.run("PING").text(), "PONG");
        assert_eq!(other.run("SCRIPT KILL").text(), "NOTBUSY No scripts in execution right now.");
    }
    server.wait_for_log("Slow script detected: still in execution after");
    server.wait_for_log("Lua script killed by user with SCRIPT KILL.");
}

#[test]
fn scripts_without_end_that_need_ever_more_fail_or_can_be_ended() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    for script in [
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = string.rep('x', 1000000) end",
        "return #string.rep('x', 1024 * 1024 * 1024)",
        "return string.rep(string.rep('x', 1000000), 1000000)",
        "local function f(n) return 1 + f(n + 1) end return f(1)",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end return t[1]",
        "local t = {} t[1] = t t[2] = t return t",
        "local t = {} for i = 1, 40 do t = {t, t} end return t",
        "local s = string.rep('x', 1000000) local t = {} for i = 1, 10000 do t[i] = s end return t",
        "local t = {} t.map = {[t] = t} return t",
        "return table.concat(setmetatable({}, {__index = function() return 'x' end}), '', 1, 1e9)",
        "return unpack({}, 1, 1e8)",
    ] {
        begin(&mut client, script);
        // Other clients are served meanwhile, at least with an error.
        for _ in 0..3 {
            let pong = other.run("PING").text();
            assert!(pong == "PONG" || pong == BUSY, "{script}: {pong}");
        }
        let killed = other.run("SCRIPT KILL").text();
        assert!(killed == "OK" || killed.starts_with("NOTBUSY"), "{script}: {killed}");
        client.read_reply().expect("a reply");
        assert_eq!(client.run("PING").text(), "PONG", "{script}");
    }
}

#[test]
fn a_script_that_has_written_is_not_ended_but_by_the_end_of_the_server() {
    let mut server = impatient("--appendonly yes");
    let (mut client, mut other) = (server.client(), server.client());
    let wait = until_refused("UNKILLABLE");
    begin(&mut client, &format!("redis.call('SET', 'k', 1) {wait} return redis.call('INCR', 'k')"));
    await_busy(&mut other, BUSY);
    assert!(
        other.run("SCRIPT KILL").text().starts_with("UNKILLABLE Sorry the script already executed write")
    );
    assert_eq!(reply(&mut client).integer(), 2);
    assert_eq!(other.run("GET k").text(), "2");
    begin(&mut client, "redis.call('SET', 'k', 'half') while true do end");
    await_busy(&mut other, BUSY);
    assert_eq!(other.run("SHUTDOWN").text(), BUSY);
    assert_eq!(other.run("SHUTDOWN SAVE").text(), BUSY);
    other.send(&["SHUTDOWN", "NOSAVE"]).expect("sent");
    assert!(server.wait_exit().success());
    let server = server.stop().start();
    assert_eq!(server.client().run("GET k").text(), "2");
}

#[test]
fn a_signal_to_end_comes_between_two_scripts() {
    let mut server = impatient("--appendonly yes");
    let (mut client, mut other) = (server.client(), server.client());
    let slow = until_refused("BUSY") + &spin(0.1);
    begin(&mut client, &format!("redis.call('SET', 'a', 1) {slow} redis.call('SET', 'b', 1)"));
    await_busy(&mut other, BUSY);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit().success());
    let mut server = server.stop().start();
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(client.run("EXISTS a b").integer(), 2);
    begin(&mut client, "while true do end");
    await_busy(&mut other, BUSY);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit().success());
}

#[test]
fn the_log_has_all_of_a_script_or_nothing() {
    let server = impatient("--appendonly yes --appendfsync always");
    let (mut client, mut other) = (server.client(), server.client());
    other.ok("SET before 1");
    client.send(&["SET", "pipelined", "1"]).expect("sent");
    let wait = until_refused("BUSY");
    begin(&mut client, &format!("redis.call('SET', 'a', 1) {wait} redis.call('SET', 'b', 1)"));
    assert_eq!(reply(&mut client).text(), "OK");
    await_busy(&mut other, BUSY);
    assert!(reply(&mut client).is_null());
    begin(
        &mut client,
        "redis.call('SET', 'c', 1) redis.call('SELECT', 5) redis.call('SET', 'd', 1) while true do end",
    );
    await_busy(&mut other, BUSY);
    server.signal(Signal::SIGKILL);
    let server = server.stop().start();
    let mut client = server.client();
    assert_eq!(
        client.run("MGET before pipelined a b c").elements()[..4],
        vec![Value::Bulk(b"1".to_vec()); 4]
    );
    assert_eq!(client.run("EXISTS c").integer(), 0);
    client.ok("SELECT 5");
    assert_eq!(client.run("EXISTS d").integer(), 0);
}

#[test]
fn a_script_that_takes_long_may_be_part_of_a_transaction() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    let first = format!("{} return redis.call('INCR', 'k')", until_refused("EXECABORT"));
    let second = format!("{} return redis.call('INCR', 'k')", spin(0.1));
    for request in
        [&["MULTI"][..], &["SET", "k", "1"], &["EVAL", &first, "0"], &["INCR", "k"], &["EVAL", &second, "0"]]
    {
        client.send(request).expect("sent");
    }
    for request in [&["EXEC"][..], &["ECHO", "behind"]] {
        client.send(request).expect("sent");
    }
    await_busy(&mut other, BUSY);
    other.ok("MULTI");
    assert_eq!(other.run("SET k other").text(), BUSY);
    assert!(other.run("EXEC").text().starts_with("EXECABORT Transaction discarded because of"));
    for queued in ["OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED"] {
        assert_eq!(reply(&mut client).text(), queued);
    }
    let replies = reply(&mut client).elements();
    assert_eq!(replies.iter().map(Value::text).collect::<Vec<_>>(), ["OK", "2", "3", "4"]);
    assert_eq!(reply(&mut client).text(), "behind");
    assert_eq!(other.run("GET k").text(), "4");
}

/// A pause does not end while a script runs, so `SCRIPT KILL` must not wait for its end.
#[test]
fn a_script_of_a_transaction_that_has_paused_all_clients_can_be_ended() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("MULTI");
    assert_eq!(client.run("CLIENT PAUSE 1 ALL").text(), "QUEUED");
    assert_eq!(eval(&mut client, "while true do end").text(), "QUEUED");
    client.send(&["EXEC"]).expect("sent");
    await_busy(&mut other, BUSY);
    other.ok("SCRIPT KILL");
    assert!(reply(&mut client).elements()[1].text().starts_with(KILLED));
    other.ok("SET k v");
}

#[test]
fn a_script_goes_on_when_its_client_has_hung_up() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    let slow = until_refused("BUSY") + &spin(0.1);
    begin(&mut client, &format!("{slow} redis.call('SET', 'k', 'done')"));
    await_busy(&mut other, BUSY);
    drop(client);
    eventually("the script ends", || {
        let reply = other.run("GET k");
        (!reply.is_error()).then_some(reply)
    });
    assert_eq!(other.run("GET k").text(), "done");
    other.wait_for_info("connected_clients", |clients| clients == 1);
}

#[test]
fn no_key_expires_while_a_script_runs_and_time_advances_once_the_script_is_slow() {
    let server = impatient("--hz 100");
    let (mut client, mut other) = (server.client(), server.client());
    let script = format!(
        "redis.call('SET', 'k', 'v', 'PX', 100) local began = redis.call('TIME') local left = redis.call('PTTL', 'k') {} local now = redis.call('TIME') \
         return {{left == redis.call('PTTL', 'k'), redis.call('EXISTS', 'k'), began[1] ~= now[1] or began[2] ~= now[2]}}",
        until_refused("BUSY") + &spin(0.3)
    );
    begin(&mut client, &script);
    await_busy(&mut other, BUSY);
    let one = Value::Integer(1);
    assert_eq!(reply(&mut client).elements(), [one.clone(), one.clone(), one]);
    eventually("the key expires", || (other.run("EXISTS k").integer() == 0).then_some(()));
}

#[test]
fn time_stands_still_in_a_fast_script() {
    let server = Server::start("--busy-reply-threshold 1000000");
    let script = format!(
        "local began = redis.call('TIME') {} local now = redis.call('TIME') \
         return began[1] == now[1] and began[2] == now[2]",
        spin(0.05)
    );
    assert_eq!(eval(&mut server.client(), &script).integer(), 1);
}

#[test]
fn a_script_that_waits_for_time_to_advance_ends() {
    let server = impatient("");
    let script = "local function now() local time = redis.call('TIME') return time[1] * 1000000 + time[2] end \
                  local began = now() repeat until now() > began + 50000 return 'ended'";
    assert_eq!(eval(&mut server.client(), script).text(), "ended");
    assert_eq!(server.client().call(&["EVAL", script, "0"]).text(), "ended");
}

/// Memory of the Lua interpreter for scripts, in kilobytes.
fn machine_kilobytes(client: &mut Client) -> u64 {
    client.info("used_memory_lua").parse::<u64>().expect("a number") >> 10
}

#[test]
fn replies_that_a_script_drops_are_freed_while_it_runs() {
    let server = Server::start("--save ''");
    let mut client = server.client();
    client.run("RPUSH list a b c d e f g h");
    client.run("HSET hash a 1 b 2 c 3 d 4");
    client.run("ZADD zset 1 a 2.5 b");
    client.call(&["SET", "string", &"x".repeat(500)]);
    for (setup, call) in [
        ("", "call('TIME')"),
        ("", "call('LRANGE', 'list', 0, -1)"),
        ("", "call('HGETALL', 'hash')"),
        ("redis.setresp(3)", "call('HGETALL', 'hash')"),
        ("redis.setresp(3)", "call('ZRANGE', 'zset', 0, -1, 'WITHSCORES')"),
        ("", "call('GET', 'string')"),
        ("", "call('SET', 'new', 'value')"),
        ("", "call('INCR', 'number')"),
        ("", "pcall('NOSUCH')"),
        ("", "pcall('HGET', 'string', 'field')"),
        ("", "call('ECHO', 'number ' .. i)"),
        ("", "error_reply('number ' .. i)"),
    ] {
        // Each call makes at least 100 bytes of garbage.
        let script =
            format!("{setup} for i = 1, 60000 do redis.{call} end return collectgarbage('count') * 1024");
        let bytes = eval(&mut client, &script).integer();
        assert!(bytes < 2 << 20, "{setup} {call}: {bytes} bytes in use");
        assert!(machine_kilobytes(&mut client) < 2048, "{setup} {call}");
    }
}

#[test]
fn memory_of_a_script_that_fails_or_is_killed_is_freed_before_its_reply_is_sent() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    eval(&mut client, "return 1");
    let before = machine_kilobytes(&mut client);
    let fill = "local t = {} for i = 1, 30 do t[i] = string.rep('x', 1000000) .. i end for i = 1, 50000 do t[i] = {} end ";
    eval(&mut client, &format!("{fill} return 1"));
    assert!(machine_kilobytes(&mut client) < before + 1024);
    assert!(eval(&mut client, &format!("{fill} return #nil")).is_error());
    assert!(machine_kilobytes(&mut client) < before + 1024);
    begin(&mut client, &format!("{fill} while true do end"));
    await_busy(&mut other, BUSY);
    other.ok("SCRIPT KILL");
    assert!(reply(&mut client).text().starts_with(KILLED));
    assert!(machine_kilobytes(&mut client) < before + 1024);
    assert_eq!(eval(&mut client, "return #string.rep('x', 100)").integer(), 100);
}

#[test]
fn the_memory_of_scripts_evicts_no_keys() {
    let server = Server::start("--save '' --maxmemory-policy allkeys-lru");
    let mut client = server.client();
    for index in 0..500 {
        client.call(&["SET", &format!("key:{index}"), &"x".repeat(1000)]);
    }
    eval(&mut client, "return 1");
    let used = client.info("used_memory").parse::<u64>().expect("a number");
    client.ok(&format!("CONFIG SET maxmemory {}", used + (4 << 20)));
    let script = "local t = {} for i = 1, 20 do t[i] = string.rep('x', 1000000) .. i end \
                  for i = 1, 100000 do t[i] = {} end redis.call('SET', 'in', 'x') return redis.call('DBSIZE')";
    assert_eq!(eval(&mut client, script).integer(), 501);
    client.ok("SET after x");
    assert_eq!(client.run("DBSIZE").integer(), 502);
    assert_eq!(client.info("evicted_keys"), "0");
    // The same for functions.
    let library = format!("#!lua name=l\nredis.register_function('f', function() {script} end)");
    client.call(&["FUNCTION", "LOAD", &library]);
    assert_eq!(client.call(&["FCALL", "f", "0"]).integer(), 502);
    client.ok("SET after y");
    assert_eq!(client.info("evicted_keys"), "0");
}

#[test]
fn waiting_clients_are_served_when_the_script_has_ended() {
    let server = impatient("");
    let (mut client, mut waiting, mut other) = (server.client(), server.client(), server.client());
    waiting.send(&["BLPOP", "list", "0"]).expect("sent");
    other.wait_for_info("blocked_clients", |blocked| blocked == 1);
    begin(
        &mut client,
        &format!(
            "redis.call('RPUSH', 'list', 1, 2) {} return redis.call('LLEN', 'list')",
            until_refused("BUSY")
        ),
    );
    await_busy(&mut other, BUSY);
    assert_eq!(reply(&mut client).integer(), 2);
    assert_eq!(reply(&mut waiting).elements()[1].text(), "1");
    assert_eq!(other.run("LLEN list").integer(), 1);
}

#[test]
fn a_function_that_takes_long_is_ended_by_another_command() {
    let server = impatient("");
    let (mut client, mut other) = (server.client(), server.client());
    let library = "#!lua name=slow\nredis.register_function('forever', function() while true do end end)";
    assert_eq!(client.call(&["FUNCTION", "LOAD", library]).text(), "slow");
    client.send(&["FCALL", "forever", "1", "k", "v"]).expect("sent");
    let busy = BUSY.replace("SCRIPT KILL", "FUNCTION KILL");
    await_busy(&mut other, &busy);
    assert_eq!(other.run("SCRIPT KILL").text(), busy);
    let running = other.run("FUNCTION STATS").field("running_script");
    assert_eq!(running.field("name").text(), "forever");
    let words: Vec<String> = running.field("command").elements().iter().map(Value::text).collect();
    assert_eq!(words, ["FCALL", "forever", "1", "k", "v"]);
    other.ok("FUNCTION KILL");
    assert!(
        reply(&mut client)
            .text()
            .starts_with("ERR Script killed by user with SCRIPT KILL... script: forever")
    );
    assert!(other.run("FUNCTION STATS").field("running_script").is_null());
}

#[test]
fn with_a_threshold_of_zero_a_script_is_never_suspended() {
    let server = Server::start("--busy-reply-threshold 0");
    let (mut client, mut other) = (server.client(), server.client());
    begin(&mut client, &format!("{} return 1", spin(0.2)));
    assert_eq!(other.run("PING").text(), "PONG");
    assert_eq!(reply(&mut client).integer(), 1);
    assert_eq!(client.run("CONFIG GET lua-time-limit").elements()[1].text(), "0");
}

#[test]
fn of_scripts_that_came_with_eval_the_latest_five_hundred_are_kept() {
    let server = Server::start("");
    let mut client = server.client();
    let loaded = client.call(&["SCRIPT", "LOAD", "return 'loaded'"]).text();
    let digest = |client: &mut Client, script: &str| {
        client.call(&["EVAL", "return redis.sha1hex(ARGV[1])", "0", script]).text()
    };
    let (first, used) = (digest(&mut client, "return 0"), digest(&mut client, "return 1"));
    for n in 0..600 {
        assert_eq!(eval(&mut client, &format!("return {n}")).integer(), n);
        if n > 0 {
            assert_eq!(client.call(&["EVALSHA", &used, "0"]).integer(), 1);
        }
    }
    assert_eq!(client.info_number("number_of_cached_scripts"), 501);
    assert_eq!(client.info_number("evicted_scripts"), 101);
    let exist = client.call(&["SCRIPT", "EXISTS", &loaded, &first, &used]).elements();
    assert_eq!(exist.iter().map(Value::integer).collect::<Vec<_>>(), [1, 0, 1]);
    assert!(client.info_number("used_memory_vm_eval") > 10_000);
    client.ok("SCRIPT FLUSH");
    assert_eq!(client.info_number("number_of_cached_scripts"), 0);
    assert_eq!(client.info_number("used_memory_vm_eval"), 0);
}

#[test]
fn a_script_leaves_nothing_behind_for_the_next() {
    let server = Server::start("");
    let mut client = server.client();
    for script in [
        "x = 1",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "string.sub = nil",
        "getmetatable('').__index = 1",
        "getmetatable('').x = 1",
        "redis.call = nil",
        "table.x = 1",
        "setmetatable(_G, nil)",
        "getmetatable(_G).__index = nil",
        "math.random = nil",
    ] {
        let reply = eval(&mut client, script);
        assert!(reply.text().contains("Attempt to modify a readonly table"), "{script}: {reply:?}");
    }
    for script in ["setfenv(1, {})", "setfenv(0, {})", "collectgarbage('stop')", "KEYS[1] = 'x' ARGV.y = 1"] {
        let reply = eval(&mut client, script);
        assert!(reply.is_null(), "{script}: {reply:?}");
        assert!(eval(&mut client, script).is_null(), "{script} again");
    }
    eval(&mut client, "cjson.encode_max_depth(1) cjson.encode_sparse_array(true) cjson.decode_max_depth(1)");
    let reply = eval(&mut client, "return cjson.encode(cjson.decode('[[[1]]]'))");
    assert_eq!(reply.text(), "[[[1]]]");
    let whole = "return {#KEYS, #ARGV, type(redis.call), ('abc'):sub(2), rawget(_G, 'x') == nil}";
    let reply = eval(&mut client, whole).elements();
    assert_eq!(reply.iter().map(Value::text).collect::<Vec<_>>(), ["0", "0", "function", "bc", "1"]);
}

/// Attacks by their CVE numbers. Those on the language itself are in `tests/lua/escapes.rs`.
#[test]
fn known_attacks_by_scripts_do_no_harm() {
    const READONLY: &str = "Attempt to modify a readonly table";
    // CVE-2022-24735: the next user executes what a script has put into the globals or the libraries. CVE-2025-46818:
    // the same with the metatables of basic types.
    let for_others = [
        "redis.call = function() return 'mine' end",
        "rawset(redis, 'call', function() return 'mine' end)",
        "setmetatable(redis, {__index = function() return 'mine' end})",
        "getmetatable(_G).__index = function() return 'mine' end",
        "rawset(_G, 'tostring', function() return 'mine' end)",
        "getfenv(0).tostring = function() return 'mine' end",
        "getmetatable('').__index = function() return function() return 'mine' end end",
        "rawset(getmetatable(''), '__call', function() return 'mine' end)",
        "setmetatable(getmetatable(''), {__index = function() return 'mine' end})",
    ];
    let server = Server::start("");
    let (mut attacker, mut victim) = (server.client(), server.client());
    let library =
        "#!lua name=l\nredis.register_function('f', function() return ('x'):rep(2) .. tostring(1) end)";
    assert_eq!(attacker.call(&["FUNCTION", "LOAD", library]).text(), "l");
    for attack in for_others {
        let reply = eval(&mut attacker, attack);
        assert!(reply.text().contains(READONLY), "{attack}: {reply:?}");
        let reply = eval(&mut victim, "return redis.call('ECHO', ('x'):rep(2) .. tostring(1))");
        assert_eq!(reply.text(), "xx1", "{attack}");
        assert_eq!(victim.run("FCALL f 0").text(), "xx1", "{attack}");
        let reply = eval(&mut victim, "return (pcall(function() return ('x')() end))");
        assert!(reply.is_null(), "{attack}: the string was callable");
    }
    // CVE-2022-24736: an error in a metamethod while a table is converted to a reply.
    for attack in [
        "return setmetatable({}, {__index = function() foo() end})",
        "return setmetatable({}, {__index = function() return redis.call('nosuch') end})",
        "return setmetatable({1, 2}, {__index = function() error({}) end})",
    ] {
        let reply = eval(&mut attacker, attack);
        assert!(!reply.is_error(), "{attack}: {reply:?}");
        assert_eq!(victim.run("PING").text(), "PONG");
    }
    // CVE-2021-32672: Redis's debugger trusted a length, and read beyond the bytes received.
    for mode in ["YES", "SYNC"] {
        let mut attacker = server.client();
        attacker.ok(&format!("SCRIPT DEBUG {mode}"));
        attacker.send(&["EVAL", "return 1", "0"]).expect("sent");
        attacker.read_reply().expect("the place where the script has stopped");
        attacker.send_raw(b"*2\r\n$1\r\ne\r\n$1024\r\nx").expect("sent");
        attacker.finish_sending();
        assert_eq!(attacker.wait_closed(), b"*1\r\n+<endsession>\r\n:1\r\n", "{mode}");
    }
    assert_eq!(eval(&mut attacker, "return 1"), Value::Integer(1));
}

#[test]
fn the_slow_log_has_the_script_and_what_it_called() {
    let server = Server::start("--slowlog-log-slower-than 0");
    let mut client = server.client();
    client.ok("CLIENT SETNAME me");
    client.ok("SLOWLOG RESET");
    eval(&mut client, "redis.call('SET', 'k', 1) return redis.call('GET', 'k')");
    let entries = client.run("SLOWLOG GET 3").elements();
    let words = |entry: &Value| entry.elements()[3].elements().iter().map(Value::text).collect::<Vec<_>>();
    let name = |entry: &Value| entry.elements()[5].text();
    assert_eq!(words(&entries[0])[0], "EVAL");
    assert_eq!(name(&entries[0]), "me");
    assert_eq!(words(&entries[1]), ["GET", "k"]);
    assert_eq!(words(&entries[2]), ["SET", "k", "1"]);
    assert_eq!((name(&entries[1]), entries[1].elements()[4].text()), (String::new(), String::new()));
}

#[test]
fn a_log_with_scripts_in_it_is_loaded() {
    let launch = Launch::subject().flags("--appendonly yes --aof-use-rdb-preamble no");
    let server = launch.start();
    let mut client = server.client();
    client.ok("SET k 1");
    let directory = server.directory().join("appendonlydir");
    let launch = server.stop();
    let log = std::fs::read_dir(&directory).expect("the log").map(|file| file.expect("a file").path());
    let log = log.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).last().expect("a part");
    let mut bytes = std::fs::read(&log).expect("read");
    let script =
        "redis.call('SELECT', 3) redis.call('SET', KEYS[1], ARGV[1]) return redis.call('PUBLISH', 'c', 'm')";
    bytes.extend(support::client::encode(&["EVAL", script, "1", "scripted", "2"]));
    bytes.extend(support::client::encode(&["INCR", "k"]));
    std::fs::write(&log, bytes).expect("written");
    let server = launch.start();
    let mut client = server.client();
    client.wait_for_info("loading", |loading| loading == 0);
    assert_eq!(client.run("GET k").text(), "2");
    client.ok("SELECT 3");
    assert_eq!(client.run("GET scripted").text(), "2");
}

/// Listeners share the journal: the end of a subscription must not switch propagation to the AOF on again.
#[test]
fn set_repl_keeps_its_effect_when_a_subscriber_leaves_while_the_script_is_suspended() {
    for leaves in ["SUBSCRIBE ch", "CLIENT TRACKING ON BCAST"] {
        let server = impatient("--appendonly yes --enable-debug-command yes --notify-keyspace-events KEA");
        let (mut client, mut other, mut leaving) = (server.client(), server.client(), server.client());
        leaving.run("HELLO 3");
        leaving.run("SUBSCRIBE ch");
        leaving.run(leaves);
        begin(
            &mut client,
            "redis.set_repl(redis.REPL_NONE)
             redis.call('SET', 'a', 1)
             while redis.call('PUBSUB', 'NUMSUB', 'ch')[2] > 0 do end
             redis.call('SET', 'b', 1)
             redis.set_repl(redis.REPL_ALL)
             redis.call('SET', 'c', 1)
             return redis.call('MGET', 'a', 'b', 'c')",
        );
        await_busy(&mut other, BUSY);
        drop(leaving);
        assert_eq!(reply(&mut client).elements().len(), 3);
        other.ok("DEBUG LOADAOF");
        let kept: Vec<bool> = ["a", "b", "c"].map(|key| other.call(&["EXISTS", key]).integer() == 1).to_vec();
        assert_eq!(kept, [false, false, true], "{leaves}");
    }
}
