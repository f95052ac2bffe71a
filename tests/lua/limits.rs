//! Features that only this engine has: it suspends programs anywhere, enforces a memory limit, and calls a host that
//! replies later.

use redstart::lua::{Libraries, Machine, Progress, Value};

use crate::engine;
use crate::escapes::{outcome, text_of};

fn begin(machine: &mut Machine, script: &str) {
    let function = machine.load(script.as_bytes(), b"@script").expect("compiles");
    machine.begin(function, &[]);
}

/// Loops that no single instruction or call of a native function ends.
const ENDLESS: &[&str] = &[
    "while true do end",
    "repeat until false",
    "for i = 1, math.huge do end",
    "for i = 2, 1, 0 do end",
    "local function f() return f() end f()",
    "local t = setmetatable({}, { __index = function(t, k) return k end }) while t.x do end",
    "while true do pcall(error) end",
    "while true do local co = coroutine.wrap(function() coroutine.yield() end) co() end",
    "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
    "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
    "pcall(function() xpcall(function() while true do end end, pcall) end)",
    "while true do local s = ('x'):rep(1000) end",
    "while true do local t = { 1, 2, 3, {} } end",
    "for k in function() return 1 end do end",
    "table.sort({ 3, 2, 1 }, function(a, b) while true do end end)",
    "('x'):gsub('x', function() while true do end end)",
    "load(function() while true do end end)",
    "load(function() return ' ' end)",
    "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    "local t = setmetatable({}, { __lt = function() while true do end end }) return t < t",
    "local t = setmetatable({}, { __eq = function() while true do end end }) return t == setmetatable({}, getmetatable(t))",
    "while true do loadstring('return 1')() end",
    "while true do collectgarbage() end",
    "table.foreach({ 1 }, function() while true do end end)",
];

#[test]
fn a_program_without_end_pauses_each_time_its_budget_is_used_up_and_can_be_abandoned() {
    for script in ENDLESS {
        let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
        begin(&mut machine, script);
        for _ in 0..300 {
            let progress = machine.run(1000);
            assert!(matches!(progress, Progress::Paused), "{script}: {progress:?}");
        }
        machine.abandon();
        assert!(machine.is_idle(), "{script}");
        assert_eq!(outcome(&mut machine, "return 1 + 1, coroutine.running()"), "2 nil", "{script}");
    }
}

/// Single calls that take long.
const LONG: &[&str] = &[
    "return ('a'):rep(200):find('.-.-b')",
    "return ('a'):rep(200000):find('^a*$')",
    "return #('a'):rep(100000):gsub('a', 'bb')",
    "return ('a'):rep(20):find(('a?'):rep(12) .. ('a'):rep(20))",
    "local t = {} for i = 1, 20000 do t[i] = (i * 7919) % 20011 end table.sort(t) return t[1]",
    "local t = {} for i = 1, 50000 do t[i] = 'item' end return #table.concat(t, ',')",
    "local t = {} for i = 1, 50000 do t[i] = i end for i = 1, 100 do table.insert(t, 1, i) end return #t",
    "local s = ('[1,2,3],'):rep(20000) return #cjson.decode('[' .. s .. '1]')",
];

#[test]
fn a_single_call_that_takes_long_is_suspended_too() {
    for script in LONG {
        let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
        begin(&mut machine, script);
        let mut pauses = 0;
        loop {
            match machine.run(1000) {
                Progress::Paused => pauses += 1,
                Progress::Finished { .. } => break,
                other => panic!("{script}: {other:?}"),
            }
        }
        assert!(pauses >= 4, "{script}: only {pauses} pauses");
    }
}

#[test]
fn what_waits_for_a_function_of_the_program_counts_as_memory() {
    // Each level keeps a result while the next one runs.
    let script = "local function level(n)
            return (('a'):gsub('.', function() return n == 0 and ('x'):rep(4e6) or level(n - 1) end) .. '!')
        end
        local held = 0
        local result = ('ab'):gsub('.', function(c)
            if c == 'a' then return ('x'):rep(8e6) end
            collectgarbage() held = collectgarbage('count') return c
        end)
        collectgarbage()
        return held > 8e6 / 1024, #result, #level(5)";
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    assert_eq!(outcome(&mut machine, script), "true 8000001 4000006");
    machine.collect();
    let before = machine.used_bytes();
    // Errors leave no memory counted.
    let failing = "return pcall(string.gsub, 'ab', '.', function(c) if c == 'b' then error('x', 0) end return ('x'):rep(8e6) end)";
    for _ in 0..20 {
        assert_eq!(outcome(&mut machine, failing), "false x");
        machine.collect();
    }
    assert!(machine.used_bytes() < before + 1_000_000, "{} after {before}", machine.used_bytes());
}

