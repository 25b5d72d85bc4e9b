-- alert: flags each user's result of the round with this day number as unseen. Repeatable: only a newer result changes anything.
-- KEYS    flags
-- ARGV    clock day_number | uid
-- RETURNS now_ms word
-- WORDS   no_flags alerted
local now, day, count = clock_ms(ARGV[1]), tonumber(ARGV[2]), #ARGV - 2
local records = redis.call('HMGET', KEYS[1], 'open', unpack(ARGV, 3))
if not records[1] then return {now, 'no_flags'} end
local writes = {}
for i = 1, count do
  local record = records[i + 1] or '00'
  if (tonumber(string.sub(record, 3)) or -1) < day then
    writes[#writes + 1] = ARGV[i + 2]
    writes[#writes + 1] = string.sub(record, 1, 1) .. '1' .. ARGV[2]
  end
end
if #writes > 0 then redis.call('HSET', KEYS[1], unpack(writes)) end
return {now, 'alerted'}
