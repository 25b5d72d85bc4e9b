-- drained: notes up to which entry Postgres has a shard's outbox, if the stream is still the one that was read.
-- KEYS    outbox position
-- ARGV    clock before last_id entries
-- RETURNS now_ms word
-- WORDS   moved drained
local now = clock_ms(ARGV[1])
-- A promoted replica may have an older position, or number new entries below one that it never saw.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return {now, 'moved'} end
if #redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) == 0 then return {now, 'moved'} end
redis.call('SET', KEYS[2], ARGV[3] .. ' ' .. ARGV[4], 'KEEPTTL')
return {now, 'drained'}
