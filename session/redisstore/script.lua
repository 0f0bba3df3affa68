-- Every call of a store is one run of this script, so that it happens at once or
-- not at all. Before it stand "local records, index, runs, persistent, spread" of the
-- store: where each record's key begins, and two keys.
--
-- KEYS[1] is the record. ARGV[1] is "new" where the server did not know the
-- script, ARGV[2] the operation, and its arguments follow. A record is
--
--   version expires run size subject value
--
-- with a space after each of the first four, which have 15, 15, 16 and 3
-- characters, so that their order as text is that of numbers. Whoever asks waits
-- for all that is done here: so Redis is given '0' and not 0, which it would have to
-- write out.
local call, sub = redis.call, string.sub
local name, op = KEYS[1], ARGV[2]

-- A server that began anew from a snapshot, or a replica that took over, may
-- have lost what undid its records. It has lost the script too, and so learns
-- here that what an earlier run wrote counts no more.
local run, record = 'kept............'
if persistent then
	record = redis.pcall('GET', name)
else
	local both = call('MGET', runs, name)
	run, record = both[1], both[2]
	if not run or ARGV[1] == 'new' then
		run = sub(string.match(call('INFO', 'server'), 'run_id:(%x+)'), 1, 16)
		call('SET', runs, run)
	end
end

-- ours returns what was read if it is a record that counts, else false. What has not
-- this run in its place, or is no string, none of us wrote: it is as good as absent.
local function ours(r) return type(r) == 'string' and sub(r, 33, 48) == run and r end

-- subject returns whose a record is, and where its value begins.
local function subject(r)
	local last = 53 + sub(r, 50, 52)
	return sub(r, 54, last), last + 1
end

-- epoch returns the value of a subject's epoch record, '' where there is none.
local function epoch(at)
	local e = ours(redis.pcall('GET', at))
	if not e then return '' end
	local _, value = subject(e)
	return sub(e, value)
end

record = ours(record)

-- Reads come first: what only writes need costs them nothing here.
if op == 'get' then
	return record or ''

elseif op == 'check' then -- with the epoch before it, and that one's length
	if not record then return '' end
	local whose = subject(record)
	local e = whose ~= '' and epoch(records .. 'e:' .. whose) or ''
	return #e .. ' ' .. e .. record
end

-- millis is a time as Redis takes it. A number of Lua's it would have to write out.
local function millis(expires) return string.match(expires, '[1-9]%d*') end

-- A put has the old version or "", version, expires, the rest; and the epoch that its
-- writer knew of, and where that is kept, if it counts only in that one.
local was, is -- whose the record was, and whose it is
if op == 'put' then
	local old, version, expires, rest = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
	local stands = record and sub(record, 1, 15)
	if stands == version then return 1 end -- a client sent it again, not having heard
	if old == '' and record then return 0 end
	if old ~= '' and not record then return -1 end
	if old ~= '' and stands ~= old then return 0 end
	if ARGV[8] and epoch(ARGV[8]) ~= ARGV[7] then return 0 end
	call('SET', name, version .. ' ' .. expires .. ' ' .. run .. ' ' .. rest, 'PXAT', millis(expires))
	was, is = record and subject(record), sub(rest, 5, 4 + sub(rest, 1, 3))
	if spread or was == is and expires <= sub(record, 17, 31) then return 1 end -- the index is as it was
end

-- The index has "k" key, and "s" subject NUL key, of every record. It lasts as
-- long as the last of them. Who is to last longer is put into it again: a server that
-- is full may have evicted it.
local function enlist(whose, expires)
	local key = sub(name, #records + 1)
	call('ZADD', index, '0', 'k' .. key, '0', 's' .. whose .. '\0' .. key)
	if call('PTTL', index) == -1 then
		call('PEXPIREAT', index, millis(expires))
	else
		call('PEXPIREAT', index, millis(expires), 'GT')
	end
end

local function unlist(key, whose)
	call('ZREM', index, 'k' .. key, 's' .. whose .. '\0' .. key)
end

-- tidy looks at a few of the index's members, so that those whose record has
-- expired are about a fifth of all at most, without a look at all.
local function tidy()
	for _, m in ipairs(call('ZRANDMEMBER', index, '6')) do
		local whose, key = string.match(m, '^s(.-)%z(.*)$')
		if not ours(redis.pcall('GETRANGE', records .. (key or sub(m, 2)), '0', '47')) then
			if key then unlist(key, whose) else call('ZREM', index, m) end
		end
	end
end

if op == 'put' then -- it stands, but for the index
	if was and was ~= is then unlist(sub(name, #records + 1), was) end
	enlist(is, ARGV[5])
	if not record then tidy() end
	return 1

elseif op == 'touch' then -- version, expires
	if not record then return -1 end
	if sub(record, 1, 15) ~= ARGV[3] then return 0 end
	if ARGV[4] > sub(record, 17, 31) then
		call('SETRANGE', name, '16', ARGV[4])
		call('PEXPIREAT', name, millis(ARGV[4]))
		if not spread then enlist((subject(record)), ARGV[4]) end
	end
	return 1

elseif op == 'delete' then
	call('DEL', name)
	if record and not spread then unlist(sub(name, #records + 1), (subject(record))) end
	return 1

elseif op == 'list' then -- subject or "", after, limit
	local whose, limit, step = ARGV[3], tonumber(ARGV[5]), 100
	local from = whose == '' and 'k' or 's' .. whose .. '\0'
	local members = call('ZRANGE', index, '(' .. from .. ARGV[4], '(' .. from .. '\127', 'BYLEX', 'LIMIT', 0, step)
	local found = {''} -- where to go on, then keys and records
	for _, m in ipairs(members) do
		local key = sub(m, #from + 1)
		local r = ours(redis.pcall('GET', records .. key))
		if r and (whose == '' or subject(r) == whose) then
			found[#found + 1], found[#found + 2] = key, r
			if #found == 1 + 2 * limit then return found end
		else
			call('ZREM', index, m)
		end
	end
	if #members == step then found[1] = sub(members[step], #from + 1) end
	return found
end
return redis.error_reply('ERR no such operation')
