-- Prepended to every script by the loader.

-- The game's clock in ms: Redis' TIME, moved by "+ms" or stopped at "=ms" in development and tests only.
local function clock_ms(setting)
  if string.byte(setting, 1) == 61 then return tonumber(string.sub(setting, 2)) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + (tonumber(setting) or 0)
end

-- The same answer for every user of the call.
local function all(now, count, word)
  local replies = {now}
  for i = 1, count do replies[i + 1] = word end
  return replies
end

local function append(key, entry)
  return redis.call('XADD', key, '*', 'e', cmsgpack.pack(entry))
end

-- First byte of a member's record: the user's state in this round.
-- The rest is MessagePack: tail and number of the order, openId, then transactionId, then packet.
local ORDERED, MEMBER, LATE, CHECKED_IN, CLAIMED = 79, 77, 76, 67, 80 -- O M L C P
