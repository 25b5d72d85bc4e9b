-- release: refunds a quarantined payment, unless it was accepted or refunded meanwhile. Repeatable.
-- KEYS    round members totals payments outbox
-- ARGV    clock uid order_no tail transaction_id amount_fen paid_at_ms channel raw
-- RETURNS now_ms word
-- WORDS   no_round order_not_found accepted refunded released
-- ENTRY   payment at_ms rows
local now = clock_ms(ARGV[1])
local uid, order_no, transaction = ARGV[2], ARGV[3], ARGV[5]
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {now, 'no_round'} end
local record = redis.call('HGET', KEYS[2], uid)
local tail, number, open_id, accepted
if record then tail, number, open_id, accepted = cmsgpack.unpack(string.sub(record, 2)) end
if tail ~= ARGV[4] then return {now, 'order_not_found'} end
if accepted == transaction then return {now, 'accepted'} end

local what = 'refund_released'
local payment = order_no .. ':' .. transaction
local answered = redis.call('HGET', KEYS[4], payment)
if answered then return {now, answered == what and 'released' or 'refunded'} end
redis.call('HSET', KEYS[4], payment, what)
redis.call('HINCRBY', KEYS[3], 'refused_payments', 1)
local row = {tonumber(uid), order_no, transaction, tonumber(ARGV[6]), tonumber(ARGV[7]), what, ARGV[8], ARGV[9]}
append(KEYS[5], {'payment', now, {row}})
-- The keys of a finished round expire; an outbox with an undrained entry must not.
if state == 'finished' or state == 'void' then redis.call('PERSIST', KEYS[5]) end
return {now, 'released'}
