-- limit: books the next call to a provider's endpoint, so that all processes together keep its calls a second.
-- KEYS    limits
-- ARGV    clock endpoint interval_ms burst most_wait_ms
-- RETURNS now_ms word wait_ms
-- WORDS   booked too_many
-- Generic cell rate algorithm (ITU-T I.371): a field holds when the next call is due if calls come evenly. One that is
-- more than a minute ahead is of a clock that has moved.
local now = clock_ms(ARGV[1])
local interval, burst = tonumber(ARGV[3]), tonumber(ARGV[4])
local due = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0)
if due < now or due > now + 60000 then due = now end
local wait = due - now - interval * (burst - 1)
if wait < 0 then wait = 0 end
if wait > tonumber(ARGV[5]) then return {now, 'too_many', wait} end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.3f', due + interval))
redis.call('PEXPIRE', KEYS[1], 600000)
return {now, 'booked', wait}
