-- The one place that makes keys for scripts. KEYS[1] is the prefix "{namespace}:", so that all keys of a namespace
-- lie on one slot. What each key holds, and who removes it, is in docs/redis.md.

local PREFIX = KEYS[1]

local ASIDES = PREFIX .. 'asides'
local AWAITING = PREFIX .. 'awaiting'
local CORRUPT = PREFIX .. 'corrupt'
local CORRUPT_REASONS = PREFIX .. 'corrupt-reasons'
local DUE = PREFIX .. 'due'
local ENTRIES = PREFIX .. 'entries'
local ENTRY_IDS = PREFIX .. 'entry-ids'
local EXPIRING = PREFIX .. 'expiring'
local FAILED = PREFIX .. 'failed'
local FAILED_UNTIL = PREFIX .. 'failed-until'
local HUNGRY = PREFIX .. 'hungry'
local LOOKOUT = PREFIX .. 'lookout'
local NODES = PREFIX .. 'nodes'
local PAUSED = PREFIX .. 'paused'
local PROGRAMS = PREFIX .. 'programs'
local PROGRAM_TTLS = PREFIX .. 'program-ttls'
local QUEUES = PREFIX .. 'queues'
local SEQUENCE = PREFIX .. 'sequence'
local TOKEN = PREFIX .. 'token'
local TOTALS = PREFIX .. 'totals'
local WAITING = PREFIX .. 'waiting'

-- Channels.
local HINTS = PREFIX .. 'hints'

local function inbox_channel(inbox) return PREFIX .. 'hint:' .. inbox end

local function aside_key(bucket) return PREFIX .. 'aside:' .. bucket end
local function cancel_key(node) return PREFIX .. 'cancel:' .. node end
local function entry_key(entry) return PREFIX .. 'entry:' .. entry end
local function finished_key(status) return PREFIX .. 'finished:' .. status end
local function held_key(node) return PREFIX .. 'held:' .. node end
local function hungry_key(queue) return PREFIX .. 'hungry:' .. queue end
local function jobs_key(node) return PREFIX .. 'jobs:' .. node end
local function key_key(name) return PREFIX .. 'key:' .. name end
local function line_key(lock) return PREFIX .. 'line:' .. lock end
local function live_key(job) return PREFIX .. 'live:' .. job end
local function live_of_key(entry) return PREFIX .. 'live-of:' .. entry end
local function lock_key(lock) return PREFIX .. 'lock:' .. lock end
local function node_key(node) return PREFIX .. 'node:' .. node end
local function program_key(program) return PREFIX .. 'program:' .. program end
local function ready_key(queue) return PREFIX .. 'ready:' .. queue end
local function run_key(id) return PREFIX .. 'run:' .. id end
local function memo_key(nonce) return PREFIX .. 'memo:' .. nonce end
local function waiters_key(lock) return PREFIX .. 'waiters:' .. lock end
local function waiting_of_key(entry) return PREFIX .. 'waiting-of:' .. entry end
