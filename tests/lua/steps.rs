//! What native functions and instructions are charged, and the most work that they do at once.
//!
//! Each native function has a hostile call here, and the number of stack values, table slots or string bytes that it
//! touches. The function must be charged for these, and must check the budget often. The test counts the machine's steps
//! and measures no times. A function without an entry fails the test.

use redstart::lua::{Libraries, Machine, Progress};

use crate::engine;
use crate::escapes::outcome;

/// The most steps between two checks of the budget: about a millisecond.
const MOST_AT_ONCE: usize = 100_000;

/// What a step buys at most.
const VALUES: usize = 8;
const SLOTS: usize = 16;
const BYTES: usize = 64;

/// How long the long strings are; how many slots the large tables have, and how many values there are at once.
const LENGTH: usize = 5 << 20;
const SIZE: usize = 1 << 19;
const COUNT: usize = 7000;

/// What a call touches.
#[derive(Clone, Copy)]
enum Touches {
    /// Values on the stack.
    Values(usize),
    Slots(usize),
    Bytes(usize),
    /// So little that the charge for the call is enough.
    Nothing,
}

use Touches::{Bytes, Nothing, Slots, Values};

/// Hostile strings and tables.
const SETUP: &str = "
    a, b = ('x'):rep(LENGTH - 1) .. 'y', ('x'):rep(LENGTH - 1) .. 'y'
    bytes, blanks, percents = ('x'):rep(LENGTH), (' '):rep(LENGTH), ('%%'):rep(LENGTH / 2)
    digits = ('1'):rep(200000)
    quotes = ('\"'):rep(LENGTH)
    few, many, none, hash = {}, {}, {}, {}
    for i = 1, COUNT do few[i] = i end
    for i = 1, SIZE do many[i] = 1 none[i] = 1 end
    for i = 1, SIZE do none[i] = nil end
    for i = 1, SIZE / 8 do hash['k' .. i] = i end
    for i = 1, SIZE / 8 do hash['k' .. i] = nil end
    keyed = {[a] = 1}
    texts = {a, b, a, b}
    function pass(...) return ... end
    function count(...) return select('#', ...) end
    co = coroutine.wrap(function(...) while true do coroutine.yield(...) end end)
    collectgarbage()";

