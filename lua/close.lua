-- close: ends changes to a shard's members and winners; the entry has the totals that the books must match. Repeatable.
-- KEYS    round totals outbox
-- ARGV    clock expected_ms skew_ms why grace_ms
-- RETURNS now_ms word
-- WORDS   no_round clock_moved not_due already_closed closed
-- ENTRY   closed at_ms why members winners late pool_fen
local now, why = clock_ms(ARGV[1]), ARGV[4]
local round = redis.call('HMGET', KEYS[1], 'state', 'check_in_closes_ms')
if not round[1] then return {now, 'no_round'} end
if round[1] ~= 'open' and not (why == 'void' and round[1] == 'closed') then return {now, 'already_closed'} end
if why == 'settle' then
  if has_moved(now, ARGV[2], ARGV[3]) then return {now, 'clock_moved'} end
  local closes = lengthen(KEYS[1], KEYS[2], KEYS[3], now)
  if now < closes + tonumber(ARGV[5]) then return {now, 'not_due'} end
  local settle = redis.call('HMGET', KEYS[1], 'settle_ms', 'extended_ms')
  -- Longer just now: the caller did not know.
  if closes > tonumber(round[2]) and now < settle[1] + settle[2] then return {now, 'not_due'} end
end
local totals = redis.call('HMGET', KEYS[2], 'members', 'winners', 'late', 'pool_fen')
for i = 1, 4 do totals[i] = tonumber(totals[i] or 0) end
redis.call('HSET', KEYS[1], 'state', why == 'void' and 'void' or 'closed')
append(KEYS[3], {'closed', now, why, unpack(totals)})
return {now, 'closed'}
