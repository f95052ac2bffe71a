-- An error value that is not a string, with a text of its own.
error(setmetatable({}, { __tostring = function() return "own text" end }))
