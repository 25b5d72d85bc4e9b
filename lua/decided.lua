-- decided: quarantined callbacks of an order are no longer looked into: an operator has decided. Repeatable.
-- KEYS    round checking
-- ARGV    clock tail | body_sha1
-- RETURNS now_ms word
-- WORDS   over decided
local now, tail = clock_ms(ARGV[1]), ARGV[2]
local state = redis.call('HGET', KEYS[1], 'state')
-- Nobody looks at it any more, and a key that is made now would not expire.
if state ~= 'open' and state ~= 'closed' then return {now, 'over'} end
for i = 3, #ARGV do
  local callback = tail .. ':' .. ARGV[i]
  if redis.call('HGET', KEYS[2], callback) == '1' then redis.call('HINCRBY', KEYS[2], tail, -1) end
  redis.call('HSET', KEYS[2], callback, 0) -- so that the same callback, which may come again, is not looked into again
end
return {now, 'decided'}
