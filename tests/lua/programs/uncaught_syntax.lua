-- A program that does not compile.
print("never")
local x = = 1
