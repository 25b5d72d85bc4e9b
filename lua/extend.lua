-- extend: makes a shard's window of check-in longer by an operator's word, once for each number. Repeatable.
-- KEYS    round totals outbox
-- ARGV    clock expected_ms skew_ms how number by_ms reason by_whom
-- RETURNS now_ms word
-- WORDS   no_round clock_moved check_in_closed too_long already_extended possible extended
local now, how, number, by_ms = clock_ms(ARGV[1]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local round = redis.call('HMGET', KEYS[1], 'state', 'by_hand')
if not round[1] then return {now, 'no_round'} end
if tonumber(round[2] or 0) >= number then return {now, 'already_extended'} end
if has_moved(now, ARGV[2], ARGV[3]) then return {now, 'clock_moved'} end
if round[1] ~= 'open' or now >= lengthen(KEYS[1], KEYS[2], KEYS[3], now) then return {now, 'check_in_closed'} end
if by_ms > room_ms(KEYS[1]) then return {now, 'too_long'} end
if how == 'check' then return {now, 'possible'} end
extend(KEYS[1], KEYS[2], KEYS[3], now, by_ms, 'operator', now, ARGV[7], ARGV[8])
redis.call('HSET', KEYS[1], 'by_hand', number)
return {now, 'extended'}
