-- One run of this script is one call of a store. KEYS[1] is connect-redis' key;
-- ARGV is the operation, the record as it was read, the record as it shall be
-- and for how many seconds. A record is compared whole, so that what an Express
-- server wrote in between, without asking, is never undone.
local key, op, old, new, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if op == 'delete' and old == '' then
	redis.call('DEL', key)
	return 1
end
local now = redis.call('GET', key)
if op == 'get' then
	return {now or '', redis.call('PTTL', key)}
elseif op == 'add' then
	if now then return 0 end
	redis.call('SET', key, new, 'EX', ttl)
	return 1
elseif not now then
	return -1
elseif now ~= old then
	return 0
elseif op == 'swap' then
	redis.call('SET', key, new, 'EX', ttl)
elseif op == 'touch' then
	redis.call('EXPIRE', key, ttl)
elseif op == 'delete' then
	redis.call('DEL', key)
end
return 1
