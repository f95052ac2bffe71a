-- Scopes, closures and upvalues: shared, in loops, after their block, after a break, in coroutines and recursion.
local x = 1
do
  local x = x + 1
  do local x = x * 10; print(x) end
  print(x)
end
print(x)
local x = x .. "again"
print(x)
local function f(x) local x = x or "default"; return x end
print(f(), f(2), f(false))

-- A local is not visible in its own initialiser; a local function is.
local g = function() return g end
print(g())
local function fact(n) return n <= 1 and 1 or n * fact(n - 1) end
print(fact(10))
local a, b, c = 1
print(a, b, c)
local a, b, c = (function() return 1, 2, 3, 4 end)()
print(a, b, c)
local a, b, c = (function() return 1, 2, 3 end)(), 10
print(a, b, c)

-- `repeat` sees its body's locals in the condition.
local n = 0
repeat local done = n == 3; n = n + 1 until done
print(n)
local fs = {}
repeat local i = #fs; fs[i + 1] = function() return i end until i >= 3
print(#fs, fs[1](), fs[2](), fs[4]())
repeat
  local i = #fs
  if i > 5 then break end
  fs[i + 1] = function() i = i + 1; return i end
until false
print(#fs, fs[5](), fs[5](), fs[6]())

-- Each iteration of a loop has its own variables.
local list = {}
for i = 1, 5 do list[i] = function(add) i = i + (add or 0); return i end end
print(list[1](), list[2](10), list[2](10), list[3](), list[5]())
list = {}
for _, v in ipairs { "a", "b", "c" } do list[#list + 1] = function() return v end end
print(list[1](), list[2](), list[3]())
list = {}
local i = 1
while i <= 3 do local j = i; list[i] = function() j = j + 1; return i, j end; i = i + 1 end
print(list[1](), list[1]())
print(list[3]())
for i = 1, 3 do
  local k = i * 2
  if i == 2 then list.broken = function() k = k + 1; return i, k end; break end
end
print(list.broken())
print(list.broken())
for i = 1, 3 do i = i * 10; io_write = i; list[i] = function() return i end end
print(list[10](), list[20](), list[30]())

-- Two closures share one variable; later ones get another.
local function counter()
  local n = 0
  return function() n = n + 1; return n end, function() n = n - 1; return n end, function(v) n = v end
end
local up, down, set = counter()
local up2 = counter()
print(up(), up(), down(), up2(), up())
set(100)
print(up(), down(), up2())

-- Through levels of functions.
local function outer(a)
  return function(b)
    a = a + 1
    return function(c)
      a, b = a + b, b + c
      return function() return a, b, c end
    end
  end
end
local mid = outer(1)
local p, q = mid(10), mid(20)
local r = p(5)
print(r())
print(q(7)())
print(r())

-- A closure reads the variable while its block still runs, and after.
do
  local v = "open"
  local function get() return v end
  local function put(w) v = w end
  print(get()); v = "changed"; print(get()); put("put"); print(v, get())
  list.get = get; list.put = put
end
list.put("closed")
print(list.get())

-- Parameters, varargs and loop variables as upvalues; a closure in its own arguments.
local function params(a, b, ...)
  local rest = { ... }
  return function() a = a + 1; b = b .. a; return a, b, #rest end
end
local h = params(1, "b", 1, 2, 3)
h()
print(h())
local function self(f) return f(f) end
print(self(function(f) return type(f) end))

-- Each call of a function creates new locals.
local function rec(n, acc)
  local here = function() return n end
  if n > 0 then return rec(n - 1, function() return here() + acc() end) end
  return acc()
end
print(rec(10, function() return 0 end))

-- Shadowing of globals, and globals created in functions.
local print = print
do local print = function(...) return print("shadow", ...) end; print(1) end
function globalfn() newglobal = "made" end
print(newglobal); globalfn(); print(newglobal, _G.newglobal, _G["new" .. "global"])
local t = { f = {} }
function t.f.g(...) return "field", ... end
function t.f:h(...) return self == t.f, ... end
print(t.f.g(1), t.f:h(2), t.f.h(t.f, 3), t.f.h(nil, 4))

-- Upvalues in coroutines.
local co = coroutine.wrap(function()
  local n = 0
  list.inc = function() n = n + 1; return n end
  while true do coroutine.yield(n) end
end)
print(co(), list.inc(), list.inc(), co(), list.inc(), co())

-- Errors leave variables unchanged, and close them.
local saved
print(pcall(function() local e = "before"; saved = function() return e end; e = "at"; error("stop", 0); e = "after" end))
print(saved())

-- Many closures over one variable, and many variables in one closure.
do
  local v, all = 0, {}
  for i = 1, 100 do all[i] = function() v = v + i; return v end end
  for i = 1, 100 do all[i]() end
  print(v)
  local a, b, c, d, e, f, g, h = 1, 2, 3, 4, 5, 6, 7, 8
  local function rotate() a, b, c, d, e, f, g, h = b, c, d, e, f, g, h, a end
  for i = 1, 11 do rotate() end
  print(a, b, c, d, e, f, g, h)
end

-- Blocks that end inside loops close their variables.
local made = {}
for i = 1, 3 do
  do local inner = i * 10; made[#made + 1] = function() inner = inner + 1; return inner end end
  local other = i * 100
  if i % 2 == 1 then made[#made + 1] = function() other = other + 1; return other end end
end
for i, f in ipairs(made) do print(i, f(), f()) end
