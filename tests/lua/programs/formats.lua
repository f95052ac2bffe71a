-- string.format: every directive with flags, widths and precisions, conversions of arguments, and errors.
local function f(...) print(pcall(string.format, ...)) end
local values = { 0, 1, -1, 42, -42, 123456789, 2147483647, -2147483648, 4294967295, 3.7, -3.7, 1e15, 0.5 }
for _, spec in ipairs { "%d", "%i", "%5d", "%-5d|", "%05d", "%+d", "% d", "%.3d", "%8.3d", "%-8.3d|", "%+5d", "%x", "%X", "%#x", "%#X", "%08x", "%o", "%#o", "%u", "%10u" } do
  local r = {}
  for i, v in ipairs(values) do if v >= 0 or not spec:find("[uxXo]") then r[#r + 1] = string.format(spec, v) end end
  print(spec, table.concat(r, " "))
end
local floats = { 0, 1, -1, 0.1, 1 / 3, 123.456, 1e10, 1e-10, 1e100, -1e-100, 123456789.123, 1 / 0, -1 / 0, 0.5, 1.5, 2.5, 1e15, 1e16, 5e-324 }
for _, spec in ipairs { "%f", "%.0f", "%.1f", "%.2f", "%.10f", "%10.2f", "%-10.2f|", "%+.2f", "% .2f", "%010.2f", "%#.0f", "%e", "%.0e", "%.3e", "%E", "%12.3e", "%g", "%.0g", "%.1g", "%.3g", "%.10g", "%.14g", "%.17g", "%G", "%#g", "%#.3g", "%10g", "%-10g|", "%+g", "%5.1f", "%.20f", "%a", "%A" } do
  local r = {}
  for i, v in ipairs(floats) do local ok, s = pcall(string.format, spec, v); r[#r + 1] = s end
  print(spec, table.concat(r, " "))
end
f("%d", 2 ^ 53); f("%d", -2 ^ 53); f("%d", 2 ^ 62); f("%x", 2 ^ 40); f("%x", -1); f("%u", -1); f("%o", -1); f("%.99f", 1 / 3); f("%99d", 1); f("%-99s|", "x"); f("%.99g", 0.1)

-- Characters, strings, quotes.
f("%c%c%c", 72, 105, 33); f("%5c|", 65); f("%-5c|", 65); f("%c", "65"); f("%c", 256 + 65); f("%c", -1 + 256); f("%s %s %s", 1, "two", 3.5); f("%s", "a\0b"); f("%10s|", "right"); f("%-10s|", "left"); f("%.3s", "truncated"); f("%10.3s|", "truncated"); f("%-10.3s|", "truncated"); f("%.0s", "gone"); f("%.s", "gone"); f("%s", ("x"):rep(200)); f("%5s", ("y"):rep(150)); f("%.120s", "short") ; f("%s", ""); f("%5s|", "")
f("%q", "simple"); f("%q", 'with "quotes" and \\'); f("%q", "new\nline\rcr\0zero\ttab\1\200"); f("%q", 123); f("%q", ""); f("%q", 1.5); f("%10q", "x"); f("%-q", "x"); f("%.3q", "abcdef"); print(#string.format("%q", ("\0\n\"\\\r"):rep(100)))
f("%%"); f("100%%"); f("%5%"); f("%%%d%%", 5); f(""); f("plain"); f("a\0b"); f("%d\0%d", 1, 2); f("%s%%%s", "a", "b")
print(#string.format("%c", 0), string.format("%c", 0):byte(), #string.format("%s", "a\0b"), #string.format("%5s", "a\0b"), #string.format("%c%c", 0, 0), #string.format("%.2s", "a\0b"))

-- Arguments are converted as everywhere.
f("%d", "10"); f("%d", "0x10"); f("%d", "3.9"); f("%f", "1.5"); f("%s", 10); f("%s", 1e100); f("%x", "255"); f("%d", 1.9); f("%d", -1.9); f("%5.2f|%5s|%-5d|", 3.14159, "ab", 42)
f("%d"); f("%d", nil); f("%d", "x"); f("%d", {}); f("%s"); f("%s", nil); f("%s", {}); f("%s", true); f("%s", print and nil); f("%f", "x"); f("%c"); f("%c", "x"); f("%q"); f("%q", nil); f("%q", {}); f("%d %d", 1); f("%s %s", "only"); f("%d", true); f("%s", setmetatable({}, { __tostring = function() return "custom" end })); f("%s", false)
f("%d %s", 1, 2, 3, "extra"); f("%5", 1); f("%"); f("a%"); f("%y", 1); f("%-", 1); f("%w", 1); f("%Q", "x"); f("%D", 1); f("%n", 1); f("%p", 1); f("%l", 1); f("%ld", 1); f("%hd", 1); f("%*d", 5, 1); f("%123d", 1); f("%.123d", 1); f("%100s", "x"); f("%.100s", "x"); f("%-+ #0d", 1); f("%-+ #0-d", 1); f("%------d", 1); f("%00d", 1); f("%1.1.1d", 1); f("%.-1d", 1); f("%\0", 1); f("% 5d|% -5d|", 1, 2); f("%i", 5); f("%y"); f("%10", 1); f("%-10"); f("%5.", 1); f("%.5", 1); f("%é", 1); f("%\n", 1)
print(pcall(string.format)); print(pcall(string.format, nil)); print(pcall(string.format, {})); print(string.format(123), string.format("%s", "%d"), ("%d"):format(5), ("%s=%s"):format("k", "v"))

-- Many at once.
local spec, args = {}, {}
for i = 1, 100 do spec[i] = "%d:%s"; args[2 * i - 1] = i; args[2 * i] = "v" .. i end
print(string.format(table.concat(spec, " "), unpack(args))); print(#string.format(("x"):rep(100000) .. "%d", 5))
for i = 0, 20 do print(string.format("%" .. i .. "d|%-" .. i .. "d|%0" .. i .. "d|%." .. i .. "f|%" .. i .. "s|%." .. i .. "s|%." .. i .. "e", 42, 42, 42, 1 / 3, "abc", "abcdefghij", 2 / 3)) end