#[test]
fn a_length_that_has_to_be_searched_for_takes_its_time_from_the_budget() {
    let script = "local t = {} for i = 1, 60000 do t[i] = i end t[65536] = 1
        for i = 0, 15 do t[65537 * 2^i] = i end local n = 0 for i = 1, 100 do n = n + #t end return n > 0";
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    begin(&mut machine, script);
    let mut pauses = 0;
    while matches!(machine.run(100_000), Progress::Paused) {
        pauses += 1;
    }
    assert!(pauses > 30, "only {pauses} pauses");
}

/// Operations on long strings: each is one instruction or one call, and takes long.
const LONG_STRINGS: &[&str] = &[
    "local x = a == b",
    "local x = a <= b",
    "local x = keys[b .. i]",
    "keys[b .. i] = i",
    "local x = rawget(keys, b .. i)",
    "local x = a:sub(2)",
    "local x = tonumber(blanks)",
    "pcall(function() return blanks + 1 end)",
    "pcall(error, a)",
    "local x = cmsgpack.pack(a)",
];

#[test]
fn an_operation_on_a_long_string_takes_its_time_from_the_budget() {
    for operation in LONG_STRINGS {
        let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
        let script = format!(
            "local a, b, blanks = ('x'):rep(1e6), ('x'):rep(1e6), (' '):rep(2e5) local keys = {{[a] = 1}} for i = 1, 20 do {operation} end"
        );
        begin(&mut machine, &script);
        let mut pauses = 0;
        loop {
            match machine.run(10_000) {
                Progress::Paused => pauses += 1,
                Progress::Finished { .. } => break,
                other => panic!("{operation}: {other:?}"),
            }
        }
        // The strings themselves take about ten pauses.
        assert!(pauses >= 25, "{operation}: only {pauses} pauses");
    }
}

/// Programs whose garbage comes only from errors, or from functions called by `pcall`.
const GARBAGE: &[&str] = &[
    "local s = ('x'):rep(100000) while true do pcall(error, s) end",
    "local i = 0 while true do i = i + 1 pcall(tostring, i) end",
];

#[test]
fn garbage_that_errors_and_protected_calls_make_is_collected() {
    const LIMIT: usize = 8 << 20;
    for script in GARBAGE {
        let mut machine = engine::machine(LIMIT, Libraries::Redis);
        begin(&mut machine, script);
        for _ in 0..3000 {
            let progress = machine.run(1000);
            assert!(matches!(progress, Progress::Paused), "{script}: {progress:?}");
            assert!(machine.used_bytes() <= LIMIT, "{script}: {} bytes", machine.used_bytes());
        }
        machine.abandon();
    }
}

/// Returns a value of the host to the program.
type Service = fn(&mut Machine);

/// Ways in which the host creates values in the machine.
const SERVICES: &[(&str, Service)] = &[
    ("a table", |m| {
        let table = m.heap.new_table(8, 0);
        for index in 1..=8 {
            let text = m.heap.string(format!("element {index} of {:p}", &raw const *m).as_bytes());
            m.heap.set_index(table, index, Value::String(text)).expect("room");
        }
        m.push(Value::Table(table));
        m.provide(1);
    }),
    ("a table of fields", |m| {
        let table = m.heap.new_table(0, 4);
        m.heap.set_field(table, "field", Value::Boolean(true));
        m.push(Value::Table(table));
        m.provide(1);
    }),
    ("a long string", |m| {
        let string = m.heap.string(&[b'x'; 1000]);
        m.push(Value::String(string));
        m.provide(1);
    }),
    ("a string that it is given", |m| {
        let string = m.heap.string_from(vec![b'x'; 5000]);
        m.push(Value::String(string));
        m.provide(1);
    }),
    ("short strings that are all new", |m| {
        let number = m.used_bytes();
        let string = m.heap.string(format!("short {number}").as_bytes());
        m.push(Value::String(string));
        m.provide(1);
    }),
    ("an error", |m| {
        let table = m.heap.new_table(0, 1);
        let text = m.heap.string(&[b'e'; 200]);
        m.heap.set_field(table, "err", Value::String(text));
        m.raise(Value::Table(table));
    }),
    ("a function", |m| {
        let function = m.load(b"local a, b, c = 1, 2, 3 return a + b + c", b"=loaded").expect("compiles");
        m.push(function);
        m.provide(1);
    }),
];

