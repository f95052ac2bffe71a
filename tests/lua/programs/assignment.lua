-- Multiple assignment: evaluation, adjustment of values, and the order of stores.
local a, b, c = 1, 2, 3
a, b = b, a
print(a, b)
a, b, c = c, a
print(a, b, c)
a, b = 1, 2, 3
print(a, b)
local t = {}
t.x, t.y = 1
print(t.x, t.y)

-- The right side and the expressions of the left side are evaluated before anything is stored.
local i = 1
local s = { 10, 20, 30 }
i, s[i] = i + 1, "set"
print(i, s[1], s[2])
s[i], i = "two", 3
print(i, s[2], s[3])
local u = { 1, 2 }
u[1], u[2] = u[2], u[1]
print(u[1], u[2])
local v = { next = { name = "second" }, name = "first" }
v, v.name = v.next, "renamed"
print(v.name)
local w = { k = "old" }
local keep = w
w.k, w = "new", { k = "other" }
print(keep.k, w.k)

-- Stores happen from the last to the first.
local log = {}
local watch = setmetatable({}, { __newindex = function(_, k, v) log[#log + 1] = k .. "=" .. tostring(v) end })
watch.a, watch.b, watch.c = 1, 2
print(table.concat(log, " "))
log = {}
local function f(n) log[#log + 1] = "f" .. n; return n end
local function key(n) log[#log + 1] = "k" .. n; return n end
watch[key "a"], watch[key "b"], watch[key "c"] = f(1), f(2), f(3), f(4)
print(table.concat(log, " "))
local same = {}
same.x, same.x, same.x = 1, 2, 3
print(same.x)
local d, d2
d, d, d2 = 1, 2, 3
print(d, d2)

-- Calls are truncated to one value except at the end.
local function three() return "a", "b", "c" end
local function none() end
local p, q, r, z = three(), three()
print(p, q, r, z)
p, q, r = (three())
print(p, q, r)
p, q = none(), none()
print(p, q)
p, q, r, z = 0, three()
print(p, q, r, z)
print(three(), three(), (three()))
print((none()))
print(pcall(print, none()))
print(#{ three(), three() }, #{ three(), (three()) }, #{ (three()) }, #{ none() }, select("#", none(), none()))
local e = { three(), k = three(), three() }
print(#e, e.k, e[1], e[2], e[4])
print(({ three(), nil })[1], #{ n = three() }, ({ three() })[3], ({ [three()] = 1 }).a)

-- Tables and their fields in one statement, with calls that change them in between.
local obj = { n = 0 }
local function bump() obj.n = obj.n + 1; return obj.n end
obj.first, obj.second, obj.n = bump(), bump(), "end"
print(obj.first, obj.second, obj.n)
local m = { { v = 1 }, { v = 2 } }
m[1].v, m[2].v, m[1], m[2] = m[2].v, m[1].v, m[2], m[1]
print(m[1].v, m[2].v)
local function swap(x, y) return y, x end
m[1].v, m[2].v = swap(m[1].v, m[2].v)
print(m[1].v, m[2].v)

-- A local of the left side that is used as a table or key on the right of a later target.
local j, arr = 1, {}
j, arr[j], arr[j + 1] = j + 10, "one", "two"
print(j, arr[1], arr[2], arr[11])
local h = { a = {} }
h, h.a.x = nil, 5
print(h)
local k = "key"
local o = {}
o[k], k = k, "changed"
print(o.key, k, o.changed)

-- Upvalues and globals as targets.
local up = 0
local function set() up, glob, o.z = 1, 2, 3; up, glob = glob, up end
set()
print(up, glob, o.z)
glob, up = nil
print(glob, up)

-- Errors in the middle: the remaining values are not stored.
local before = { x = "kept" }
print(pcall(function() before.x, before.nope.y = 1, 2 end))
print(before.x)
print(pcall(function() local n; n.x = error("evaluated first", 0) end))
print(pcall(function() before.x = before.y.z end), before.x)
