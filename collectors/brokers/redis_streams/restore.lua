-- Puts one discarded letter back into its dead-letter stream, once for each token.
-- KEYS: the dead-letter stream, marks. ARGV: the marks' life in ms, the token, the entry's fields.
local mark = redis.call('HGET', KEYS[2], ARGV[2])
if mark then return {'already', mark} end
redis.call('HSET', KEYS[2], 'probe', '1')
redis.call('PEXPIRE', KEYS[2], ARGV[1])
if #ARGV - 2 > 4000 then return {'toobig'} end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
redis.call('HSET', KEYS[2], ARGV[2], id)
return {'restored', id}
