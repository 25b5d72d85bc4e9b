-- status: each user's state in the round: the record's letter (see the prelude), "-" without a record, "V" in a void round.
-- KEYS    round members checking
-- ARGV    clock | uid
-- RETURNS now_ms | word
-- WORDS   no_round - O M L C P V
-- FLAGS   no-writes
-- After the O of an unpaid order comes "?" where a payment of it is looked into, otherwise ".", and the order's tail.
local now, count = clock_ms(ARGV[1]), #ARGV - 1
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return all(now, count, 'no_round') end
if state == 'void' then return all(now, count, 'V') end
local records = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
local replies, tails, places = {now}, {}, {}
for i = 1, count do
  local record = records[i]
  replies[i + 1] = record and string.sub(record, 1, 1) or '-'
  if record and string.byte(record) == ORDERED then
    places[#places + 1] = i + 1
    tails[#places] = cmsgpack.unpack(string.sub(record, 2))
  end
end
if #places == 0 then return replies end
local waiting = redis.call('HMGET', KEYS[3], unpack(tails))
for n, place in ipairs(places) do
  replies[place] = 'O' .. (waiting[n] and tonumber(waiting[n]) > 0 and '?' or '.') .. tails[n]
end
return replies
