-- An uncaught error of the machine.
local t = {}
print(#t)
print(t.field.name)
