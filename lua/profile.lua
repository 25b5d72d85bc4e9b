-- profile: sends users' profiles to the outbox; only Postgres stores them.
-- KEYS    outbox
-- ARGV    clock | uid open_id mobile nickname
-- RETURNS now_ms | word
-- WORDS   noted
-- ENTRY   profiled at_ms rows
local now, count = clock_ms(ARGV[1]), (#ARGV - 1) / 4
local rows = {}
for i = 1, count do
  local at = 2 + (i - 1) * 4
  rows[i] = {tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}
end
append(KEYS[1], {'profiled', now, rows})
return all(now, count, 'noted')
