-- flags: the reminder switch and the unseen result of each user, a digit each.
-- KEYS    flags
-- ARGV    clock | uid
-- RETURNS now_ms | word
-- WORDS   no_flags 00 01 10 11
-- FLAGS   no-writes
-- A record is both digits, then the day number of the user's latest result. The field "open" marks the hash as complete.
local now, count = clock_ms(ARGV[1]), #ARGV - 1
local records = redis.call('HMGET', KEYS[1], 'open', unpack(ARGV, 2))
if not records[1] then return all(now, count, 'no_flags') end
local replies = {now}
for i = 1, count do replies[i + 1] = records[i + 1] and string.sub(records[i + 1], 1, 2) or '00' end
return replies
