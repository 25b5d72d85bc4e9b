-- pay: accepts successful payments; each makes a member, or is refunded. Checks in the order of docs/rules.md, Paying.
-- KEYS    round members totals payments outbox checking
-- ARGV    clock expected_ms skew_ms rows | uid
-- ROW     waited_ms order_no tail amount_fen transaction_id buyer_id paid_at_ms channel raw
-- RETURNS now_ms | word
-- WORDS   no_round clock_moved order_not_found already_paid amount_mismatch transaction_missing buyer_mismatch refund_due paid
-- ENTRY   payment at_ms rows
local WIDTH = 9
local now, count = clock_ms(ARGV[1]), #ARGV - 4
local round = redis.call('HMGET', KEYS[1],
  'state', 'join_closes_ms', 'check_in_opens_ms', 'check_in_closes_ms', 'stake_fen')
if not round[1] then return all(now, count, 'no_round') end
local join_closes, opens, closes = tonumber(round[2]), tonumber(round[3]), tonumber(round[4])
local stake = tonumber(round[5])

local moved = has_moved(now, ARGV[2], ARGV[3])

if round[1] == 'open' and now >= closes and not moved then closes = lengthen(KEYS[1], KEYS[3], KEYS[5], now) end
local uids, said, payments = {unpack(ARGV, 5)}, cmsgpack.unpack(ARGV[4]), {}
for i = 1, count do
  local at = (i - 1) * WIDTH
  payments[i] = said[at + 2] .. ':' .. said[at + 5]
end
local records = redis.call('HMGET', KEYS[2], unpack(uids))
local refused = redis.call('HMGET', KEYS[4], unpack(payments))

-- The word and the recorded outcome of a payment that has passed the checks.
local function outcome(state, paid_at, arrived)
  if round[1] == 'void' then return 'refund_due', 'refund_void' end
  if state ~= ORDERED then return 'refund_due', 'refund_second' end
  if moved then return 'clock_moved' end
  if paid_at >= join_closes then return 'refund_due', 'refund_late' end
  if round[1] ~= 'open' or arrived >= closes then return 'refund_due', 'refund_closed' end
  if arrived >= opens then return 'paid', 'paid_late' end
  return 'paid', 'paid'
end

-- Notes that a refused payment of an unpaid order is looked into: a callback is counted once, until it is decided.
local function refuse(word, state, tail, raw)
  if state == ORDERED and (round[1] == 'open' or round[1] == 'closed') then
    local is_new = redis.call('HSETNX', KEYS[6], tail .. ':' .. redis.sha1hex(raw), 1) == 1
    if is_new then redis.call('HINCRBY', KEYS[6], tail, 1) end
  end
  return word
end

local replies, writes, rows, fresh, repaid = {now}, {}, {}, {}, {}
local members, late, refunds = 0, 0, 0
for i = 1, count do
  local at = (i - 1) * WIDTH
  local uid, arrived = uids[i], now - said[at + 1]
  local record = fresh[uid] or records[i]
  local state = record and string.byte(record)
  local tail, number, open_id, transaction_id
  if record then tail, number, open_id, transaction_id = cmsgpack.unpack(string.sub(record, 2)) end
  local transaction, paid_at = said[at + 5], said[at + 7]
  if paid_at < 0 or paid_at > arrived then paid_at = arrived end
  local word, what
  if not record or tail ~= said[at + 3] then word = 'order_not_found'
  elseif transaction ~= '' and transaction == transaction_id then word = 'already_paid'
  elseif refused[i] or repaid[payments[i]] then word = 'refund_due'
  elseif said[at + 4] ~= stake then word = refuse('amount_mismatch', state, tail, said[at + 9])
  elseif transaction == '' then word = refuse('transaction_missing', state, tail, said[at + 9])
  elseif said[at + 6] ~= open_id then word = refuse('buyer_mismatch', state, tail, said[at + 9])
  else
    word, what = outcome(state, paid_at, arrived)
    if word == 'paid' then
      members = members + 1
      if what == 'paid_late' then late = late + 1 end
      record = (what == 'paid' and 'M' or 'L') .. string.sub(record, 2) .. cmsgpack.pack(transaction) .. NO_RANK
      fresh[uid] = record
      writes[#writes + 1] = uid
      writes[#writes + 1] = record
    elseif word == 'refund_due' then
      refunds = refunds + 1
      repaid[payments[i]] = true
      redis.call('HSET', KEYS[4], payments[i], what)
    end
    if what then
      rows[#rows + 1] = {tonumber(uid), said[at + 2], transaction, stake, paid_at, what, said[at + 8], said[at + 9]}
    end
  end
  replies[i + 1] = word
end
if members > 0 then
  redis.call('HSET', KEYS[2], unpack(writes))
  redis.call('HINCRBY', KEYS[3], 'members', members)
  redis.call('HINCRBY', KEYS[3], 'pool_fen', members * stake)
  if late > 0 then redis.call('HINCRBY', KEYS[3], 'late', late) end
end
if refunds > 0 then redis.call('HINCRBY', KEYS[3], 'refused_payments', refunds) end
if #rows > 0 then
  append(KEYS[5], {'payment', now, rows})
  -- The keys of a finished round expire; an outbox with an undrained entry must not.
  if round[1] == 'finished' or round[1] == 'void' then redis.call('PERSIST', KEYS[5]) end
end
return replies
