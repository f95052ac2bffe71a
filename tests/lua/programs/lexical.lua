-- Tokens: strings with every escape, long brackets of every level, comments, numerals, names and operators.
local function show(s)
  print((s:gsub("[^%w%p ]", function(c) return string.format("<%d>", c:byte()) end)), #s)
end

show("a\a\b\f\n\r\t\v\\\"\'z")
show('a\a\b\f\n\r\t\v\\\"\'z')
show("\0\1\12\123\1234\255\0005")
show("\x41\q\%\u{41}\z")
show("line one\
line two")
show("it's 'quoted'")
show('say "it"')
show("")
show('\'')

show([[]])
show([==[]==])
show([[
the first newline is skipped]])
show([[

the second is not]])
show([=[ ]] ]==] [[ ]=])
show([==[ ]=] ]===] ]==])
show([[a\n\065b]])
show([[ends with a bracket] ]])
show([===[]]]==]===])

-- a comment
--[[ a long
comment ]] print("after a long comment")
--[==[ another ]] ]=]
]==] print("after a levelled comment")
--[ not long
--[=not long either
print("after short comments") -- at the end of a line
---[[ switched off
print("switched on")
--]]
--[[]] print("an empty one")
--[=[]=]print("an empty one, levelled")

print(3, 3., .5, 3.14, 0x10, 0xfF, 0XAb, 1e2, 1E+2, 1e-2, 5e-324, 1e308, 1e309, 0xffffffff, 0x7fffffffffffffff)
print(0.1, 1/3, 100, 1e15, 1e14, 123456789012345, 1234567890123456, 12345678901234567890, 2^53, 2^63)
print(08, 007, 1.e1, .1e1, 0e12, 0.0, 3.0)
