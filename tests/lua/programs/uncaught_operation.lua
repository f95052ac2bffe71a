-- An error of the machine that nobody catches.
local t = {}
print(#t)
print(t.field.name)
