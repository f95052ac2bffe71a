//! Random programs that call commands, and pass values from one library to another.
//!
//! A program collects its results in a table, which it returns; most calls that may fail are inside a `pcall` whose
//! error is collected as well. Nothing in it depends on time, on random choices or on the address of a table. Its loops
//! are short.

use super::super::words::{member, number};
use super::super::{Calls, Step};
use crate::pair::Rule;
use crate::support::Version;
use crate::support::random::Random;
use std::fmt::Write;

/// One line, so that line numbers in errors are those of the program. `kind` returns the type of a reply that depends
/// on time or random choices, `sorted` sorts elements into an order that is the same in both servers, `show` describes
/// a value completely.
const PRELUDE: &str = "local out = {} \
local function note(...) for i = 1, select('#', ...) do local v = select(i, ...) if v == nil then v = 'nil' end \
out[#out + 1] = v end end \
local function kind(v) if type(v) == 'table' and v.err then return v end \
if type(v) == 'number' and v < 0 then return v end return type(v) end \
local function sorted(v) if type(v) ~= 'table' or v.err then return v end local t = {} \
for k, x in pairs(v.map or v.set or v) do if type(x) == 'table' then return 'table' end \
t[#t + 1] = (v.map and k .. '=' or '') .. (v.set and k or tostring(x)) end table.sort(t) return t end \
local function show(v, d) d = d or 0 if type(v) == 'string' then return string.format('%q', v) end \
if type(v) ~= 'table' then return type(v) == 'number' and string.format('%.17g', v) or tostring(v) end \
if d > 4 then return '{...}' end local t = {} \
for k, x in pairs(v) do t[#t + 1] = show(k, d + 1) .. '=' .. show(x, d + 1) end \
return '{' .. table.concat(t, ',') .. '}' end\n";

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "0.5",
    "-2.25",
    "1e3",
    "255",
    "65536",
    "2^31",
    "2^32",
    "-2^31",
    "2^53",
    "1/3",
    "3.7",
    "-0.1",
    "100",
    "1e15",
    "123456789012",
    "0x10",
];

/// Beyond the range of integers, or not a number. (A literal `-0` would replace every later `0` of the function.)
const EXTREMES: &[&str] =
    &["2^63", "-2^63", "2^64", "1e300", "1/0", "-1/0", "0/0", "-tonumber('0')", "5e-324", "1e17"];

const TEXTS: &[&str] =
    &["", "a", "hello", "wor ld", "10", "0x1f", "3.5e2", "-7", " 8 ", "MY err", "-ERR x", "a,b;c", "%d %s"];

const JSON: &[&str] = &[
    r#"{"a":1,"b":[1,2,{"c":null}],"d":true}"#,
    "[1,2.5,-3e10,0.1,1e308,12345678901234567890]",
    r#""\u00e9\ud83d\ude00\n\/""#,
    r#"{"a":}"#,
    "[1,",
    "nul",
    "null",
    "[]",
    "{}",
    "[[],{},[[1]]]",
    r#"{"1":2,"x":"y\u0000z"}"#,
    r#""\ud800""#,
    " [ 1 , \"two\" ] ",
    "[1] 2",
    "0x1f",
    "-",
    "1e999",
    "nan",
    "[true,false,null]",
];

const FORMATS: &[&str] = &[
    "b", "B", "h", "H", "i", "I", "l", "L", "i1", "i2", "i3", "I4", "i8", "I8", "f", "d", "s", "c3", "c0",
    "x", ">", "<", "=", "!4", "!8", "!", "T", "z", "i33", " ",
];

