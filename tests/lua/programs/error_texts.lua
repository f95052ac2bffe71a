-- Errors of the machine: the variable that they name, and the position.
local up, uptable = nil, {}
local function try(f, ...) print(select(2, pcall(f, ...))) end

-- Calls.
try(function() local a; a() end)
try(function() local a = 5; a(1, 2) end)
try(function() undefined_global() end)
try(function() up() end)
try(function() uptable.field() end)
try(function() uptable.a.b() end)
try(function() uptable:method() end)
try(function() uptable.x:method() end)
try(function() local t = {}; t.x() end)
try(function() local t = {}; t[1]() end)
try(function() local t, k = {}, "key"; t[k]() end)
try(function() local t = {}; t:m() end)
try(function() local t = {}; t.a.b.c() end)
try(function() ("x")() end)
try(function() (5)() end)
try(function() ({})() end)
try(function() (nil)() end)
try(function() (function() end)()() end)
try(function() local f = function() return 5 end; f()() end)
try(function() local s = "x"; s:nope() end)
try(function() return undefined_tail() end)
try(function() local a; return a() end)
try(function() return uptable.tail() end)
try(function() string.nope("x") end)
try(function() print(nothing()) end)
try(function(a) a() end, true)
try(function(...) local a, b = ...; b() end, 1, 2)

-- Indexing.
try(function() local a; return a.x end)
try(function() local a; a.x = 1 end)
try(function() local a = 5; return a.x.y end)
try(function() return undefined_global.x end)
try(function() undefined_global.x = 1 end)
try(function() return up.x end)
try(function() up.x = 1 end)
try(function() return uptable.a.b end)
try(function() uptable.a.b = 1 end)
try(function() return uptable.a.b.c.d end)
try(function() return uptable[1][2] end)
try(function() local t = {}; t[1][2] = 3 end)
try(function() local t, i = {}, 1; return t[i].x end)
try(function() local t, i = {}, 1; return t[i][i] end)
try(function() return (nil).x end)
try(function() return (1).x end)
try(function() return (true).x end)
try(function() return (print).x end)
try(function() return (function() end).x end)
try(function() return ("x").y.z end)
try(function() local t = { a = { b = 5 } }; return t.a.b.c.d end)
try(function() for i = 1, 2 do local v; v.x = i end end)
try(function() for k, v in pairs { 1 } do v.x = k end end)
try(function(t) return t.x end)
try(function() local t = setmetatable({}, { __index = up }); return t.x.y end)
try(function() return a_global.b.c end)
try(function() local t = {}; t[nil] = 1 end)
try(function() local t = {}; t[0 / 0] = 1 end)
try(function() return { [nil] = 1 } end)

-- Arithmetic.
try(function() local a; return a + 1 end)
try(function() local a; return 1 + a end)
try(function() local a, b = {}, {}; return a + b end)
try(function() local a, b = 1, {}; return a + b end)
try(function() local a, b = "x", 1; return a + b end)
try(function() local a, b = "x", {}; return a * b end)
try(function() return undefined_global - 1 end)
try(function() return 1 - undefined_global end)
try(function() return up * 2 end)
try(function() return uptable.x / 2 end)
try(function() return 2 % uptable.x end)
try(function() return uptable[1] ^ 2 end)
try(function() return -uptable end)
try(function() return -up end)
try(function() return -"abc" end)
try(function() local t = {}; return -t.x end)
try(function() return 1 + nil end)
try(function() return true + 1 end)
try(function() return "a" + "b" end)
try(function() return {} - 1 end)
try(function() return print * 1 end)
try(function() local a = {}; a.n = a.n + 1 end)
try(function() counter = counter + 1 end)
try(function() return #up end)
try(function() return #5 end)
try(function() local n = 5; return #n end)
try(function() return #uptable.x end)
try(function() return #undefined_global end)
try(function() local a, b = 1; local c = a + b + 1 end)
try(function() local a = 1; return a + uptable.x + a end)
try(function() local x = "10"; return x + x.y end)
try(function(a, b) return a.n + b.n end, { n = 1 }, {})

-- Concatenation.
try(function() local a; return "x" .. a end)
try(function() local a; return a .. "x" end)
try(function() local a = {}; return "x" .. a .. "y" end)
try(function() return "x" .. undefined_global end)
try(function() return "x" .. uptable.x end)
try(function() return "x" .. up end)
try(function() return "x" .. true end)
try(function() return nil .. "x" end)
try(function() return 1 .. {} end)
try(function() return {} .. {} end)
try(function() return print .. "x" end)
try(function() local a, b = "a"; return a .. "b" .. b .. "c" end)
try(function() local a = "x"; return a .. 1 .. nil end)
try(function() local t = {}; return "a" .. t.b.c end)

-- Comparison.
try(function() return 1 < "2" end)
try(function() return "1" <= 2 end)
try(function() return {} < {} end)
try(function() return {} < 1 end)
try(function() return nil > 1 end)
try(function() return nil < nil end)
try(function() return true <= false end)
try(function() return print >= print end)
try(function() return {} >= "x" end)
try(function() local a, b = {}, nil; return a < b end)

-- Position: the line of the operation, in expressions over several lines.
try(function()
  local a
  local b = 1 +
    2 +
    a
end)
try(function()
  local t = {
    1,
    2,
    up.x,
    4,
  }
end)
try(function()
  print(
    1,
    up.x
  )
end)
try(function()
  up
  .x
  .y = 1
end)
try(function()
  undefined_function(

  )
end)
try(function()
  uptable
    :method(1,
      2,
      3)
end)
try(function()
  return "a" ..
    "b" ..
    up ..
    "c"
end)
try(function() if
  up.x
  then end end)
try(function()
  for i = 1,
    up,
    2 do end
end)
try(function()
  local function
  f()
    return
      up
      + 1
  end
  f()
end)

-- Functions of the library name themselves, or are named by the call.
try(function() string.rep() end)
try(function() ("x"):rep() end)
try(function() ("x"):rep({}) end)
try(function() local r = string.rep; r("x") end)
try(function() uptable.r = string.rep; uptable.r("x", "y") end)
try(function() uptable:r(1) end)
try(function() string.char(256) end)
try(function() string.char("x") end)
try(function() setmetatable(1, {}) end)
try(function() table.concat({ {} }) end)
try(function() table.concat({ 1, 2 }, ",", 1, 3) end)
try(function() table.insert({}, 1, 2, 3) end)
try(function() table.insert({}) end)
try(function() table.insert(nil, 1) end)
try(function() math.floor("x") end)
try(function() math.floor({}) end)
try(function() math.floor() end)
try(function() ipairs() end)
try(function() tostring() end)
try(function() tonumber() end)
try(function() select(0) end)
try(function() select("x") end)
try(function() select() end)
try(function() local s = ("x").sub; s() end)
try(function() ("x"):bad() end)
try(function() (string.rep)() end)
try(string.rep)
try(string.rep, "x", {})
try(pcall(string.rep) and print or error, "a message")
try(function() return string.rep() end)
try(function() local function f(...) return string.rep(...) end f() end)
try(function() local t = setmetatable({}, { __index = string.rep }); return t.x end)
try(function() local t = setmetatable({}, { __add = string.rep }); return t + 1 end)
try(function() return coroutine.wrap(string.rep)() end)
try(function() for i in string.rep do end end)
try(function() string.gsub("x", "x", string.rep) end)
try(function() table.sort({ 1, 2 }, string.rep) end)
