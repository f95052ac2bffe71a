-- Table constructors: order of evaluation, flushes of fifty items, calls and dots at the end, nesting.
local log = {}
local function v(x) log[#log + 1] = tostring(x); return x end
local t = { v(1), k = v(2), [v(3)] = v(4), v(5), [v("a") .. v("b")] = v(6); v(7), }
print(table.concat(log, " "), t[1], t.k, t[3], t[2], t.ab, #t)
print(#{}, #{ 1 }, #{ 1, 2, }, #{ 1; 2; 3 }, ({ [1] = "b", "a" })[1], ({ "a", [1] = "b" })[1], ({ [1] = "x", [1] = "y" })[1], ({ a = 1, a = 2 }).a, ({ a = 1, ["a"] = 2 }).a)
for _, n in ipairs { 49, 50, 51, 99, 100, 101, 149, 150, 151, 255, 256, 257, 511, 512, 513, 1000 } do
  local items = {}
  for i = 1, n do items[i] = i end
  local list = loadstring("return {" .. table.concat(items, ",") .. "}")()
  local called = loadstring("local f = ... return {" .. table.concat(items, ",") .. ", f()}")(function() return "x", "y" end)
  local mixed = loadstring("return {" .. table.concat(items, ", k = 1, ") .. ", last = 2}")()
  local dots = loadstring("return {" .. table.concat(items, ",") .. ", ...}")("p", "q", "r")
  local sum = 0
  for i, x in ipairs(list) do sum = sum + x end
  print(n, #list, list[n], sum, #called, called[n + 1], called[n + 2], #mixed, mixed.last, mixed[n], #dots, dots[n + 3])
end
local big = {}
for i = 1, 30000 do big[i] = "'s" .. i .. "'" end
local strings = loadstring("return {" .. table.concat(big, ",\n") .. "}")()
print(#strings, strings[1], strings[256], strings[512], strings[25600], strings[30000])
for i = 1, 3000 do big[i] = "k" .. i .. "=" .. i end
local hashed = loadstring("return {" .. table.concat(big, ";", 1, 3000) .. "}")()
print(hashed.k1, hashed.k1500, hashed.k3000, #hashed)
local function none() end
local function two() return 1, 2 end
print(#{ none() }, #{ none(), none() }, #{ two(), none() }, #{ two(), two() }, #{ (two()) }, #{ two(), nil }, #{ nil, two() }, #{ n = two() }, #{ two(), k = 1 }, #{ [1] = two() })
local nested = { { 1, 2 }, { a = { b = { c = "deep" } } }, { { { { 5 } } } }, f = function() return { 6 } end }
print(nested[1][2], nested[2].a.b.c, nested[3][1][1][1][1], nested.f()[1], #nested)
local same = {}
for i = 1, 3 do same[i] = {} end
print(same[1] ~= same[2], same[2] ~= same[3])
local up = 1
local function make() up = up + 1; return { up, up * 2, k = up, [up] = "key" } end
local m1, m2 = make(), make()
print(m1[1], m1.k, m1[2], m2[1], m2[2], m2[3])
local deep = {}
for i = 1, 10000 do deep = { deep } end
local d = 0
while deep[1] do deep = deep[1]; d = d + 1 end
print(d)
print(({ 1, 2, 3, n = 3 }).n, ({ ["with space"] = 1 })["with space"], ({ [1.5] = "half" })[1.5], ({ [true] = "t" })[true], ({ [2 ^ 40] = 1 })[2 ^ 40])
print(pcall(function() return { [nil] = 1 } end)); print(pcall(function() return { [0 / 0] = 1 } end)); print(pcall(function() return { x.y } end)); print(pcall(function() return { 1, 2, #nil } end))
