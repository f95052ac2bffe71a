-- Patterns: find, match and gmatch with every item, anchors, captures and their errors.
local function f(s, p, ...) print(string.format("%q", p), s:find(p, ...)) end
local function m(s, p, ...) print(string.format("%q", p), s:match(p, ...)) end

-- Plain and special, and where to start.
f("hello", "l"); f("hello", "xyz"); f("hello", ""); f("hello", "", 3); f("hello", "", 6); f("hello", "", 7); f("hello", "", 10); f("", ""); f("", "a"); f("", "^$"); f("hello", "l", 4); f("hello", "l", 5); f("hello", "l", -2); f("hello", "h", -5); f("hello", "h", -4); f("hello", "h", -100)
f("a.b", ".", 1, true); f("a.b", "%.", 1); f("a+b", "+", 1, true); f("a+b", "+"); f("a[b", "[", 1, true); f("a%b", "%", 1, true); f("abc", "b", 1, false); f("abc", "b", nil, true); f("a\0b\0c", "\0c", 1, true); f("a\0b", "\0"); f("a\0b", "%z"); f("abcabc", "abc", 2, true); f("aaab", "aab", 1, true); f("abc", "", 10, true); f("abc", "", 4, true); f("abc", "abcd", 1, true)
f("hello", "^h"); f("hello", "^e"); f("hello", "^e", 2); f("hello", "o$"); f("hello", "l$"); f("hello", "^hello$"); f("a^b", "a^"); f("a$b", "a$b"); f("a$b", "$b"); f("ab", "^"); f("ab", "$"); f("ab", "^$"); f("$", "%$"); f("^", "^^"); f("x^", "x^"); f("hello", "l", "3"); f("hello", "l", 3.7)

