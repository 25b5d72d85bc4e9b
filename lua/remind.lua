-- remind: sets each user's reminder switch to 1 or 0. Repeatable: an unchanged switch writes no event.
-- KEYS    flags outbox
-- ARGV    clock | uid on
-- RETURNS now_ms | word
-- WORDS   no_flags switched
-- ENTRY   reminded at_ms rows
local now, count = clock_ms(ARGV[1]), (#ARGV - 1) / 2
local uids = {}
for i = 1, count do uids[i] = ARGV[2 * i] end
local records = redis.call('HMGET', KEYS[1], 'open', unpack(uids))
if not records[1] then return all(now, count, 'no_flags') end
local writes, rows, fresh = {}, {}, {}
for i = 1, count do
  local uid, on = uids[i], ARGV[2 * i + 1]
  local record = fresh[uid] or records[i + 1] or '00'
  if string.sub(record, 1, 1) ~= on then
    fresh[uid] = on .. string.sub(record, 2)
    writes[#writes + 1] = uid
    writes[#writes + 1] = fresh[uid]
    rows[#rows + 1] = {tonumber(uid), tonumber(on)}
  end
end
if #rows > 0 then
  redis.call('HSET', KEYS[1], unpack(writes))
  append(KEYS[2], {'reminded', now, rows})
end
return all(now, count, 'switched')
