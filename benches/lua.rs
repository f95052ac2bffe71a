//! The language: how long do programs take here, beside the reference implementation?
//!
//! Each program runs in a machine of `redstart::lua`, in the process `lua5.1`, and in the Lua of `redis-server` by
//! `EVAL`, which has the libraries that `lua5.1` lacks. They take turns, and the best of some rounds counts. The time
//! is that of the program alone: `lua5.1` reads its clock inside of it, and Redis has compiled it in the first round.
//!
//! Run: `cargo bench --bench lua [-- NAME …]`; each `NAME` selects the programs whose names contain it. Needs `lua5.1`
//! and `redis-server` in `PATH` (or `REDIS_BIN`); without one of them its column is empty. The target is 1.5 times the
//! time of the reference implementation.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redstart::lua::{Libraries, Machine, Options, Progress};

/// The number of runs of each program; the best counts.
const ROUNDS: usize = 5;

/// The memory limit of a program here.
const MEMORY: usize = 2 << 30;

/// A program, and whether it needs a library that only Redis has.
struct Program {
    name: &'static str,
    source: &'static str,
    redis_only: bool,
}

const fn program(name: &'static str, source: &'static str) -> Program {
    Program { name, source, redis_only: false }
}

const fn redis_program(name: &'static str, source: &'static str) -> Program {
    Program { name, source, redis_only: true }
}

static PROGRAMS: [Program; 20] = [
    program("10M additions", "local s = 0 for i = 1, 10000000 do s = s + i end"),
    program(
        "numeric loop: collatz",
        "local most = 0 for n = 1, 60000 do local c, x = 0, n while x ~= 1 do \
        if x % 2 == 0 then x = x / 2 else x = 3 * x + 1 end c = c + 1 end if c > most then most = c end end",
    ),
    program("table inserts, t[#t + 1]", "local t = {} for i = 1, 3000000 do t[#t + 1] = i end"),
    program("table.insert", "local t, insert = {}, table.insert for i = 1, 2000000 do insert(t, i) end"),
    program("table fields", "local p = {x = 1, y = 2} for i = 1, 6000000 do p.x = p.x + p.y end"),
    program(
        "table with string keys",
        "local t = {} for i = 1, 200000 do t['key:' .. i] = i end \
        local s = 0 for r = 1, 3 do for i = 1, 200000 do s = s + t['key:' .. i] end end",
    ),
    program(
        "pairs and ipairs",
        "local t = {} for i = 1, 1000 do t[i] = i t['k' .. i] = i end local s = 0 \
        for r = 1, 1000 do for k, v in pairs(t) do s = s + v end for i, v in ipairs(t) do s = s + v end end",
    ),
    program(
        "sieve",
        "for r = 1, 5 do local f = {} for i = 2, 300000 do f[i] = true end for i = 2, 300000 do \
        if f[i] then for k = i * 2, 300000, i do f[k] = false end end end end",
    ),
    program("small tables made", "for i = 1, 1500000 do local t = {i, i + 1, x = i} end"),
    program(
        "concatenation of pieces",
        "local t = {} for i = 1, 500000 do t[#t + 1] = 'item ' .. i .. ';' end \
        local s = table.concat(t)",
    ),
    program("a string that grows", "local s = '' for i = 1, 20000 do s = s .. 'x' .. i end"),
    program(
        "fib(30), recursion",
        "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end \
        fib(30)",
    ),
    program(
        "closures",
        "local function adder(n) return function(x) return x + n end end local s = 0 \
        for i = 1, 2000000 do s = adder(i)(s) end",
    ),
    program(
        "methods by metatables",
        "local C = {} C.__index = C function C.new(n) return setmetatable({n = n}, C) end \
        function C:add(k) self.n = self.n + k return self.n end local o = C.new(0) for i = 1, 4000000 do o:add(i) end",
    ),
    program(
        "coroutines",
        "local co = coroutine.wrap(function() local i = 0 while true do i = i + 1 \
        coroutine.yield(i) end end) for i = 1, 1000000 do co() end",
    ),
    program(
        "string.format",
        "local f = string.format for i = 1, 500000 do f('%d %s %5.2f', i, 'abc', i / 3) end",
    ),
    program(
        "table.sort",
        "local x, t = 42, {} for i = 1, 200000 do x = (x * 16807) % 2147483647 t[i] = x end \
        table.sort(t) table.sort(t, function(a, b) return a > b end)",
    ),
    program(
        "string patterns",
        "local text = string.rep('the quick brown fox = 42, jumps over 17 lazy dogs; ', 500) \
        local n = 0 for r = 1, 10 do for w in text:gmatch('%a+') do n = n + #w end \
        text:gsub('(%w+) = (%w+)', '%2 = %1') for d in string.gmatch(text, '%d+') do n = n + tonumber(d) end \
        for i = 1, 300 do text:find('no such words', 1, true) end end",
    ),
    redis_program(
        "cjson round trips",
        "local t = {id = 17, name = 'someone', tags = {'a', 'b', 'c'}, \
        nested = {x = 1.5, y = true, list = {1, 2, 3, 4, 5}}} for i = 1, 60000 do t.id = i \
        local back = cjson.decode(cjson.encode(t)) end",
    ),
    redis_program(
        "cmsgpack round trips",
        "local t = {id = 17, name = 'someone', tags = {'a', 'b', 'c'}, \
        nested = {x = 1.5, y = true, list = {1, 2, 3, 4, 5}}} for i = 1, 100000 do t.id = i \
        local back = cmsgpack.unpack(cmsgpack.pack(t)) end",
    ),
];

