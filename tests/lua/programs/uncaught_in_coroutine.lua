-- An error that passes through coroutine.wrap.
local f = coroutine.wrap(function() coroutine.yield(1); error("inside") end)
print(f())
f()
