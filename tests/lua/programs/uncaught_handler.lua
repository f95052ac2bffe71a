-- An error rethrown by hand from a handler keeps its first position.
local ok, message = pcall(function() local a; a.b = 1 end)
print(ok, message)
error(message, 0)
