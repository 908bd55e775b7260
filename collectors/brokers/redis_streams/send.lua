-- Sends letters to their origin, each once, and where the dead-letter stream shares the slot removes them.
-- KEYS: origin, marks, and the dead-letter stream where it is in this slot
-- ARGV: the marks' life in ms, the replay field's name, then for each letter:
--   its position, its replay id, how the event is given, how many values follow, those values
--   given as "copy": the values are names of the entry's fields to leave away; "fields": the event itself
-- Answers for each letter: {"sent", id} {"already", id} {"gone"} {"nostream"} {"empty"} {"toobig"} {"error", why}
-- Nothing in a script is rolled back, so each letter's XADD is tried by pcall and its mark follows at once.
local origin, marks, dead = KEYS[1], KEYS[2], KEYS[3]
local MOST = 4000 -- values that unpack can put on Lua's stack

-- a missing right or a full server must show before anything is sent
redis.call('HSET', marks, 'probe', '1')
redis.call('PEXPIRE', marks, ARGV[1])
if dead then redis.call('XDEL', dead, '0-1') end

local function event_of(position, given, values)
  if given == 'fields' then return values end
  local drop = {}
  for _, name in ipairs(values) do drop[name] = true end
  local entry = redis.call('XRANGE', dead, position, position)[1]
  local fields = {}
  for i = 1, #entry[2], 2 do
    if not drop[entry[2][i]] then
      fields[#fields + 1] = entry[2][i]
      fields[#fields + 1] = entry[2][i + 1]
    end
  end
  return fields
end

local function send(position, replay_id, given, values)
  local mark = redis.call('HGET', marks, replay_id)
  if mark then
    if dead then redis.call('XDEL', dead, position) end
    return {'already', mark}
  end
  if dead and #redis.call('XRANGE', dead, position, position) == 0 then return {'gone'} end
  local fields = event_of(position, given, values)
  if #fields == 0 then return {'empty'} end
  if #fields > MOST then return {'toobig'} end
  fields[#fields + 1] = ARGV[2]
  fields[#fields + 1] = replay_id
  local id = redis.pcall('XADD', origin, 'NOMKSTREAM', '*', unpack(fields))
  if not id then return {'nostream'} end
  if type(id) == 'table' then return {'error', id.err} end
  redis.call('HSET', marks, replay_id, id)
  if dead then redis.call('XDEL', dead, position) end
  return {'sent', id}
end

local answers, i = {}, 3
while i <= #ARGV do
  local count = tonumber(ARGV[i + 3])
  local values = {}
  for k = 1, count do values[k] = ARGV[i + 3 + k] end
  answers[#answers + 1] = send(ARGV[i], ARGV[i + 1], ARGV[i + 2], values)
  i = i + 4 + count
end
return answers
