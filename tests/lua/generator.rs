//! Deterministic random programs: they end, and their output does not depend on the machine.
//!
//! An expression is generated for the type that it should have, and sometimes for another one: so most statements work,
//! and the others fail inside a `pcall` that prints the message. Every iteration of a loop and every call uses some of
//! the fuel that ends the program; every assigned string is cut, so that none grows by doubling.

use std::fmt::Write;

use crate::support::Random;

/// The prelude of each program.
const PRELUDE: &str = r##"local fuel = 4000
local function tick() fuel = fuel - 1; if fuel < 0 then error("out of fuel", 0) end end
local function cut(s) return type(s) == "string" and s:sub(1, 60) or s end
local function text(v, depth)
  if v ~= v then return "nan" end
  if type(v) == "string" then return string.format("%q", v) end
  if type(v) ~= "table" then return type(v) == "number" and tostring(v) or type(v) == "boolean" and tostring(v) or type(v) end
  if depth > 3 then return "{...}" end
  local parts, n = {}, 0
  for k, x in next, v do
    n = n + 1
    if n > 12 then parts[n] = "..." break end
    parts[n] = text(k, depth + 1) .. "=" .. text(x, depth + 1)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end
local function show(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = text((select(i, ...)), 0) end
  print(table.concat(parts, " "))
end
local function try(f, ...) show(pcall(f, ...)) end
"##;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    /// A table with numbers from 1.
    List,
    /// A table with some of the fields in `FIELDS`.
    Object,
    /// A function of up to three numbers that returns a number and a string.
    Function,
    Boolean,
}

const FIELDS: [&str; 6] = ["x", "y", "name", "next", "count", "size"];
const PATTERNS: [&str; 16] = [
    "%a+",
    "%d",
    "(%w)(%w)",
    "^%s*(.-)%s*$",
    "[aeiou]",
    "[^a-m]",
    "%w-o",
    "l+",
    "()",
    ".",
    "%f[%w]%w+",
    "%b()",
    "x*",
    "(.)%1",
    "%p",
    "^(%a)(.*)$",
];
const WORDS: [&str; 14] = [
    "",
    "a",
    "hello",
    "wor ld",
    "10",
    "0x1f",
    "3.5e2",
    "(a(b)c)",
    "tab\\there",
    "aaa",
    "key=value",
    " trim ",
    "n\\0ul",
    "Zz9",
];
const NUMBERS: [&str; 18] = [
    "0", "1", "2", "3", "7", "10", "-1", "-5", "0.5", "2.25", "1e3", "100", "0x10", "1e15", "-0.1", "255",
    "1e300", "(1/0)",
];
const EVENTS: [&str; 12] =
    ["add", "sub", "mul", "div", "mod", "unm", "concat", "eq", "lt", "le", "call", "index"];

/// The type of a variable in scope.
struct Local {
    name: String,
    kind: Kind,
}

/// The program with this seed.
pub fn program(seed: u64) -> String {
    let mut writer = Writer {
        random: Random::new(seed),
        text: PRELUDE.to_string(),
        scope: Vec::new(),
        names: 0,
        indent: 0,
        loops: 0,
        has_dots: true,
        can_yield: false,
    };
    let blocks = 6 + writer.random.below(10);
    for _ in 0..blocks {
        let kept = writer.scope.len();
        // Statements after some blocks see their locals.
        if writer.random.chance(3) {
            let (kind, name) = (writer.kind(), writer.fresh());
            let value = writer.expression(kind, 0);
            writer.line(&format!("local {name} = select(2, pcall(function(...) return {value} end))"));
            writer.scope.push(Local { name, kind });
        } else {
            writer.line("try(function(...)");
            writer.body(3 + blocks % 4, 0);
            writer.line("end, 1, \"two\", nil)");
            writer.scope.truncate(kept);
        }
    }
    writer.line("show(\"end\", fuel)");
    writer.text
}

