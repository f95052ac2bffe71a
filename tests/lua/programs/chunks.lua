-- loadstring and load: displayed names of chunks, readers, and the environment and results of chunks.
local function name(n) local f, m = loadstring("x = = 1", n); print(m) end
name(nil); name("=name"); name("@file.lua"); name("plain"); name(""); name("="); name("@"); name("=" .. ("n"):rep(58)); name("=" .. ("n"):rep(59)); name("=" .. ("n"):rep(60)); name("=" .. ("n"):rep(100))
for _, n in ipairs { 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 70, 200 } do name("@" .. ("abcdefghij"):rep(20):sub(1, n)) end
for _, n in ipairs { 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 60, 200 } do name(("abcdefghij"):rep(20):sub(1, n)) end
name("first\nsecond"); name("\nsecond"); name("first\n"); name(("x"):rep(30) .. "\n" .. ("y"):rep(30)); name(("x"):rep(80) .. "\nmore"); name("tab\there"); name("quote\"s'"); name("zero\0after"); name("@zero\0after"); name("return\rcarriage")
local function source(s) local f, m = loadstring(s); print(m or pcall(f)) end
source("x = = 1"); source("\nx = = 1"); source("x = 1\ny = = 2"); source("-- a comment that is quite long, in fact longer than sixty characters in all\nx = = 1"); source("local a = 1; local b = 2; local c = 3; local d = 4; error('e')"); source("error('e')"); source(""); source("error({})" == 1 and "" or "error('m', 0)"); source("return")
local function run(n) local f = loadstring("local x\nlocal y = x.z", n); print(pcall(f)) end
run(nil); run("=named"); run("@file"); run("text"); run("two\nlines"); run("=[C]"); run("@" .. ("p/"):rep(50) .. "end.lua"); run("="); run("")

-- Arguments and results.
print(loadstring("return 1, 2, 3")()); print(loadstring("return ...")(1, nil)); print(loadstring("local a, b = ...; return b, a")(1, 2)); print(select("#", loadstring("")())); print(loadstring("x = 5; return x")(), x); print(type(loadstring("return function() end")()))
print(pcall(loadstring)); print(pcall(loadstring, nil)); print(pcall(loadstring, {})); print(pcall(loadstring, print)); print(loadstring(5)); print(pcall(loadstring, "x", {})); print(type(loadstring("return 1", 5)))
print(type(loadstring("return")), loadstring("return 1 2")); print(loadstring("\0")); print(loadstring("return '\0'")() == "\0"); print(loadstring("return 1\0 + 1")()); print(loadstring("return 1 \0 + 1")); print(loadstring("return \0")); print(#loadstring("return [[\0\0]]")())

-- load takes pieces from a function until nil or an empty one.
local function pieces(...) local t, i = { ... }, 0; return function() i = i + 1; return t[i] end end
print(load(pieces("return ", "1 + ", "2"))()); print(load(pieces("ret", "urn 'a", "b", "c'"))()); print(load(pieces("return 1", "", " + 1"))()); print(load(pieces("return 1", nil, " + 1"))()); print(type(load(pieces()))); print(type(load(pieces(""))))
print(load(pieces("x = "), "=piece")); print(type(load(pieces("x = 1"), "=piece"))); print(load(pieces("x = = 1"), "@piece")); print(load(pieces("x = = 1"))); print(load(pieces("return ...", " , 2"))(1)); print(load(pieces("return ", 1, 2))())
print(pcall(load, function() return {} end)); print(pcall(load, function() return true end)); print(pcall(load, function() error("reading", 0) end)); print((pcall(load, function() error({}) end))); print(pcall(load)); print(pcall(load, "return 1")); print(pcall(load, nil)); print(pcall(load, {}))
local calls = 0
print(load(function() calls = calls + 1; if calls <= 100 then return "local a" .. calls .. " = " .. calls .. "\n" elseif calls == 101 then return "return a1 + a100" end end)(), calls)
local s = "return { 1, 2, { 'a string', [[long]] }, x = function(...) return ... end, y = 0x1F .. '' --[[c]] }"
local i = 0
local t = load(function() i = i + 1; return i <= #s and s:sub(i, i) or nil end, "=bytewise")()
print(t[3][1], t[3][2], t.x(5), t.y, i)

-- The environment is the global one; functions of a chunk share its upvalues and no other chunk's locals.
local secret = "local"
print(loadstring("return secret")(), loadstring("return type(print), _G == getfenv(1)")()); made = nil; loadstring("made = 'global'")(); print(made)
local c1, c2 = loadstring("n = (n or 0) + 1 return n"), loadstring("n = (n or 0) + 1 return n")
print(c1(), c2(), c1(), n); local get, set = loadstring("local v = 1 return function() return v end, function(x) v = x end")(); set(9); print(get())
print(loadstring("local function f(n) if n == 0 then return 'done' end return f(n - 1) end return f(...)")(1000)); print(#loadstring("return '" .. ("x"):rep(70000) .. "'")())
local many = {}; for i = 1, 200 do many[i] = loadstring("return " .. i) end; local sum = 0; for i = 1, 200 do sum = sum + many[i]() end; print(sum)

