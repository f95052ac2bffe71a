-- The string library without patterns and format: positions, repetition, bytes, and errors.
local s = "hello"
print(s:len(), #s, #"", #"a\0b", ("x\0y"):len())
for _, case in ipairs { { 1 }, { 2 }, { 0 }, { -1 }, { -3 }, { 10 }, { -10 }, { 1, 1 }, { 2, 3 }, { 3, 2 }, { 0, 2 }, { -3, -2 }, { 2, -2 }, { -100, 100 }, { 5, 5 }, { 6, 6 }, { 1, 0 }, { 1, -10 }, { -1, 1 }, { 1.9, 3.9 }, { "2", "4" }, { 2, nil }, { 2 ^ 31, 2 ^ 32 }, { -2 ^ 31, 2 } } do
  print(case[1], case[2], "[" .. s:sub(case[1], case[2] or -1) .. "]")
end
print(("").sub("", 1, 5), ("a"):sub(1, 2 ^ 40), pcall(string.sub), pcall(string.sub, "x"), pcall(string.sub, "x", "y"), pcall(string.sub, {}, 1))
print(string.sub(12345, 2, 3), (12.5 .. ""):sub(-2))

for _, case in ipairs { {}, { 1 }, { 2 }, { -1 }, { 0 }, { 1, 3 }, { 1, -1 }, { 10 }, { 3, 2 }, { -2, -1 }, { -10, 2 }, { 4, 10 }, { 1, 0 } } do
  print(#case, case[1], case[2], s:byte(unpack(case)))
end
print(("\0\1\255\128"):byte(1, -1)); print(select("#", (""):byte()), select("#", ("x"):byte(5)), select("#", ("xyz"):byte(1, 3))); print(pcall(string.byte)); print(pcall(string.byte, "x", "y"))
print(#string.char(), string.char(72, 105), #string.char(0, 255), string.char("65", 66.9)); print(pcall(string.char, -1)); print(pcall(string.char, 256)); print(pcall(string.char, 65, "x")); print(pcall(string.char, 65, nil)); print(pcall(string.char, {})); print(pcall(string.char, 1, 2, 3, 1000))
print(#string.char(("abc"):rep(50):byte(1, -1)), (pcall(string.byte, ("x"):rep(100000), 1, -1)), select(2, pcall(string.byte, ("x"):rep(100000), 1, -1)))

print(("ab"):rep(3), ("ab"):rep(0), ("ab"):rep(-1), #(""):rep(1000000), ("x"):rep(1), ("ab"):rep(2.9), ("ab"):rep("2"), #("abc"):rep(10000)); print(pcall(string.rep)); print(pcall(string.rep, "x")); print(pcall(string.rep, "x", "y")); print(pcall(string.rep, {}, 1)); print(("x"):rep(3, ","))
print(("Hello World 123 äÖ"):upper(), ("Hello World 123 ÄÖ"):lower(), (""):upper(), pcall(string.upper), pcall(string.lower, {}))
print(("abc"):reverse(), (""):reverse(), ("a"):reverse(), ("a\0b"):reverse() == "b\0a", string.reverse(123), pcall(string.reverse), pcall(string.reverse, nil))
print(pcall(string.len)); print(pcall(string.len, {})); print(string.len(123), pcall(string.len, nil)); print(pcall(string.len, true))
local all = {}
for i = 0, 255 do all[i + 1] = string.char(i) end
all = table.concat(all)
print(#all, all:upper():byte(98, 123), all:lower():byte(66, 91)); print(#all:upper(), all:reverse():byte(1, 3), all:sub(66, 70), all:upper():sub(1, 60) == all:sub(1, 60))

-- Equality and order of strings, also with zeros and in long ones.
print("a" == "a", "a\0" == "a", "a\0b" == "a\0c", ("x"):rep(100) == ("x"):rep(100), ("x"):rep(100) .. "a" == ("x"):rep(100) .. "b", "" == "")
print("a" < "b", "a" < "A", "a" < "aa", "aa" < "b", "" < "\0", "\0" < "\0\0", "a\0a" < "a\0b", "a\0" < "a", "a\0z" < "ab", "Z" < "a", "10" < "2", "é" > "z", "\128" > "\127")
print(("x"):rep(300) < ("x"):rep(301), ("x"):rep(300) .. "a" <= ("x"):rep(300) .. "b", ("x"):rep(300) >= ("x"):rep(300))
local keys = { [("k"):rep(1)] = 1, [("k"):rep(50)] = 2, ["a\0b"] = 3, ["a\0c"] = 4, [""] = 5 }
print(keys.k, keys[("k"):rep(50)], keys["a\0b"], keys["a\0c"], keys["a"], keys[""])

-- Concatenation.
local t = {}
for i = 1, 100 do t[#t + 1] = i .. "," end
local joined = ""
for i = 1, 100 do joined = joined .. i .. "," end
print(joined == table.concat(t), #joined, "a" .. 1 .. 2.5 .. "b" .. -0 .. 1e100 .. "", 1 .. "", 2 ^ 53 .. "", "x" .. "" .. "y", "" .. "", #("" .. ""))
local doubled = "x"
for i = 1, 16 do doubled = doubled .. doubled end
print(#doubled, #(doubled .. doubled .. "tail"), (doubled .. "end"):sub(-5))
local parts = ""
for i = 1, 3000 do parts = parts .. string.char(i % 256) end
local sum = 0
for i = 1, #parts do sum = (sum * 7 + parts:byte(i)) % 65521 end
print(#parts, sum)

-- Escapes in source and in %q.
print(("%q"):format("plain"), ("%q"):format('a"b\\c\nd\re\0f\ttab\1\127\200')); print(loadstring("return " .. ("%q"):format(all))() == all)
print("tab\tnewline\\n quote\" zero" .. #"\0" .. " dec\65\066\0677 \
next line")
print(tostring(nil), tostring(true), tostring("s"), tostring(12), tostring(-1.5), pcall(tostring), type(tostring(print)), tostring(print):match("^builtin") or tostring(print):match("^function: "))
print(tostring({}):match("^table: 0x%x+$") ~= nil, tostring(coroutine.create(print and function() end)):match("^thread: 0x%x+$") ~= nil, tostring(function() end):match("^function: 0x%x+$") ~= nil)

-- Methods on literals and numbers as strings.
print(("%d"):rep(2, "x"), ("a,b,c"):len(), #("x"):rep(3), ("x").len("abc"), string["len"]("abc"))
print(pcall(function() return (5):rep(2) end)); print(string.rep(5, 2), string.upper(1e5 .. "x"), string.len(-0))
print(string.gfind == string.gmatch, pcall(string.dump)); print(pcall(string.dump, 1))
