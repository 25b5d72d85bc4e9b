-- mend: makes users' records what the books say, each only while it is still the one that was compared.
-- KEYS    round members totals
-- ARGV    clock last_number | uid found right late packet_fen found_fen
-- RETURNS now_ms | word
-- WORDS   no_round moved mended
local WIDTH = 6
local now, count = clock_ms(ARGV[1]), 0
local round = redis.call('HMGET', KEYS[1], 'stake_fen', 'last_number')
local stake = tonumber(round[1])
local uids = {}
for at = 3, #ARGV, WIDTH do
  count = count + 1
  uids[count] = ARGV[at]
end
if not stake then return all(now, count, 'no_round') end
if tonumber(round[2] or 0) < tonumber(ARGV[2]) then
  -- No server has this name: the next order skips numbers, as after any change of server.
  redis.call('HSET', KEYS[1], 'last_number', ARGV[2], 'server', '')
end
if count == 0 then return {now} end
local records = redis.call('HMGET', KEYS[2], unpack(uids))

local NAMES = {'orders', 'members', 'winners', 'late', 'pool_fen', 'claimed', 'claimed_fen'}

-- What a record adds to the totals. That a winner was late, and the packet, are not in it: late is what the books say,
-- and so is the packet of the right record; found_fen is that of the one that was found.
local function counted(record, late, packet_fen)
  if record == '' then return {0, 0, 0, 0, 0, 0, 0} end
  local state = string.byte(record)
  if state == ORDERED then return {1, 0, 0, 0, 0, 0, 0} end
  if state == LATE then late = 1 elseif state == MEMBER then late = 0 end
  local winner = (state == CHECKED_IN or state == CLAIMED) and 1 or 0
  local claimed, fen = 0, 0
  if state == CLAIMED then
    claimed, fen = 1, packet_fen
  end
  return {1, 1, winner, late, stake, claimed, fen}
end

local replies, sums = {now}, {0, 0, 0, 0, 0, 0, 0}
for i = 1, count do
  local at = 3 + (i - 1) * WIDTH
  local found, right, late, packet_fen = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if (records[i] or '') ~= found then replies[i + 1] = 'moved'
  else
    local before, after = counted(found, late, tonumber(ARGV[at + 5])), counted(right, late, packet_fen)
    for n = 1, #sums do sums[n] = sums[n] + after[n] - before[n] end
    redis.call('HSET', KEYS[2], uids[i], right)
    replies[i + 1] = 'mended'
  end
end
for n, name in ipairs(NAMES) do
  if sums[n] ~= 0 then redis.call('HINCRBY', KEYS[3], name, sums[n]) end
end
return replies
