-- result: what each member of the round got, once it is settled or void. A winner gets a packet also before claiming it.
-- KEYS    round members packets
-- ARGV    clock | uid
-- RETURNS now_ms | word, or {word, letter, packet_fen, extended_ms} for a member
-- WORDS   no_round not_settled not_joined settled void
-- FLAGS   no-writes
-- The letter is that of status.
local now, count = clock_ms(ARGV[1]), #ARGV - 1
local round = redis.call('HMGET', KEYS[1], 'state', 'extended_ms')
if not round[1] then return all(now, count, 'no_round') end
local settled, void = round[1] == 'settled' or round[1] == 'finished', round[1] == 'void'
if not settled and not void then return all(now, count, 'not_settled') end
local records = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
local replies = {now}
for i = 1, count do
  local record = records[i]
  local state = record and string.byte(record)
  local packet = 0
  if settled and (state == CHECKED_IN or state == CLAIMED) then
    local rank = rank_of(record)
    packet = rank > 0 and packet_of(KEYS[3], rank)
  end
  if not state or state == ORDERED then replies[i + 1] = 'not_joined'
  elseif not packet then replies[i + 1] = 'not_settled' -- as in claim: the books have to give the rank first
  else replies[i + 1] = {void and 'void' or 'settled', string.char(state), packet, tonumber(round[2] or 0)}
  end
end
return replies
