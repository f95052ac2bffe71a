-- Reading and writing numbers: `%.14g`, numerals in the source, in strings and in other bases.
print(0x10, 0xA, 0Xa, 0xffffffffffffffff, 0x1p4, 0xdeadBEEF)

-- Numerals that the lexer accepts, and those that it refuses.
for _, text in ipairs {
  "1", "1.", ".1", "1e5", "1E5", "1e+5", "1e-5", "1e", "1e+", "1e-", "1..2", "1.2.3", "1a", "1_000", "0x", "0xg",
  "0x.8", "0x1.8", "0x1p", "0x1p4", "0x1p-4", "0x1P+4", "1e5.5", "1ee5", "3x", "0b1", "1f", "1L", "0x1e+1", "0xe-1",
  "1..", "..1", "1 .. 2", "1. .2", "08", "1e1000", "1e-1000", "0x10000000000000000", "5e+-3", "1e5a", "12e", ".e1",
  "0x1.8p1", "1.5e3", "0xep1", "9007199254740993", "infinity", "nan",
} do
  local chunk, message = loadstring("return " .. text, "=n")
  print(text, chunk and tostring(chunk()) or message)
end

-- tostring and concatenation.
local numbers = {
  0, -0, 1, -1, 0.1, 1 / 3, 2 / 3, 1e14, 1e15, 1e16, 123456789012345, 99999999999999, 999999999999999, 1e100, 1e-5,
  1e-4, 0.00001234, 123456.789, 2 ^ 31, 2 ^ 32, 2 ^ 53, 2 ^ 63, 2 ^ 64, -2 ^ 63, 1e308 * 10, -1e308 * 10, 3.14159265358979,
  100000000000000, 1e21, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.30000000000000004, 1.5, -1.5, 1e300,
}
for i, n in ipairs(numbers) do print(i, n, tostring(n), n .. "", -n .. "|") end
print(0 / 0 ~= 0 / 0, tostring(0 / 0):gsub("-", ""))
print(-0, 0 * -1, -(0), 1 / (-0), 1 / (0 * -1))
do local zero = 0; print(-zero, 1 / -zero, 1 / (zero * -1), zero == -zero) end

-- tonumber of strings.
for _, s in ipairs {
  "10", " 10 ", "\t10\n", "10x", "x10", "", " ", "0x10", " 0x10 ", "0x", "-0x10", "- 1", "-1", "+1", "++1", "1e1", "1e",
  "1 2", "1,2", ".5", "5.", ".", "-.5", "-5.", "1e+2", "0x1p4", "inf", "nan", "Infinity", "0xffffffffffffffff", "1e400",
  "10\0", "10\0x", "1\v", "\f1\r", "0x1g", "1__", "1e5 ", "0X1F", "00012", "0x-1", "\1601",
} do
  print(string.format("%q", s), tonumber(s))
end

-- tonumber with a base.
for _, case in ipairs {
  { "10", 2 }, { "102", 2 }, { "ff", 16 }, { "FF", 16 }, { "0xff", 16 }, { "zz", 36 }, { "ZZ", 36 }, { "8", 8 }, { "77", 8 },
  { " 11 ", 2 }, { "-11", 2 }, { "", 10 }, { "10", 10 }, { "1.5", 10 }, { "1e1", 10 }, { "7fffffff", 16 }, { "ffffffff", 16 },
  { "100000000", 16 }, { "ffffffffffffffff", 16 }, { "10000000000000000", 16 }, { "-1", 16 }, { "1 1", 10 }, { 10, 2 }, { 255, 16 },
  { "z", 35 }, { "+7", 8 }, { "1\0", 2 }, { "--1", 3 }, { "0x", 16 }, { "x1", 16 }, { "9", 9 }, { 12.5, 10 }, { 1e15, 16 },
} do
  print(case[1], case[2], tonumber(case[1], case[2]))
end
print(pcall(tonumber, "1", 1), pcall(tonumber, "1", 37))
print(pcall(tonumber, "1", 0), pcall(tonumber, "1", -1))
print(pcall(tonumber, {}, 2))
print(pcall(tonumber))
print(tonumber({}), tonumber(nil), tonumber(true), tonumber(print), tonumber("5", nil))
print(tonumber(12), tonumber("12", 10), tonumber(12.5), tonumber("  12  ", "10"))
print(pcall(tonumber, "12", "x"), pcall(tonumber, "12", 10.9))

-- Strings as numbers, numbers as strings.
print("10" + 5, "0x10" * 2, " 7 " - 1, "2" ^ "3", -"4", "10" / "4", "7" % "4", 10 .. 20)
print("10" == 10, "abc" < "abd", "10" < "9", 10 < 9, "Z" < "a", "" < "a", "a" < "a\0", "a\0b" < "a\0c", "\255" < "a")
print(("5"):rep("2"), ("x"):rep(3.7), ("abc"):sub("2"), math.floor("3.7"), #"10" + "1")
print(pcall(function() return "a" + 1 end))
print(pcall(function() return 1 + "a" end))
print(pcall(function() return {} + 1 end))
print(pcall(function() return -"a" end))
print(pcall(function() return "10" < 5 end))
print(pcall(function() return 5 <= "10" end))

-- Keys: floats and integers are one, strings are not numbers.
local t = {}
t[1.0] = "one"; t["1"] = "string"; t[2 ^ 53] = "big"; t[-0] = "zero"; t[1.5] = "half"
print(t[1], t["1"], t[2 ^ 53], t[0], t[3 / 2], #t)
print(pcall(function() t[0 / 0] = 1 end))
print(pcall(function() t[nil] = 1 end))
print(t[0 / 0], t[nil], rawget(t, nil))
print(pcall(rawset, t, nil, 1), pcall(rawset, t, 0 / 0, 1))