const FORBIDDEN: &[&str] = &[
    "redis.call('eval', 'return 1', 0)",
    "redis.call('multi')",
    "redis.pcall('subscribe', 'c')",
    "redis.call('script', 'load', 'return 1')",
    "redis.call('fcall', 'one', 0)",
    "redis.call()",
    "redis.call({})",
    "redis.call('get', {})",
    "redis.call('get', nil)",
    "redis.pcall('get', true)",
    "redis.pcall('nosuch', 1)",
    "undefined",
    "redis.nothing",
    "_G.nothing",
    "setmetatable(_G, {})",
    "rawset(_G, 'a', 1)",
    "rawset(redis, 'a', 1)",
    "setmetatable(redis, nil)",
    "getmetatable(_G)",
    "loadstring('return 1 +')",
    "loadstring('return ...')(1)",
    "redis.setresp(4)",
    "redis.log(9, 'x')",
    "redis.error_reply({})",
    "redis.set_repl(9)",
    "require('os')",
    "print and print.x",
    "dofile",
    "string.dump",
    "(nil)[1]",
    "(nil)()",
    "({}) + 1",
    "({}) .. 'a'",
    "1 < 'a'",
    "{} < {}",
    "#nil",
    "('x'):nosuch()",
    "error()",
    "error('plain')",
    "error('level', 0)",
    "error('level', 2)",
    "error({err = 'MY table'})",
    "error(nil)",
    "assert(false)",
    "assert(nil, 'said')",
    "select(0)",
    "unpack({}, 1, 1e8)",
    "string.rep('x', -1)",
    "tostring()",
    "ipairs()",
    "next({}, 'a')",
    "math.random(0)",
    "table.concat({1, {}, 3})",
    "table.insert({}, 1, 2, 3)",
    "coroutine.resume(coroutine.create(function(...) return redis.call(...) end), 'echo', 'in')",
    "coroutine.wrap(function() for i = 1, 3 do coroutine.yield(redis.pcall('incr', 'counter')) end end)()",
];

/// The arguments of EVAL and EVAL_RO.
pub fn call(random: &mut Random, calls: &Calls) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(random, calls, "KEYS", "ARGV");
    writer.head();
    writer.text.push_str(PRELUDE);
    writer.statements(8);
    let result = writer.result();
    writer.line(&format!("return {result}"));
    let Writer { random, text, keys, args, .. } = writer;
    let text = if random.chance(30) { broken(random, &text) } else { text.into_bytes() };
    let mut words = vec![text, keys.len().to_string().into_bytes()];
    words.extend(keys);
    words.extend(args);
    words
}

/// The arguments of FUNCTION LOAD: a library with one function, `made`.
pub fn library(random: &mut Random, calls: &Calls) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(random, calls, "keys", "args");
    let shared = writer.random.below(100);
    let flags =
        *writer.random.pick(&["", "", ", flags = {'no-writes'}", ", flags = {'allow-oom', 'allow-stale'}"]);
    let _ =
        writeln!(writer.text, "#!lua name=made\nlocal shared = {shared}\nlocal function made(keys, args)");
    writer.text.push_str(PRELUDE);
    writer.line("shared = shared + 1 note(shared)");
    writer.statements(5);
    let result = writer.result();
    writer.line(&format!("return {result}\nend"));
    writer.line(&format!("redis.register_function{{function_name = 'made', callback = made{flags}}}"));
    let Writer { random, text, .. } = writer;
    let mut words = vec![if random.chance(30) { broken(random, &text) } else { text.into_bytes() }];
    if !random.chance(4) {
        words.insert(0, b"REPLACE".to_vec());
    }
    words
}

/// A program that is truncated, or contains a foreign part: it seldom compiles.
fn broken(random: &mut Random, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at =
        PRELUDE.len().min(bytes.len() - 1) + random.below(bytes.len() - PRELUDE.len().min(bytes.len() - 1));
    match random.below(3) {
        0 => bytes.truncate(at),
        1 => bytes.truncate(random.below(text.len())),
        _ => {
            let token = *random.pick(&[
                " end ", " ) ", " 'x ", " = ", " then ", " [=[ ", " @ ", " 1e+ ", " local ", "\\", " ... ",
            ]);
            bytes.splice(at..at, token.bytes());
        }
    }
    bytes
}