-- Classes.
local sample = "aZ5 \t\n.,_\0\127\200-"
for _, c in ipairs { "%a", "%A", "%d", "%D", "%l", "%L", "%s", "%S", "%u", "%U", "%w", "%W", "%x", "%X", "%p", "%P", "%c", "%C", "%z", "%Z", ".", "%.", "%%", "%-", "%_", "%q" } do
  local r = {}
  for ch in sample:gmatch(c) do r[#r + 1] = ch:byte() end
  print(c, table.concat(r, " "))
end
for _, set in ipairs { "[abc]", "[^abc]", "[a-c]", "[^a-c]", "[a-]", "[-a]", "[]]", "[^]]", "[]a]", "[%a]", "[%d%s]", "[^%d%s]", "[a-c1-3]", "[%]]", "[%-]", "[a%-c]", "[.]", "[$^]", "[^^]", "[+*?-]", "[%%]", "[a-a]", "[c-a]", "[\1-\31]", "[%z]", "[%w_]", "[^%w_]", "[a-%d]", "[%a-z]" } do
  local r = {}
  for ch in ("abc-]123.^$%+*?\1\0 z_"):gmatch(set) do r[#r + 1] = ch:byte() end
  print(set, table.concat(r, " "))
end

-- Repetitions.
m("aaa", "a*"); m("aaa", "a+"); m("aaa", "a-"); m("aaa", "a?"); m("aaab", "a-b"); m("baaa", "a*"); m("baaa", "^a*"); m("xaaay", "x(a*)y"); m("xaaay", "x(a-)y"); m("xaaay", "x(a-)"); m("xaaay", "x(a+)a"); m("xay", "xa?y"); m("xy", "xa?y"); m("xaay", "xa?y"); m("<<a>>", "<(.-)>"); m("<<a>>", "<(.*)>")
m("  trim  ", "^%s*(.-)%s*$"); m("key = value", "^(%w+)%s*=%s*(%w+)$"); m("2024-01-31", "(%d+)-(%d+)-(%d+)"); m("0x1F", "0[xX](%x+)"); m("a.b.c", "^(.-)%.(.*)$"); m("a.b.c", "^(.*)%.(.*)$"); m("[[x]]", "%[%[(.*)%]%]"); m("aXb", "%u"); m("a-b", "a-b"); m("a-b", "a%-b"); m("*", "*"); m("a*", "a**"); m("+", "+"); m("?", "?"); m("a?", "a??"); m("--", "--"); m("ab", "a-b-$"); m("abb", "ab-$"); m("abab", "(ab)*"); m("abab", "(ab)+")

-- Captures and positions.
m("hello", "()"); m("hello", "()ll()"); m("hello", "(h)(e)(l)"); m("hello", "((h)(e))"); m("hello", "(h(e(l)))"); m("hello", "h()e"); m("abc", "(.)(.)(.)"); m("abc", ".(.)."); m("", "()"); m("abc", "()", 4); m("abc", "()", 5); m("abc", "(a*)(b*)(x*)"); m("x", "(x?)(x?)"); f("hello", "(l)(l)"); f("hello", "()l"); f("abc", "b()()"); m("a,b", "([^,]*),([^,]*)"); m(",", "([^,]*),([^,]*)")
m("abab", "(ab)%1"); m("abba", "(a)(b)%2%1"); m('"it\'s"', "([\"'])(.-)%1"); m("[=[x]=]", "%[(=*)%[(.-)%]%1%]"); m("aa", "(a)%1"); m("ab", "(a)%1"); m("abcabc", "(a(b)c)%1"); m("xx", "(x)%1$"); m("", "()%1"); m("aXbXc", "(X).-%1")

-- %b and %f.
m("f(a(b)c)d)", "%b()"); m("((", "%b()"); m("())", "%b()"); m("{a{b}c}", "%b{}"); m("xaxbx", "%bxx"); m("if a then end", "%bae"); m("", "%b()"); m("(()", "%b()"); m("a)b(c)", "%b()"); m("x=[y]", "=(%b[])"); m("f(1)(2)", "%b()%b()"); print(pcall(string.match, "\0a\1", "%b\0\1")); m("a\0b", "a\0c"); m("ab", "a\0b"); f("abc", "b\0*"); print(pcall(string.find, "a", "[a\0]")); print(pcall(string.find, "a]", "[\0]")); print(("a\0b"):find("\0", 1, true), ("x"):gsub("\0", "y"))
m("THE (quick) fox", "%f[%a]%a+"); m("THE (quick) fox", "%f[%a]%a+%f[%A]", 2); f("THE (quick) fox", "%f[%l]"); f("abc", "%f[%z]"); f("abc", "%f[%w]"); f("abc", "%f[%W]"); f("", "%f[%w]"); f("", "%f[^%w]"); f("a b", "%f[b]"); for w in ("one two  three"):gmatch("%f[%w]%w+%f[%W]") do print(w) end
f("hello", "%f[h]"); f("aXb", "%f[X]X%f[^X]"); f("x\0y", "%f[%z]"); f("hello world", "%f[%w]%w+$")

-- gmatch.
local function g(s, p) local r = {}; for a, b, c in s:gmatch(p) do r[#r + 1] = "[" .. tostring(a) .. (b and "|" .. tostring(b) or "") .. (c and "|" .. tostring(c) or "") .. "]" end print(string.format("%q", p), #r, table.concat(r)) end
g("one two three", "%a+"); g("a=1, b=2", "(%w+)=(%w+)"); g("abc", ""); g("", ""); g("abc", "()"); g("abc", "."); g("aXbX", "X*"); g("abc", "^a"); g("^a^a", "^a"); g("a,b,,c", "([^,]*)"); g("a,b,,c", "([^,]*),?"); g("x", "x*"); g("aaa", "a-"); g("k1=v1;k2=v2", "(%w+)=(%w+)()"); g("%d", "%%(.)"); g("abc", "b$"); g("ab\0cd", "%Z+"); g("ab\0cd", "[^%z]+")
local it = ("a b"):gmatch("%a"); print(it(), it(), it(), it()); print(pcall(string.gmatch)); print(pcall(string.gmatch, "x")); print(pcall(("x"):gmatch("(")))
for k, v in string.gfind("a=1", "(%w)=(%w)") do print(k, v) end

-- Malformed patterns.
for _, p in ipairs { "%", "a%", "[", "[a", "[^", "[]", "[^]", "[a-", "[%", "[%a", "(", ")", "(a", "a)", "(()", "())", "%b", "%bx", "%f", "%fa", "%f[", "%f[a", "%1", "%0", "%9", "(%1)", "(a)%2", "(a%1)", "%g", "[a-%", "(.)%3", "((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))", ("()"):rep(32), ("()"):rep(33), ("(a)"):rep(40), "a%\0", "[%z", "^(", "$)" } do
  print(string.format("%q", p:sub(1, 20)), pcall(string.find, "aaaa%[(", p)); print(pcall(string.match, "", p))
end
print(pcall(string.find)); print(pcall(string.find, "a")); print(pcall(string.find, "a", {})); print(pcall(string.find, {}, "a")); print(pcall(string.find, "a", "a", "x")); print(pcall(string.match, "a", nil)); print(string.find(12321, 2), string.match(12321, "2(.)2"), ("x5"):find(5))

-- Long subjects and backtracking within reason.
local long = ("a"):rep(5000)
print(long:find("a*b"), #long:match("a*"), long:find(".-b"), #long:match("^(a-)$"), (long .. "b"):find("a-b"), long:match("(a*)(a*)$") == long, #(long:match("^.*$")), long:find(("a"):rep(20) .. "$"))
print((("ab"):rep(1000)):find("(ab)-$") == nil, #(("x y "):rep(500):gsub("%s", "")), ("a"):rep(20):find(("a?"):rep(15) .. ("a"):rep(15)), #("abc"):rep(1000):match(".*c"), ("x"):rep(300):find("[^x]"), ("key=" .. long):match("^(%w+)=(.*)$") == "key")
print(pcall(string.find, ("a"):rep(2000), ".-b"), pcall(string.match, ("("):rep(1000), ("%("):rep(1000)) == true)
