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
