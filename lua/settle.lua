-- settle: checks that a shard's published packets match the manifest, and opens claiming unless how is check. Repeatable.
-- KEYS    round totals packets
-- ARGV    clock how packets packets_fen
-- RETURNS now_ms word
-- WORDS   already_settled not_closed mismatch matches settled
local now, how, packets, packets_fen = clock_ms(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local state = redis.call('HGET', KEYS[1], 'state')
local settled = state == 'settled' or state == 'finished'
if state ~= 'closed' and not settled then return {now, 'not_closed'} end
local totals = redis.call('HMGET', KEYS[2], 'winners', 'published', 'published_fen')
if tonumber(totals[1] or 0) ~= packets or tonumber(totals[2] or 0) ~= packets
  or tonumber(totals[3] or 0) ~= packets_fen or count_packets(KEYS[3], packets) ~= packets then
  return {now, 'mismatch'}
end
if settled then return {now, 'already_settled'} end
if how == 'check' then return {now, 'matches'} end
redis.call('HSET', KEYS[1], 'state', 'settled')
return {now, 'settled'}
