-- mend: makes users' records what the books say, each only while it is still the one that was compared.
-- KEYS    round members totals packets
-- ARGV    clock | uid found right late
-- RETURNS now_ms | word
-- WORDS   no_round moved mended
local WIDTH = 4
local now, count = clock_ms(ARGV[1]), 0
local stake = tonumber(redis.call('HGET', KEYS[1], 'stake_fen'))
local uids = {}
for at = 2, #ARGV, WIDTH do
  count = count + 1
  uids[count] = ARGV[at]
end
if not stake then return all(now, count, 'no_round') end
local records = redis.call('HMGET', KEYS[2], unpack(uids))

local NAMES = {'orders', 'members', 'winners', 'late', 'pool_fen', 'claimed', 'claimed_fen'}

-- What a record adds to the totals. That a winner was late is not in it: it is what the books say.
local function counted(record, late)
  if record == '' then return {0, 0, 0, 0, 0, 0, 0} end
  local state = string.byte(record)
  if state == ORDERED then return {1, 0, 0, 0, 0, 0, 0} end
  if state == LATE then late = 1 elseif state == MEMBER then late = 0 end
  local winner = (state == CHECKED_IN or state == CLAIMED) and 1 or 0
  local claimed, fen = 0, 0
  if state == CLAIMED then
    local _, _, _, _, packet = cmsgpack.unpack(string.sub(record, 2))
    claimed, fen = 1, packet
  end
  return {1, 1, winner, late, stake, claimed, fen}
end

local replies, sums = {now}, {0, 0, 0, 0, 0, 0, 0}
for i = 1, count do
  local at = 2 + (i - 1) * WIDTH
  local found, right, late = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if (records[i] or '') ~= found then replies[i + 1] = 'moved'
  else
    local before, after = counted(found, late), counted(right, late)
    for n = 1, #sums do sums[n] = sums[n] + after[n] - before[n] end
    -- The packet that this shard still thinks it has to give.
    if after[6] > before[6] then redis.call('LREM', KEYS[4], 1, after[7]) end
    redis.call('HSET', KEYS[2], uids[i], right)
    replies[i + 1] = 'mended'
  end
end
for n, name in ipairs(NAMES) do
  if sums[n] ~= 0 then redis.call('HINCRBY', KEYS[3], name, sums[n]) end
end
return replies
