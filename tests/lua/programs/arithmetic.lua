-- Arithmetic at its edges, precedence and associativity, and values that constant folding must not change.
local inf, nan = 1 / 0, 0 / 0
local function n(x) return x ~= x and "nan" or tostring(x) end
local function row(...)
  local t = {}
  for i = 1, select("#", ...) do t[i] = n((select(i, ...))) end
  print(table.concat(t, " "))
end

row(5 % 3, -5 % 3, 5 % -3, -5 % -3, 5.5 % 2, -5.5 % 2, 5 % 0.3, 0 % 5, -0 % 5)
row(5 % 0, -5 % 0, 0 % 0, inf % 2, 5 % inf, -5 % inf, 5 % -inf, -5 % -inf, nan % 1)
row(1 % 1, 0.1 % 0.1, 1e15 % 7, 1e300 % 3, -1e15 % 7, 2 ^ 53 % 2, 1e16 % 10)
row(1 / 0, -1 / 0, 0 / 0, inf - inf, inf * 0, inf / inf, inf + inf, -inf + inf)
row(2 ^ 10, 2 ^ -1, 2 ^ 0.5, (-2) ^ 3, (-2) ^ 0.5, 0 ^ 0, inf ^ 0, 1 ^ inf, 2 ^ inf, 0.5 ^ inf, (-8) ^ (1 / 3))
row(7 / 2, -7 / 2, 1 / 3, 10 / 5, 0 / -5)
row(1e308 + 1e308, -1e308 - 1e308, 1e-320 / 10, 2 ^ 1023 * 2, 2 ^ -1074, 2 ^ -1075)
row(0.1 + 0.2, 0.1 * 3, 1 - 0.9, 1e16 + 1, 2 ^ 53 + 1)

-- The same with variables: nothing is folded.
local five, three, zero = 5, 3, 0
row(five % three, -five % three, five % -three, -five % -three, five % zero, zero % five, -zero % five)
row(five / zero, -five / zero, zero / zero, five ^ three, five ^ -three, zero ^ zero, -five ^ 2)

-- Precedence and associativity.
print(2 ^ 3 ^ 2, -2 ^ 2, 2 ^ -1, -2 ^ -2, not nil == true, not (1 == 2), 1 .. 2 .. 3, 2 * 3 % 4, 8 / 4 / 2, 8 - 4 - 2)
print(1 + 2 < 4, 1 < 2 == true, "a" .. "b" == "ab", 1 .. 2 == "12", not 1 == 2, #"abc" + 1, -#"abc", - -3, not not nil)
print(1 or 2 and 3, (1 or 2) and 3, nil and 1 or 2, false or nil, nil or false, 1 and nil, false == nil, nil == nil)
print(2 + 3 * 4 ^ 2 / 8 % 5, (2 + 3) * 4, 2 ^ 2 * 3, -3 % 5, -(3 % 5), 5 - -5, 5 - - -5)
print(1 < 2 and 2 < 3, 1 == 1 ~= false, "x" < "y" and "y" or "x", 1 <= 1 == (1 >= 1))
print(#"a" .. #"bb" .. #"", -"2" .. "", 1 .. -1)

-- Comparisons.
print(nan == nan, nan ~= nan, nan < nan, nan <= nan, nan > 1, 1 > nan, not (nan < 1), inf == inf, -inf < inf)
print(0 == -0, 1 == 1.0, "1" == 1, 1 ~= "1", true == 1, nil == false, "" == false, {} == {}, print == print)
local t = {}
print(t == t, t ~= t, rawequal(t, t), rawequal(t, {}), rawequal("a", "a"), rawequal(1, 1.0), rawequal(nan, nan))

-- Short circuits evaluate only what they must.
local log = {}
local function yes(v) log[#log + 1] = "+" .. tostring(v); return v end
local function no(v) log[#log + 1] = "-" .. tostring(v); return nil end
print(yes(1) and yes(2), yes(1) or yes(2), no(1) and yes(2), no(1) or yes(2), no(1) or no(2), table.concat(log, " "))
log = {}
if yes(1) and no(2) or yes(3) then print("then", table.concat(log, " ")) end
log = {}
if not (yes(1) and not no(2)) then print("then") else print("else", table.concat(log, " ")) end
log = {}
while no(1) or no(2) do end
print(table.concat(log, " "))
local a = yes(1) and (no(2) or yes(false)) or yes("end")
print(a, table.concat(log, " "))
local b = 1 == 1 and "same" or "other"
local c = not (1 < 2) or nil
local d = nil == false or 1 > 2 or "last"
print(b, c, d, (1 < 2) == (2 > 1), (nil and 1) == nil)

-- Values of conditions in all places.
local function truth(...) return ... and "t" or "f" end
print(truth(nil), truth(false), truth(0), truth(""), truth({}), truth(nan), truth())
local x = 1 < 2
local y = not x
local z = x ~= y
print(x, y, z, x == not y, (x or y) and z)
print((function() return 1 < 2, 2 < 1, not 1, 1 == "1" end)())
local u, v = 3 > 2, "a" >= "b"
print(u, v, ({ 1 < 2, k = 2 < 1 }).k, ({ 1 < 2 })[1], ({ [1 < 2] = "yes" })[true])
for _, i in ipairs { 1, 2, 3 } do
  local kind = i == 1 and "one" or i == 2 and "two" or "many"
  print(i, kind, i ~= 2, not (i == 2), i < 2 or i > 2)
end
