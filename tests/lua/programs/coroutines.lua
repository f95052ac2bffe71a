-- Coroutines: values in both directions, status, errors, nesting, and functions that cannot yield.
local function show(...)
  local t = {}
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    local k = type(v)
    t[i] = (k == "table" or k == "function" or k == "thread") and k or tostring(v)
  end
  print(table.concat(t, " "))
end

local co = coroutine.create(function(a, b)
  show("start", a, b)
  local c = coroutine.yield(a + b)
  show("resumed", c)
  local d, e = coroutine.yield()
  show("again", d, e)
  return "end", nil, 3
end)
show(coroutine.status(co), coroutine.resume(co, 1, 2))
show(coroutine.status(co), coroutine.resume(co, "c", "dropped"))
show(coroutine.status(co), coroutine.resume(co))
show(coroutine.status(co), coroutine.resume(co)); show(coroutine.resume(co, 1))
show(coroutine.resume(coroutine.create(function() end))); show(coroutine.resume(coroutine.create(function(...) return select("#", ...) end), nil, nil))
show(coroutine.resume(coroutine.create(function(...) return coroutine.yield(...) end), 1, nil, 3))

-- Errors end a coroutine.
co = coroutine.create(function() error("oops") end)
show(coroutine.resume(co)); show(coroutine.status(co), coroutine.resume(co))
co = coroutine.create(function() error({}) end); show(coroutine.resume(co)); show(coroutine.resume(coroutine.create(function() error() end)))
co = coroutine.create(function() local x; x.y = 1 end); show(coroutine.resume(co))
co = coroutine.create(function() coroutine.yield("first"); error("later", 0) end); show(coroutine.resume(co)); show(coroutine.resume(co)); show(coroutine.resume(co))

-- wrap.
local f = coroutine.wrap(function(...) local n = select("#", ...); while true do n = n + select("#", coroutine.yield(n)) end end)
show(f(1, 2, 3), f(), f(nil), f(1, 2))
f = coroutine.wrap(function() return 1, 2 end); show(f()); show(pcall(f)); show(pcall(f))
f = coroutine.wrap(function() error("in wrap") end); show(pcall(f)); show(pcall(f))
f = coroutine.wrap(function() error("in wrap", 0) end); show(pcall(f))
f = coroutine.wrap(function() error({ 1 }) end); show(pcall(f))
f = coroutine.wrap(function() local x = nil; return x() end); show(pcall(f)); show(pcall(function() f() end))
f = coroutine.wrap(function() error("deep") end); show(pcall(function() local r = f(); return r end))

-- Arguments.
show(pcall(coroutine.create)); show(pcall(coroutine.create, 1)); show(pcall(coroutine.create, print)); show(pcall(coroutine.wrap, nil)); show(pcall(coroutine.wrap, string.len))
show(pcall(coroutine.resume)); show(pcall(coroutine.resume, 1)); show(pcall(coroutine.status)); show(pcall(coroutine.status, {})); show(pcall(coroutine.yield)); show(pcall(coroutine.yield, 1))
show(coroutine.running()); show(type(coroutine.create(function() end)))

-- The running coroutine, and the status of the others.
local outer
outer = coroutine.create(function()
  show("outer", coroutine.status(outer), coroutine.running() == outer)
  local inner = coroutine.create(function()
    show("inner", coroutine.status(outer), coroutine.running() ~= outer)
    show(coroutine.resume(outer)); show(coroutine.resume(coroutine.running()))
    coroutine.yield("from inner")
    show("inner again", coroutine.status(outer))
  end)
  show(coroutine.resume(inner)); show(coroutine.status(inner)); coroutine.yield("from outer")
  show(coroutine.resume(inner)); show(coroutine.status(inner))
end)
show(coroutine.status(outer)); show(coroutine.resume(outer)); show(coroutine.status(outer)); show(coroutine.resume(outer)); show(coroutine.status(outer))

-- No yield across a native function.
local function cannot(name, f) show(name, coroutine.resume(coroutine.create(f))) end
cannot("pcall", function() return pcall(coroutine.yield, 1) end)
cannot("pcall of function", function() return pcall(function() coroutine.yield(1) end) end)
cannot("xpcall", function() return xpcall(function() coroutine.yield(1) end, function(m) return m end) end)
cannot("metamethod", function() return setmetatable({}, { __add = function() coroutine.yield(1) end }) + 1 end)
cannot("index", function() return setmetatable({}, { __index = function() coroutine.yield(1) end }).x end)
cannot("newindex", function() setmetatable({}, { __newindex = function() coroutine.yield(1) end }).x = 1 end)
cannot("eq", function() local mt = { __eq = function() coroutine.yield(1) end }; return setmetatable({}, mt) == setmetatable({}, mt) end)
cannot("lt", function() local mt = { __lt = function() coroutine.yield(1) end }; return setmetatable({}, mt) < setmetatable({}, mt) end)
cannot("concat", function() return setmetatable({}, { __concat = function() coroutine.yield(1) end }) .. "x" end)
cannot("call", function() return setmetatable({}, { __call = function(_, a) return coroutine.yield(a) end })(5) end)
cannot("iterator", function() for i in function() return coroutine.yield("in for") end do show("got", i) end end)
cannot("sort", function() table.sort({ 3, 2, 1 }, function(a, b) coroutine.yield(1) end) end)
cannot("gsub", function() return ("x"):gsub("x", function() coroutine.yield(1) end) end)
cannot("foreach", function() table.foreach({ 1 }, function() coroutine.yield(1) end) end)
cannot("tostring", function() return tostring(setmetatable({}, { __tostring = function() coroutine.yield(1) end })) end)
cannot("load", function() return load(function() coroutine.yield(1) end) end)
cannot("tail call", function() return coroutine.yield("in tail") end)
cannot("wrap in wrap", function() return coroutine.wrap(function() coroutine.yield("inner value") end)() end)

