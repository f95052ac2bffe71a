-- Large tables of nodes, which grow in pieces: the order of next stays the same.

local function digest(t)
    local sum, count = 0, 0
    for key, value in pairs(t) do
        count = count + 1
        sum = (sum * 31 + value) % 1000003
    end
    return count, sum
end

local names, halves, mixed = {}, {}, {}
for i = 1, 70000 do
    names['key ' .. i] = i
    rawset(halves, i + 0.5, i)
end
print(digest(names))
print(digest(halves))

-- From the end, so that they move to the array when the table grows.
for i = 70000, 1, -1 do
    mixed[i] = i
end
print(#mixed, digest(mixed))

for i = 1, 70000 do
    if i % 3 == 0 then
        names['key ' .. i] = nil
        halves[i + 0.5] = nil
    end
end
for i = 1, 70000 do
    names['other ' .. i] = i
    halves[-i] = i
end
print(digest(names))
print(digest(halves))

-- A key that is not stored.
local proxy = setmetatable(names, {__newindex = function(_, key, value) rawset(halves, key, value) end})
for i = 1, 70000 do
    proxy[i + 0.25] = i
end
print(digest(halves))

-- A key that is stored in a table behind a metatable.
local behind = {}
local front = setmetatable({}, {__newindex = behind})
for i = 1, 70000 do
    front['key ' .. i] = i
end
print(next(front), digest(behind))

-- table.insert if all elements are nodes.
local listed = {}
for i = 100000, 30001, -1 do
    listed[i] = i
end
for i = 1, 30000 do
    table.insert(listed, i)
end
print(#listed, digest(listed))

local dying = setmetatable({}, {__mode = 'v'})
for i = 1, 80000 do
    dying[i + 0.5] = i % 2 == 0 and i or {}
    if i % 20000 == 0 then collectgarbage() end
end
local left = 0
for i = 2, 80000, 2 do
    if dying[i + 0.5] == i then left = left + 1 end
end
print(left)
