-- error, assert, pcall and xpcall: values, levels, handlers, and errors within errors.
local function show(...)
  local t = {}
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    t[i] = type(v) == "table" and "table" or type(v) == "function" and "function" or tostring(v)
  end
  print(table.concat(t, " | "))
end

show(pcall(error)); show(pcall(error, nil)); show(pcall(error, "m")); show(pcall(error, "m", 0)); show(pcall(error, "m", 1)); show(pcall(error, "m", 2))
show(pcall(error, 5)); show(pcall(error, true)); show(pcall(error, {})); show(pcall(error, print)); show(pcall(error, "m", 3)); show(pcall(error, "m", 50))
show(pcall(function() error("here") end))
show(pcall(function() error("here", 0) end))
show(pcall(function() error("here", 1) end))
local function thrower(level) error("thrown", level) end
show(pcall(function() thrower(1) end))
show(pcall(function() thrower(2) end))
show(pcall(function() thrower(3) end))
local function outer(level) local x = thrower(level); return x end
show(pcall(function() outer(2) end)); show(pcall(function() outer(3) end)); show(pcall(function() outer(4) end))
show(pcall(function() return thrower(2) end)); show(pcall(function() return outer(3) end))
show(pcall(function() error(5) end)); show(pcall(function() error("5" + 0) end)); show(pcall(function() error(nil) end)); show(pcall(function() error() end))
show(pcall(function() error({}, 1) end)); show(pcall(function() error(true, 2) end))
show(pcall(function() error("x", "1") end)); show(pcall(function() error("x", "y") end)); show(pcall(function() error("x", {}) end))
show(pcall(function() error("with\0zero") end))
show(pcall(loadstring("error('in a chunk')", "=chunk"))); show(pcall(loadstring("error('in a chunk', 2)", "@file.lua")))
show(pcall(loadstring("\n\nerror('in a text')")))

-- The value is passed on unchanged.
local e = setmetatable({ code = 42 }, { __tostring = function(s) return "E" .. s.code end })
local ok, got = pcall(error, e)
print(ok, got == e, tostring(got), got.code)
print(pcall(function() local ok, err = pcall(error, e); error(err) end))
print(select("#", pcall(error)), select("#", pcall(function() end)), select("#", pcall(function() return nil, nil end)))

-- assert.
show(assert(1, 2, 3)); show(assert("x")); show(pcall(assert)); show(pcall(assert, nil)); show(pcall(assert, false)); show(pcall(assert, nil, "message"))
show(pcall(assert, false, 5)); show(pcall(assert, nil, {})); show(pcall(assert, false, nil)); show(pcall(assert, 0, "m")); show(pcall(assert, false, "m", "n"))
show(pcall(function() assert(1 == 2) end)); show(pcall(function() assert(false, "said") end)); show(pcall(function() assert(loadstring("x =", "=c")) end))

-- pcall of values that cannot be called.
show(pcall(pcall)); show(pcall(nil)); show(pcall(5)); show(pcall("x")); show(pcall({})); show(pcall(pcall)); show(pcall(pcall, nil)); show(pcall(pcall, error, "m"))
show(pcall(pcall, pcall, pcall, error)); show(pcall(select, 2, "a", "b", "c")); show(pcall(function(...) return ... end, 1, nil, 3, nil))

-- xpcall: the handler sees the error where it happened.
show(xpcall(function() error("m") end, function(m) return "handled: " .. m end))
show(xpcall(function() error("m", 0) end, function(m) return m, "second", "third" end))
show(xpcall(function() return 1, 2, 3 end, print)); show(xpcall(function(...) return select("#", ...) end, print, 1, 2))
show(xpcall(function() error({}) end, function(v) return type(v) end)); show(xpcall(function() error() end, function(v) return v end))
show(xpcall(function() local x = nil + 1 end, function(m) return "[" .. m .. "]" end))
show(xpcall(nil, function(m) return "[" .. m .. "]" end)); show(xpcall(5, function(m) return "[" .. tostring(m) .. "]" end))
show(pcall(xpcall)); show(pcall(xpcall, print)); show(pcall(xpcall, function() error("x", 0) end, nil)); show(pcall(xpcall, function() error("x", 0) end, 5))
show(xpcall(function() error("x", 0) end, {})); show(xpcall(function() return "fine" end, nil))
show(xpcall(function() error("first", 0) end, function(m) error("second", 0) end))
show(xpcall(function() error("first", 0) end, function(m) local x = nil; return x.y end))
show(xpcall(function() error("first", 0) end, setmetatable({}, { __call = function(_, m) return "called " .. tostring(m) end })))
show(xpcall(function() error("deep", 0) end, function(m) return select(2, pcall(error, m .. " and deeper", 0)) end))
show(xpcall(function() xpcall(function() error("inner", 0) end, function(m) error("in handler", 0) end); error("after", 0) end, function(m) return "outer " .. m end))
show(xpcall(function() return xpcall(error, function(m) return "inner handler" end) end, function() return "outer handler" end))
show(xpcall(function() pcall(error, "not for the handler"); return "fine" end, function() print("never") end))
show(xpcall(string.rep, function(m) return m end)); show(xpcall(function() string.rep() end, function(m) return m end))
local trace = {}
show(xpcall(function() local function f() error("x", 0) end f() end, function(m) trace[#trace + 1] = m; return #trace end), #trace)

-- Nested protection.
local function nest(n) if n == 0 then error("bottom", 0) end local ok, m = pcall(nest, n - 1); error(m .. n, 0) end
show(pcall(nest, 9))
show(pcall(function() local ok, m = pcall(function() error("inner") end); print(m); error("outer") end))
for i = 1, 3 do local ok, m = pcall(function() if i == 2 then error("two", 0) end return i end); print(i, ok, m) end
local function cleanup() local log = {}; local ok, err = pcall(function() log[1] = "start"; error("fail", 0); log[2] = "never" end); log[#log + 1] = err; return table.concat(log, ",") end
print(cleanup())

-- State after an error: the stack, loops and locals of the caller are untouched.
local a, b, c = 1, 2, 3
pcall(function() local d, e, f = 4, 5, 6; a = 10; error() end)
print(a, b, c)
local sum = 0
for i = 1, 1000 do local ok, v = pcall(function(n) if n % 3 == 0 then error(n, 0) end return n end, i); sum = sum + v end
print(sum)
for k, v in pairs { 1, 2, 3 } do pcall(error); print(k, v) end
print((function(...) pcall(error); return select("#", ...), ... end)(1, nil, 3))

-- Errors through metamethods, sort, gsub and iterators.
show(pcall(table.sort, { 3, 1, 2 }, function(a, b) error("in sort", 0) end)); show(pcall(string.gsub, "abc", "%w", function(c) error("in gsub " .. c, 0) end))
show(pcall(function() return setmetatable({}, { __add = function() error("in add", 0) end }) + 1 end))
show(pcall(function() return setmetatable({}, { __eq = function() error("in eq", 0) end }) == setmetatable({}, {}) end))
show(pcall(function() for k in function() error("in iterator", 0) end do end end)); show(pcall(load, function() error("in reader", 0) end))
show(pcall(tostring, setmetatable({}, { __tostring = function() error("in tostring", 0) end })))