/// A call of each function, by its name, and what that touches.
const CALLS: &[(&str, &str, Touches)] = &[
    ("assert", "pcall(assert, false, a)", Bytes(LENGTH)),
    ("collectgarbage", "collectgarbage()", Nothing),
    ("error", "pcall(error, a)", Bytes(LENGTH)),
    ("gcinfo", "gcinfo()", Nothing),
    ("getfenv", "getfenv(1)", Nothing),
    ("getmetatable", "getmetatable(a)", Nothing),
    ("ipairs", "for i, v in ipairs(many) do end", Slots(SIZE)),
    ("load", "load(function() local s = chunk chunk = nil return s end)", Nothing),
    ("loadstring", "loadstring(a)", Nothing),
    ("newproxy", "newproxy(true)", Nothing),
    ("next", "next(none)", Slots(SIZE)),
    ("pairs", "for k, v in pairs(none) do end", Slots(SIZE)),
    ("pcall", "pcall(pass, unpack(few))", Values(4 * COUNT)),
    ("rawequal", "rawequal(a, b)", Bytes(LENGTH)),
    ("rawget", "rawget(keyed, b)", Bytes(LENGTH)),
    ("rawset", "rawset(keyed, b, 2)", Bytes(LENGTH)),
    ("select", "select(2, unpack(few))", Values(3 * COUNT)),
    ("setfenv", "setfenv(pass, _G)", Nothing),
    ("setmetatable", "setmetatable({}, {})", Nothing),
    ("tonumber", "tonumber(digits, 36)", Bytes(200_000)),
    ("tostring", "tostring(a)", Nothing),
    ("type", "type(a)", Nothing),
    ("unpack", "unpack(few)", Values(2 * COUNT)),
    ("xpcall", "xpcall(function() return unpack(few) end, pass)", Values(3 * COUNT)),
    ("coroutine.create", "coroutine.create(pass)", Nothing),
    ("coroutine.resume", "coroutine.resume(coroutine.create(pass), unpack(few))", Values(5 * COUNT)),
    ("coroutine.running", "coroutine.running()", Nothing),
    ("coroutine.status", "coroutine.status(coroutine.create(pass))", Nothing),
    ("coroutine.wrap", "co(unpack(few))", Values(4 * COUNT)),
    ("coroutine.yield", "co(unpack(few))", Values(4 * COUNT)),
    ("string.byte", "bytes:byte(1, COUNT)", Values(2 * COUNT)),
    ("string.char", "string.char(bytes:byte(1, COUNT))", Values(3 * COUNT)),
    ("string.dump", "pcall(string.dump, pass)", Nothing),
    ("string.find", "bytes:find('y', 1, true)", Bytes(LENGTH)),
    ("string.format", "('%s%q'):format(a, quotes)", Bytes(4 * LENGTH)),
    ("string.gfind", "string.gfind(bytes, '(.*)x')()", Bytes(LENGTH)),
    ("string.gmatch", "bytes:gmatch('(.*)x')()", Bytes(LENGTH)),
    ("string.gsub", "bytes:gsub('.*', '%0%0')", Bytes(2 * LENGTH)),
    ("string.len", "bytes:len()", Nothing),
    ("string.lower", "bytes:lower()", Bytes(LENGTH)),
    ("string.match", "bytes:match('(.*)x')", Bytes(LENGTH)),
    ("string.rep", "bytes:rep(3)", Bytes(3 * LENGTH)),
    ("string.reverse", "bytes:reverse()", Bytes(LENGTH)),
    ("string.sub", "bytes:sub(2)", Bytes(LENGTH)),
    ("string.upper", "bytes:upper()", Bytes(LENGTH)),
    ("table.concat", "table.concat({a, b}, a)", Bytes(3 * LENGTH)),
    ("table.foreach", "table.foreach(none, pass)", Slots(SIZE)),
    ("table.foreachi", "table.foreachi(many, function() return true end)", Nothing),
    ("table.getn", "table.getn(many)", Nothing),
    ("table.insert", "table.insert(many, 1, 1)", Values(SIZE)),
    ("table.maxn", "table.maxn(none)", Slots(SIZE)),
    ("table.remove", "table.remove(many, 1)", Values(SIZE)),
    ("table.setn", "pcall(table.setn, {}, 1)", Nothing),
    ("table.sort", "table.sort(texts)", Bytes(3 * LENGTH)),
    ("os.clock", "os.clock()", Nothing),
    ("cjson.decode", "cjson.decode(json)", Bytes(LENGTH)),
    ("cjson.decode_invalid_numbers", "cjson.decode_invalid_numbers(true)", Nothing),
    ("cjson.decode_max_depth", "cjson.decode_max_depth(9)", Nothing),
    ("cjson.encode", "cjson.encode(quotes)", Bytes(2 * LENGTH)),
    ("cjson.encode_invalid_numbers", "cjson.encode_invalid_numbers(true)", Nothing),
    ("cjson.encode_keep_buffer", "cjson.encode_keep_buffer(true)", Nothing),
    ("cjson.encode_max_depth", "cjson.encode_max_depth(9)", Nothing),
    ("cjson.encode_number_precision", "cjson.encode_number_precision(9)", Nothing),
    ("cjson.encode_sparse_array", "cjson.encode_sparse_array(true)", Nothing),
    ("cjson.new", "cjson.new()", Nothing),
    ("cmsgpack.pack", "cmsgpack.pack(a)", Bytes(LENGTH)),
    ("cmsgpack.unpack", "cmsgpack.unpack(packed)", Bytes(LENGTH)),
    ("cmsgpack.unpack_limit", "cmsgpack.unpack_limit(packed, 1)", Bytes(LENGTH)),
    ("cmsgpack.unpack_one", "cmsgpack.unpack_one(packed)", Bytes(LENGTH)),
    ("struct.pack", "struct.pack('s', a)", Bytes(LENGTH)),
    ("struct.size", "struct.size(blanks)", Bytes(LENGTH)),
    ("struct.unpack", "struct.unpack('s', packed_struct)", Bytes(LENGTH)),
];

/// Libraries whose functions do no more than read their arguments as numbers.
const OF_NUMBERS: &[&str] = &["bit", "math"];

/// Instructions, and native functions that are called in other ways.
const MORE: &[(&str, &str, Touches)] = &[
    ("an assignment of many", "local t = {unpack(few)}", Values(3 * COUNT)),
    ("a call with many", "count(unpack(few))", Values(3 * COUNT)),
    ("a return of many", "pass(unpack(few))", Values(4 * COUNT)),
    ("a tail call with many", "(function(...) return count(...) end)(unpack(few))", Values(4 * COUNT)),
    ("a comparison", "local x = a == b", Bytes(LENGTH)),
    ("an order", "local x = a <= b", Bytes(LENGTH)),
    ("a key", "local x = keyed[b .. 'z']", Bytes(2 * LENGTH)),
    ("a key that is there", "local x = keyed[b]", Bytes(LENGTH)),
    ("a key that is set", "keyed[b .. 'z'] = 1", Bytes(2 * LENGTH)),
    ("a concatenation", "local x = a .. b .. 1 .. a", Bytes(3 * LENGTH)),
    ("next in nodes", "next(hash)", Slots(SIZE / 8)),
    ("a loop over nodes", "for k in pairs(hash) do end", Slots(SIZE / 8)),
    ("the largest key in nodes", "table.maxn(hash)", Slots(SIZE / 8)),
    ("each pair of nodes", "table.foreach(hash, pass)", Slots(SIZE / 8)),
    ("a text for a number", "local x = digits + 1", Bytes(200_000)),
    ("an array of nothing", "cjson.encode(none)", Slots(SIZE)),
    ("a map of nothing", "cmsgpack.pack(none)", Slots(SIZE)),
    ("an object of nothing", "cjson.encode(hash)", Slots(SIZE / 8)),
    ("blanks", "pcall(cjson.decode, blanks)", Bytes(LENGTH)),
    ("a key of escapes", "cjson.decode('{' .. json .. ': 1}')", Bytes(LENGTH)),
    ("a search for a long text", "a:find(b:sub(2), 1, true)", Bytes(2 * LENGTH)),
    ("captures", "bytes:find('((.*)x)')", Bytes(LENGTH)),
    ("a set", "pcall(string.find, bytes, '[' .. bytes .. ']')", Bytes(LENGTH)),
    ("a template", "('x'):gsub('x', percents)", Bytes(LENGTH)),
    ("a replacement", "('x'):gsub('x', function() return bytes end)", Bytes(LENGTH)),
    ("a key of a replacement", "bytes:gsub('.*', keyed)", Bytes(LENGTH)),
    ("a format without conversions", "bytes:format()", Bytes(LENGTH)),
];

