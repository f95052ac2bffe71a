//! Handwritten scripts and libraries, of the kinds that applications use.

use super::super::words::one_of;
use crate::support::random::Random;

const SCRIPTS: &[&str] = &[
    "return redis.call('get', KEYS[1])",
    "return {KEYS[1], ARGV[1], #KEYS, #ARGV, KEYS[2], ARGV[2]}",
    // A lock: only its owner releases or extends it.
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end",
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], 100000000) end return 0",
    // A rate limit.
    "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('expire', KEYS[1], 100000) end return n <= 3",
    // A sliding window.
    "redis.call('zremrangebyscore', KEYS[1], '-inf', tonumber(ARGV[1]) or 0)
redis.call('zadd', KEYS[1], 5, ARGV[2] or 'x')
return {redis.call('zcard', KEYS[1]), redis.call('zrange', KEYS[1], 0, -1, 'WITHSCORES')}",
    // A queue: moves elements from one list to another, as long as there are some.
    "local moved = {}
for i = 1, tonumber(ARGV[1]) or 2 do
  if i > 5 then break end
  local job = redis.call('rpoplpush', KEYS[1], KEYS[2] or 'list:9')
  if not job then break end
  moved[i] = job
end
return moved",
    "local sum = 0
for _, v in ipairs(ARGV) do sum = sum + (tonumber(v) or 1) end
redis.call('hset', KEYS[1], 'sum', tostring(sum))
return sum",
    "#!lua flags=no-writes\nreturn {redis.call('exists', unpack(KEYS)), redis.pcall('set', KEYS[1], 'x')}",
    "#!lua\nreturn redis.call('type', KEYS[1])",
    "redis.call('set', KEYS[1], cjson.encode({k = KEYS, a = ARGV})) return cjson.decode(redis.call('get', KEYS[1])).a",
    "redis.call('set', KEYS[1], ARGV[1]) error('after a write')",
];

pub const LIBRARIES: &[&str] = &["one", "two", "three", "four", "made", "none"];

/// No two have more than one function in common: if there were several, the one named in the error would depend on the
/// order of a hash table.
const SOURCES: &[&str] = &[
    "#!lua name=one\nredis.register_function('one', function(keys, args) return {#keys, keys[1], args[1]} end)",
    "#!lua name=one
redis.register_function{function_name = 'one', callback = function(keys) return redis.call('get', keys[1]) end,
  flags = {'no-writes'}, description = 'reads'}",
    "#!lua name=two
local calls = 0
local function count() calls = calls + 1 return calls end
redis.register_function('two', count)
redis.register_function('three', function(keys, args) count() return redis.call('set', keys[1], args[1] or calls) end)",
    "#!lua name=three
redis.register_function('three', function(keys, args) return redis.pcall('incrby', keys[1], args[1]) end)
redis.register_function{function_name = 'five', callback = function(keys, args)
  redis.setresp(3)
  return redis.call('hgetall', keys[1]).map and redis.status_reply('MAP') end, flags = {'no-writes', 'allow-stale'}}",
    "#!lua name=four\nredis.register_function('four', function(keys) redis.call('rpush', keys[1], 1, 2) error({err = 'MY end'}) end)",
    "#!lua name=four\nredis.register_function('four', function() undefined() end)",
    // These do not load.
    "#!lua name=none\nredis.register_function('none', function() return",
    "#!lua name=none\nredis.call('set', 'a', 1)",
    "#!lua name=none\nreturn 1",
    "#!lua\nredis.register_function('none', function() end)",
];

pub fn script(random: &mut Random) -> Vec<u8> {
    one_of(random, SCRIPTS)
}

pub fn library(random: &mut Random) -> Vec<u8> {
    one_of(random, SOURCES)
}

/// The name of a function of these libraries.
pub fn function(random: &mut Random) -> Vec<u8> {
    one_of(random, &["one", "two", "three", "four", "five", "made", "MADE", "none"])
}
