-- claim: gives each winner the packet of their rank, once. By the user while claiming is open, by the system afterwards.
-- KEYS    round members totals packets outbox
-- ARGV    clock expected_ms skew_ms by rows | uid
-- ROW     waited_ms
-- RETURNS now_ms | word, or {word, packet_fen, stake_fen} with a packet
-- WORDS   no_round clock_moved wrong_round voided already_claimed too_early not_settled not_joined not_checked_in claimed
-- ENTRY   claimed at_ms by stake_fen indexes uids packets_fen
local now, by, count = clock_ms(ARGV[1]), ARGV[4], #ARGV - 5
local round = redis.call('HMGET', KEYS[1],
  'state', 'morning_starts_ms', 'check_in_closes_ms', 'morning_ends_ms', 'stake_fen')
if not round[1] then return all(now, count, 'no_round') end
local morning_starts, closes = tonumber(round[2]), tonumber(round[3])
local morning_ends, stake = tonumber(round[4]), tonumber(round[5])
local moved = has_moved(now, ARGV[2], ARGV[3])
local settled = round[1] == 'settled' or round[1] == 'finished'

local uids, waited_ms = {unpack(ARGV, 6)}, cmsgpack.unpack(ARGV[5])
local records = redis.call('HMGET', KEYS[2], unpack(uids))

local replies, writes, indexes, claimed, packets, sum, fresh = {now}, {}, {}, {}, {}, 0, {}
for i = 1, count do
  local uid, arrived = uids[i], now - waited_ms[i]
  local record = records[i]
  local state = record and string.byte(record)
  local rank = (state == CHECKED_IN or state == CLAIMED) and rank_of(record) or 0
  if by == 'user' and (now < morning_starts or arrived >= morning_ends) then
    replies[i + 1] = moved and 'clock_moved' or 'wrong_round'
  elseif round[1] == 'void' then replies[i + 1] = 'voided'
  elseif state == CLAIMED and rank > 0 then replies[i + 1] = {'already_claimed', packet_of(KEYS[4], rank), stake}
  elseif now < closes then replies[i + 1] = moved and 'clock_moved' or 'too_early'
  elseif not settled then replies[i + 1] = 'not_settled'
  elseif state == CHECKED_IN or state == CLAIMED then
    local packet = fresh[uid] or rank > 0 and packet_of(KEYS[4], rank)
    -- Without a rank or a packet this user alone waits, until the books have given it (clock rebuild DAY).
    replies[i + 1] = packet and {fresh[uid] and 'already_claimed' or 'claimed', packet, stake} or 'not_settled'
    if packet and not fresh[uid] then
      fresh[uid] = packet
      sum = sum + packet
      indexes[#indexes + 1], claimed[#claimed + 1], packets[#packets + 1] = rank - 1, tonumber(uid), packet
      writes[#writes + 1] = uid
      writes[#writes + 1] = 'P' .. string.sub(record, 2)
    end
  elseif state == MEMBER or state == LATE then replies[i + 1] = 'not_checked_in'
  else replies[i + 1] = 'not_joined'
  end
end
if #claimed == 0 then return replies end

redis.call('HSET', KEYS[2], unpack(writes))
redis.call('HINCRBY', KEYS[3], 'claimed_fen', sum)
redis.call('HINCRBY', KEYS[3], 'claimed', #claimed)
append(KEYS[5], {'claimed', now, by, stake, indexes, claimed, packets})
return replies
