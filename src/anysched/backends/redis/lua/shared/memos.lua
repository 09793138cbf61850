-- Answers that are given again to the same nonce, for a while.
-- include: keys
-- include: constants

local memos = {}

function memos.recall(nonce) return redis.call('GET', keys.memo(nonce)) end

function memos.memorise(nonce, answer) redis.call('SET', keys.memo(nonce), answer, 'PX', MEMO_MS) end