struct Writer<'a> {
    random: &'a mut Random,
    calls: &'a Calls,
    text: String,
    /// The variables for `keys` and `args` in the program.
    names: [&'static str; 2],
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
    /// The number of values: `v1`, `v2`, …
    values: usize,
}

impl<'a> Writer<'a> {
    fn new(random: &'a mut Random, calls: &'a Calls, keys: &'static str, args: &'static str) -> Writer<'a> {
        Writer {
            random,
            calls,
            text: String::new(),
            names: [keys, args],
            keys: Vec::new(),
            args: Vec::new(),
            values: 0,
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        let picked: &&'static str = self.random.pick(from);
        picked
    }

    /// Sometimes adds a first line with flags.
    fn head(&mut self) {
        if self.random.chance(10) {
            let flags = self.pick(&[
                "",
                " flags=no-writes",
                " flags=allow-oom",
                " flags=no-writes,allow-stale",
                " flags=no-cluster,allow-cross-slot-keys",
                " flags=",
                " flags=nosuch",
                " name=x",
                " x",
            ]);
            self.line(&format!("#!lua{flags}"));
        }
    }

    fn statements(&mut self, most: usize) {
        for _ in 0..=self.random.below(most) {
            self.statement(0);
        }
    }

    fn statement(&mut self, depth: usize) {
        match self.random.below(24) {
            0..=8 => {
                let call = self.command();
                self.values += usize::from(depth == 0);
                // A value declared in a block is not visible after it.
                let line = if depth == 0 {
                    format!("local v{} = {call}", self.values)
                } else {
                    format!("note({call})")
                };
                self.line(&line);
                if depth == 0 && self.random.chance(2) {
                    self.line(&format!("note(v{})", self.values));
                }
            }
            9..=13 => {
                let value = self.expression(0);
                let shown = if self.random.chance(2) { format!("show({value})") } else { value };
                self.line(&format!("note(pcall(function() return {shown} end))"));
            }
            14..=15 => {
                // Redis crashes on an uncaught error whose value is a table without a text.
                let what = if self.random.chance(30) { "error({1, 2})" } else { self.pick(FORBIDDEN) };
                self.line(&format!("note(pcall(function() local x = {what} return type(x) end))"));
            }
            16 => {
                let protocol = self.pick(&["2", "3", "3"]);
                self.line(&format!("redis.setresp({protocol})"));
            }
            17 => {
                let call = self.command();
                self.line(&format!("note(pcall(function() return {call} end))"));
            }
            18..=19 if depth < 2 => self.repeat(depth),
            20..=21 if depth < 2 => self.branch(depth),
            22 if self.random.chance(4) => {
                // Ends the program, unless nothing is raised.
                let what = self.pick(FORBIDDEN);
                self.line(&format!("if #out > 2 then local x = {what} end"));
            }
            _ => {
                let value = self.expression(0);
                self.line(&format!("out[#out + 1] = {value}"));
            }
        }
    }

    fn repeat(&mut self, depth: usize) {
        let list = self.names[self.random.below(2)];
        let head = match self.random.below(3) {
            0 => format!("for i, x in ipairs({list}) do"),
            1 if self.calls.peer >= Version::new(7, 2) => format!("for i, x in pairs({}) do", self.table(1)),
            _ => format!("for i = 1, {} do local x = i * 2", self.random.below(4)),
        };
        self.line(&head);
        let command = self.pick(&[
            "redis.pcall('rpush', 'list:1', i, x)",
            "redis.pcall('hset', 'hash:1', i, x)",
            "redis.pcall('incrby', 'counter', x)",
            "redis.pcall('zadd', 'zset:1', i, x)",
            "redis.pcall('get', x)",
            "redis.pcall('type', x)",
        ]);
        // More nested tables would make a long reply.
        self.line(&format!("if #out > 40 then break end note({command})"));
        self.statement(depth + 1);
        self.line("end");
    }