#[test]
fn values_that_the_host_creates_are_collected() {
    const LIMIT: usize = 2 << 20;
    for (what, serve) in SERVICES {
        for script in [
            "while true do local x = ask() end",
            "while true do pcall(ask) end",
            "local co = coroutine.wrap(function() while true do coroutine.yield(pcall(ask)) end end) while true do co() end",
            "local t = setmetatable({}, { __index = ask }) while true do local x = pcall(function() return t.x end) end",
            "local t = {} while true do t.last = select('#', pcall(ask)) end",
            "local function f() return pcall(ask) end while true do f() end",
        ] {
            let mut machine = engine::machine(1 << 30, Libraries::Redis);
            let globals = machine.globals();
            let ask = machine.new_host_function("ask", 1);
            machine.heap.set_field(globals, "ask", ask);
            begin(&mut machine, script);
            let mut calls = 0;
            while calls < 30_000 {
                match machine.run(100_000) {
                    Progress::Host { .. } => {
                        calls += 1;
                        serve(&mut machine);
                    }
                    Progress::Paused => {}
                    // An uncaught error.
                    Progress::Failed(_) => break,
                    Progress::Finished { .. } | Progress::Stopped(_) => panic!("{script} ends"),
                }
                assert!(machine.used_bytes() < LIMIT, "{what}, {script}: {} bytes", machine.used_bytes());
            }
            assert!(calls == 30_000 || *what == "an error", "{what}, {script}");
        }
    }
}

#[test]
fn the_code_of_loaded_functions_counts_towards_the_limit() {
    let script = "local source = ('local a = 1 '):rep(100) .. 'return a' \
                  source = 'return function() ' .. source .. ' end' while true do loadstring(source) end";
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    begin(&mut machine, script);
    let (mut most, mut collections, mut before) = (0, 0, 0);
    for _ in 0..2000 {
        assert!(matches!(machine.run(10_000), Progress::Paused));
        let used = machine.used_bytes();
        collections += usize::from(used < before);
        (most, before) = (most.max(used), used);
    }
    assert!(collections > 2, "{collections} collections, {most} bytes");
    assert!(most < 8 << 20, "{most} bytes");
}

/// Programs that leave much garbage, after returning, after failing, and while they run.
const LITTER: &[&str] = &[
    "local t = {} for i = 1, 100000 do t[i] = { i } end return 1",
    "local t = {} for i = 1, 100000 do t[i] = { i } end error('x')",
    "local t = {} for i = 1, 200 do t[i] = ('x'):rep(100000) .. i end return 1",
    "local t = {} for i = 1, 200 do t[i] = ('x'):rep(100000) .. i end error(t)",
    "local t = {} for i = 1, 100000 do t[i] = 'string ' .. i end while true do end",
    "local t = {} for i = 1, 1000 do t[i] = coroutine.wrap(function() local s = ('x'):rep(10000) coroutine.yield() return s end) t[i]() end while true do end",
];

#[test]
fn garbage_of_a_program_is_freed_after_it_has_returned_failed_or_been_abandoned() {
    for script in LITTER {
        let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
        let before = machine.allocated_bytes();
        begin(&mut machine, script);
        let mut runs = 0;
        while matches!(machine.run(100_000), Progress::Paused) && (runs < 400 || !script.contains("while")) {
            runs += 1;
        }
        assert!(runs > 0, "{script} takes no time");
        machine.abandon();
        // The garbage is freed in small steps.
        while machine.wants_collection() {
            machine.run(10_000);
        }
        let after = machine.allocated_bytes();
        assert!(after < before + (1 << 20), "{script}: {before} bytes before, {after} after");
        assert_eq!(outcome(&mut machine, "return 'next'"), "next");
    }
}

#[test]
fn a_collection_is_suspended_when_the_budget_is_used_up() {
    for script in [
        "local t = {} for i = 1, 200000 do t[i] = {} end while true do collectgarbage() end",
        "local t = {} for i = 1, 500000 do t[i] = 1 end while true do collectgarbage() end",
        "local t = {} for i = 1, 200000 do t['k' .. i] = 1 end while true do collectgarbage() end",
        "local t = setmetatable({}, { __mode = 'k' }) for i = 1, 200000 do t[i] = 1 end while true do collectgarbage() end",
    ] {
        let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
        begin(&mut machine, script);
        for _ in 0..3000 {
            let progress = machine.run(5000);
            assert!(matches!(progress, Progress::Paused), "{script}: {progress:?}");
            assert!(machine.overdraft() < 5000, "{script}: {} steps at once", machine.overdraft());
        }
        // A program can be abandoned in the middle of a collection.
        machine.abandon();
        assert_eq!(
            outcome(&mut machine, "local t = {} for i = 1, 100 do t[i] = 'k' .. i end return #t"),
            "100"
        );
    }
}

