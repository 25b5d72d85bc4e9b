-- quarantine: stores signed callbacks that failed a check, with their raw bodies.
-- KEYS    totals outbox
-- ARGV    clock | channel reason order_no raw_base64
-- RETURNS now_ms | word
-- WORDS   quarantined
-- ENTRY   quarantined at_ms rows
local now, count = clock_ms(ARGV[1]), (#ARGV - 1) / 4
local rows = {}
for i = 1, count do
  local at = 2 + (i - 1) * 4
  rows[i] = {ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}
end
redis.call('HINCRBY', KEYS[1], 'quarantined', count)
append(KEYS[2], {'quarantined', now, rows})
return all(now, count, 'quarantined')
