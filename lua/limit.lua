-- limit: books the next call to a provider's endpoint, so that all processes together keep its calls a second.
-- KEYS    limits
-- ARGV    endpoint interval_us burst most_wait_ms
-- RETURNS now_ms wait_ms
-- WORDS
-- Generic cell rate algorithm (ITU-T I.371): a field holds when the next call is due if they come evenly. Real time,
-- which development does not move. A wait of -1: longer than the caller wants, and nothing is booked.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0), now)
local wait_ms = math.max(0, math.ceil((due - now - interval * (burst - 1)) / 1000))
if wait_ms > tonumber(ARGV[4]) then return {math.floor(now / 1000), -1} end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', due + interval))
redis.call('PEXPIRE', KEYS[1], 600000)
return {math.floor(now / 1000), wait_ms}
