-- The order of `next`, the border that `#` finds, and permitted changes during traversal: all depend on the table's
-- layout.
local function keys(t)
  local r = {}
  for k, v in pairs(t) do r[#r + 1] = type(k) == "string" and k or "<" .. tostring(k) .. ">" end
  return table.concat(r, " ")
end
local function show(t) print(#t, keys(t)) end

-- Strings, in the order of insertion and of their hashes.
show { a = 1, b = 2, c = 3 }
show { c = 1, b = 2, a = 3 }
show { one = 1, two = 2, three = 3, four = 4, five = 5, six = 6, seven = 7, eight = 8, nine = 9 }
local words = {}
for w in ("the quick brown fox jumps over the lazy dog while five wizards box with a sphinx of black quartz"):gmatch("%a+") do words[#words + 1] = w end
local t = {}
for i, w in ipairs(words) do t[w] = i; if i % 3 == 0 then show(t) end end
for i, w in ipairs(words) do if i % 2 == 0 then t[w] = nil end end
show(t)
for i, w in ipairs(words) do t[w .. i] = i end
show(t)
for k in pairs(t) do t[k] = nil end
show(t); print(next(t))
t.after = 1; show(t)
local long = {}
for i = 1, 40 do long[("k"):rep(i)] = i end
show(long)
local longest = {}
for i = 1, 8 do longest[("long string number "):rep(i * 7) .. i] = i end
for k, v in pairs(longest) do print(#k, v) end

-- Numbers: array part, hash part, negative, fractions, large ones.
show { 1, 2, 3 }
show { [1] = 1, [2] = 2, [3] = 3 }
show { [3] = 3, [2] = 2, [1] = 1 }
show { 10, 20, x = 1, 30, [4] = 40, y = 2, [100] = 5 }
show { [0] = 0, [-1] = 1, [1] = 1, [1.5] = 2, [-1.5] = 3, [2 ^ 53] = 4, [1e300] = 5, [-0] = 6, [1 / 0] = 7, [-1 / 0] = 8 }
t = {}
for i = 20, 1, -1 do t[i] = i end
show(t)
t = {}
for i = 1, 64, 3 do t[i] = i end
show(t)
for i = 1, 64 do t[i] = i end
show(t)
t = {}
for i = 1, 30 do t[i * i] = i; if i % 10 == 0 then show(t) end end
t = {}
for i = 1, 20 do t[i / 4] = i end
show(t)
t = {}
for i = -10, 10 do t[i] = i end
show(t)
t = {}
for i = 0, 30 do t[2 ^ i] = i end
show(t)
t = {}
for i = 1, 12 do t[i * 1e10 + 0.5] = i end
show(t)

-- Booleans beside others.
show { [true] = 1, [false] = 2 }
show { [true] = 1, [false] = 2, [1] = 3, ["true"] = 4, [0] = 5 }
t = {}
for i = 1, 5 do t[i] = i; t["s" .. i] = i; t[i > 3] = i; t[-i] = i; t[i + 0.5] = i; show(t) end

-- The border, with and without holes.
local function border(t) return #t end
print(border {}, border { 1 }, border { 1, nil }, border { nil, 2 }, border { 1, nil, 3 }, border { nil, nil, 3 }, border { 1, 2, nil, 4 }, border { nil })
print(border { 1, nil, nil, 4 }, border { nil, nil, nil, 4 }, border { 1, nil, 3, nil, 5 }, border { 1, nil, 3, nil }, border { n = 1 }, border { [1] = 1, [2] = 2, [4] = 4 })
print(border { [2] = 2 }, border { [1] = 1, [3] = 3 }, border { 1, 2, 3, [5] = 5 }, border { 1, 2, 3, [4] = 4 }, border { 1, 2, 3, [4] = 4, [6] = 6 }, border { [1.5] = 1 })
for size = 1, 20 do
  local r = {}
  for hole = 1, size do
    local t = {}
    for i = 1, size do t[i] = i end
    t[hole] = nil
    r[#r + 1] = #t
  end
  print(size, table.concat(r, " "))
end
for size = 1, 33, 4 do
  local t, r = {}, {}
  for i = 1, size do t[i] = i end
  for i = size, 1, -1 do t[i] = nil; r[#r + 1] = #t end
  print(size, table.concat(r, " "))
end
t = {}
for i = 1, 40 do t[i * 2] = i; if i % 5 == 0 then print(i, #t) end end
t = {}
for i = 1, 16 do t[i] = i end
for i = 1, 16, 2 do t[i] = nil end
print(#t); t[17] = 17; print(#t); t[18] = 18; print(#t); t[15] = 15; print(#t)
t = { 1, 2, 3, 4, 5, 6, 7, 8 }
t[8] = nil; print(#t); t[7] = nil; print(#t); t[9] = 9; print(#t); t[8] = 8; print(#t); t[4] = nil; print(#t); t[10] = 1; t[11] = 1; t[12] = 1; print(#t)
t = { n = 0, 1, 2, 3 }; t[5] = 5; print(#t); t[4] = 4; print(#t); t[6] = 6; t[7] = 7; t[9] = 9; print(#t)
t = {}; t[1] = 1; t[2] = 2; t[4] = 4; print(#t); t[8] = 8; print(#t); t[16] = 16; print(#t); t[3] = 3; print(#t)
local function args(...) local t = { ... }; return #t end
print(args(nil), args(nil, 1), args(1, nil), args(1, nil, 3), args(nil, nil, nil, 4), args(1, 2, nil, 4, nil))

-- Assigning to existing fields while traversing, and clearing them.
t = { a = 1, b = 2, c = 3, 10, 20, 30 }
for k, v in pairs(t) do t[k] = v * 2 end
for k, v in pairs(t) do print(k, v) end
for k in pairs(t) do t[k] = nil end
print(next(t), #t)
t = {}
for i = 1, 50 do t["k" .. i] = i; t[i] = i end
local n = 0
for k, v in pairs(t) do n = n + v; t[k] = nil end
print(n, next(t))
t = { 1, 2, 3, x = 1, y = 2 }
local k, seen = nil, {}
repeat k = next(t, k); if k ~= nil then seen[#seen + 1] = tostring(k); t[k] = nil end until k == nil
print(table.concat(seen, " "), next(t))
print(pcall(next, { 1, 2 }, 3), pcall(next, { 1 }, "x"), pcall(next, { 1 }, 1.5), pcall(next, { 1 }, 0), pcall(next, { 1 }, {}), pcall(next, 1), pcall(next, {}, 1))
t = { a = 1 }; t.a = nil; print(pcall(next, t, "a"))

-- Inserts after removals reuse free nodes.
t = {}
for round = 1, 4 do
  for i = 1, 6 do t["r" .. round .. "i" .. i] = i end
  show(t)
  for i = 1, 6, round do t["r" .. round .. "i" .. i] = nil end
  show(t)
end
t = {}
for i = 1, 100 do t[i % 7 .. "x"] = i; t[i - 5 .. "y"] = i; t[i - 10 .. "y"] = nil end
show(t)
local queue, first, last = {}, 1, 0
for i = 1, 60 do last = last + 1; queue[last] = i; if i > 5 then queue[first] = nil; first = first + 1 end end
show(queue)
table.foreach({ 1, 2, x = 3 }, print); table.foreachi({ 1, 2, x = 3 }, print)
