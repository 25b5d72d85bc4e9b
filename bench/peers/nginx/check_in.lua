-- Check-in over HTTP in nginx: the service's own script, one EVALSHA a request through a pool, no token.
-- `settings` is a global, made by bench/peers/servers.py.
local set = settings
local decode
do
  local found, cjson = pcall(require, 'cjson.safe')
  decode = found and cjson.decode
end

local pool_fen

local function bulk(word) return '$' .. #word .. '\r\n' .. word .. '\r\n' end

-- A command with all of its words but the last ones, `more` of them.
local function opening(words, more)
  local parts = {'*' .. #words + more .. '\r\n'}
  for i, word in ipairs(words) do parts[i + 1] = bulk(word) end
  return table.concat(parts)
end

local call = {'EVALSHA', set.sha, tostring(#set.keys)}
for _, key in ipairs(set.keys) do call[#call + 1] = key end
call[#call + 1] = '' -- the clock: Redis' own
local CHECK_IN = opening(call, 4)
local REST = bulk(tostring(set.skew_ms)) .. bulk('\145\0') -- MessagePack of {0}: waited_ms of one user
local AUTH, HGET = opening({'AUTH', set.password}, 0), opening({'HGET', set.totals, 'pool_fen'}, 0)

-- A reply of Redis: a text, nil, or a list of them; or nil and what is wrong.
local function reply(socket)
  local line, problem = socket:receive()
  if not line then return nil, problem end
  local kind, rest = line:sub(1, 1), line:sub(2)
  if kind == '-' then return nil, rest end
  if kind == '*' then
    local list = {}
    for i = 1, tonumber(rest) do
      list[i], problem = reply(socket)
      if problem then return nil, problem end
    end
    return list
  end
  if kind ~= '$' then return rest end
  if rest == '-1' then return nil end
  local word
  word, problem = socket:receive(tonumber(rest) + 2)
  if not word then return nil, problem end
  return word:sub(1, -3)
end

-- The reply of one command, on a connection of the pool.
local function ask(command)
  local socket = ngx.socket.tcp()
  socket:settimeouts(5000, 5000, 5000)
  local connected, problem = socket:connect('127.0.0.1', set.redis_port, set.pool)
  if not connected then return nil, problem end
  if socket:getreusedtimes() == 0 then command = AUTH .. command end
  local sent
  sent, problem = socket:send(command)
  if not sent then return nil, problem end
  if socket:getreusedtimes() == 0 then
    local _, refused = reply(socket)
    if refused then return nil, refused end
  end
  local said
  said, problem = reply(socket)
  if not problem then socket:setkeepalive(60000) end
  return said, problem
end

local function read_totals()
  local fen, problem = ask(HGET)
  if problem then ngx.log(ngx.ERR, problem) else pool_fen = fen or '0' end
end

local function uid_of(body)
  if not decode then return tonumber(string.match(body or '', '"uid"%s*:%s*(%d+)')) end
  local found = decode(body or '')
  return type(found) == 'table' and tonumber(found.uid)
end

local function check_in()
  ngx.req.read_body()
  local uid = uid_of(ngx.req.get_body_data())
  if not uid then return 'bad_request' end
  ngx.update_time()
  local now_ms = string.format('%.0f', ngx.now() * 1000)
  local said, problem = ask(CHECK_IN .. bulk(now_ms) .. REST .. bulk(string.format('%.0f', uid)))
  if problem then
    ngx.log(ngx.ERR, problem)
    return 'unavailable'
  end
  return tonumber(said[2]) and 'checked_in' or said[2] -- the rank of who has checked in now
end

local peer = {}

function peer.start()
  ngx.timer.at(0, read_totals)
  ngx.timer.every(set.fresh_ms / 1000, read_totals)
end

function peer.answer()
  local said = set.answers[check_in()]
  if not said or (said.after and not pool_fen) then said = set.answers.unavailable end -- no_round, clock_moved
  local body = said.after and said.before .. pool_fen .. said.after or said.before
  ngx.status = said.http
  ngx.header['cache-control'] = 'no-store'
  ngx.header['content-length'] = #body
  ngx.print(body)
end

return peer
