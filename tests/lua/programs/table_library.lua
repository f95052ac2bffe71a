-- table.*: insert and remove at all positions, concat, maxn, getn, setn, foreach, and their errors.
local function show(t) local r = {}; for i = 1, table.maxn(t) do r[i] = tostring(t[i]) end print(#r, table.concat(r, ",")) end
local t = {}
table.insert(t, "a"); table.insert(t, "b"); table.insert(t, 1, "first"); table.insert(t, 3, "third"); table.insert(t, 5, "fifth"); show(t)
table.insert(t, 10, "far"); show(t); print(#t)
t = { 1, 2, 3 }; table.insert(t, 0, "zero"); show(t); print(t[0]); t = { 1, 2, 3 }; table.insert(t, -1, "minus"); show(t); print(t[-1], t[0]); t = { 1, 2, 3 }; table.insert(t, 2.7, "cut"); show(t); table.insert(t, "2", "text"); show(t)
print(table.insert({}, 1)); print(pcall(table.insert)); print(pcall(table.insert, {})); print(pcall(table.insert, {}, 1, 2, 3)); print(pcall(table.insert, {}, "x", 2)); print(pcall(table.insert, {}, nil, 2)); print(pcall(table.insert, "x", 2)); print(pcall(table.insert, nil, 1))
t = {}; table.insert(t, nil); show(t); table.insert(t, 1, nil); show(t)
t = { 1, 2, 3, 4, 5 }
print(table.remove(t), table.remove(t, 1), table.remove(t, 2)); show(t); print(table.remove(t, 3), table.remove(t, 5), table.remove(t, 0), table.remove(t, -1)); show(t)
print(table.remove(t), table.remove(t), table.remove(t), table.remove({}), table.remove({}, 1), table.remove({}, 5)); show(t)
print(select("#", table.remove({})), select("#", table.remove({ 1 })), select("#", table.remove({ 1 }, 2)), select("#", table.remove({}, 1)))
t = { 1, 2, 3 }; print(table.remove(t, 4)); show(t); print(table.remove(t, "2")); show(t); print(table.remove(t, 1.9)); show(t); print(pcall(table.remove)); print(pcall(table.remove, 1)); print(pcall(table.remove, {}, "x")); print(pcall(table.remove, {}, {}))
t = { [0] = "zero" }; print(table.remove(t, 0), t[0]); t = { n = 1 }; print(table.remove(t), t.n)
t = { 1, nil, 3 }; print(table.remove(t)); t = { 1, 2, nil, 4 }; print(table.remove(t, 1), t[1], t[2], t[3], t[4])

-- concat.
print(table.concat {}, table.concat { 1 }, table.concat { 1, 2, 3 }, table.concat({ 1, 2, 3 }, ", "), table.concat({ "a", 1.5, "b", -0 }, "|"), table.concat({ 1, 2, 3 }, 0))
print(table.concat({ 1, 2, 3 }, ",", 2), table.concat({ 1, 2, 3 }, ",", 2, 3), table.concat({ 1, 2, 3 }, ",", 3, 2), table.concat({ 1, 2, 3 }, ",", 2, 2), table.concat({ [0] = 0, 1, [-1] = -1 }, ",", -1, 1), table.concat({}, ",", 1, 0))
print(pcall(table.concat)); print(pcall(table.concat, 1)); print(pcall(table.concat, { {} })); print(pcall(table.concat, { 1, nil, 3 }, ",", 1, 3)); print(pcall(table.concat, { 1, true })); print(pcall(table.concat, { print })); print(pcall(table.concat, {}, {})); print(pcall(table.concat, {}, "", "x")); print(pcall(table.concat, { 1 }, "", 1, 2))
print(pcall(table.concat, { setmetatable({}, { __tostring = function() return "x" end }) })); print(table.concat({ "a\0b", "c" }, "\0") == "a\0b\0c", #table.concat({ ("x"):rep(1000), ("y"):rep(1000) }, ("-"):rep(1000)))
print(pcall(table.concat, setmetatable({}, { __index = function() return "x" end }), ",", 1, 3))

-- maxn, getn, setn.
print(table.maxn {}, table.maxn { 1, 2 }, table.maxn { [10] = 1, [2.5] = 1, [-3] = 1 }, table.maxn { [1e10] = 1 }, table.maxn { x = 1 }, table.maxn { [1 / 0] = 1 }, table.maxn { nil, nil, 3 }, table.maxn { [-1] = 1 })
print(table.getn {}, table.getn { 1, 2 }, table.getn { n = 10 }, table.getn { nil, 2 }, pcall(table.getn), pcall(table.getn, 1), pcall(table.maxn))
print(pcall(table.setn, {}, 1)); print(pcall(table.setn)); print(pcall(table.setn, 1, 2))

-- foreach and foreachi stop at a value.
print(table.foreach({ 1, 2, 3 }, function(k, v) if v == 2 then return "stopped", k end end)); print(table.foreachi({ "a", "b", "c" }, function(i, v) if i == 2 then return v end end))
print(table.foreach({}, print), table.foreachi({}, print)); table.foreachi({ 1, 2, nil, 4 }, print); print(table.foreach({ 1 }, function() return false end)); print(table.foreachi({ 1, 2 }, function() return nil end))
print(pcall(table.foreach)); print(pcall(table.foreach, {})); print(pcall(table.foreach, {}, 1)); print(pcall(table.foreachi, 1, print)); print(pcall(table.foreachi, {}, "x")); print(pcall(table.foreach, { 1 }, function() error("in foreach", 0) end)); print(pcall(table.foreach, { 1 }, setmetatable({}, { __call = print })))

-- Large lists.
local big = {}
for i = 1, 10000 do table.insert(big, i) end
for i = 1, 100 do table.insert(big, 1, -i) end
print(#big, big[1], big[100], big[101], big[#big]); local sum = 0
for i = 1, 5000 do sum = sum + table.remove(big) end
for i = 1, 100 do sum = sum + table.remove(big, 1) end
print(#big, sum, big[1], big[#big])
local stack = {}
for i = 1, 300 do if i % 3 == 0 then table.remove(stack) else stack[#stack + 1] = i end end
print(#stack, stack[1], stack[#stack], table.concat(stack, " ", 1, 10))
