-- Numeric and generic `for`, `while`, `repeat` and `break`.
local function count(from, to, step)
  local t = {}
  for i = from, to, step or 1 do t[#t + 1] = tostring(i) end
  print(#t, table.concat(t, " "))
end
count(1, 5); count(5, 1); count(1, 0); count(1, 1); count(5, 1, -1); count(1, 5, 2); count(5, 1, -2); count(0, 1, 0.25)
count(1, 5, -1); count(0.1, 0.5, 0.1); count(1.5, 3); count("1", "3"); count("0x10", 18, "1"); count(-3, 3, 3)
count(2 ^ 53 - 2, 2 ^ 53 - 1); count(1 / 0, 1); count(0, -1 / 0); count(3, 0 / 0); count(0 / 0, 3)
count(1, 3, 1 / 0); count(1, -1, -1 / 0)

for _, bad in ipairs { { nil, 1, 1 }, { 1, nil, 1 }, { {}, 1, 1 }, { 1, {}, 1 }, { 1, 1, {} }, { "a", 1, 1 }, { 1, "b", 1 }, { 1, 1, "c" }, { 1, 2, true } } do
  print(pcall(function() for i = bad[1], bad[2], bad[3] do print(i) end end))
end
-- A step of zero counts as a downward one: no iteration if the limit is above, an endless loop otherwise.
local n = 0
for i = 1, 2, 0 do n = n + 1; if n == 5 then break end end
print(n)
for i = 2, 1, 0 do n = n + 1; if n == 5 then break end end
print(n)
for i = 1, 3 do local j = i; i = i * 10; print(i, j) end

-- Limits and steps are evaluated once, in order.
local log = {}
local function v(x) log[#log + 1] = x; return x end
for i = v(1), v(3), v(1) do v("turn") end
print(table.concat(log, " "))

-- Generic: state, control variable, and the end at nil only.
local function iter(s, c) if c < s then return c + 1, "v" .. c end end
for i, w in iter, 3, 0 do print(i, w) end
for a in (function() local k = 3; return function() k = k - 1; if k >= 0 then return k == 1 and false or k end end end)() do print("value", a) end
for a, b, c, d in function(s, c) if not c then return 1, 2, 3 end end do print(a, b, c, d) end
for k, v in next, { 10 } do print(k, v) end
for k, v in pairs { "x" } do k = k + 1; print(k, v) end
for i, v in ipairs { 1, 2, nil, 4 } do print(i, v) end
for i, v in ipairs({}) do print("never") end
for w in ("one two three"):gmatch("%a+") do print(w) end
local callable = setmetatable({ n = 0 }, { __call = function(self, s, c) self.n = self.n + 1; if self.n < 4 then return self.n, s, c end end })
for a, b, c in callable, "state", "first" do print(a, b, c) end

for _, bad in ipairs { { nil }, { 1 }, { "s" }, { {} }, { true } } do
  print(pcall(function() for k in bad[1] do end end))
end
print(pcall(function() local it; for k in it do end end))
print(pcall(function() for k in undefined_iterator do end end))
print(pcall(function() local t = {}; for k in t.iterator do end end))
print(pcall(function() for k in pairs(nil) do end end))
print(pcall(function() for k in ipairs() do end end))
print(pcall(function() for k in function() error("inside", 0) end do end end))
print(pcall(next, {}, "missing"))
print(pcall(next))
print(next({}), next({}, nil), next({ 5 }), next({ 5 }, 1), next({ a = 1 }))
print(pcall(ipairs), pcall(pairs))

-- Breaks, out of nested loops and through blocks.
for i = 1, 3 do
  for j = 1, 3 do
    if j == 2 then break end
    print(i, j)
  end
  do if i == 2 then break end end
end
local k = 0
while true do
  k = k + 1
  if k > 2 then do break end end
  repeat if k == 1 then break end; print("in repeat", k) until true
end
print(k)
repeat local ok = true; if ok then break end until ok
local function early(t) for i, v in ipairs(t) do if v == "x" then return i, "found" end end return nil, "none" end
print(early { "a", "x" }); print(early { "a" })
local function nested() for i = 1, 3 do while true do for j = 1, 3 do if i * j == 4 then return i, j end end break end end end
print(nested())

-- The stack of a loop's call is clean in each iteration.
for i = 1, 3 do local a; if i == 1 then a = "set" end; print(i, a) end
for i = 1, 3 do local t = {}; t[i] = i; print(#t, next(t)) end
local x = 0
while x < 3 do local y; x = x + 1; y = y or x; print(y) end
for i = 3, 1, -1 do local a, b, c; if i == 3 then a, b, c = 1, 2, 3 end print(a, b, c) end