    fn branch(&mut self, depth: usize) {
        let (a, b) = (self.expression(2), self.expression(2));
        let order = self.pick(&["==", "~=", "==", "<", ">="]);
        self.line(&format!("if select(2, pcall(function() return {a} {order} {b} end)) == true then"));
        self.statement(depth + 1);
        if self.random.chance(2) {
            self.line("else");
            self.statement(depth + 1);
        }
        self.line("end");
    }

    /// A command of any family, and a function for the part of its reply to collect.
    fn command(&mut self) -> String {
        let Step { args, rule, .. } = self.calls.command(self.random);
        let name = String::from_utf8_lossy(&args[0]).to_uppercase();
        // A key must not expire while the test runs.
        let takes_time =
            name.contains("EXPIRE") || ["SET", "SETEX", "PSETEX", "GETEX", "RESTORE"].contains(&&*name);
        let odd = (!takes_time && self.random.chance(6)).then(|| 1 + self.random.below(args.len()));
        let words: Vec<String> = (0..args.len())
            .map(|at| match at {
                0 => quoted(&args[0]),
                _ if odd == Some(at) => self.odd_word(),
                _ => self.word(at, &args[at]),
            })
            .collect();
        let call = format!(
            "redis.{}({})",
            self.pick(&["call", "call", "pcall", "pcall", "pcall"]),
            words.join(", ")
        );
        match rule {
            Rule::Exact => call,
            Rule::Unordered | Rule::UnorderedPairs => format!("sorted({call})"),
            _ => format!("kind({call})"),
        }
    }

    /// An argument of a command as a literal, a small number sometimes as a number, or through KEYS or ARGV.
    fn word(&mut self, at: usize, arg: &[u8]) -> String {
        let is_small = std::str::from_utf8(arg)
            .is_ok_and(|text| text.parse::<i32>().is_ok_and(|number| number.to_string() == text));
        let place = self.random.below(10);
        let [keys, args] = self.names;
        // The arguments of a function come from its caller.
        let is_script = keys == "KEYS";
        if is_small && place < 4 {
            String::from_utf8_lossy(arg).into_owned()
        } else if is_script && at == 1 && place < 7 {
            self.keys.push(arg.to_vec());
            format!("{keys}[{}]", self.keys.len())
        } else if is_script && (place == 7 || arg.len() > 400) {
            self.args.push(arg.to_vec());
            format!("{args}[{}]", self.args.len())
        } else {
            quoted(&arg[..arg.len().min(1000)])
        }
    }

    /// An argument that the command would not generate.
    fn odd_word(&mut self) -> String {
        let [keys, args] = self.names;
        // Before 7.2 doubles have 17 digits.
        let choices = if self.calls.peer < Version::new(7, 2) { 2 } else { 4 };
        match self.random.below(choices) {
            0 => format!("{keys}[1]"),
            1 => format!("{args}[1]"),
            2 => self.expression(1),
            _ => self.pick(NUMBERS).into(),
        }
    }

    // Expressions