/// Programs that allocate memory without end, each in another way.
const GREEDY: &[&str] = &[
    "local t = {} while true do t[#t + 1] = {} end",
    "local t = {} while true do t[{}] = true end",
    "local t = {} for i = 1, math.huge do t[i] = i end",
    "local t = {} for i = 1, math.huge do t['key' .. i] = i end",
    "local t = {} while true do t[#t + 1] = function() return t end end",
    "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "local t = {} while true do local co = coroutine.wrap(function() local a = {} coroutine.yield() return a end) co() t[#t + 1] = co end",
    "local s = 'x' while true do s = s .. s end",
    "local s = '' while true do s = s .. ('x'):rep(100000) end",
    "local s = ('x'):rep(1000000) s = s:gsub('x', ('y'):rep(100)) return s",
    "return ('x'):rep(1e9)",
    "return ('x'):rep(2 ^ 31 - 1)",
    "local s = ('x'):rep(1000000) local t = {} for i = 1, 1000 do t[i] = s end return #table.concat(t)",
    "local s = ('x'):rep(1000000) return #string.format(('%s'):rep(200), unpack((function() local t = {} for i = 1, 200 do t[i] = s end return t end)()))",
    "local t = {} while true do t[#t + 1] = newproxy(true) end",
    "local t = {} for i = 1, math.huge do t[i] = loadstring('return ' .. i) end",
    "local t = {} while true do t = { t } end",
    "local s = 'local t = {' .. ('{},'):rep(100000) .. '}' while true do s = s .. s end",
    "local t = {} for i = 1, 1000000 do t[i] = i end while true do cjson.encode(t) t[#t + 1] = cmsgpack.pack(t) end",
    "local t = {} while true do t[#t + 1] = cjson.decode('[' .. ('[1],'):rep(1000) .. '1]') end",
    "local t = {} while true do t[#t + 1] = ('x'):rep(100):upper() .. #t end",
    "local t = {} for i = 1, 7000 do t[i] = i end local function f(...) return 1 + f(...) end return f(unpack(t))",
];

#[test]
fn a_program_that_wants_more_memory_than_it_may_have_fails_and_harms_nobody() {
    const LIMIT: usize = 16 << 20;
    for script in GREEDY {
        let mut machine = engine::machine(LIMIT, Libraries::Redis);
        let before = machine.used_bytes();
        let came = outcome(&mut machine, script);
        // Some reach another limit first.
        let is_refused =
            ["not enough memory", "stack overflow", "string length overflow", "resulting string too large"]
                .iter()
                .any(|text| came.starts_with("error: ") && came.contains(text));
        assert!(is_refused, "{script}: {came}");
        assert!(machine.used_bytes() <= LIMIT + LIMIT / 8, "{script}: {} bytes in use", machine.used_bytes());
        // All memory is freed, except for the library's own tables, which keep their size.
        assert_eq!(
            outcome(&mut machine, "collectgarbage() collectgarbage() return #('x'):rep(4000000)"),
            "4000000",
            "{script}"
        );
        outcome(&mut machine, "collectgarbage() collectgarbage()");
        let after = machine.used_bytes();
        assert!(after < before + LIMIT / 2, "{script}: {before} bytes before, {after} after");
    }
}

#[test]
fn an_error_of_memory_can_be_caught_and_the_program_goes_on() {
    let script = "local ok, m = pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end) \
                  local t = {} for i = 1, 100 do t[i] = { i } end return ok, m, #t";
    let mut machine = engine::machine(16 << 20, Libraries::Redis);
    assert_eq!(outcome(&mut machine, script), "false not enough memory 100");
}

#[test]
fn resident_memory_follows_what_the_machine_says() {
    // The machine counts its own memory: this compares the count with the process's memory, in a process without other
    // tests.
    if std::env::var_os("REDSTART_ALONE").is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().expect("this program"));
        alone.args(["--exact", "limits::resident_memory_follows_what_the_machine_says"]);
        let (succeeds, text) = crate::support::run_bounded({
            alone.env("REDSTART_ALONE", "1");
            alone
        });
        assert!(succeeds && text.contains("1 passed"), "{text}");
        return;
    }
    let before = crate::support::resident_bytes(std::process::id());
    let mut machine = engine::machine(64 << 20, Libraries::Redis);
    let came = outcome(
        &mut machine,
        "kept = {} for i = 1, 200000 do kept[i] = { i, name = 'n' .. i } end return #kept",
    );
    assert_eq!(came, "200000");
    let used = machine.used_bytes() as u64;
    let resident = crate::support::resident_bytes(std::process::id()).saturating_sub(before);
    assert!(used >= 10 << 20, "{used} bytes in use");
    assert!(resident < 3 * used + (64 << 20), "{resident} bytes are resident, {used} are counted as used");
}

