-- gsub: replacements by string, table and function, counts, anchors, empty matches, errors.
local function g(...) print(string.gsub(...)) end
g("hello", "l", "L"); g("hello", "l", "L", 1); g("hello", "l", "L", 0); g("hello", "l", "L", -1); g("hello", "l", "L", 10); g("hello", "x", "y"); g("hello", "", "-"); g("", "", "-"); g("", "a", "b"); g("hello", ".", "%0%0"); g("hello", "(l)(l)", "%2%1"); g("hello", "l", "%%"); g("hello", "(l)", "[%1]"); g("hello", "l+", "<%0>")
g("hello world", "%w+", "%0 %0", 1); g("hello world", "(%w+) (%w+)", "%2 %1"); g("abc", "%w", "%0%0"); g("abc", "()", "%1"); g("abc", "b*", "x"); g("abc", "^a", "x"); g("aaa", "^a", "x"); g("abc", "c$", "x"); g("abc", "$", "x"); g("abc", "^", "x"); g("a.b.c", "%.", "%%"); g("a b c", " ", ""); g("abc", "(a)(b)(c)", "%3%2%1%0"); g("x", "x", "a\0b"); g("a\0b", "%z", "0"); g("abc", "%w", "."); g("abc", ".", { a = "1", b = true and "2" }); g("tab\there", "\t", "    ")
g("$name is $age", "%$(%w+)", { name = "Lua", age = 5 }); g("$a $b $c", "%$(%w)", { a = 1, b = false, c = nil }); g("abc", "%w", { a = "x" }); g("abc", "(%w)(%w)", { a = "first" }); g("abc", "()", { "x", "y" }); g("k", "k", setmetatable({}, { __index = function(_, k) return k .. "!" end }))
g("abc", "%w", function(c) return c:upper() end); g("abc", "%w", function(c) if c == "b" then return nil end return c .. c end); g("abc", "%w", function() return false end); g("abc", "(%w)(%w)", function(a, b) return b .. a end); g("abc", "()", function(p) return p end); g("abc", "%w", function() end); g("abc", "", function(...) return select("#", ...) end); g("abc", "b", function() return 1.5 end); g("a,b", "[^,]", function(c, ...) return "[" .. c .. select("#", ...) .. "]" end)
g("hello world", "o", "0", "1"); g("hello", "l", "x", 1.9); g(12321, 2, 5); g("abc", "b", 5); g("abc", "%d*", "x"); g("  a  b  ", "%s+", " "); g("a  b", "%s*", "-"); g("abc", "a-", "x"); g("abc", "(b)", "%1%1%1"); g("path/to/file", "/", "\\"); g("CamelCaseString", "(%u)", " %1"); g("x = 1", "%s*=%s*", "="); g("&<>", "[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })
g("%d", "%%d", "%%s"); g("a", "a", "%%1"); g("((a))", "%b()", "x"); g("THE (quick) fox", "%f[%a]%a+", "W"); g("aaa", "a", "b", 2); g("äö", ".", "x"); g("abc", "[ac]", "%0-"); g("one;two;;four", ";;", ";nil;"); g("abc", ".-", "x"); g("hello", "(h)(e)(l)(l)(o)", "%5%4%3%2%1")

-- Replacement text: the characters that may follow `%`.
for _, r in ipairs { "%", "a%", "%1", "%2", "%9", "%0", "%a", "%.", "%%", "%\0", "% ", "%-", "x%%1", "%1%2" } do print(string.format("%q", r), pcall(string.gsub, "abc", "(b)", r)) end
for _, r in ipairs { "%1", "%2" } do print(r, pcall(string.gsub, "abc", "b", r)); print(r, pcall(string.gsub, "abc", "()", r)) end

-- Values that cannot be replacements.
print(pcall(string.gsub, "abc", "b", function() return {} end)); print(pcall(string.gsub, "abc", "b", function() return true end)); print(pcall(string.gsub, "abc", "b", { b = {} })); print(pcall(string.gsub, "abc", "b", { b = true })); print(pcall(string.gsub, "abc", "b", { b = print })); print(pcall(string.gsub, "abc", "b", function() return print end))
print(pcall(string.gsub)); print(pcall(string.gsub, "x")); print(pcall(string.gsub, "x", "x")); print(pcall(string.gsub, "x", "x", nil)); print(pcall(string.gsub, "x", "x", true)); print(pcall(string.gsub, "x", "x", "y", "z")); print(pcall(string.gsub, {}, "x", "y")); print(pcall(string.gsub, "x", {}, "y")); print(pcall(string.gsub, "x", "(", "y")); print(pcall(string.gsub, "x", "%", "y")); print(pcall(string.gsub, "x", "[", "y")); print(pcall(string.gsub, "abc", "b", function(c) error("no " .. c) end)); print(pcall(string.gsub, "abc", "(b", "x")); print(pcall(string.gsub, "abc", "b)", "x"))

-- Nested, recursive, and many.
local function expand(s) return (s:gsub("%b()", function(x) return "[" .. expand(x:sub(2, -2)) .. "]" end)) end
print(pcall(expand, "a(b(c)d)e"))
local expand; function expand(s) return (s:gsub("%b()", function(x) return "[" .. expand(x:sub(2, -2)) .. "]" end)) end
print(expand("a(b(c)d)e(f)"))
local count = 0
local result, n = ("x"):rep(3000):gsub("x", function(c) count = count + 1; return count % 2 == 0 and "" or nil end)
print(#result, n, count); print(#(("ab"):rep(2000):gsub("b", "bbb")), select(2, ("a b c d"):gsub("%s", "")), (("x"):rep(10):gsub("x", "%0y", 3)))
print((("a b c"):gsub("%w", { a = 1, b = 2.5 })), ("abc"):gsub("%w", "%0%%%0"), (("hello"):gsub("l", "l\n")))
local words = {}
local text = ("The Cat and the Hat"):gsub("%w+", function(w) words[#words + 1] = w; return #w end)
print(text, table.concat(words, "|"))
print((("url%20decoded%21"):gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end)), (("a b&c"):gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)))
