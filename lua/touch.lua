-- touch: says that people can check in; makes the window longer where nobody has said so for too long. Repeatable.
-- KEYS    round totals outbox
-- ARGV    clock expected_ms skew_ms
-- RETURNS now_ms word closes_ms
-- WORDS   no_round clock_moved ended touched
local TOUCH_MS = 500 -- several processes touch: one write in so long is enough
local now = clock_ms(ARGV[1])
local round = redis.call('HMGET', KEYS[1], 'state', 'check_in_closes_ms', 'touched_ms', 'granted_ms')
if not round[1] then return {now, 'no_round', 0} end
if round[1] ~= 'open' then return {now, 'ended', tonumber(round[2])} end
if has_moved(now, ARGV[2], ARGV[3]) then return {now, 'clock_moved', tonumber(round[2])} end
local real = real_ms()
if round[3] and real >= round[3] + 0 and real - round[3] < TOUCH_MS then return {now, 'touched', tonumber(round[2])} end
local closes = lengthen(KEYS[1], KEYS[2], KEYS[3], now)
redis.call('HSET', KEYS[1], 'touched_ms', real)
if redis.call('HEXISTS', KEYS[1], 'granted_ms') == 1 then redis.call('HDEL', KEYS[1], 'granted_ms') end
return {now, 'touched', closes}
