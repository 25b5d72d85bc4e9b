-- flags: the reminder switch and the unseen result of each user, a digit each; then the day number of that result, if any.
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
for i = 1, count do
  local record = records[i + 1] or '00'
  replies[i + 1] = string.byte(record, 2) == 49 and record or string.sub(record, 1, 2)
end
return replies
