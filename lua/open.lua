-- open: writes a round's rules into a shard, once. Repeatable.
-- KEYS    round
-- ARGV    clock | field value
-- RETURNS now_ms word
-- WORDS   opened already_open
local now = clock_ms(ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then return {now, 'already_open'} end
redis.call('HSET', KEYS[1], 'state', 'open', 'touched_ms', real_ms(), unpack(ARGV, 2))
return {now, 'opened'}
