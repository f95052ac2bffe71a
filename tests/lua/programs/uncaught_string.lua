-- An uncaught error in a function of a function.
print("before")
local function inner() error("uncaught") end
local function middle() inner() end
middle()
print("never")
