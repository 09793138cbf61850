-- Answers that are given again to the same nonce, for a while.
-- include: keys

local MEMO_TTL_MS = 60000

local function recall(nonce) return redis.call('GET', memo_key(nonce)) end

local function memorise(nonce, answer) redis.call('SET', memo_key(nonce), answer, 'PX', MEMO_TTL_MS) end
