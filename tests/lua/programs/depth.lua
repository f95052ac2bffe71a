-- Endless recursion, endless tail calls, and nesting of natives: an error, after which everything works as before.
local function tidy(ok, m) return ok, (tostring(m):gsub("stack traceback.*", "")):sub(1, 100) end
local function forever() return 1 + forever() end
print(tidy(pcall(forever))); print(tidy(pcall(forever)))
local function count(n) if n == 0 then return 0 end return 1 + count(n - 1) end
print(count(10000), pcall(count, 15000)); print(tidy(pcall(count, 1e6)))
local function args(...) return 1 + args(1, 2, 3) end; print((pcall(args)))
local t = setmetatable({}, {}); getmetatable(t).__index = function(t, k) return t[k + 1] end; print((pcall(function() return t[1] end)))
getmetatable(t).__add = function(a, b) return a + b end; print((pcall(function() return t + 1 end))); getmetatable(t).__call = function(self, n) return 1 + self(n) end; print((pcall(t, 1)))
getmetatable(t).__concat = function(a, b) return a .. b end; print((pcall(function() return t .. "x" end))); getmetatable(t).__eq = function(a, b) return a == b end; print((pcall(function() return t == setmetatable({}, getmetatable(t)) end)))
getmetatable(t).__tostring = function(s) return tostring(s) end; print((pcall(tostring, t))); getmetatable(t).__newindex = function(t, k, v) t[k] = v end; print((pcall(function() t.x = 1 end)))
local function self() return pcall(self) end; print((self()))
local function sorts() table.sort({ 2, 1 }, function(a, b) sorts(); return a < b end) end; print((pcall(sorts)))
local function subs(s) return (s:gsub(".", subs)) end; print((pcall(subs, "x")))
local function co() return coroutine.wrap(co)() end; print((pcall(co)))
local function loads() return loadstring("return ...")(loads()) end; print((pcall(loads)))
local function each() table.foreach({ 1 }, each) end; print((pcall(each)))

-- The depth of protected calls.
local function nest(n) if n == 0 then return "bottom" end local ok, v = pcall(nest, n - 1); return v end
print(nest(10), nest(100), nest(150)); local function nestx(n) if n == 0 then return "bottom" end local ok, v = xpcall(function() return nestx(n - 1) end, function(m) return m end); return v end; print(nestx(100))
print(type(nest(1000)))

-- Tail calls take no stack.
local function tail(n) if n == 0 then return "end of tail" end return tail(n - 1) end; print(tail(1e6))
local even, odd; function even(n) if n == 0 then return true end return odd(n - 1) end; function odd(n) if n == 0 then return false end return even(n - 1) end; print(even(100001), odd(100001))
local function tails(n, ...) if n == 0 then return select("#", ...) end return tails(n - 1, ...) end; print(tails(10000, 1, 2, 3, nil))
local obj = { v = 0 }; function obj:count(n) if n == 0 then return self.v end self.v = self.v + 1; return self:count(n - 1) end; print(obj:count(100000))
local callable = setmetatable({}, { __call = function(self, n) if n == 0 then return "called" end return self(n - 1) end }); print(callable(150))
local function viapcall(n) if n == 0 then return "p" end return select(2, pcall(viapcall, n - 1)) end; print(viapcall(100))
local function state(n) local s = { [0] = function() return "halt" end }; s[1] = function(k) if k == 0 then return s[0]() end return s[2](k - 1) end; s[2] = function(k) return s[1](k) end; return s[1](n) end; print(state(50000))

-- After an overflow everything works as before.
local before = {}; for i = 1, 5 do before[i] = i * i end; pcall(forever); print(unpack(before)); print(count(100), select("#", unpack({}, 1, 100)))
local co2 = coroutine.wrap(function() local ok = pcall(forever); coroutine.yield(ok); return "goes on" end); print(co2(), co2())
local ok, m = pcall(string.rep, "x", -1); print(ok, m); local ok2, m2 = xpcall(forever, function(m) return "handler: " .. tostring(m):sub(1, 60) end); print(ok2, type(m2))
local deep = {}; for i = 1, 100000 do deep = { next = deep } end; local n = 0; while deep do deep = deep.next; n = n + 1 end; print(n)
local str = ""; for i = 1, 5000 do str = str .. "line " .. i .. "\n" end; print(#str)
local f = function() return 0 end; for i = 1, 150 do local g = f; f = function() return g() + 1 end end; print(f())
