//! Attacks: known ways out of the sandbox of a script, or into the memory of the server, and their outcomes here.
//!
//! Each entry is a script for the libraries of Redis's scripts. Its outcome is the text of its return value, or `error:
//! ` and the message. Attacks that need the server itself are in the tests of the server.

use redstart::lua::{Libraries, Machine, Progress, Value};

use crate::engine;

/// The required outcome of an attack.
enum Outcome {
    /// Exactly this text.
    Is(&'static str),
    /// A text with this end.
    Ends(&'static str),
    /// Any error.
    Fails,
}

use Outcome::{Ends, Fails, Is};

struct Attack {
    /// The CVE number, or the type of attack.
    name: &'static str,
    script: &'static str,
    outcome: Outcome,
}

/// The memory limit of the attacked machines.
const MEMORY: usize = 64 << 20;

/// An attack ends within this number of steps.
const MOST_STEPS: usize = 2_000_000_000;

const SLICE: usize = 100_000;

/// A value as `tostring` shows it, without addresses.
pub fn text_of(machine: &Machine, value: Value) -> String {
    let mut text = Vec::new();
    match value {
        Value::Nil => return "nil".into(),
        Value::Boolean(value) => return value.to_string(),
        _ if machine.heap.to_bytes(value, &mut text) => {}
        _ => return value.type_name().into(),
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs a script on a machine. Returns its values, or the error.
pub fn outcome(machine: &mut Machine, script: &str) -> String {
    let function = match machine.load(script.as_bytes(), b"@attack") {
        Ok(function) => function,
        Err(message) => return format!("error: {}", String::from_utf8_lossy(&message)),
    };
    machine.begin(function, &[]);
    for _ in 0..MOST_STEPS / SLICE {
        match machine.run(SLICE) {
            Progress::Paused => {}
            Progress::Finished { results } => {
                let values: Vec<String> = (0..results).map(|n| text_of(machine, machine.result(n))).collect();
                return values.join(" ");
            }
            Progress::Failed(failure) => return format!("error: {}", text_of(machine, failure.value)),
            Progress::Host { function, .. } => panic!("a function of the host: {function}"),
            Progress::Stopped(stop) => panic!("tracing is off: {stop:?}"),
        }
    }
    machine.abandon();
    "does not end".into()
}

fn check(attacks: &[Attack]) {
    let mut complaints = Vec::new();
    for attack in attacks {
        let mut machine = engine::machine(MEMORY, Libraries::Redis);
        let came = outcome(&mut machine, attack.script);
        let (is_harmless, expected) = match attack.outcome {
            Is(text) => (came == text, text),
            Ends(text) => (came.ends_with(text), text),
            Fails => (came.starts_with("error: "), "an error"),
        };
        if !is_harmless {
            let came: String = came.chars().take(300).collect();
            complaints.push(format!(
                "{}\n  {}\n  expected: {expected}\n  got:      {came}",
                attack.name, attack.script
            ));
        }
        // Whatever the script did, the machine runs the next one.
        let after = outcome(&mut machine, "return 1 + 1, ('x'):rep(3), #{ 1, 2, 3 }, type(pcall)");
        if after != "2 xxx 3 function" {
            complaints.push(format!("{}: the machine is damaged: {after}", attack.name));
        }
        assert!(
            machine.used_bytes() <= MEMORY + MEMORY / 16,
            "{}: {} bytes in use",
            attack.name,
            machine.used_bytes()
        );
    }
    assert!(complaints.is_empty(), "{} attacks:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn compiled_code_is_never_loaded() {
    // The loader of the reference implementation trusts its input: a program that writes bytecode can read and write
    // any memory.
    check(&[
        Attack {
            name: "CVE-2015-4335: bytecode by loadstring",
            script: r"local f, m = loadstring('\27Lua' .. ('\0'):rep(100)); return f, m",
            outcome: Ends("unexpected symbol near 'char(27)'"),
        },
        Attack {
            name: "bytecode by load",
            script: r"local n = 0; return select(2, load(function() n = n + 1; return n == 1 and '\27LuaQ\0\1\4\8\4\8\0' or nil end))",
            outcome: Ends("unexpected symbol near 'char(27)'"),
        },
        Attack {
            name: "bytecode with a header from string.dump",
            script: "local ok, code = pcall(string.dump, function() return 7 end); \
                     local f = ok and loadstring(code); return f and f() or 'refused'",
            outcome: Is("refused"),
        },
        Attack {
            name: "string.dump of a native function",
            script: "return (pcall(string.dump, print or pcall))",
            outcome: Is("false"),
        },
    ]);
}

#[test]
fn nothing_of_the_outside_is_within_reach() {
    // CVE-2022-0543: a distribution's dynamic Lua left `package` in the globals, which gave access to all of libc.
    let names = "package require module dofile loadfile io debug print arg ffi jit";
    let script = format!(
        "local t = {{}} for name in ('{names}'):gmatch('%a+') do t[#t + 1] = type(rawget(_G, name)) end return table.concat(t, ' ')"
    );
    let mut machine = engine::machine(MEMORY, Libraries::Redis);
    assert_eq!(outcome(&mut machine, &script), ["nil"; 11].join(" "));
    // Every function belongs to a library, and no library has a function that reaches outside.
    let script = "local t = {} for k in pairs(os or {}) do t[#t + 1] = k end return table.concat(t, ' ')";
    let in_os = outcome(&mut machine, script);
    assert!(in_os.is_empty() || in_os == "clock", "os has {in_os}");
    for hidden in [
        "getfenv(0)",
        "getfenv(1)",
        "getfenv(pcall)",
        "getmetatable('').__index",
        "getfenv(coroutine.create)",
    ] {
        let script =
            format!("local e = {hidden}; return tostring(rawget(e, 'io')), tostring(rawget(e, 'package'))");
        assert_eq!(outcome(&mut machine, &script), "nil nil", "{hidden}");
    }
    let registry = "return pcall(getmetatable, nil), type(getmetatable(nil)), type(getmetatable(1)), type(getmetatable(pcall))";
    assert_eq!(outcome(&mut machine, registry), "true nil nil nil");
}

#[test]
fn counts_and_sizes_that_overflow_are_errors() {
    check(&[
        Attack {
            name: "CVE-2025-46817: the count of unpack overflows",
            script: "return pcall(unpack, {}, 0, 2147483647)",
            outcome: Is("false too many results to unpack"),
        },
        Attack {
            name: "CVE-2025-46817: from the least to the greatest",
            script: "return pcall(unpack, {}, -2147483648, 2147483647)",
            outcome: Is("false too many results to unpack"),
        },
        Attack {
            name: "CVE-2025-46817: the end is the greatest of all",
            script: "return pcall(unpack, {}, 2147483647, 2147483647)",
            outcome: Is("true nil"),
        },
        Attack {
            name: "CVE-2018-11219: a size in struct.pack",
            script: "return pcall(struct.pack, '>I2147483648', 1)",
            outcome: Is("false integral size overflow"),
        },
        Attack {
            name: "CVE-2020-14147: a size of many digits",
            script: "return pcall(struct.pack, '>I99999999999999999999', 1)",
            outcome: Is("false integral size overflow"),
        },
        Attack {
            name: "CVE-2018-11219: a size in struct.unpack",
            script: "return pcall(struct.unpack, 'c2147483648', 'abc')",
            outcome: Is("false integral size overflow"),
        },
        Attack {
            name: "CVE-2018-11219: a size that wraps around with the position",
            script: "return pcall(struct.unpack, 'c2147483647c2147483647', ('x'):rep(10), 5)",
            outcome: Is("false bad argument #2 to '?' (data string too short)"),
        },
        Attack {
            name: "struct.unpack from behind the end",
            script: "return pcall(struct.unpack, 'I', 'abcd', 4294967295)",
            outcome: Is("false bad argument #2 to '?' (data string too short)"),
        },
        Attack {
            name: "struct.unpack from before the start",
            script: "return (pcall(struct.unpack, 'I', 'abcd', -1))",
            outcome: Is("false"),
        },
        Attack {
            name: "struct: an alignment that overflows",
            script: "return pcall(struct.pack, '!2147483648d', 1)",
            outcome: Is("false integral size overflow"),
        },
        Attack {
            name: "CVE-2024-31449: the least number of digits",
            script: "return bit.tohex(1, -2147483648), bit.tohex(-1, 2147483647), bit.tohex(255, 0) == ''",
            outcome: Is("00000001 ffffffff true"),
        },
        Attack {
            name: "string.rep: the size overflows",
            script: "return #('x'):rep(65536):rep(2 ^ 48), #('ab'):rep(2 ^ 63), #('x'):rep(2 ^ 31), #('x'):rep(-2 ^ 31), (pcall(string.rep, ('x'):rep(65536), 2 ^ 31 - 1))",
            outcome: Is("0 0 0 0 false"),
        },
        Attack {
            name: "string.format: a width that overflows",
            script: "return pcall(string.format, '%2147483648d', 1)",
            outcome: Is("false invalid format (width or precision too long)"),
        },
        Attack {
            name: "string.format: a precision that fills the stack",
            script: "return #string.format('%.99f', 1e308), #string.format('%99.99f', -1e308)",
            outcome: Is("409 410"),
        },
        Attack {
            name: "CVE-2014-5461: more parameters than there is stack for",
            script: "local p = {} for i = 1, 180 do p[i] = 'p' .. i end \
                     local f = loadstring('local function f(' .. table.concat(p, ',') .. ', ...) return p180, select(\"#\", ...) end return f(f())') \
                     local n = 0 for i = 1, 200 do local co = coroutine.wrap(f) local _, count = co() n = n + count end return n",
            outcome: Is("0"),
        },
        Attack {
            name: "table.concat: bounds that overflow",
            script: "return (pcall(table.concat, {}, '', 2147483647, 2147483647)), (pcall(table.concat, {}, '', -2147483648, 0)), table.concat({}, '', 2147483647, -2147483648) == ''",
            outcome: Is("false false true"),
        },
        Attack {
            name: "string.sub and byte: positions that overflow",
            script: "return ('abc'):sub(-2147483648, 2147483647), ('abc'):sub(2 ^ 62, 2 ^ 62) == '', select('#', ('abc'):byte(-2 ^ 62, 2 ^ 62))",
            outcome: Is("abc true 3"),
        },
        Attack {
            name: "select: a count that overflows",
            script: "return (pcall(select, -2147483648, 1)), select('#', select(2147483647, 1))",
            outcome: Is("false 0"),
        },
        Attack {
            name: "table.insert far away",
            script: "local t = {} t[2 ^ 53] = 1 table.insert(t, 2 ^ 30, 'x') return #t >= 0",
            outcome: Is("true"),
        },
    ]);
}

#[test]
fn a_source_that_is_nested_too_deeply_does_not_compile() {
    check(&[
        Attack {
            name: "the compiler: brackets in brackets",
            script: "local f, m = loadstring('return ' .. ('('):rep(100000)) return m:match('[^:]*$')",
            outcome: Is(" chunk has too many syntax levels"),
        },
        Attack {
            name: "the compiler: tables in tables",
            script: "local f, m = loadstring('return ' .. ('{'):rep(100000)) return m:match('[^:]*$')",
            outcome: Is(" chunk has too many syntax levels"),
        },
        Attack {
            name: "the compiler: functions in functions",
            script: "local f, m = loadstring(('return function() '):rep(50000)) return m:match('[^:]*$')",
            outcome: Is(" chunk has too many syntax levels"),
        },
        Attack {
            name: "the compiler: an operator to the right of another",
            script: "local f, m = loadstring('return 1' .. (' .. 1'):rep(100000)) return m:match('[^:]*$')",
            outcome: Is(" chunk has too many syntax levels"),
        },
        Attack {
            name: "the compiler: blocks in blocks",
            script: "local f, m = loadstring(('do '):rep(100000)) return m:match('[^:]*$')",
            outcome: Is(" chunk has too many syntax levels"),
        },
    ]);
}

#[test]
fn nesting_is_an_error_before_it_is_an_overflow_of_the_stack() {
    check(&[
        Attack {
            name: "CVE-2018-11218: arrays in arrays, to cmsgpack",
            script: "return pcall(cmsgpack.unpack, ('\\145'):rep(100000))",
            outcome: Is("false stack overflow (in function mp_decode_to_lua_array)"),
        },
        Attack {
            name: "CVE-2021-32626: more values than the stack holds, from cmsgpack",
            script: "return pcall(cmsgpack.unpack, ('\\1'):rep(1000000))",
            outcome: Is(
                "false stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
            ),
        },
        Attack {
            name: "CVE-2018-11218: a length that is only claimed",
            script: "return pcall(cmsgpack.unpack, '\\221\\255\\255\\255\\255')",
            outcome: Is("false Missing bytes in input."),
        },
        Attack {
            name: "CVE-2018-11218: a string that is only claimed",
            script: "return pcall(cmsgpack.unpack, '\\219\\255\\255\\255\\255x')",
            outcome: Is("false Missing bytes in input."),
        },
        Attack {
            name: "a table in itself, to cmsgpack",
            script: "local t = {} t[1] = t return #cmsgpack.pack(t) < 100",
            outcome: Is("true"),
        },
        Attack {
            name: "CVE-2021-32626: arrays in arrays, from cjson",
            script: "return pcall(cjson.decode, ('['):rep(2000))",
            outcome: Is("false Found too many nested data structures (1001) at character 1001"),
        },
        Attack {
            name: "objects in objects, from cjson",
            script: "return pcall(cjson.decode, ('{\"a\":'):rep(2000))",
            outcome: Is("false Found too many nested data structures (1001) at character 5001"),
        },
        Attack {
            name: "a table in itself, to cjson",
            script: "local t = {} t[1] = t return pcall(cjson.encode, t)",
            outcome: Is("false Cannot serialise, excessive nesting (1001)"),
        },
        Attack {
            name: "cjson: any depth is allowed by its own setting",
            script: "cjson.decode_max_depth(2147483647) return (pcall(cjson.decode, ('['):rep(1000000)))",
            outcome: Is("false"),
        },
        Attack {
            name: "patterns: a capture in a repetition of a million",
            script: "local s = ('a'):rep(1000000) return #s:match('(.-)$'), #s:match('^(.*)$'), s:find('b')",
            outcome: Is("1000000 1000000 nil"),
        },
        Attack {
            name: "patterns: an item for every byte of a long pattern",
            script: "return ('a'):rep(300000):find(('a?'):rep(100000))",
            outcome: Ends("pattern too complex"),
        },
    ]);
}

#[test]
fn recursion_without_end_is_an_error_that_can_be_caught() {
    check(&[
        Attack {
            name: "recursion without end",
            script: "local function f() return 1 + f() end return pcall(f)",
            outcome: Ends("stack overflow"),
        },
        Attack {
            name: "recursion through metamethods",
            script: "local t = setmetatable({}, { __index = function(t, k) return t[k .. 'x'] end }) return (pcall(function() return t.a end))",
            outcome: Is("false"),
        },
        Attack {
            name: "recursion through tostring",
            script: "local t = setmetatable({}, { __tostring = tostring }) return (pcall(tostring, t))",
            outcome: Is("false"),
        },
        Attack {
            name: "recursion through gsub, sort and pcall",
            script: "local function g() return (('x'):gsub('x', g)) end local function s() table.sort({ 1, 2, 3 }, s) end \
                     local function p() return pcall(p) end return (pcall(g)), (pcall(s)), (pcall(p))",
            outcome: Is("false false true"),
        },
        Attack {
            name: "coroutines that resume coroutines",
            script: "local function f() return coroutine.wrap(f)() end return (pcall(f))",
            outcome: Is("false"),
        },
        Attack {
            name: "a handler that fails in its handler",
            script: "local function h() error('again') end return (xpcall(error, h)), (xpcall(error, function() return xpcall(error, h) end))",
            outcome: Is("false false"),
        },
        Attack {
            name: "a chain of __index that is a circle",
            script: "local a, b = {}, {} setmetatable(a, { __index = b }) setmetatable(b, { __index = a }) return pcall(function() return a.x end)",
            outcome: Ends("loop in gettable"),
        },
        Attack {
            name: "a chain of __call of many tables",
            script: "local f = function() return 'called' end for i = 1, 50000 do f = setmetatable({}, { __call = f }) end return (pcall(f))",
            outcome: Is("false"),
        },
    ]);
}

#[test]
fn the_collector_takes_nothing_that_is_in_use() {
    check(&[
        Attack {
            name: "CVE-2025-49844: a collection while a chunk is being compiled",
            script: "local n = 0 \
                     local f = load(function() n = n + 1 for i = 1, 50 do local garbage = { i } end collectgarbage() \
                       if n <= 200 then return 'local v' .. n .. (' = \"a string that is long enough to be one of its own, '):rep(2) .. n .. '\"\\n' end \
                       if n == 201 then return 'return v1, v200' end end, ('=a name of the chunk '):rep(3) .. n) \
                     collectgarbage() return select('#', f())",
            outcome: Fails,
        },
        Attack {
            name: "CVE-2025-49844: names that only the compiler holds",
            script: "local n = 0 \
                     local f = load(function() n = n + 1 collectgarbage() \
                       if n <= 150 then return 'local variable_number_' .. n .. ' = \"constant ' .. n .. '\" ' end \
                       if n == 151 then return 'return variable_number_1 .. variable_number_150' end end) \
                     collectgarbage() return f()",
            outcome: Is("constant 1constant 150"),
        },
        Attack {
            name: "CVE-2024-46981: finalisers of proxies, in any order and at the end",
            script: "local log = 0 for i = 1, 1000 do local p = newproxy(true) local mt = getmetatable(p) mt.__gc = function(o) log = log + 1 mt.again = o end mt.p = p end \
                     collectgarbage() collectgarbage() return type(log)",
            outcome: Is("number"),
        },
        Attack {
            name: "a finaliser that fails",
            script: "local p = newproxy(true) getmetatable(p).__gc = function() error('in a finaliser') end p = nil return (pcall(collectgarbage))",
            outcome: Is("true"),
        },
        Attack {
            name: "a coroutine that is collected while it waits",
            script: "for i = 1, 2000 do local co = coroutine.wrap(function() local t = {} coroutine.yield(t) return t end) co() end collectgarbage() return 'alive'",
            outcome: Is("alive"),
        },
        Attack {
            name: "a table that changes while table.sort is at work",
            script: "local t = {} for i = 1, 200 do t[i] = i % 17 end \
                     pcall(table.sort, t, function(a, b) for i = 1, 5 do t[#t] = nil end collectgarbage() return (a or 0) < (b or 0) end) return 'alive'",
            outcome: Is("alive"),
        },
        Attack {
            name: "a table that changes while it is traversed",
            script: "local t = {} for i = 1, 100 do t[i] = i t['k' .. i] = i end \
                     local ok = pcall(function() for k in pairs(t) do t[k] = nil t[{}] = k collectgarbage('step') if collectgarbage('count') > 30000 then break end end end) return type(ok)",
            outcome: Is("boolean"),
        },
        Attack {
            name: "a table that changes while it is concatenated, packed and unpacked",
            script: "local mt = { __index = function(t, k) collectgarbage() return nil end } local t = setmetatable({ 1, nil, 3 }, mt) \
                     return (pcall(table.concat, t)), select('#', unpack(t, 1, 3)), #cmsgpack.pack(t) > 0, (pcall(cjson.encode, t))",
            outcome: Is("false 3 true true"),
        },
        Attack {
            name: "weak tables whose keys are their own values",
            script: "local w = setmetatable({}, { __mode = 'kv' }) for i = 1, 1000 do local t = {} w[t] = t w[i] = {} end collectgarbage() local n = 0 for k, v in pairs(w) do n = n + 1 end return n",
            outcome: Is("0"),
        },
        Attack {
            name: "upvalues of a coroutine that has failed",
            script: "local get local co = coroutine.create(function() local v = { 'kept' } get = function() return v[1] end error('fails') end) coroutine.resume(co) co = nil collectgarbage() return get()",
            outcome: Is("kept"),
        },
    ]);
}

#[test]
fn the_lexer_reads_nothing_beyond_its_input() {
    check(&[
        Attack {
            name: "CVE-2025-46819: a delimiter of a long string without end",
            script: "local f, m = loadstring('return [' .. ('='):rep(100000)) return #m < 200000 and m:match('invalid long string delimiter') or m",
            outcome: Is("invalid long string delimiter"),
        },
        Attack {
            name: "CVE-2025-46819: a long string whose end is shorter",
            script: "local f, m = loadstring('return [' .. ('='):rep(100000) .. '[x]' .. ('='):rep(99999) .. ']') return m:match('[^:]*$')",
            outcome: Is(" unfinished long string near '<eof>'"),
        },
        Attack {
            name: "a source that ends in the middle of everything",
            script: "local s = 'local function f(a, ...) for i = 1, 2 do x[ [==[ long ]==] ] = \"\\\\065\" .. 0x1F --[[ c ]] end end' \
                     local n = 0 for i = 0, #s do n = n + (loadstring(s:sub(1, i)) and 1 or 0) end return n > 0, #s",
            outcome: Is("true 95"),
        },
        Attack {
            name: "a numeral of a million digits",
            script: "return loadstring('return ' .. ('1'):rep(1000000))(), loadstring('return 0x' .. ('f'):rep(1000000))()",
            outcome: Is("inf inf"),
        },
        Attack {
            name: "a name of half a million bytes",
            script: "local n = ('n'):rep(500000) return loadstring('local ' .. n .. ' = 5 return ' .. n)()",
            outcome: Is("5"),
        },
        Attack {
            name: "more lines than an instruction can name",
            script: "local f, m = loadstring(('\\n'):rep(1000000) .. 'x = = 1') return m:match(':%d+:')",
            outcome: Is(":1000001:"),
        },
    ]);
}
