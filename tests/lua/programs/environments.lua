-- setfenv and getfenv: functions, levels, globals of a function, and _G.
x = "global"
local function get() return x end
local env = { x = "own", print = print }
print(get(), setfenv(get, env) == get, get(), getfenv(get) == env, x)
local function set(v) x = v end
setfenv(set, env); set("changed"); print(env.x, x, get())
print(getfenv() == _G, getfenv(0) == _G, getfenv(1) == _G, getfenv(print) == _G, getfenv(get) == env, _G._G == _G)

-- By level.
local function level() setfenv(1, { inner = "seen", type = type, getfenv = getfenv }); return inner, x, type(getfenv(1)) end
print(level()); print(x)
local function caller() local function callee() setfenv(2, { y = "from callee" }) end callee(); return y end
print(caller())
print((function() local function f() return getfenv(2).tag end; local me = setfenv(function() tag = "mine"; local r = f(); return r end, { }); return me() end)())
local f1 = setfenv(function() return function() return z end end, { z = "inherited" }); print(f1()()); print(getfenv(f1()).z)
local chunk = loadstring("v = 1; return v, w"); print(setfenv(chunk, { w = "w" })()); print(v, getfenv(chunk).v)
local co = coroutine.wrap(setfenv(function() coroutine = nil; local a = q; return a end, { q = "in coroutine" })); print(co())

-- Errors.
print(pcall(setfenv)); print(pcall(setfenv, get)); print(pcall(setfenv, get, 1)); print(pcall(setfenv, print, {})); print(pcall(setfenv, 50, {})); print(pcall(setfenv, -1, {})); print(pcall(setfenv, "x", {})); print(pcall(setfenv, nil, {})); print(pcall(setfenv, {}, {}))
print(pcall(getfenv, 50)); print(pcall(getfenv, -1)); print(pcall(getfenv, "x")); print(pcall(getfenv, {})); print((pcall(getfenv, nil))); print((pcall(getfenv, "1")))
print(pcall(setfenv(function() return nothing.x end, {}))); print(pcall(setfenv(function() undefined() end, {}))); print(pcall(setfenv(function() a.b.c = 1 end, { a = {} }))); print(pcall(setfenv(function() return x + 1 end, {})))

-- A guarded environment.
local log = {}
local guarded = setmetatable({}, { __index = function(_, k) log[#log + 1] = "get " .. k; return _G[k] end, __newindex = function(t, k, v) log[#log + 1] = "set " .. k; rawset(t, k, v) end })
local g = setfenv(function() a = 1; a = 2; b = a; return tostring(b), c end, guarded); print(g()); print(table.concat(log, ", "))
local strict = setmetatable({}, { __index = function(_, k) error("undefined variable " .. k, 2) end, __newindex = function(_, k) error("assignment to " .. k, 2) end })
print(pcall(setfenv(function() return nope end, strict))); print(pcall(setfenv(function() nope = 1 end, strict))); print(pcall(setfenv(function() local f = function() return deeper end; return f() end, strict)))
local readonly = setmetatable({}, { __index = { pi = 3 }, __newindex = function() error("read only", 0) end }); print(pcall(setfenv(function() pi = 4 end, readonly))); print(setfenv(function() return pi end, readonly)())

-- _G is an ordinary table.
_G.through = "table"; print(through); through = nil; print(_G.through, rawget(_G, "through")); _G["odd name"] = 1; print(_G["odd name"]); print(_VERSION, type(_G), _G.print == print)
setmetatable(_G, { __index = function(_, k) return "default " .. k end }); print(missing_global, rawget(_G, "missing_global")); setmetatable(_G, nil); print(missing_global)
local real = getfenv(0); setfenv(0, setmetatable({ only = "thread" }, { __index = _G })); print(getfenv(0).only, only, loadstring("return only")()); setfenv(0, real); print(getfenv(0) == _G)
local saved = print; setfenv(1, { saved = saved }); saved(x, print); y = 1; saved(y)
