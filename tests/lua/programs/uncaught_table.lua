-- An error value that is not a string, with its own text.
error(setmetatable({}, { __tostring = function() return "own text" end }))
