-- Prepended to every script by the loader.

-- The game's clock in ms: Redis' TIME, moved by "+ms" or stopped at "=ms" in development and tests only.
local function clock_ms(setting)
  if string.byte(setting, 1) == 61 then return tonumber(string.sub(setting, 2)) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + (tonumber(setting) or 0)
end

-- Whether the clock is not where the caller expects it, who goes by a monotonic one. Then nobody is refused by time.
local function has_moved(now, expected_ms, skew_ms) return math.abs(now - expected_ms) > tonumber(skew_ms) end

-- The same answer for every user of the call.
local function all(now, count, word)
  local replies = {now}
  for i = 1, count do replies[i + 1] = word end
  return replies
end

local function append(key, entry)
  return redis.call('XADD', key, '*', 'e', cmsgpack.pack(entry))
end

-- Redis' TIME in ms, also where the game's clock is moved: so moving that is no outage.
local function real_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- docs/rules.md, Outages. No touch for longer than SILENT_MS of the window of check-in: nobody could check in, and the
-- window becomes longer by as much, in whole minutes, together by MOST_MS at most. Answers when check-in closes.
-- ENTRY   extended at_ms cause since_ms by_ms closes_ms asleep reason by_whom
-- Round fields: touched_ms, by Redis' TIME; granted_ms, for the silence since then; extended_ms, in all.
local SILENT_MS, MINUTE_MS, MOST_MS = 5000, 60000, 3600000

-- By how much it can still become longer: settlement, as long after closing as the rules say, comes before claiming closes.
local function room_ms(round)
  local said = redis.call('HMGET', round, 'extended_ms', 'settle_ms', 'claim_closes_ms')
  return math.min(MOST_MS, said[3] - said[2]) - (said[1] or 0)
end

local function extend(round, totals, outbox, now, by_ms, cause, since_ms, reason, by_whom)
  local closes = redis.call('HINCRBY', round, 'check_in_closes_ms', by_ms)
  redis.call('HINCRBY', round, 'extended_ms', by_ms)
  local counted = redis.call('HMGET', totals, 'members', 'winners')
  local asleep = (counted[1] or 0) - (counted[2] or 0)
  append(outbox, {'extended', now, cause, since_ms, by_ms, closes, asleep, reason, by_whom})
  return closes
end

local function lengthen(round, totals, outbox, now)
  local said = redis.call('HMGET', round, 'state', 'check_in_opens_ms', 'check_in_closes_ms', 'touched_ms', 'granted_ms')
  local opens, closes, granted = tonumber(said[2]), tonumber(said[3]), tonumber(said[5] or 0)
  local since = math.max(opens, said[4] and now - (real_ms() - said[4]) or opens)
  if said[1] ~= 'open' or since >= closes - granted or now - since <= SILENT_MS then return closes end
  local due = math.min(room_ms(round), math.ceil((now - since) / MINUTE_MS) * MINUTE_MS - granted)
  if due <= 0 then return closes end
  redis.call('HINCRBY', round, 'granted_ms', due)
  return extend(round, totals, outbox, now, due, 'outage', since, '', '')
end

-- First byte of a member's record: what the user is in this round.
-- The rest is MessagePack: tail and number of the order, openId, then for members transactionId and the rank at check-in.
local ORDERED, MEMBER, LATE, CHECKED_IN, CLAIMED = 79, 77, 76, 67, 80 -- O M L C P

-- A rank is written in five bytes, always, and 0 until check-in: a record that grows has to be moved. From 1, within
-- the shard. A member who paid under an older version has no place for it.
local NO_RANK = struct.pack('>BI4', 206, 0)
-- The first four bytes of a rank, and the number in the last: consecutive ranks mostly differ in that alone.
local function rank_bytes(rank) return string.sub(struct.pack('>BI4', 206, rank), 1, 4), rank % 256 end
local function rank_of(record)
  return string.byte(record, -5) == 206 and struct.unpack('>I4', record, #record - 3) or 0
end

-- Packets are in lists of so many: a long list could not be looked into at once. The lists' keys have the tag of KEYS[n].
-- The winner with rank i gets packet i.
local PIECE = 500
local function piece_of(packets, rank) return packets .. ':' .. math.floor((rank - 1) / PIECE) end

local function packet_of(packets, rank)
  return tonumber(redis.call('LINDEX', piece_of(packets, rank), (rank - 1) % PIECE))
end

local function push_packets(packets, rank, fens)
  local from = 1
  while from <= #fens do
    local last = math.min(#fens, from + PIECE - 1 - (rank - 1) % PIECE)
    redis.call('RPUSH', piece_of(packets, rank), unpack(fens, from, last))
    from, rank = last + 1, rank + last - from + 1
  end
end

local function count_packets(packets, expected)
  local count = 0
  for rank = 1, expected, PIECE do count = count + redis.call('LLEN', piece_of(packets, rank)) end
  return count
end

local function expire_packets(packets, count, ms)
  for rank = 1, count, PIECE do redis.call('PEXPIRE', piece_of(packets, rank), ms) end
end
