-- The compiler's limits: 200 locals, 60 upvalues, 250 registers, levels of nesting, constants and jumps.
local function try(name, source)
  local chunk, message = loadstring(source, "=limits")
  if not chunk then return print(name, message) end
  print(name, pcall(chunk))
end
local function list(n, each, separator)
  local t = {}
  for i = 1, n do t[i] = (each:gsub("%%", i)) end
  return table.concat(t, separator or " ")
end

for _, n in ipairs { 199, 200, 201 } do
  try("locals " .. n, list(n, "local x%", "\n") .. " return 'ok'")
  try("locals in one " .. n, "local " .. list(n, "x%", ",") .. " return 'ok'")
  try("parameters " .. n, "local function f(" .. list(n, "x%", ",") .. ") return 'ok' end return f()")
  try("parameters and dots " .. n, "local function f(" .. list(n - 1, "x%", ",") .. ", ...) return 'ok' end return f()")
end
try("locals in blocks", "do " .. list(150, "local x%", "\n") .. " end do " .. list(150, "local y%", "\n") .. " end return 'ok'")
try("for at 198", list(196, "local x%", "\n") .. " for i = 1, 1 do end return 'ok'")
try("for at 199", list(197, "local x%", "\n") .. " for i = 1, 1 do end return 'ok'")
try("for in at 198", list(196, "local x%", "\n") .. " for k in pairs{} do end return 'ok'")
try("for in, two names", list(196, "local x%", "\n") .. " for k, v in pairs{} do end return 'ok'")
try("local function", list(200, "local x%", "\n") .. " local function f() end")

for _, n in ipairs { 59, 60, 61 } do
  local use = "local function f() return " .. list(n, "x%", "+") .. " end return f()"
  try("upvalues " .. n, "local " .. list(n, "x%", ",") .. " = " .. list(n, "1", ",") .. " " .. use)
  try("nested upvalues " .. n, "local " .. list(n, "x%", ",") .. " = " .. list(n, "1", ",")
    .. "\nlocal function g()\n" .. use .. "\nend return g()")
end
try("upvalues of two functions", "local " .. list(100, "x%", ",") .. " local function f() return " .. list(50, "x%", ",")
  .. " end local function g() return " .. list(60, "x%", ","):gsub("%d+", function(d) return d + 40 end) .. " end return 'ok'")

for _, n in ipairs { 10, 100, 245, 246, 247, 248, 249, 250, 255, 300 } do
  try("arguments " .. n, "return select('#', " .. list(n, "%", ",") .. ")")
  try("results " .. n, "local function f() return " .. list(n, "%", ",") .. " end return select('#', f())")
  try("concatenation " .. n, "local x = 'x' return #(" .. list(n, "x", "..") .. ")")
  try("right side " .. n, "a = " .. list(n, "x", ",") .. " return 'ok'")
  try("nested calls " .. n, "local f = function(...) return select('#', ...) end return "
    .. ("f(1, "):rep(n) .. "1" .. (")"):rep(n))
end
-- The compiler counts levels down from the depth at which it was called: no case is within a few of the limit of 200.
for _, n in ipairs { 50, 90, 105, 180, 205, 250 } do
  try("brackets " .. n, "return " .. ("("):rep(n) .. "1" .. (")"):rep(n))
  try("tables " .. n, "local t = " .. ("{"):rep(n) .. ("}"):rep(n) .. " return type(t)")
  try("functions " .. n, "return type(" .. ("function() return "):rep(n) .. "1" .. (" end"):rep(n) .. ")")
  try("blocks " .. n, ("do "):rep(n) .. "x = 1 " .. ("end "):rep(n) .. "return 'ok'")
  try("ifs " .. n, ("if true then "):rep(n) .. "x = 1 " .. ("end "):rep(n) .. "return 'ok'")
  try("whiles " .. n, ("while true do "):rep(n) .. "x = 1 " .. ("break end "):rep(n) .. "return 'ok'")
  try("nots " .. n, "return " .. ("not "):rep(n) .. "1")
  try("minuses " .. n, "return " .. ("- "):rep(n) .. "1")
  try("powers " .. n, "return " .. list(n, "1", "^"))
  try("concats " .. n, "return #(" .. list(n, "'a'", "..") .. ")")
  if n < 200 then try("left side " .. n, list(n, "a%", ",") .. " = 1 return 'ok'") end
  if n < 200 then try("left side of fields " .. n, "local t = {} " .. list(n, "t.a%", ",") .. " = 1 return 'ok'") end
  try("fields " .. n, "local t = {} t.a = t return type(t" .. (".a"):rep(n) .. ")")
  try("indices " .. n, "local t = {} t[1] = 1 return " .. ("t["):rep(n) .. "1" .. ("]"):rep(n))
  try("else ifs " .. n, "local x = 1 if x == 0 then return 'zero' " .. list(n, "elseif x == -% then return %") .. " else return 'ok' end")
  try("additions " .. n, "local a = 1 return " .. list(n, "a", "+"))
  try("right-nested " .. n, "local a = 1 return " .. ("a+("):rep(n) .. "a" .. (")"):rep(n))
end
try("calls in a chain", "local function f() return f end f = f local g g = function() return g end return type(g" .. ("()"):rep(300) .. ")")

-- Constants beyond those that an instruction can name, and beyond a byte.
for _, n in ipairs { 255, 256, 257, 300, 600, 70000 } do
  try("numbers " .. n, "local s = 0 " .. list(n, "s=s+%.5", "\n") .. " return s")
  try("globals " .. n, list(n, "g% = %", "\n") .. " return g" .. n .. " - g1")
end
try("strings 300", "local t = {} " .. list(300, "t.k% = 'v%'", "\n") .. " return t.k1, t.k256, t.k257, t.k300, t.k300 .. t.k1 == t.k1")
try("comparisons 300", "local n = 0 for i = 1, 300 do " .. list(300, "if i == % then n = n + % end", "\n") .. " end return n")
try("methods 300", "local t = setmetatable({}, {__index = function(_, k) return function(_, v) return k .. v end end}) local n = 0 "
  .. list(300, "n = n + #t:m%('w%')", "\n") .. " return n")
try("many functions", "local n = 0 " .. list(300, "n = n + (function() return % end)()", "\n") .. " return n")

-- Jumps over a long body.
try("long jump", "local n = 0 while n < 3 do n = n + 1 if n == 2 then " .. list(20000, "x = %", "\n") .. " end end return n, x")
try("long loop", "local n = 0 for i = 1, 2 do " .. list(30000, "n = n + i", "\n") .. " end return n")
try("long line count", ("\n"):rep(70000) .. "error('here')")
try("long string", "return #'" .. ("x"):rep(100000) .. "'")
try("long name", "local " .. ("x"):rep(10000) .. " = 1 return " .. ("x"):rep(10000))
try("long comment", "--[[" .. ("x\n"):rep(10000) .. "]] return 'ok'")
