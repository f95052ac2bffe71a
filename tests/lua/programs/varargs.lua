-- `...`, the old `arg` table, select and unpack.
-- The program `lua5.1` itself has a global of this name.
arg = nil
local function count(...) return select("#", ...) end
print(count(), count(nil), count(nil, nil), count(1, nil, 3, nil), count(unpack({}, 1, 5)))
local function pass(...) return ... end
print(pass(), (pass(1, 2)), pass(1, 2), pass(1, 2))
print((function(a, b, ...) return a, b, ... end)(1)); print((function(a, b, ...) return b, a, ... end)(1, 2, 3, 4))
print((function(...) local a, b, c = ...; return a, b, c end)(1, 2)); print((function(...) local t = { ... }; return #t, t[1], t[#t] end)(5, 6, 7))
print((function(...) local t = { "a", ..., "z" }; return #t, t[2], t[3] end)(1, 2, 3))
print((function(...) local n = 0; for _, v in ipairs { ... } do n = n + v end return n end)(1, 2, 3, 4))
print((function(...) local s = ""; for i = 1, select("#", ...) do s = s .. tostring((select(i, ...))) .. ";" end return s end)(nil, 1, false, nil))
print((function(...) return ..., "end" end)(1, 2, 3)); print((function(...) return (...) end)(1, 2, 3)); print((function(...) return -..., #{ ... } end)(5, 6))
print((function(...) local f = function(...) return select("#", ...) end; return f(...), f(..., ...), f(1, ...), f((...)) end)(1, 2, 3))
print((function(...) if ... then return "true" else return "false" end end)(), (function(...) return ... == 1 end)(1, 2), (function(...) return ... .. "x" end)("a", "b"))
print((function(...) local a = ... or "default"; return a end)(), (function(...) return ... and 1 end)(5, 6), (function(...) return ({ ... })[2] end)(1, 2))
print(pcall(function(...) return select(...) end, 2, "a", "b"), (function(f, ...) return f(...) end)(math.max, 3, 9, 2))

-- `arg` exists in a function with dots that does not use them.
print((function(...) return type(arg) end)(1, 2)); print((function(...) local x = ...; return type(arg) end)(1, 2))
print((function(a, ...) return arg.n, arg[1], arg[2], #arg end)(1, 2, nil, 4)); print((function(...) return arg and arg.n end)())
print((function(a, b) return type(arg) end)(1)); print((function(...) local function inner() return type(arg) end return inner() end)(1, 2))
print((function(...) arg = "mine"; return arg end)(1)); print((function(arg, ...) return type(arg), arg[1] end)("parameter", "extra")); print((function(...) local arg = 5; return arg end)(1))
print((function(...) return function() return arg and arg.n end end)(1, 2, 3)()); print((function(...) for i = 1, arg.n do arg[i] = i * 10 end return unpack(arg) end)(1, 2))
print((function(...) return select("#", unpack(arg, 1, arg.n)) end)(nil, nil)); print(type(loadstring("return ..., arg")))
print(loadstring("return ...")(1, 2, 3)); print(loadstring("return select('#', ...)")(nil, nil)); print(type(loadstring("return arg")(1)))

-- Missing and extra arguments.
local function two(a, b) return a, b end
print(two(), two(1), two(1, 2, 3)); print((two(1, 2))); print(two(two(1, 2))); print(two(two(1), two(2)))
local function opt(a, b, c, d, e) return e, d, c, b, a end
print(opt(1)); print(opt(1, 2, 3, 4, 5, 6)); print(opt(two(), 2)); print(opt(1, two(2, 3)))

-- Many arguments and results.
local many = {}
for i = 1, 200 do many[i] = i end
print(select("#", unpack(many)), (select(200, unpack(many))), count(unpack(many)), count(1, unpack(many)))
local function sum(...) local s = 0; for i = 1, select("#", ...) do s = s + select(i, ...) end return s end
print(sum(unpack(many)), sum(pass(unpack(many))))
for i = 201, 6000 do many[i] = i end
print(count(unpack(many)), (select(6000, unpack(many))), math.max(unpack(many)), #string.char(unpack({ 65, 66, 67 }, 1, 3)), #{ unpack(many) })
print(pcall(function() return count(unpack(many, 1, 7900)) end)); print(pcall(unpack, many, 1, 8000)); print(pcall(unpack, many, 1, 1e6)); print(pcall(unpack, {}, 1, 1e8))
print((pcall(unpack, {}, 1, 2147483647)), (pcall(unpack, {}, -5, 2147483640))); print(count(unpack({}, 1, 0)), count(unpack({}, 5, 1)), count(unpack({}, -1, 1)))
print(pcall(string.char, unpack(many, 1, 300)))
local function rec(n, ...) if n == 0 then return select("#", ...) end return rec(n - 1, n, ...) end
print(rec(100), rec(200, 1, 2, 3))

-- select.
print(select(1, "a", "b")); print(select(2, "a", "b")); print(select(3, "a", "b")); print(select(-1, "a", "b")); print(select(-2, "a", "b")); print(select("2", "a", "b")); print(select(1.9, "a", "b"))
print(select("#")); print(select("#", nil)); print(pcall(select, 0, 1)); print(pcall(select, -3, 1, 2)); print(pcall(select)); print(pcall(select, "x")); print(pcall(select, {})); print(pcall(select, nil)); print(select(100))
print(pcall(select, "##", 1)); print(pcall(select, "#1", 1)); print(select("#x", 1, 2) == 2)

-- unpack.
print(unpack { 1, 2, 3 }); print(unpack({ 1, 2, 3 }, 2)); print(unpack({ 1, 2, 3 }, 2, 2)); print(unpack({ 1, 2, 3 }, -1, 1)); print(unpack({ 1, nil, 3 }, 1, 3)); print(unpack({}, 1, 3)); print(unpack({ 1, 2 }, "1", "2"))
print(pcall(unpack)); print(pcall(unpack, 1)); print(pcall(unpack, {}, "x")); print(pcall(unpack, {}, 1, {})); print(unpack({ 1, 2, 3 }, nil, 2)); print(unpack({ 1, 2, 3 }, 1.7, 2.9)); print(unpack(setmetatable({}, { __index = function(_, i) return i end }), 1, 2))
