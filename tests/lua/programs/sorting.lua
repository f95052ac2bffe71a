-- table.sort: results, the order of comparisons, comparators with errors, and comparators that are not orders.
local function show(t) local r = {}; for i = 1, #t do r[i] = tostring(t[i]) end print(table.concat(r, " ")) end
local function sorted(t, f) table.sort(t, f); return t end
show(sorted {}); show(sorted { 1 }); show(sorted { 2, 1 }); show(sorted { 1, 2 }); show(sorted { 3, 1, 2 }); show(sorted { 5, 2, 8, 1, 9, 3, 7, 4, 6, 0 }); show(sorted { "b", "a", "C", "", "ab", "B", "aa" })
show(sorted({ 1, 2, 3, 4, 5 }, function(a, b) return a > b end)); show(sorted { 1, 1, 1, 1 }); show(sorted { 2, 1, 2, 1, 2, 1 }); show(sorted { 1.5, -1, 1e10, -1e10, 0, 1 / 0, -1 / 0 })
show(sorted { "10", "9", "1", "2" }); show(sorted({ "bb", "a", "ccc" }, function(a, b) return #a < #b end))

-- Every comparison, in order.
for _, list in ipairs { { 3, 2, 1 }, { 1, 2, 3, 4 }, { 4, 3, 2, 1 }, { 2, 4, 1, 3, 5 }, { 1, 1, 1, 1, 1 }, { 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 }, { 5, 1, 4, 2, 3, 9, 7, 8, 6, 0, 11, 10 } } do
  local log = {}
  table.sort(list, function(a, b) log[#log + 1] = a .. "<" .. b; return a < b end)
  show(list); print(#log, table.concat(log, " "))
end

-- Pseudo-random lists of every size; the sort is not stable, but its result is deterministic.
local seed = 42
local function random() seed = (seed * 1103515245 + 12345) % 2147483648; return math.floor(seed / 65536) end
for _, n in ipairs { 2, 3, 5, 10, 20, 50, 99, 100, 101, 500, 2000 } do
  local t, c = {}, 0
  for i = 1, n do t[i] = { k = random() % (n + 1), i = i } end
  table.sort(t, function(a, b) c = c + 1; return a.k < b.k end)
  local ok, sum = true, 0
  for i = 1, n do if i > 1 and t[i - 1].k > t[i].k then ok = false end sum = (sum * 31 + t[i].i) % 1000003 end
  print(n, ok, c, sum)
end
for _, n in ipairs { 10, 100, 1000 } do
  local c, up, down, organ = 0, {}, {}, {}
  local function lt(a, b) c = c + 1; return a < b end
  for i = 1, n do up[i] = i; down[i] = n - i; organ[i] = i < n / 2 and i or n - i end
  table.sort(up, lt); local c1 = c; table.sort(down, lt); local c2 = c; table.sort(organ, lt)
  print(n, c1, c2, c, up[1], up[n], down[1], organ[n])
end

-- Errors.
print(pcall(table.sort)); print(pcall(table.sort, 1)); print(pcall(table.sort, {}, 1)); print(pcall(table.sort, {}, "x")); print(pcall(table.sort, { 1, "x" })); print(pcall(table.sort, { 1, {} })); print(pcall(table.sort, { {}, {} })); print(pcall(table.sort, { 1, nil, 3 }, function(a, b) return a < b end))
print(pcall(table.sort, { true, false })); print(pcall(table.sort, { 3, 1, 2 }, function() error("compare", 0) end)); print(pcall(table.sort, { 3, 1, 2 }, function() local x; return x.y end)); print(pcall(table.sort, { 1, 2, 3 }, {})); print(pcall(table.sort, { 1, 2 }, nil))
print(pcall(table.sort, { 1, 2, 3, 4, 5 }, function() return true end)); print(pcall(table.sort, { 1, 2, 3 }, function() return true end)); print(pcall(table.sort, { 5, 4, 3, 2, 1, 6, 7, 8, 9 }, function(a, b) return true end)); print(pcall(table.sort, { 1, 2, 3, 4, 5, 6 }, function(a, b) return a <= b end))
local equal = {}; for i = 1, 20 do equal[i] = 1 end; print(pcall(table.sort, equal, function(a, b) return a <= b end)); print(pcall(table.sort, { 3, 2, 1 }, function() return nil end)); print(pcall(table.sort, { 3, 2, 1 }, function() return 0 end)); show(sorted({ 3, 2, 1, 4 }, function() return false end))
local t = { 3, 1, 2 }; print(pcall(table.sort, t, function(a, b) t[1] = 9; return a < b end)); show(t)
local big = {}; for i = 1, 200 do big[i] = i % 7 end; print(pcall(table.sort, big, function(a, b) return a <= b end))

-- Metamethods, and other comparable values.
local mt = { __lt = function(a, b) return a.v < b.v end }
local objects = {}
for i, v in ipairs { 4, 2, 5, 1, 3 } do objects[i] = setmetatable({ v = v }, mt) end
table.sort(objects); for i, o in ipairs(objects) do objects[i] = o.v end; show(objects)
local names = { "ähnlich", "zebra", "Apfel", "apfel", "\0nul", "\255high", "a\0b", "a\0a", "a" }
table.sort(names); for i, n in ipairs(names) do print(i, string.format("%q", n)) end
print(coroutine.wrap(function() local t = { 3, 1, 2 }; table.sort(t, function(a, b) return a > b end); return unpack(t) end)())
local nested = { 3, 1, 2 }; table.sort(nested, function(a, b) local x = { 2, 1 }; table.sort(x); return a * x[1] < b * x[1] end); show(nested)
