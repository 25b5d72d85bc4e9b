-- finish: ends a shard of a round whose outbox is drained; its keys expire after keep_ms. Repeatable.
-- KEYS    round members totals payments packets outbox position checking
-- ARGV    clock keep_ms
-- RETURNS now_ms word
-- WORDS   no_round not_settled unclaimed undrained finished
local now = clock_ms(ARGV[1])
local state = redis.call('HGET', KEYS[1], 'state')
-- no_round: the round's keys have expired. Keys that a late payment has created expire as well, once it is drained.
local word = state and 'finished' or 'no_round'
if state and state ~= 'settled' and state ~= 'finished' and state ~= 'void' then return {now, 'not_settled'} end
local totals = redis.call('HMGET', KEYS[3], 'published', 'claimed')
local published = tonumber(totals[1] or 0)
if state and state ~= 'void' and tonumber(totals[2] or 0) < published then return {now, 'unclaimed'} end
local last = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)[1]
local drained = string.match(redis.call('GET', KEYS[7]) or '', '^%S+')
if last and last[1] ~= drained then return {now, 'undrained'} end
if state == 'settled' then redis.call('HSET', KEYS[1], 'state', 'finished') end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
expire_packets(KEYS[5], published, ARGV[2])
return {now, word}