fn new_machine() -> Machine {
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    let setup = SETUP
        .replace("LENGTH", &LENGTH.to_string())
        .replace("SIZE", &SIZE.to_string())
        .replace("COUNT", &COUNT.to_string());
    outcome(&mut machine, &setup);
    outcome(
        &mut machine,
        &format!(
            r#"json = '"' .. ('\\n'):rep({LENGTH} / 2) .. '"'
            packed = cmsgpack.pack(a) packed_struct = struct.pack('s', a)"#
        ),
    );
    machine
}

/// The names of all native functions.
fn natives(machine: &mut Machine) -> Vec<String> {
    let names = outcome(
        machine,
        "local names = {}
        local function visit(prefix, t)
            for name, value in pairs(t) do
                if type(value) == 'function' and value ~= pass and value ~= count and value ~= co then
                    names[#names + 1] = prefix .. name
                elseif type(value) == 'table' and prefix == '' and type(name) == 'string' and value ~= _G
                    and getmetatable('').__index and (name == 'string' or rawget(value, 1) == nil) then
                    visit(name .. '.', value)
                end
            end
        end
        visit('', _G)
        table.sort(names)
        return table.concat(names, ' ')",
    );
    names.split(' ').map(str::to_owned).collect()
}

/// Runs a program in short slices. Returns all that it has spent, and the most that it did at once.
fn measure(machine: &mut Machine, program: &str) -> (usize, usize) {
    const SLICE: usize = 1000;
    machine.collect();
    let program = program.replace("COUNT", &COUNT.to_string());
    let function = machine.load(program.as_bytes(), b"=call").expect("compiles");
    machine.begin(function, &[]);
    let (mut spent, mut most) = (0, 0);
    loop {
        let progress = machine.run(SLICE);
        spent += machine.spent();
        most = most.max(machine.overdraft());
        match progress {
            Progress::Paused => (),
            Progress::Finished { .. } => break,
            other => panic!("{program}: {other:?}"),
        }
    }
    machine.abandon();
    (spent, most)
}

/// Describes what is wrong with a call, if anything is.
fn fault(machine: &mut Machine, name: &str, program: &str, touches: Touches) -> Option<String> {
    let least = match touches {
        Values(count) => count / VALUES,
        Slots(count) => count / SLOTS,
        Bytes(count) => count / BYTES,
        Nothing => 0,
    };
    let (spent, most) = measure(machine, program);
    (spent < least || most > MOST_AT_ONCE)
        .then(|| format!("{name}: `{program}` pays {spent} steps of {least}, and does {most} at once"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_native_function_pays_for_what_it_touches_and_does_little_at_once() {
    let mut machine = new_machine();
    let mut faults = Vec::new();
    for name in natives(&mut machine) {
        let (library, _) = name.split_once('.').unwrap_or(("", &name));
        if OF_NUMBERS.contains(&library) {
            let program = format!("pcall({name}, digits, digits)");
            faults.extend(fault(&mut machine, &name, &program, Nothing));
            let program = format!("pcall({name}, unpack(few))");
            faults.extend(fault(&mut machine, &name, &program, Values(3 * COUNT)));
            continue;
        }
        match CALLS.iter().find(|(called, ..)| *called == name) {
            Some((_, program, touches)) => faults.extend(fault(&mut machine, &name, program, *touches)),
            None => faults.push(format!("{name} has no entry")),
        }
    }
    assert_none(&faults);
}

#[test]
fn every_instruction_pays_for_what_it_touches_and_does_little_at_once() {
    let mut machine = new_machine();
    let faults: Vec<String> = MORE
        .iter()
        .filter_map(|(name, program, touches)| fault(&mut machine, name, program, *touches))
        .collect();
    assert_none(&faults);
}
