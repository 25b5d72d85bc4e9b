-- ack_alert: marks each user's latest result as seen. Repeatable.
-- KEYS    flags outbox
-- ARGV    clock | uid
-- RETURNS now_ms | word
-- WORDS   no_flags acknowledged
-- ENTRY   acknowledged at_ms rows
local now, count = clock_ms(ARGV[1]), #ARGV - 1
local records = redis.call('HMGET', KEYS[1], 'open', unpack(ARGV, 2))
if not records[1] then return all(now, count, 'no_flags') end
local writes, rows, seen = {}, {}, {}
for i = 1, count do
  local uid, record = ARGV[i + 1], records[i + 1]
  if record and string.sub(record, 2, 2) == '1' and not seen[uid] then
    seen[uid] = true
    writes[#writes + 1] = uid
    writes[#writes + 1] = string.sub(record, 1, 1) .. '0' .. string.sub(record, 3)
    rows[#rows + 1] = {tonumber(uid), tonumber(string.sub(record, 3))}
  end
end
if #rows > 0 then
  redis.call('HSET', KEYS[1], unpack(writes))
  append(KEYS[2], {'acknowledged', now, rows})
end
return all(now, count, 'acknowledged')
