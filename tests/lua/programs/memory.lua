-- Weak tables, collectgarbage, gcinfo, newproxy and finalisers of proxies: effects of the collector that a program can
-- see.
print(type(collectgarbage("count")), collectgarbage(), collectgarbage("collect"), type(gcinfo()))
print(collectgarbage("stop"), collectgarbage("restart"), pcall(collectgarbage, "nope"), pcall(collectgarbage, 1)); print(collectgarbage("setpause", 200) >= 0, collectgarbage("setstepmul", 200) >= 0); print(type(collectgarbage("step")), type(collectgarbage("step", 100)))
local function count(t) local n = 0; for _ in pairs(t) do n = n + 1 end return n end
local keep = {}
local weakv = setmetatable({}, { __mode = "v" }); for i = 1, 10 do weakv[i] = {}; if i % 2 == 0 then keep[#keep + 1] = weakv[i] end end; weakv.str = "string"; weakv.num = 5; weakv.fn = function() return keep end
collectgarbage(); collectgarbage(); print(count(weakv), weakv[1], weakv[2] ~= nil, weakv.str, weakv.num)
local weakk = setmetatable({}, { __mode = "k" }); local live = {}; weakk[live] = "live"; for i = 1, 10 do weakk[{}] = i end; weakk[1] = {}; weakk.s = {}; collectgarbage(); collectgarbage(); print(count(weakk), weakk[live], type(weakk[1]), type(weakk.s))
local both = setmetatable({}, { __mode = "kv" }); both[live] = {}; both[{}] = live; both[live] = live; both[1] = 1; both.x = live; collectgarbage(); collectgarbage(); print(count(both), both[live] == live, both.x == live, both[1])
local cache = setmetatable({}, { __mode = "v" }); local function get(k) local v = cache[k]; if not v then v = { k = k }; cache[k] = v end return v end; local held = get("a"); get("b"); collectgarbage(); collectgarbage(); print(cache.a == held, cache.b)
local strong = {}; strong[{}] = 1; strong[1] = {}; collectgarbage(); print(count(strong))

-- Cycles, closures, coroutines and long strings are created and collected.
for i = 1, 20000 do local a, b = {}, {}; a.b = b; b.a = a; local f = function() return a, b end; a.f = f end
for i = 1, 2000 do local co = coroutine.wrap(function() local t = { i }; coroutine.yield(t); return t end); co() end
for i = 1, 200 do local s = ("x"):rep(10000 + i) .. i end
collectgarbage(); local before = collectgarbage("count"); for i = 1, 50000 do local t = { i, tostring(i), { i } } end; collectgarbage(); local after = collectgarbage("count"); print(after - before < 100, after < 20000)
local data = {}; for i = 1, 1000 do data[i] = { id = i, name = "n" .. i, list = { i, i * 2 } } end; for round = 1, 5 do for i = 1, 1000 do data[i] = { id = data[i].id, name = data[i].name, list = { unpack(data[i].list) } } end; collectgarbage("step", 10) end
local sum = 0; for i = 1, 1000 do assert(data[i].name == "n" .. i and data[i].list[2] == i * 2); sum = sum + data[i].id end; print(sum)
do local co = coroutine.create(function() local big = {}; for i = 1, 100 do big[i] = { i } end; coroutine.yield(); local s = 0; for i = 1, 100 do s = s + big[i][1] end return s end); coroutine.resume(co); collectgarbage(); print(coroutine.resume(co)) end
local up; do local v = { "kept by a closure" }; up = function() return v[1] end end; collectgarbage(); print(up())
local t = {}; for i = 1, 1000 do t[("key"):rep(i % 20) .. i] = { i } end; collectgarbage(); for i = 1, 1000, 2 do t[("key"):rep(i % 20) .. i] = nil end; collectgarbage(); local c = 0; for k, v in pairs(t) do c = c + v[1] end; print(c)
for k, v in pairs(t) do t[k] = nil; collectgarbage("step") end; print(next(t))
local n = 0; for k, v in pairs { a = {}, b = {}, c = {} } do collectgarbage(); n = n + 1; assert(type(v) == "table") end; print(n)
print((("x"):gsub("x", function() collectgarbage(); return "collected" end))); local s = { 5, 3, 4, 1, 2 }; table.sort(s, function(a, b) collectgarbage("step"); return a < b end); print(unpack(s)); print(table.concat({ tostring(setmetatable({}, { __tostring = function() collectgarbage(); return "t" end })), "u" }, ","))
