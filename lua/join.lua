-- join: creates each user's order for the round, or returns the existing one.
-- KEYS    round members totals outbox
-- ARGV    clock expected_ms skew_ms server rows | uid
-- ROW     waited_ms order_no tail open_id mobile nickname
-- RETURNS now_ms | word, or {word, order_id, tail} with an order
-- WORDS   no_round clock_moved wrong_round voided already_joined join_closed order_pending ordered
-- ENTRY   ordered at_ms rows
local WIDTH = 6
-- Order numbers that another server may have given out after its last change that came here.
local SKIPPED = 65536
local now, count = clock_ms(ARGV[1]), #ARGV - 5
local round = redis.call('HMGET', KEYS[1],
  'state', 'day_starts_ms', 'join_opens_ms', 'join_closes_ms', 'morning_starts_ms', 'stake_fen', 'first_order_id',
  'last_number', 'server')
if not round[1] then return all(now, count, 'no_round') end
local day_starts, opens, closes = tonumber(round[2]), tonumber(round[3]), tonumber(round[4])
local day_ends, stake, first_order_id = tonumber(round[5]), tonumber(round[6]), tonumber(round[7])

local moved = has_moved(now, ARGV[2], ARGV[3])

local uids, said = {unpack(ARGV, 6)}, cmsgpack.unpack(ARGV[5])
local records = redis.call('HMGET', KEYS[2], unpack(uids))

local function order_of(record)
  local tail, number = cmsgpack.unpack(string.sub(record, 2))
  return first_order_id + number, tail
end

local replies, writes, rows, fresh = {now}, {}, {}, {}
local orders = tonumber(redis.call('HGET', KEYS[3], 'orders') or 0)
local number = tonumber(round[8] or orders)
if round[9] and round[9] ~= ARGV[4] then number = number + SKIPPED end
for i = 1, count do
  local at = (i - 1) * WIDTH
  local uid, arrived = uids[i], now - said[at + 1]
  local record = fresh[uid] or records[i]
  local state = record and string.byte(record)
  local reply
  if now < day_starts or arrived >= day_ends then reply = moved and 'clock_moved' or 'wrong_round'
  elseif round[1] == 'void' then reply = 'voided'
  elseif state and state ~= ORDERED then reply = 'already_joined'
  elseif now < opens or arrived >= closes then reply = moved and 'clock_moved' or 'join_closed'
  elseif state then
    local order_id, tail = order_of(record)
    reply = {'order_pending', order_id, tail}
  else
    orders, number = orders + 1, number + 1
    local tail, open_id = said[at + 3], said[at + 4]
    record = 'O' .. cmsgpack.pack(tail, number, open_id)
    fresh[uid] = record
    writes[#writes + 1] = uid
    writes[#writes + 1] = record
    local order_id = first_order_id + number
    rows[#rows + 1] = {tonumber(uid), said[at + 2], order_id, stake, open_id, said[at + 5], said[at + 6]}
    reply = {'ordered', order_id, tail}
  end
  replies[i + 1] = reply
end
if #rows > 0 then
  redis.call('HSET', KEYS[2], unpack(writes))
  redis.call('HSET', KEYS[3], 'orders', orders)
  redis.call('HSET', KEYS[1], 'last_number', number, 'server', ARGV[4])
  append(KEYS[4], {'ordered', now, rows})
end
return replies
