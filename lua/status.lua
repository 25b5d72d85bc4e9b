-- status: each user's state in the round: the record's letter (see the prelude), "-" without a record, "V" in a void round.
-- KEYS    round members
-- ARGV    clock | uid
-- RETURNS now_ms | word
-- WORDS   no_round - O M L C P V
-- FLAGS   no-writes
local now, count = clock_ms(ARGV[1]), #ARGV - 1
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return all(now, count, 'no_round') end
if state == 'void' then return all(now, count, 'V') end
local records = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
local replies = {now}
for i = 1, count do replies[i + 1] = records[i] and string.sub(records[i], 1, 1) or '-' end
return replies
