-- math.*: all deterministic functions.
local function n(x) if type(x) ~= "number" then return tostring(x) end return x ~= x and "nan" or ("%.14g"):format(x) end
local inf, nan = math.huge, 0 / 0
local values = { 0, 1, -1, 0.5, -0.5, 2, 3.7, -3.7, 100, 1e10, -1e10, 1e300, inf, -inf, nan, 1e-10, 0.1 }
for _, name in ipairs { "abs", "ceil", "floor", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "log10", "deg", "rad" } do
  local r = {}
  for i, v in ipairs(values) do if not (name:find("^[sct][ioa]") and math.abs(v) > 1e9) then r[#r + 1] = n(math[name](v)) end end
  print(name, table.concat(r, " "))
end
for _, name in ipairs { "pow", "fmod", "atan2", "mod" } do
  for _, p in ipairs { { 2, 3 }, { -2, 3 }, { 2, -1 }, { 5, 3 }, { -5, 3 }, { 5, -3 }, { 5.5, 2 }, { 0, 1 }, { 1, 0 }, { 0, 0 }, { inf, 2 }, { 2, inf }, { -1, 0.5 }, { 1, inf }, { -0, -1 } } do print(name, p[1], p[2], n(math[name](p[1], p[2]))) end
end
for _, v in ipairs(values) do if v == v and math.abs(v) ~= inf then local a, b = math.modf(v); local c, d = math.frexp(v); print(n(v), n(a), n(b), n(c), n(d)) end end
print(n(math.modf(inf)), n(math.modf(-inf)), n(math.ldexp(0.5, 3)), n(math.ldexp(1, -2)), n(math.ldexp(1, 1024)), n(math.ldexp(1, 2.9)), n(math.ldexp(1, -1080)))
print(math.max(1), math.max(1, 2, 3), math.max(3, 2, 1), math.max(-1, -2), math.min(1), math.min(3, 1, 2), math.max(1, inf), math.min(1, -inf), math.max("10", 9), math.min("1", 2)); print(n(math.max(nan, 1)), n(math.max(1, nan)), n(math.min(nan, 1)), n(math.min(1, nan)))
print(math.pi, math.huge, -math.huge, n(math.pi * 2), math.floor(-0.5), math.ceil(-0.5), math.floor(2 ^ 53 + 0.5) == 2 ^ 53, math.sqrt(2) ^ 2 == 2, math.abs(-0))
for _, name in ipairs { "abs", "max", "min", "floor", "sqrt", "pow", "fmod", "ldexp", "modf", "frexp", "atan2", "log", "deg" } do print(name, pcall(math[name])); print(name, pcall(math[name], "x")); print(name, pcall(math[name], {}, 1)); print(name, pcall(math[name], 1)) end
print(math.floor("3.7"), math.abs("-5"), math.max("0x10", 5), pcall(math.max, 1, "x"), pcall(math.max, 1, nil)); print(math.mod == math.fmod, n(math.fmod(7, 2.5)), n(math.fmod(-7, 2.5)), n(math.fmod(1, 0)))
math.randomseed(1); local a = { math.random(), math.random(10), math.random(5, 6) }; math.randomseed(1); local b = { math.random(), math.random(10), math.random(5, 6) }; print(a[1] == b[1], a[2] == b[2], a[3] == b[3])
for i = 1, 200 do local r = math.random(); assert(r >= 0 and r < 1); local k = math.random(6); assert(k >= 1 and k <= 6 and k == math.floor(k)); local m = math.random(-3, 3); assert(m >= -3 and m <= 3) end
print(pcall(math.random, 0)); print(pcall(math.random, 2, 1)); print(pcall(math.random, 1, 2, 3)); print(pcall(math.random, "x")); print(math.random(1), math.random(3, 3), math.random("1")); print(pcall(math.randomseed)); print(pcall(math.randomseed, "x"))
