-- publish: appends a chunk of the manifest to the shard's packets. Repeatable: a published chunk is skipped.
-- KEYS    round totals packets
-- ARGV    clock first_index fens
-- RETURNS now_ms word
-- WORDS   not_closed gap already_published published
local now, first = clock_ms(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HGET', KEYS[1], 'state')
-- Settled already: the books went back behind it, and the manifest follows from the same C and draw (stated.py).
if state == 'settled' or state == 'finished' then return {now, 'already_published'} end
if state ~= 'closed' then return {now, 'not_closed'} end
-- The chunk is one argument, numbers separated by blanks: an argument each would take longer than pushing them.
local packets, count, sum = {}, 0, 0
for fen in string.gmatch(ARGV[3], '%d+') do
  count = count + 1
  packets[count] = fen
  sum = sum + fen
end
local published = tonumber(redis.call('HGET', KEYS[2], 'published') or 0)
if published >= first + count then return {now, 'already_published'} end
if published ~= first then return {now, 'gap'} end
push_packets(KEYS[3], first + 1, packets)
redis.call('HINCRBY', KEYS[2], 'published', count)
redis.call('HINCRBY', KEYS[2], 'published_fen', sum)
return {now, 'published'}