    fn value(&mut self) -> String {
        let [keys, args] = self.names;
        if self.values > 0 && self.random.chance(2) {
            return format!("v{}", 1 + self.random.below(self.values));
        }
        let n = 1 + self.random.below(3);
        match self.random.below(8) {
            0 => format!("{keys}[{n}]"),
            1 => format!("{args}[{n}]"),
            2 => format!("#{keys}"),
            3 => "out[1]".into(),
            4 => "nil".into(),
            5 => self.pick(&["true", "false"]).into(),
            6 => self.pick(NUMBERS).into(),
            _ => quoted(self.pick(TEXTS).as_bytes()),
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth > 3 {
            return self.value();
        }
        match self.random.below(16) {
            0..=2 => self.value(),
            3..=4 => self.number(depth + 1),
            5..=7 => self.string(depth + 1),
            8..=9 => self.table(depth + 1),
            10 => self.reply(depth + 1),
            11 => self.json(depth + 1),
            12 => self.messages(depth + 1),
            13 => self.structs(depth + 1),
            14 => self.bits(depth + 1),
            _ => {
                let (value, field) =
                    (self.value(), self.pick(&["[1]", "[2]", ".err", ".ok", ".map", ".double", ".x"]));
                format!("({value}){field}")
            }
        }
    }

    fn number(&mut self, depth: usize) -> String {
        let (a, b) = (self.expression(depth + 1), self.expression(depth + 1));
        match self.random.below(8) {
            0..=2 => self.pick(NUMBERS).into(),
            3 => self.pick(EXTREMES).into(),
            4 => format!("({a} {} {b})", self.pick(&["+", "-", "*", "/", "%", "^"])),
            5 => format!("tonumber({a})"),
            6 => format!("#({a})"),
            _ => format!("math.{}({a})", self.pick(&["floor", "ceil", "abs", "sqrt"])),
        }
    }

    fn string(&mut self, depth: usize) -> String {
        let (a, b) = (self.expression(depth + 1), self.expression(depth + 1));
        let (i, j) = (self.random.below(7) as i64 - 3, self.random.below(9) as i64 - 4);
        match self.random.below(12) {
            0..=1 => quoted(&member(self.random)),
            2 => quoted(&number(self.random)),
            3..=4 => format!("({a} .. {b})"),
            5 => format!("string.sub({a}, {i}, {j})"),
            6 => format!("string.{}({a})", self.pick(&["upper", "len", "reverse", "byte"])),
            7 => format!(
                "string.format('{}', {a})",
                self.pick(&["%d", "%s", "%5.1f", "%g", "%q", "%x", "%c", "%.3s"])
            ),
            8 => format!("type({a})"),
            9 => {
                format!("(string.gsub({a}, '{}', '<%0>'))", self.pick(&["%d+", "%a", ".", "x*", "^m", "%s"]))
            }
            10 => format!("redis.sha1hex({a})"),
            _ => format!("table.concat({}, ',')", self.table(depth + 1)),
        }
    }

    fn table(&mut self, depth: usize) -> String {
        let mut fields: Vec<String> = (0..self.random.below(5)).map(|_| self.expression(depth + 1)).collect();
        if self.random.chance(3) {
            let value = self.expression(depth + 1);
            fields.push(format!(
                "{} = {value}",
                self.pick(&["a", "b", "name", "[3]", "[7]", "[-1]", "[1.5]", "['10']", "[100]"])
            ));
        }
        format!("{{{}}}", fields.join(", "))
    }

    /// A table that is converted to a reply of another type.
    fn reply(&mut self, depth: usize) -> String {
        let value = self.expression(depth + 1);
        let text = quoted(self.pick(TEXTS).as_bytes());
        match self.random.below(12) {
            0 => format!("{{ok = {value}}}"),
            1 => format!("{{err = {value}}}"),
            2 => format!("{{err = {text}}}"),
            3 => format!("{{double = {}}}", self.number(depth + 1)),
            4 => format!("{{map = {{a = {value}, [2] = {text}}}}}"),
            5 => format!("{{map = {}}}", self.table(depth + 1)),
            6 => format!("{{set = {{a = true, b = {value}}}}}"),
            7 => format!("{{set = {}}}", self.table(depth + 1)),
            8 => format!(
                "{{big_number = {}}}",
                self.pick(&["'123'", "'-99999999999999999999'", "'1\\n2'", "5", "{}"])
            ),
            9 => format!(
                "{{verbatim_string = {{string = {value}, format = {}}}}}",
                self.pick(&["'txt'", "'mkd'", "'long'", "1"])
            ),
            10 => format!("redis.status_reply({value})"),
            _ => format!("redis.error_reply({value})"),
        }
    }

    fn json(&mut self, depth: usize) -> String {
        let value = self.expression(depth + 1);
        let text = quoted(self.pick(JSON).as_bytes());
        match self.random.below(8) {
            0..=1 => format!("cjson.encode({value})"),
            2 => format!("cjson.decode(cjson.encode({value}))"),
            3 => format!("cjson.encode(cjson.decode({text}))"),
            4 => format!("cjson.decode({text})"),
            5 => format!("cjson.decode(string.sub({text}, 1, {}))", self.random.below(12)),
            6 => "cjson.encode({[1] = cjson.null, [2] = 'x', [12] = 1})".into(),
            _ => format!("cjson.decode({value})"),
        }
    }

    fn messages(&mut self, depth: usize) -> String {
        let (a, b) = (self.expression(depth + 1), self.expression(depth + 1));
        match self.random.below(7) {
            0..=1 => format!("cmsgpack.pack({a})"),
            2 => format!("cmsgpack.pack({a}, {b})"),
            3 => format!("cmsgpack.unpack(cmsgpack.pack({a}))"),
            4 => {
                let len = self.random.below(12);
                let bytes = self.random.bytes(len);
                format!("{{cmsgpack.unpack({})}}", quoted(&bytes))
            }
            5 => format!("{{cmsgpack.unpack_one(cmsgpack.pack({a}, {b}), {})}}", self.random.below(4)),
            _ => format!(
                "{{cmsgpack.unpack_limit(cmsgpack.pack({a}, {b}), {}, {})}}",
                self.random.below(3),
                self.random.below(3)
            ),
        }
    }

    fn structs(&mut self, depth: usize) -> String {
        let formats: Vec<&str> = (0..=self.random.below(4)).map(|_| self.pick(FORMATS)).collect();
        let (format, mut values) = (formats.concat(), Vec::new());
        for item in &formats {
            match item.as_bytes()[0] {
                b's' | b'c' => values.push(quoted(self.pick(&["abc", "", "hello", "a\0b"]).as_bytes())),
                b'>' | b'<' | b'=' | b'!' | b'x' | b' ' => {}
                _ => values.push(self.pick(NUMBERS).into()),
            }
        }
        if self.random.chance(8) {
            values.push(self.expression(depth + 1));
            values.rotate_right(1);
        }
        let packed = format!("struct.pack({})", [vec![format!("'{format}'")], values].concat().join(", "));
        match self.random.below(5) {
            0..=1 => packed,
            2 => format!("struct.size('{format}')"),
            3 => format!("{{struct.unpack('{format}', {packed}, {})}}", 1 + self.random.below(3)),
            _ => format!("{{struct.unpack('{format}', {packed})}}"),
        }
    }

    fn bits(&mut self, depth: usize) -> String {
        let (a, b) = (self.number(depth + 1), self.number(depth + 1));
        match self.random.below(4) {
            0 => format!("bit.{}({a}, {b})", self.pick(&["band", "bor", "bxor"])),
            1 => {
                let (name, by) =
                    (self.pick(&["lshift", "rshift", "arshift", "rol", "ror"]), self.random.below(40));
                format!("bit.{name}({a}, {by})")
            }
            2 => format!("bit.tohex({a}, {})", self.random.below(20) as i64 - 10),
            _ => format!("bit.{}({a})", self.pick(&["tobit", "bnot", "bswap"])),
        }
    }

    /// The program's return value.
    fn result(&mut self) -> String {
        match self.random.below(8) {
            0 => self.value(),
            1 => self.reply(2),
            2 => self.table(2),
            3 => format!("{}({})", self.pick(&["show", "cjson.encode", "cmsgpack.pack"]), "out"),
            _ => "out".into(),
        }
    }
}

/// A Lua string literal of these bytes.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("'");
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    text + "'"
}
