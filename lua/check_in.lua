-- check_in: marks members as checked in, each once.
-- KEYS    round members totals outbox
-- ARGV    clock expected_ms skew_ms rows | uid
-- ROW     waited_ms
-- RETURNS now_ms | word, or the rank of a winner who has checked in now
-- WORDS   no_round clock_moved wrong_round voided already_checked_in too_early too_late not_joined
-- ENTRY   checked_in at_ms first_rank uids
local now, count = clock_ms(ARGV[1]), #ARGV - 4
local round = redis.call('HMGET', KEYS[1],
  'state', 'morning_starts_ms', 'check_in_opens_ms', 'check_in_closes_ms', 'morning_ends_ms')
if not round[1] then return all(now, count, 'no_round') end
local morning_starts, opens = tonumber(round[2]), tonumber(round[3])
local closes, morning_ends = tonumber(round[4]), tonumber(round[5])
local open, moved = round[1] == 'open', has_moved(now, ARGV[2], ARGV[3])
local opened, after_close = open and now >= opens and now >= morning_starts, now >= closes

if after_close and open and not moved then -- before anybody is refused
  closes = lengthen(KEYS[1], KEYS[3], KEYS[4], now)
  after_close = now >= closes
end

local uids = {unpack(ARGV, 5)}
local waited_ms = after_close and cmsgpack.unpack(ARGV[4])
local records = redis.call('HMGET', KEYS[2], unpack(uids))

-- Preallocated for all users: growing the lists would cost as much as filling them.
local replies, writes, checked_in, seen = {now, unpack(uids)}, {unpack(uids)}, {unpack(uids)}, {}
local byte, sub, char, fresh = string.byte, string.sub, string.char, 0
local winners = opened and tonumber(redis.call('HGET', KEYS[3], 'winners')) or 0
local high, low = rank_bytes(winners)
for i = 1, count do
  local uid, record = uids[i], records[i]
  local state = seen[uid] or (record and byte(record))
  local arrived, word = after_close and now - waited_ms[i] or now, nil
  if opened and arrived < closes and (state == MEMBER or state == LATE) then
    seen[uid] = CHECKED_IN
    fresh = fresh + 1
    word = winners + fresh
    writes[2 * fresh - 1] = uid
    local last = byte(record, -5) == 206 and -6 or -1
    low = low + 1
    if low > 255 then high, low = rank_bytes(winners + fresh) end
    writes[2 * fresh] = 'C' .. sub(record, 2, last) .. high .. char(low)
    checked_in[fresh] = uid + 0
  elseif now < morning_starts or arrived >= morning_ends then word = moved and 'clock_moved' or 'wrong_round'
  elseif round[1] == 'void' then word = 'voided'
  elseif state == CHECKED_IN or state == CLAIMED then word = 'already_checked_in'
  elseif moved then word = 'clock_moved'
  elseif now < opens then word = 'too_early'
  elseif arrived >= closes or not open then word = 'too_late'
  else word = 'not_joined'
  end
  replies[i + 1] = word
end
if fresh > 0 then
  redis.call('HSET', KEYS[2], unpack(writes, 1, 2 * fresh))
  redis.call('HINCRBY', KEYS[3], 'winners', fresh)
  for i = count, fresh + 1, -1 do checked_in[i] = nil end
  append(KEYS[4], {'checked_in', now, winners + 1, checked_in})
end
return replies