struct Writer {
    random: Random,
    text: String,
    scope: Vec<Local>,
    names: usize,
    indent: usize,
    /// Loops around the current statement within the innermost function.
    loops: usize,
    has_dots: bool,
    can_yield: bool,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{:1$}{line}", "", 2 * self.indent);
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.below(from.len())]
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn kind(&mut self) -> Kind {
        use Kind::{Boolean, Function, List, Number, Object, Text};
        *self
            .random
            .pick(&[Number, Number, Number, Text, Text, Text, List, List, Object, Object, Function, Boolean])
    }

    /// The name of a variable of this type in scope; near ones are chosen more often.
    fn known(&mut self, kind: Kind) -> Option<String> {
        let fit: Vec<usize> = (0..self.scope.len()).filter(|i| self.scope[*i].kind == kind).collect();
        if fit.is_empty() {
            return None;
        }
        let place = fit.len() - 1 - self.random.below(fit.len()).min(self.random.below(fit.len()));
        Some(self.scope[fit[place]].name.clone())
    }

    // Statements

    fn body(&mut self, statements: usize, depth: usize) {
        self.indent += 1;
        let kept = self.scope.len();
        for _ in 0..=self.random.below(statements) {
            self.statement(depth);
        }
        self.scope.truncate(kept);
        self.indent -= 1;
    }

    fn statement(&mut self, depth: usize) {
        if depth > 3 {
            return if self.random.chance(2) { self.show() } else { self.assign() };
        }
        match self.random.below(30) {
            0..=4 => self.declare_local(),
            5..=7 => self.assign(),
            8..=11 => self.show(),
            12..=13 => self.branch(depth),
            14..=17 => self.repetition(depth),
            18..=19 => self.define_function(depth),
            20..=21 => self.change_table(),
            22 => self.protected(depth),
            23 => self.coroutine(depth),
            24 => self.closures(depth),
            25 => self.metatable(),
            26 => self.several(),
            27 => self.method(depth),
            28 => self.leave(),
            _ => {
                self.line("do");
                self.body(3, depth + 1);
                self.line("end");
            }
        }
    }

    fn declare_local(&mut self) {
        let (kind, name) = (self.kind(), self.fresh());
        let value = self.expression(kind, 0);
        self.line(&format!("local {name} = {value}"));
        self.scope.push(Local { name, kind });
    }

    fn assign(&mut self) {
        let kind = self.kind();
        let Some(name) = self.known(kind) else { return self.declare_local() };
        let value = self.expression(kind, 0);
        let value = if kind == Kind::Text { format!("cut({value})") } else { value };
        self.line(&format!("{name} = {value}"));
    }

    fn several(&mut self) {
        let Some(a) = self.known(Kind::Number) else { return self.declare_local() };
        let b = self.known(Kind::Number).unwrap_or_else(|| "shared".into());
        let (x, y) = (self.expression(Kind::Number, 1), self.expression(Kind::Number, 1));
        let line = match self.random.below(4) {
            0 => format!("{a}, {b} = {b}, {a}"),
            1 => format!("{a}, {b} = {x}, {y}"),
            2 => format!("{a}, {b} = {x}"),
            _ => format!("shared, {a} = {a}, {x}"),
        };
        self.line(&line);
    }

    fn show(&mut self) {
        let values: Vec<String> = (0..=self.random.below(3)).map(|_| self.any(0)).collect();
        self.line(&format!("show({})", values.join(", ")));
    }

    fn branch(&mut self, depth: usize) {
        let condition = self.expression(Kind::Boolean, 0);
        self.line(&format!("if {condition} then"));
        self.body(3, depth + 1);
        if self.random.chance(3) {
            let condition = self.expression(Kind::Boolean, 0);
            self.line(&format!("elseif {condition} then"));
            self.body(2, depth + 1);
        }
        if self.random.chance(2) {
            self.line("else");
            self.body(2, depth + 1);
        }
        self.line("end");
    }

    fn repetition(&mut self, depth: usize) {
        let kept = self.scope.len();
        let name = self.fresh();
        let mut close = "end".to_string();
        match self.random.below(7) {
            0 | 1 => {
                let (from, to) = (self.small(), self.small());
                let step = self.pick(&["", "", ", 2", ", -1", ", 0.5"]);
                self.line(&format!("for {name} = {from}, {to}{step} do tick()"));
                self.scope.push(Local { name, kind: Kind::Number });
            }
            2 => {
                let list = self.expression(Kind::List, 1);
                let value = self.fresh();
                self.line(&format!("for {name}, {value} in ipairs({list}) do tick()"));
                self.scope.push(Local { name, kind: Kind::Number });
                self.scope.push(Local { name: value, kind: Kind::Number });
            }
            3 => {
                let kind = if self.random.chance(2) { Kind::Object } else { Kind::List };
                let (table, value) = (self.expression(kind, 1), self.fresh());
                self.line(&format!("for {name}, {value} in pairs({table}) do tick()"));
                self.scope
                    .push(Local { name, kind: if kind == Kind::List { Kind::Number } else { Kind::Text } });
                self.scope.push(Local { name: value, kind: Kind::Number });
            }
            4 => {
                let (subject, pattern) = (self.expression(Kind::Text, 1), self.pick(&PATTERNS));
                self.line(&format!("for {name} in ({subject}):gmatch(\"{pattern}\") do tick()"));
                self.scope.push(Local { name, kind: Kind::Text });
            }
            5 => {
                let limit = self.random.below(5);
                self.line(&format!("local {name} = 0"));
                self.line(&format!("while {name} < {limit} do tick() {name} = {name} + 1"));
                self.scope.push(Local { name, kind: Kind::Number });
            }
            _ => {
                let limit = self.random.below(4);
                self.line(&format!("local {name} = 0"));
                self.line(&format!("repeat tick() {name} = {name} + 1"));
                let condition = self.expression(Kind::Boolean, 1);
                close = format!("until {name} > {limit} or {condition}");
                self.scope.push(Local { name, kind: Kind::Number });
            }
        }
        self.loops += 1;
        self.body(4, depth + 1);
        if self.random.chance(4) {
            let condition = self.expression(Kind::Boolean, 1);
            self.line(&format!("  if {condition} then break end"));
        }
        self.loops -= 1;
        self.line(&close);
        self.scope.truncate(kept);
    }

    /// A function in a local: its body sees the name, so it may recurse.
    fn define_function(&mut self, depth: usize) {
        let name = self.fresh();
        self.scope.push(Local { name: name.clone(), kind: Kind::Function });
        self.function(&format!("local function {name}"), depth);
    }

    /// `head(parameters) … end`
    fn function(&mut self, head: &str, depth: usize) {
        let kept = self.scope.len();
        let (loops, has_dots, can_yield) = (self.loops, self.has_dots, self.can_yield);
        let mut parameters: Vec<String> = (0..self.random.below(4)).map(|_| self.fresh()).collect();
        for name in &parameters {
            self.scope.push(Local { name: name.clone(), kind: Kind::Number });
        }
        self.has_dots = self.random.chance(3);
        if self.has_dots {
            parameters.push("...".into());
        }
        (self.loops, self.can_yield) = (0, false);
        self.line(&format!("{head}({}) tick()", parameters.join(", ")));
        self.indent += 1;
        for _ in 0..self.random.below(3) {
            self.statement(depth + 1);
        }
        let result = self.any_return();
        self.line(&result);
        self.indent -= 1;
        (self.loops, self.has_dots, self.can_yield) = (loops, has_dots, can_yield);
        self.scope.truncate(kept);
        self.line("end");
    }

    fn any_return(&mut self) -> String {
        let (number, text) = (self.expression(Kind::Number, 1), self.expression(Kind::Text, 1));
        match (self.random.below(6), self.known(Kind::Function)) {
            (0, Some(function)) => format!("return {function}({number})"),
            (1, _) if self.has_dots => "return ...".into(),
            (2, _) => format!("return {number}"),
            (3, _) => String::new(),
            _ => format!("return {number}, {text}"),
        }
    }

    fn change_table(&mut self) {
        let list = self.known(Kind::List);
        let object = self.known(Kind::Object);
        let (number, small) = (self.expression(Kind::Number, 1), self.small());
        let line = match (self.random.below(9), list, object) {
            (0, Some(list), _) => format!("table.insert({list}, {number})"),
            (1, Some(list), _) => format!("table.insert({list}, {small}, {number})"),
            (2, Some(list), _) => format!("show(table.remove({list}))"),
            (3, Some(list), _) => format!("show(table.remove({list}, {small}))"),
            (4, Some(list), _) => {
                let order = self.pick(&[
                    "",
                    ", function(a, b) return a > b end",
                    ", function(a, b) return a % 3 < b % 3 end",
                ]);
                format!("table.sort({list}{order})")
            }
            (5, Some(list), _) => format!("{list}[{small}] = {number}"),
            (6, Some(list), _) => format!("{list}[#{list} + 1] = {number}"),
            (_, _, Some(object)) => {
                let (field, value) = (self.pick(&FIELDS), self.any(1));
                match self.random.below(4) {
                    0 => format!("{object}[{number}] = {value}"),
                    1 => format!("{object}.{field} = nil"),
                    _ => format!("{object}.{field} = {value}"),
                }
            }
            _ => return self.declare_local(),
        };
        self.line(&line);
    }

    fn protected(&mut self, depth: usize) {
        let handler = self.random.chance(3);
        let (loops, has_dots, can_yield) = (self.loops, self.has_dots, self.can_yield);
        (self.loops, self.has_dots, self.can_yield) = (0, false, false);
        self.line(if handler { "show(xpcall(function()" } else { "show(pcall(function()" });
        self.body(3, depth + 1);
        if self.random.chance(2) {
            let (value, level) = (self.any(1), self.pick(&["", ", 0", ", 1", ", 2"]));
            self.line(&format!("  error({value}{level})"));
        }
        self.line(if handler { "end, function(m) return \"handled\", m end))" } else { "end))" });
        (self.loops, self.has_dots, self.can_yield) = (loops, has_dots, can_yield);
    }

    fn coroutine(&mut self, depth: usize) {
        let name = self.fresh();
        let (loops, has_dots, can_yield) = (self.loops, self.has_dots, self.can_yield);
        (self.loops, self.has_dots, self.can_yield) = (0, true, true);
        let wrapped = self.random.chance(2);
        let make = if wrapped { "wrap" } else { "create" };
        self.line(&format!("local {name} = coroutine.{make}(function(...) tick()"));
        let value = self.any(1);
        self.line(&format!("  show(\"got\", coroutine.yield({value}, ...))"));
        self.body(3, depth + 1);
        let result = self.any_return();
        self.line(&format!("  {result}"));
        self.line("end)");
        (self.loops, self.has_dots, self.can_yield) = (loops, has_dots, can_yield);
        for _ in 0..=self.random.below(3) {
            let value = self.any(1);
            if wrapped {
                self.line(&format!("show({name}({value}))"));
            } else {
                self.line(&format!("show(coroutine.resume({name}, {value}))"));
                self.line(&format!("show(coroutine.status({name}))"));
            }
        }
    }

    /// Functions created in a loop, which share some variables and not others, and are called after it.
    fn closures(&mut self, depth: usize) {
        let (name, index, inner) = (self.fresh(), self.fresh(), self.fresh());
        let times = 1 + self.random.below(4);
        self.line(&format!("local {name} = {{}}"));
        self.line(&format!("for {index} = 1, {times} do local {inner} = {index} * 10"));
        let kept = self.scope.len();
        for local in [&index, &inner] {
            self.scope.push(Local { name: local.clone(), kind: Kind::Number });
        }
        self.indent += 1;
        self.function(&format!("{name}[{index}] = function"), depth + 1);
        if self.random.chance(2) {
            self.line(&format!(
                "{name}[-{index}] = function() {inner} = {inner} + {index} return {inner} end"
            ));
        }
        self.indent -= 1;
        self.scope.truncate(kept);
        self.line("end");
        for _ in 0..=self.random.below(3) {
            let (which, value) = (1 + self.random.below(times), self.any(1));
            let sign = self.pick(&["", "", "-"]);
            self.line(&format!("show({name}[{sign}{which}] and {name}[{sign}{which}]({value}))"));
        }
    }

    fn metatable(&mut self) {
        let (name, table) = (self.fresh(), self.expression(Kind::Object, 1));
        let has_dots = std::mem::replace(&mut self.has_dots, false);
        let mut events = Vec::new();
        for _ in 0..=self.random.below(4) {
            let (event, result) = (self.pick(&EVENTS), self.any(1));
            let result = match self.random.below(3) {
                0 => "text(a, 2)".into(),
                1 => "b".into(),
                _ => result,
            };
            events.push(format!("__{event} = function(a, b) tick() return {result} end"));
        }
        self.has_dots = has_dots;
        if self.random.chance(3) {
            events.push("__index = { name = \"inherited\", count = 5 }".into());
        }
        self.line(&format!("local {name} = setmetatable({table}, {{ {} }})", events.join(", ")));
        let other = self.any(1);
        let line = match self.random.below(8) {
            0 => format!("show({name} + {other})"),
            1 => format!("show({other} .. {name})"),
            2 => format!("show({name} == {other}, {name} < {name}, {name} <= {other})"),
            3 => format!("show(-{name}, {name}.missing, {name}.name)"),
            4 => format!("show({name}({other}))"),
            5 => format!("show({other} % {name}, {name} - 1)"),
            6 => format!("{name}.{} = {other}", self.pick(&FIELDS)),
            _ => format!("show({name} * {name}, #{name})"),
        };
        self.line(&line);
        self.scope.push(Local { name, kind: Kind::Object });
    }

    fn method(&mut self, depth: usize) {
        let Some(object) = self.known(Kind::Object) else { return self.declare_local() };
        let field = self.pick(&["act", "get"]);
        let kept = self.scope.len();
        self.scope.push(Local { name: "self".into(), kind: Kind::Object });
        self.function(&format!("function {object}:{field}"), depth + 1);
        self.scope.truncate(kept);
        let value = self.any(1);
        self.line(&format!("show({object}:{field}({value}))"));
    }

    fn leave(&mut self) {
        let line = if self.can_yield && self.random.chance(2) {
            format!("show(\"resumed\", coroutine.yield({}))", self.any(1))
        } else if self.loops > 0 {
            format!("if {} then break end", self.expression(Kind::Boolean, 1))
        } else {
            format!("if {} then return {} end", self.expression(Kind::Boolean, 1), self.any(1))
        };
        self.line(&line);
    }

    // Expressions

    fn any(&mut self, depth: usize) -> String {
        let kind = self.kind();
        self.expression(kind, depth)
    }

    /// A bound of a loop or an index into a list.
    fn small(&mut self) -> String {
        match self.random.below(6) {
            0 => self.known(Kind::Number).unwrap_or_else(|| "1".into()),
            1 => self.known(Kind::List).map_or_else(|| "2".into(), |list| format!("#{list}")),
            _ => self.pick(&["0", "1", "1", "2", "3", "4", "5", "-1"]).into(),
        }
    }

    fn expression(&mut self, kind: Kind, depth: usize) -> String {
        // Sometimes it is of another type, or nil.
        if self.random.chance(30) {
            return match self.random.below(4) {
                0 => "nil".into(),
                1 => "undefined".into(),
                _ if depth < 3 => self.any(depth + 1),
                _ => "true".into(),
            };
        }
        if (depth > 2 || self.random.chance(3))
            && let Some(name) = self.known(kind)
        {
            return name;
        }
        let deeper = depth + 1;
        match kind {
            Kind::Number => self.number(deeper),
            Kind::Text => self.string(deeper),
            Kind::Boolean => self.boolean(deeper),
            Kind::List => self.list(deeper),
            Kind::Object => self.object(deeper),
            Kind::Function => self.lambda(deeper),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        if depth > 3 {
            return self.pick(&NUMBERS).into();
        }
        use Kind::{Boolean, Function, List, Number, Object, Text};
        let mut get = |kind| self.expression(kind, depth);
        let (a, b, s) = (get(Number), get(Number), get(Text));
        let (list, object, test) = (get(List), get(Object), get(Boolean));
        let function = self.known(Function).unwrap_or_else(|| "math.abs".into());
        let operator = self.pick(&["+", "-", "*", "/", "%", "^"]);
        match self.random.below(20) {
            0..=2 => self.pick(&NUMBERS).into(),
            3..=7 => format!("({a} {operator} {b})"),
            8 => format!("- {a}"),
            9 => format!("#({s})"),
            10 => format!("#{list}"),
            11 => format!("({test} and {a} or {b})"),
            12 => format!("(tonumber({s}) or {a})"),
            13 => format!("math.floor({a})"),
            14 => format!("math.max({a}, {b})"),
            15 => format!("(({list})[{a}] or {b})"),
            16 => format!("(({s}):find({}, 1, true) or {a})", self.quoted()),
            17 => format!("(({object}).count or {a})"),
            18 => format!("(({s}):byte({}) or 0)", self.random.below(4)),
            _ => format!("({function}({a}, {b}))"),
        }
    }

    fn quoted(&mut self) -> String {
        let quote = self.pick(&["\"", "'"]);
        format!("{quote}{}{quote}", self.pick(&WORDS))
    }

    fn string(&mut self, depth: usize) -> String {
        if depth > 3 {
            return self.quoted();
        }
        let (s, other, n) = (
            self.expression(Kind::Text, depth),
            self.expression(Kind::Text, depth),
            self.expression(Kind::Number, depth),
        );
        let (i, j) = (self.random.below(7) as i64 - 3, self.random.below(9) as i64 - 4);
        match self.random.below(18) {
            0..=3 => self.quoted(),
            4..=6 => format!("({s} .. {other})"),
            7 => format!("({s} .. {n} .. {other})"),
            8 => format!("({s}):sub({i}, {j})"),
            9 => format!("({s}):{}()", self.pick(&["upper", "lower", "reverse"])),
            10 => format!("({s}):rep({})", self.random.below(4)),
            11 => {
                let replacement = match self.random.below(4) {
                    0 => "function(c) tick() return c .. \"!\" end".into(),
                    1 => "{ a = \"A\", l = 1, o = false }".into(),
                    2 => "\"<%0>\"".into(),
                    _ => self.quoted(),
                };
                format!("(cut(({s}):gsub(\"{}\", {replacement})))", self.pick(&PATTERNS))
            }
            12 => format!("(({s}):match(\"{}\") or {other})", self.pick(&PATTERNS)),
            13 => {
                let spec = self.pick(&["%s", "%5s|", "%-6s|", "%.2s", "%q"]);
                format!("string.format('{spec}', {s})")
            }
            14 => {
                let spec = self.pick(&["%.3f", "%g", "%10.2e", "%s", "%5.1f|"]);
                format!("string.format(\"{spec}\", {n})")
            }
            15 => {
                let list = self.expression(Kind::List, depth);
                format!("cut(table.concat({list}, {}))", self.quoted())
            }
            16 => format!("type({})", self.any(depth)),
            _ => format!("text({}, 2)", self.any(depth)),
        }
    }

    fn boolean(&mut self, depth: usize) -> String {
        if depth > 3 {
            return self.pick(&["true", "false", "nil"]).into();
        }
        let mut get = |kind| self.expression(kind, depth);
        let (a, b) = (get(Kind::Number), get(Kind::Number));
        let (text, other) = (get(Kind::Text), get(Kind::Text));
        let (p, q) = (get(Kind::Boolean), get(Kind::Boolean));
        let order = self.pick(&["<", "<=", ">", ">=", "==", "~="]);
        match self.random.below(9) {
            0 | 1 => format!("{a} {order} {b}"),
            2 => format!("{text} {order} {other}"),
            3 => format!("not ({p})"),
            4 => format!("({p} and {q})"),
            5 => format!("({p} or {q})"),
            6 => format!("({p}) == ({q})"),
            7 => {
                let kind = self.pick(&["number", "string", "table", "nil"]);
                format!("type({}) == \"{kind}\"", self.any(depth))
            }
            _ => format!("({}) ~= {}", self.any(depth), self.any(depth)),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        let mut items: Vec<String> =
            (0..self.random.below(6)).map(|_| self.expression(Kind::Number, depth.max(2))).collect();
        if self.has_dots && self.random.chance(6) {
            items.push("...".into());
        }
        if self.random.chance(8) {
            items.push(format!("[{}] = {}", self.random.below(9), self.random.below(99)));
        }
        format!("{{{}}}", items.join(", "))
    }

    fn object(&mut self, depth: usize) -> String {
        let mut fields = Vec::new();
        for _ in 0..self.random.below(5) {
            let field = self.pick(&FIELDS);
            let value = match field {
                "x" | "y" | "count" | "size" => self.expression(Kind::Number, depth.max(2)),
                "name" => self.expression(Kind::Text, depth.max(2)),
                _ if depth < 3 => self.any(depth + 1),
                _ => "{}".into(),
            };
            fields.push(format!("{field} = {value}"));
        }
        if self.random.chance(5) {
            fields.push(self.expression(Kind::Number, 3));
        }
        format!("({{{}}})", fields.join(", "))
    }

    fn lambda(&mut self, depth: usize) -> String {
        let has_dots = std::mem::replace(&mut self.has_dots, false);
        let can_yield = std::mem::replace(&mut self.can_yield, false);
        let name = self.fresh();
        self.scope.push(Local { name: name.clone(), kind: Kind::Number });
        let body = if depth > 2 { name.clone() } else { self.expression(Kind::Number, depth + 1) };
        self.scope.pop();
        (self.has_dots, self.can_yield) = (has_dots, can_yield);
        format!("(function({name}) tick() return {body} end)")
    }
}