#[test]
fn a_function_of_the_host_may_answer_later_or_fail_or_be_abandoned() {
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    let globals = machine.globals();
    let host = machine.new_host_function("ask", 7);
    machine.heap.set_field(globals, "ask", host);
    begin(&mut machine, "local t = {} for i = 1, 3 do t[i] = ask(i, 'x') end return table.concat(t, ',')");
    for round in 1..=3 {
        let Progress::Host { function, call } = machine.run(1 << 30) else {
            panic!("the host is not called")
        };
        assert_eq!((function, call.count()), (7, 2));
        assert_eq!(text_of(&machine, machine.argument(call, 1)), round.to_string());
        machine.push(Value::Number(f64::from(round * 10)));
        machine.provide(1);
    }
    let Progress::Finished { results: 1 } = machine.run(1 << 30) else { panic!("does not finish") };
    assert_eq!(text_of(&machine, machine.result(0)), "10,20,30");

    // Inside of coroutines, metamethods and protected calls.
    begin(
        &mut machine,
        "local co = coroutine.wrap(function() return pcall(ask, 'in a coroutine') end) \
         local t = setmetatable({}, { __index = ask, __add = function(a, b) return ask(b) end }) \
         local ok, m = co() return ok, m, t.field, t + 5, (pcall(ask))",
    );
    for answer in [None, Some(1.0), Some(2.0), None] {
        let Progress::Host { .. } = machine.run(1 << 30) else { panic!("the host is not called") };
        if let Some(number) = answer {
            machine.push(Value::Number(number));
            machine.provide(1);
        } else {
            let message = machine.heap.string(b"refused");
            machine.raise(Value::String(message));
        }
    }
    let Progress::Finished { results: 5 } = machine.run(1 << 30) else { panic!("does not finish") };
    let results: Vec<String> = (0..5).map(|n| text_of(&machine, machine.result(n))).collect();
    assert_eq!(results, ["false", "refused", "1", "2", "false"]);

    // Abandoned during a call of the host.
    begin(&mut machine, "pcall(coroutine.wrap(function() ask() end))");
    assert!(matches!(machine.run(1 << 30), Progress::Host { .. }));
    machine.abandon();
    assert_eq!(outcome(&mut machine, "return 'next'"), "next");
}

#[test]
fn a_table_that_is_readonly_cannot_be_changed_in_any_way() {
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    let globals = machine.globals();
    let table = machine.heap.new_table(0, 0);
    machine.heap.set_field(table, "x", Value::Number(1.0));
    machine.heap.set_field(globals, "fixed", Value::Table(table));
    machine.heap.set_readonly(table, true);
    for change in [
        "fixed.x = 2",
        "fixed.new = 2",
        "fixed[1] = 2",
        "fixed.x = nil",
        "rawset(fixed, 'x', 2)",
        "table.insert(fixed, 2)",
        "table.insert(fixed, 1, 2)",
        "setmetatable(fixed, {})",
        "setmetatable(fixed, nil)",
        "setmetatable({}, { __newindex = fixed }).x = 2",
        "for k in pairs(fixed) do fixed[k] = nil end",
        "setfenv(function() x = 2 end, fixed)()",
        "fixed.x, fixed.y = 2, 3",
    ] {
        let came = outcome(&mut machine, change);
        assert!(came.ends_with("Attempt to modify a readonly table"), "{change}: {came}");
        assert_eq!(
            outcome(&mut machine, "return fixed.x, next(fixed, 'x'), #fixed, getmetatable(fixed)"),
            "1 nil 0 nil"
        );
    }
}

#[test]
fn load_takes_a_source_of_1_mib_and_refuses_a_longer_one() {
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    let script = "local longest = 'return 7' .. (' '):rep(2 ^ 20 - 8)
        local function in_pieces(text)
            local at = 1
            return function()
                at = at + 1000
                return text:sub(at - 1000, at - 1)
            end
        end
        local results = {}
        for _, source in ipairs({longest, longest .. ' '}) do
            for _, loaded in ipairs({{loadstring(source, '=long')}, {load(in_pieces(source), '=long')}}) do
                results[#results + 1] = loaded[1] and loaded[1]() or loaded[2]
            end
        end
        return table.concat(results, ', ')";
    let refused = "long: the source is too long";
    assert_eq!(outcome(&mut machine, script), format!("7, 7, {refused}, {refused}"));
}
