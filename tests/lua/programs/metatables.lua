-- Metatables: every event, on tables, and the order of lookups.
local log = {}
local function logged(name, result)
  return function(...)
    local t = {}
    for i = 1, select("#", ...) do local v = select(i, ...); t[i] = type(v) == "table" and (rawget(v, "name") or "table") or tostring(v) end
    log[#log + 1] = name .. "(" .. table.concat(t, ",") .. ")"
    if result ~= nil then return result end
    return name
  end
end
local function flush(...) print(...); if #log > 0 then print("  " .. table.concat(log, " ")); log = {} end end

local mt = {}
for _, e in ipairs { "add", "sub", "mul", "div", "mod", "pow", "unm", "concat", "call", "len", "index", "newindex" } do mt["__" .. e] = logged(e) end
local A, B = setmetatable({ name = "A" }, mt), setmetatable({ name = "B" }, mt)

flush(A + 1, 1 + A, A + B, A + "x", nil_value, pcall(function() return nil + A end))
flush(A - 1, 1 - A, A * 2, 2 * A, A / 2, 2 / A, A % 2, 2 % A, A ^ 2, 2 ^ A)
flush(-A, -B)
flush(A .. "s", "s" .. A, A .. B, 1 .. A, A .. 1)
flush("a" .. "b" .. A .. "c" .. "d")
flush(A .. B .. A)
flush(A(), A(1, 2), A(nil, nil))
flush(#A, #B)
flush(A.missing, A[1], A[B], A.name)
A.missing = 5; A[1] = "one"; A.name = "A"
flush(rawget(A, "missing"))
flush(pcall(function() return A:method(1) end))

-- The choice between two metatables.
local L, R = setmetatable({ name = "L" }, { __add = logged("left", "l") }), setmetatable({ name = "R" }, { __add = logged("right", "r") })
local N = setmetatable({ name = "N" }, {})
flush(L + R, R + L, N + R, R + N, L + N, {} + R == "r")
flush(pcall(function() return N + N end))
flush(pcall(function() return N + 1 end))
flush(pcall(function() return 1 + N end))

-- Results are truncated to one value, or become nil.
local many = setmetatable({}, { __add = function() return 1, 2, 3 end, __index = function() return "a", "b" end, __unm = function() end,
  __call = function(self, ...) return ... end, __concat = function() return "x", "y" end, __eq = function() return 1, 2 end, __lt = function() return "yes" end })
print(many + 1, (many + 1), many.x, -many, many .. 1)
print(many(1, 2, 3), (many(1, 2, 3)), select("#", many()), select("#", many(nil)))

-- Equality: only for two tables that differ, with the same method.
local eq = logged("eq", true)
local E1, E2 = setmetatable({ name = "E1" }, { __eq = eq }), setmetatable({ name = "E2" }, { __eq = eq })
local E3 = setmetatable({ name = "E3" }, { __eq = logged("other", true) })
flush(E1 == E2, E1 ~= E2, E1 == E1, E1 == E3, E1 == 1, 1 == E1, E1 == {}, E1 == nil, E1 == "E1", rawequal(E1, E2))
local falsy = { __eq = function() return nil end }
print(setmetatable({}, falsy) == setmetatable({}, falsy), setmetatable({}, falsy) ~= setmetatable({}, falsy))

-- Order: the same method in both, and `a <= b` through `not (b < a)`.
local lt = function(a, b) log[#log + 1] = "lt(" .. a.name .. "," .. b.name .. ")"; return a.n < b.n end
local O1, O2 = setmetatable({ name = "O1", n = 1 }, { __lt = lt }), setmetatable({ name = "O2", n = 2 }, { __lt = lt })
flush(O1 < O2, O1 > O2, O1 <= O2, O1 >= O2, O2 < O1, O1 <= O1)
local le = function(a, b) log[#log + 1] = "le(" .. a.name .. "," .. b.name .. ")"; return a.n <= b.n end
local P1, P2 = setmetatable({ name = "P1", n = 1 }, { __le = le }), setmetatable({ name = "P2", n = 2 }, { __le = le })
flush(P1 <= P2, P1 >= P2)
flush(pcall(function() return P1 < P2 end))
flush(pcall(function() return O1 < 1 end))
flush(pcall(function() return O1 < E1 end))
flush(pcall(function() return 1 <= O1 end))
local D1, D2 = setmetatable({ n = 1, name = "D1" }, { __lt = lt }), setmetatable({ n = 2, name = "D2" }, { __lt = function() return true end })
flush(pcall(function() return D1 < D2 end))
print(many < setmetatable({}, getmetatable(many)), not (many < many))

-- __index and __newindex: chains of tables, then functions.
local base = { inherited = "base", deep = "base" }
local middle = setmetatable({ deep = "middle" }, { __index = base })
local top = setmetatable({}, { __index = middle })
print(top.inherited, top.deep, top.none, rawget(top, "deep"))
local sink = {}
local proxy = setmetatable({ own = 1 }, { __newindex = sink })
proxy.own = 2; proxy.other = 3
print(rawget(proxy, "own"), rawget(proxy, "other"), sink.other, sink.own)
local chain = setmetatable({}, { __newindex = setmetatable({}, { __newindex = function(t, k, v) rawset(sink, k, v .. "!") end }) })
chain.through = "got"
print(sink.through, rawget(chain, "through"))
local computed = setmetatable({}, { __index = function(t, k) local v = k * 2; rawset(t, k, v); return v end })
print(computed[2], computed[21], rawget(computed, 21), rawget(computed, 3))
print(pcall(function() return setmetatable({}, { __index = 5 }).x end))
print(pcall(function() setmetatable({}, { __newindex = 5 }).x = 1 end))
print(setmetatable({}, { __index = "text" }).len == string.len, setmetatable({}, { __index = "text" }).none)
print(pcall(function() setmetatable({}, { __newindex = "text" }).x = 1 end))
local loop = {}; setmetatable(loop, { __index = loop, __newindex = loop })
print(pcall(function() return loop.x end))
print(pcall(function() loop.x = 1 end))
local ping, pong = {}, {}
setmetatable(ping, { __index = pong }); setmetatable(pong, { __index = ping })
print(pcall(function() return ping.x end))
local function tower(n) local t = { bottom = "reached" } for i = 1, n do t = setmetatable({}, { __index = t }) end return t end
print(tower(90).bottom, tower(99).bottom, pcall(function() return tower(100).bottom end), pcall(function() return tower(150).bottom end))
print(pcall(function() return setmetatable({}, { __index = function(t, k) error("no field " .. k) end }).x end))
print(pcall(function() return setmetatable({}, { __index = function(t, k) error("no field " .. k, 2) end }).x end))

-- __call: tables that call tables.
local C1 = setmetatable({}, { __call = function(self, a) return "C1", a end })
print(C1(5), pcall(C1, 6), select("#", C1()))
local C2 = setmetatable({}, { __call = C1 })
print(pcall(function() return C2(1) end))
print(pcall(setmetatable({}, { __call = 1 })))
print(pcall(function() local t = setmetatable({}, { __call = true }); t() end))
print(table.concat({ pcall(string.gsub, "abc", "%w", C1) }, " ", 2, 2))
print(coroutine.wrap(function() return C1("in coroutine") end)())
print(pcall(coroutine.create, C1))

-- tostring, __metatable, and setmetatable's arguments.
print(tostring(setmetatable({}, { __tostring = function() return "shown" end })), setmetatable({}, { __tostring = function() return "printed" end }))
print(pcall(tostring, setmetatable({}, { __tostring = function() return 5 end })))
print(pcall(print, setmetatable({}, { __tostring = function() return {} end })))
print(pcall(tostring, setmetatable({}, { __tostring = function() error("failed", 0) end })))
print(pcall(tostring, setmetatable({}, { __tostring = function() return nil end })))
local locked = setmetatable({}, { __metatable = "locked" })
print(getmetatable(locked), pcall(setmetatable, locked, {}), pcall(setmetatable, locked, nil))
print(getmetatable(setmetatable({}, { __metatable = false })), pcall(setmetatable, setmetatable({}, { __metatable = false }), {}))
print(pcall(setmetatable, 1, {}), pcall(setmetatable, {}), pcall(setmetatable, {}, 1), (pcall(setmetatable, {}, nil, 1)))
print(pcall(setmetatable), pcall(setmetatable, nil, {}), pcall(getmetatable))
print(getmetatable({}), getmetatable(1), getmetatable(nil), getmetatable("").__index == string, getmetatable(print))
local t, m = {}, {}
print(setmetatable(t, m) == t, getmetatable(t) == m, getmetatable(setmetatable(t, nil)))

-- Raw access ignores metatables.
flush(rawget(A, "none"), rawset(A, "raw", 1) == A, A.raw, rawequal(A, B))
print(pcall(rawget, 1, 1), pcall(rawset, {}, nil, 1), pcall(rawget), pcall(rawequal, 1), pcall(rawset, {}, 1))

-- Methods of strings.
print(("x"):rep(3), ("%d"):format(5), #("abc"):upper(), ("a,b"):find(",", 1, true), ("x").y, ("x").len == string.len)
print(pcall(function() return ("x"):nomethod() end))
print(pcall(function() return ("x").y.z end))
print(pcall(function() local s = "x"; s.y = 1 end))
string.twice = function(s) return s .. s end
print(("ab"):twice(), ("x"):twice():twice())

-- Metamethods may yield no more than PUC allows, may be changed, and inherit nothing themselves.
local late = setmetatable({}, {})
print(pcall(function() return late + 1 end))
getmetatable(late).__add = function(a, b) return "late" end
print(late + 1)
local mm = setmetatable({}, { __index = { __add = function() return "inherited" end } })
print(pcall(function() return setmetatable({}, mm) + 1 end))
getmetatable(late).__add = nil
print(pcall(function() return late + 1 end))
getmetatable(late).__add = 5
print(pcall(function() return late + 1 end))
getmetatable(late).__index = function(t, k) return k end
print(late.now, late[1])
getmetatable(late).__index = nil
print(late.now)
print(#setmetatable({ 1, 2, 3 }, { __len = function() return 42 end }))
