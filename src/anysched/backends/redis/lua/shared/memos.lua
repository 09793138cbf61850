-- Answers that are given again to the same nonce, for a while.
-- include: keys

local memos = {
  MEMO_TTL_MS = 60000,
}

function memos.recall(nonce) return redis.call('GET', keys.memo(nonce)) end

function memos.memorise(nonce, answer) redis.call('SET', keys.memo(nonce), answer, 'PX', memos.MEMO_TTL_MS) end