/// Runs a program in this engine. Returns the seconds that it took.
fn here(program: &Program) -> f64 {
    let libraries = if program.redis_only { Libraries::Redis } else { Libraries::Full };
    let mut machine = Machine::new(Options { seed: 1, memory_limit_bytes: MEMORY, libraries });
    let function = match machine.load(program.source.as_bytes(), b"=program") {
        Ok(function) => function,
        Err(message) => panic!("{}: {}", program.name, String::from_utf8_lossy(&message)),
    };
    machine.begin(function, &[]);
    let began = Instant::now();
    loop {
        // As in a server, the program pauses to check the clock.
        match machine.run(100_000) {
            Progress::Finished { .. } => return began.elapsed().as_secs_f64(),
            Progress::Paused => {}
            Progress::Failed(failure) => {
                let mut text = Vec::new();
                machine.heap.to_bytes(failure.value, &mut text);
                panic!("{}: {}", program.name, String::from_utf8_lossy(&text));
            }
            Progress::Host { .. } | Progress::Stopped(_) => unreachable!("there is no host"),
        }
    }
}

/// Runs a program with `lua5.1`. Returns the seconds, or `None` if `lua5.1` is not installed.
fn reference(program: &Program) -> Option<f64> {
    if program.redis_only {
        return None;
    }
    let source = format!("local began = os.clock() {} io.write(os.clock() - began)", program.source);
    let output = Command::new("lua5.1").args(["-e", &source]).output().ok()?;
    assert!(output.status.success(), "{}: {}", program.name, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// A Redis that is killed when the value is dropped.
struct Redis {
    process: Child,
    connection: BufReader<TcpStream>,
}

impl Redis {
    /// Starts Redis. `None` if it is not installed.
    fn start() -> Option<Redis> {
        let binary = std::env::var("REDIS_BIN").unwrap_or("redis-server".into());
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).ok()?.port();
        let mut command = Command::new(binary);
        command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => return Some(Redis { process, connection: BufReader::new(stream) }),
                Err(error) => assert!(Instant::now() < deadline, "redis-server does not listen: {error}"),
            }
            std::thread::yield_now();
        }
    }

    /// The seconds from the request to the reply: scripts have no clock.
    fn run(&mut self, program: &Program) -> f64 {
        let source = program.source;
        let request = format!("*3\r\n$4\r\nEVAL\r\n${}\r\n{source}\r\n$1\r\n0\r\n", source.len());
        let began = Instant::now();
        let mut reply = String::new();
        let outcome = self.connection.get_mut().write_all(request.as_bytes());
        let outcome = outcome.and_then(|()| self.connection.read_line(&mut reply));
        let took = began.elapsed();
        outcome.unwrap_or_else(|error| panic!("{}: {error}", program.name));
        assert!(reply.starts_with("$-1"), "{}: {reply}", program.name);
        took.as_secs_f64()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail only if the process has exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words.is_empty() && !std::env::args().any(|word| word == "--bench") {
        println!("nothing measured without arguments: cargo bench --bench lua");
        return;
    }
    let chosen = |program: &&Program| {
        words.is_empty() || words.iter().any(|word| program.name.contains(word.as_str()))
    };
    let mut redis = Redis::start();
    println!("{:26} {:>9} {:>9} {:>9}  {:>8} {:>8}", "ms", "here", "lua5.1", "redis", "/ lua5.1", "/ redis");
    for program in PROGRAMS.iter().filter(chosen) {
        let (mut ours, mut theirs, mut there) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            ours = ours.min(here(program));
            theirs = theirs.min(reference(program).unwrap_or(f64::INFINITY));
            there = there.min(redis.as_mut().map_or(f64::INFINITY, |redis| redis.run(program)));
        }
        let ms =
            |seconds: f64| if seconds.is_finite() { format!("{:.1}", seconds * 1e3) } else { String::new() };
        let ratio = |peer: f64| if peer.is_finite() { format!("{:.2}", ours / peer) } else { String::new() };
        println!(
            "{:26} {:>9} {:>9} {:>9}  {:>8} {:>8}",
            program.name,
            ms(ours),
            ms(theirs),
            ms(there),
            ratio(theirs),
            ratio(there)
        );
    }
}