-- Generators.
local function range(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i, i * i) end end) end
for i, s in range(4) do show(i, s) end
local function permutations(a, n)
  n = n or #a
  if n <= 1 then coroutine.yield(table.concat(a)) else
    for i = 1, n do a[n], a[i] = a[i], a[n]; permutations(a, n - 1); a[n], a[i] = a[i], a[n] end
  end
end
local all = {}
for p in coroutine.wrap(function() permutations { "a", "b", "c" } end) do all[#all + 1] = p end
show(table.concat(all, " "))
local function filter(p, g) return coroutine.wrap(function() for x in g do if x % p ~= 0 then coroutine.yield(x) end end end) end
local gen = coroutine.wrap(function() for i = 2, 60 do coroutine.yield(i) end end)
local primes = {}
while true do local p = gen(); if not p then break end; primes[#primes + 1] = p; gen = filter(p, gen) end
show(unpack(primes))
local function tree(t) if t then tree(t[1]); coroutine.yield(t.v); tree(t[2]) end end
local r = {}
for v in coroutine.wrap(function() tree { v = 4, { v = 2, { v = 1 }, { v = 3 } }, { v = 6, { v = 5 } } } end) do r[#r + 1] = v end
show(unpack(r))

-- Producer and consumer, and a scheduler.
local log, tasks = {}, {}
for t = 1, 3 do tasks[t] = coroutine.create(function() for i = 1, t do log[#log + 1] = t .. ":" .. i; coroutine.yield() end end) end
while #tasks > 0 do
  for t = #tasks, 1, -1 do coroutine.resume(tasks[t]); if coroutine.status(tasks[t]) == "dead" then table.remove(tasks, t) end end
end
show(table.concat(log, " "))

-- Yields across Lua frames keep locals, varargs, loops and upvalues.
local function deep(n, ...) if n == 0 then return coroutine.yield(...) end local a, b = deep(n - 1, n, ...); return a, b, n end
co = coroutine.create(function(...) local t = { deep(5, ...) }; return #t, unpack(t) end)
show(coroutine.resume(co, "x")); show(coroutine.resume(co, "a", "b")); show(coroutine.status(co))
co = coroutine.wrap(function(...) local n = 0; for _, v in ipairs { ... } do n = n + v; local got = coroutine.yield(n, ...); n = n + (got or 0) end return "sum", n end)
show(co(1, 2, 3)); show(co(10)); show(co()); show(co(100))
co = coroutine.wrap(function() local fs = {}; for i = 1, 3 do fs[i] = function() i = i + 1; return i end; coroutine.yield(fs[i]()) end return fs[1](), fs[2](), fs[3]() end)
show(co()); show(co()); show(co()); show(co())

-- Many of them, and deep ones.
local n = 0
for i = 1, 2000 do local c = coroutine.wrap(function(a) local b = coroutine.yield(a); n = n + b end); n = n + c(i); c(1) end
show(n)
local function chain(d) if d == 0 then return "bottom" end return coroutine.wrap(function() return chain(d - 1) .. d end)() end
show(chain(5)); show(#chain(100))
co = coroutine.create(function() local function f(i) if i == 0 then coroutine.yield("deep") else f(i - 1); return i end end f(1000) end)
show(coroutine.resume(co)); show(coroutine.resume(co)); show(coroutine.status(co))

-- The environment and pcall inside.
co = coroutine.wrap(function() local ok, m = pcall(error, "caught", 0); coroutine.yield(ok, m); local ok2, m2 = pcall(function() local x; return x.y end); return ok2, m2 end)
show(co()); show(co())
local t = setmetatable({}, { __index = function(_, k) return k .. "!" end })
co = coroutine.wrap(function() local v = t.a; coroutine.yield(v); return t.b end); show(co(), co())
show(select("#", coroutine.resume(coroutine.create(function() return nil, nil end))))
show(pcall(coroutine.wrap(function() return pcall(error, "e", 0) end)))
show(coroutine.resume(coroutine.create(coroutine.wrap(function() end) and function(...) return ... end), 1, 2))
