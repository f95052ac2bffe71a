-- Programs that the compiler refuses, and its messages.
local function try(source, name)
  local chunk, message = loadstring(source, name or "=s")
  print((source:gsub("\n", "~"):sub(1, 60)), chunk and "compiles" or message)
end

-- Unfinished.
for _, s in ipairs {
  "", " ", ";", "x", "x =", "x = 1 +", "local", "local x =", "local function", "function", "function f", "function f(",
  "function f()", "if", "if x", "if x then", "if x then else", "if x then elseif", "while", "while x", "while x do",
  "for", "for i", "for i =", "for i = 1", "for i = 1,", "for i = 1, 2", "for i = 1, 2 do", "for k, v", "for k, v in",
  "for k in x do", "repeat", "repeat until", "do", "return", "return 1,", "x.", "x:", "x:y", "x[", "x[1", "x{", "x(",
  "f(1,", "{", "x = {", "x = {1", "x = {1,", "x = {a =", "x = {[1]", "x = {[1] =", "(", "(x", "x = (", "x = -", "x = not",
  "x = #", "x,", "x, y", "x, y =", "x = function", "x = function(", "x = function()", "x = function(a,", "x = function(...",
  "f'", "x = '", 'x = "', "x = [[", "x = [=[ ]]", "--[[", "--[==[ x ]]", "x = [=", "x = [==x",
} do try(s) end

-- Misplaced.
for _, s in ipairs {
  "end", "else", "elseif", "until x", "then", "do end end", "break", "break x", "return 1 x = 2", "return return",
  "x = = 1", "x == 1", "x ~= 1", "1", "'a'", "1 = x", "f() = 1", "(x) = 1", "(f)", "f().x", "f()[1]", "f() = 1, 2",
  "x + 1", "x = 1 2", "x = 1 y", "x = 1 y = 2", "x y", "local x.y = 1", "local x[1] = 1", "local 1", "local x, 1",
  "local function f.g() end", "function f.g:h.i() end", "function f:g:h() end", "function 1() end", "function f[1]() end",
  "function (x) end", "function f(1) end", "function f(a, a) end", "function f(..., a) end", "function f(a, ...) end",
  "function f(a ...) end", "x = function f() end", "for 1 = 1, 2 do end", "for i = 1, 2, 3, 4 do end", "for i, j = 1, 2 do end",
  "for x.y in z do end", "for i in do end", "if x do end", "while x then end", "repeat end", "if x then else else end",
  "if x then else elseif y then end", "x = {1 2}", "x = {1;2,3;}", "x = {,}", "x = {;}", "x = {1,,2}", "x = {a = 1, b}",
  "x = {a.b = 1}", "x = {[1] 2}", "x = {1 = 2}", "x = {'a' = 2}", "x = [1]", "x = a.1", "x = a.'b'", "a.b", "a:b = 1", "a:b",
  "a:b.c()", "a:1()", "a.b:c()", "x = ...", "function f() return ... end", "x = ....", "x = . 5", "x = and 1", "x = 1 and",
  "x = not", "x = 1 not 2", "x = !1", "x != 1", "x += 1", "x = 1 // 2", "x = 1 & 2", "x = ~1", "x = 1 << 2", "x = @", "$", "?",
  "x = `y`", "goto x", "::x::", "goto = 1", "x = 5 .. ", "x = 'a' 'b'", "f'a' 'b'", "f{} {}", "f 1", "f x", "f 'x' = 1",
  "x = (1, 2)", "x = ()", "()", "do", "do return end", "do return end x = 1", "while true do break end", "if x then break end",
  "while true do break x = 1 end", "function f() break end", "while x do function g() break end end", "repeat break until x",
  "nil = 1", "true = 1", "local nil", "local end", "x.end = 1", "x = {end = 1}", "x.and()", "x:not()", "x = nil.y", "x = 1.y",
  "x = {}.y", "x = 'a'.y", "x = 'a':b()", "x = ('a'):b()", "x = {}[1]", "x = function() end()", "x = (function() end)()",
  "local a <const> = 1", "return;", "return 1;", "return; x = 1", ";x = 1", "x = 1;;", "x = 1; y = 2",
} do try(s) end

-- Tokens in messages.
for _, s in ipairs {
  "x = 'abc' 'def'", 'x = "a\\nb" "c\\nd"', "x = 1 [[long\nstring]]", "x = 12 34", "x = 1 12.5e3", "x = y z", "x = ~", "x = }",
  "x = \1", "x = \127", "x = \200", "x = a\200", "x = 1 ... 2", "x = 1 .. .. 2", "= 1", "== 1", "~= 1", "<= 1", ">= 1", "... ", "..",
  "x = 'a\\300'", "x = '\\999'", "x = '\\256'", "x = 'a\nb'", 'x = "a\nb"', "x = 'unfinished\\", "x = 'a\\\nb' y", "x = [[a\nb",
  "x = 'long " .. ("y"):rep(100), "x = [==[ " .. ("y"):rep(100), "x = 1 " .. ("y"):rep(100), "x = 1 '" .. ("y"):rep(100) .. "'",
  "\n\n\nx = = 1", "x = 1\n\n\n", "x =\n\n\n= 1", "x = [[\n\n\n]] = 1", "--[[\n\n]] = 1", "x = 'a\\\n\\\nb' = 1", "f\n(1)", "f(1\n)", "f\n'x'",
  "x = f\n(1)", "x = f\n{1}", "f()\n(g)()", "a.b\n(1)", "a:b\n(1)", "x = y\n[1]", "\r\nx = = 1", "\n\rx = = 1", "\r\rx = = 1", "\r\n\r\nx = = 1",
  "# comment", "#!/bin/lua\nx = 1", "x = 'a\rb'", "x = 'a\\\r\nb' = 1", "x = '\0' = 1", "x = 1\0", "x\0y = 1", "a = 'x\0",
} do try(s) end

-- Unclosed and mismatched brackets, over lines.
for _, s in ipairs {
  "if x then\n\n", "if x then\n\nelse\n", "if x\nthen elseif y then\n\n", "while x do\n\n\n", "for i = 1, 2 do\n\n", "for k in p do\n\n\n",
  "function f()\n\n", "local function f()\n\n", "x = function()\n\n", "do\n\n", "repeat\n\n", "repeat\n\nx = 1", "f(\n\n", "f(1,\n\n", "x = (\n1\n", "x = {\n1\n",
  "x = {\n[1\n", "x[\n1\n", "if x then\n until", "while x do\n until", "do\nelse", "repeat\nend", "function f(\na\n", "x = {\n1\n2}", "x = f(\n1\n2)", "x = (1\n2)",
  "if x then while y do\n end\n", "if x then\n  if y then\nend\n", "function f() if x then\nend\n", "do do do\n end\n end\n", "for i = 1,2 do if x then\n end end end",
} do try(s) end
