//! A hostile call of each native function, with the memory that it touches: [`steps`](super::steps) counts the charge
//! for such a call, [`busy`](super::busy) repeats it forever on a server.

/// The memory that a call touches.
#[derive(Clone, Copy)]
pub enum Touches {
    /// Values on the stack.
    Values(usize),
    Slots(usize),
    Bytes(usize),
    /// Little: the charge for the call itself is enough.
    Nothing,
}

use Touches::{Bytes, Nothing, Slots, Values};

/// The length of the long strings, the number of slots of the large tables, and the number of values on the stack.
pub const LENGTH: usize = 5 << 20;
pub const SIZE: usize = 1 << 19;
pub const COUNT: usize = 7000;

/// The number of values on the stack of a new coroutine.
const WINDOW: usize = 256;

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
    full = {}
    for _, name in ipairs({'set', 'named', 'global', 'behind', 'raw', 'listed'}) do full[name] = {} end
    for i = 1, SIZE / 8 do
        for name, t in pairs(full) do t[name == 'listed' and 2 * SIZE - i or i + 0.5] = 1 end
    end
    keyed = {[a] = 1}
    texts = {a, b, a, b}
    function pass(...) return ... end
    function count(...) return select('#', ...) end
    co = coroutine.wrap(function(...) while true do coroutine.yield(...) end end)
    json = '\"' .. ('\\\\n'):rep(LENGTH / 2) .. '\"'
    packed = cmsgpack.pack(a) packed_struct = struct.pack('s', a)
    collectgarbage()";

/// Creates the globals that the calls use, with strings of `length` bytes and tables of `size` slots.
pub fn setup(length: usize, size: usize) -> String {
    with_count(SETUP).replace("LENGTH", &length.to_string()).replace("SIZE", &size.to_string())
}

/// A program from the tables, with the count filled in.
pub fn with_count(program: &str) -> String {
    program.replace("COUNT", &COUNT.to_string())
}

/// Returns the names of all native functions; it runs before [`setup`].
pub const NAMES: &str = "
    local names = {}
    for name, value in pairs(_G) do
        if type(value) == 'function' then
            names[#names + 1] = name
        elseif type(value) == 'table' and value ~= _G then
            for field, inner in pairs(value) do
                if type(inner) == 'function' then names[#names + 1] = name .. '.' .. field end
            end
        end
    end
    return table.concat(names, ' ')";

/// The calls of the function `name`; none if the tables have no entry for it.
pub fn calls_of(name: &str) -> Vec<(String, Touches)> {
    if OF_NUMBERS.iter().any(|library| name.starts_with(&format!("{library}."))) {
        return vec![
            (format!("pcall({name}, digits, digits)"), Nothing),
            (format!("pcall({name}, unpack(few))"), Values(3 * COUNT)),
        ];
    }
    let entries = CALLS.iter().filter(|(called, ..)| *called == name);
    entries.map(|(_, program, touches)| ((*program).to_owned(), *touches)).collect()
}

/// A call of each function, by its name, and what that call touches.
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
    ("coroutine.create", "coroutine.create(pass)", Values(WINDOW)),
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

/// Libraries whose functions only read their arguments as numbers.
const OF_NUMBERS: &[&str] = &["bit", "math"];

/// Instructions, and native functions that are not called by their names.
pub const MORE: &[(&str, &str, Touches)] = &[
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
    ("a key in a table without a free node", "full.set[0.25] = 1", Slots(SIZE / 8)),
    ("a name in a table without a free node", "full.named.x = 1", Slots(SIZE / 8)),
    (
        "a global in a table without a free node",
        "setfenv(function() x = 1 end, full.global)()",
        Slots(SIZE / 8),
    ),
    ("a key behind a metatable", "setmetatable({}, {__newindex = full.behind}).x = 1", Slots(SIZE / 8)),
    ("rawset in a table without a free node", "rawset(full.raw, 0.25, 1)", Slots(SIZE / 8)),
    ("insert in a table without a free node", "table.insert(full.listed, 1)", Slots(SIZE / 8)),
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
