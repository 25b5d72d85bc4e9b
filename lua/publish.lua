-- publish: puts a chunk of the manifest into the shard's list of packets. Repeatable: a chunk that is there is left alone.
-- KEYS    round totals packets
-- ARGV    clock first_index | fen
-- RETURNS now_ms word
-- WORDS   not_closed gap already_published published
local now, first = clock_ms(ARGV[1]), tonumber(ARGV[2])
if redis.call('HGET', KEYS[1], 'state') ~= 'closed' then return {now, 'not_closed'} end
local length = redis.call('LLEN', KEYS[3])
if length >= first + #ARGV - 2 then return {now, 'already_published'} end
if length ~= first then return {now, 'gap'} end
local sum = 0
for i = 3, #ARGV do sum = sum + tonumber(ARGV[i]) end
redis.call('RPUSH', KEYS[3], unpack(ARGV, 3))
redis.call('HINCRBY', KEYS[2], 'published', #ARGV - 2)
redis.call('HINCRBY', KEYS[2], 'published_fen', sum)
return {now, 'published'}
