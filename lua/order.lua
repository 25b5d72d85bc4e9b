-- order: reads one user's order.
-- KEYS    round members
-- ARGV    clock uid tail
-- RETURNS now_ms word stake_fen open_id state is_void
-- WORDS   no_round order_not_found found
-- FLAGS   no-writes
local now = clock_ms(ARGV[1])
local stake, state = unpack(redis.call('HMGET', KEYS[1], 'stake_fen', 'state'))
local record = redis.call('HGET', KEYS[2], ARGV[2])
if not stake then return {now, 'no_round'} end
if not record then return {now, 'order_not_found'} end
local tail, _, open_id = cmsgpack.unpack(string.sub(record, 2))
if tail ~= ARGV[3] then return {now, 'order_not_found'} end
return {now, 'found', tonumber(stake), open_id, string.sub(record, 1, 1), state == 'void' and 1 or 0}
