-- The one place that makes keys for scripts. KEYS[1] is the prefix "{namespace}:", so that all keys of a namespace
-- lie on one slot. What each key holds, and who removes it, is in docs/redis.md.

local PREFIX = KEYS[1]

local keys = {
  ASIDES = PREFIX .. 'asides',
  AWAITING = PREFIX .. 'awaiting',
  CORRUPT = PREFIX .. 'corrupt',
  CORRUPT_REASONS = PREFIX .. 'corrupt-reasons',
  DUE = PREFIX .. 'due',
  ENTRIES = PREFIX .. 'entries',
  ENTRY_IDS = PREFIX .. 'entry-ids',
  EXPIRING = PREFIX .. 'expiring',
  FAILED = PREFIX .. 'failed',
  FAILED_UNTIL = PREFIX .. 'failed-until',
  HUNGRY = PREFIX .. 'hungry',
  LOOKOUT = PREFIX .. 'lookout',
  NODES = PREFIX .. 'nodes',
  NOTHING = PREFIX .. 'nothing', -- never there: see relief.lua
  PAUSED = PREFIX .. 'paused',
  PROGRAMS = PREFIX .. 'programs',
  PROGRAM_TTLS = PREFIX .. 'program-ttls',
  QUEUES = PREFIX .. 'queues',
  RUNNING = PREFIX .. 'running',
  SEQUENCE = PREFIX .. 'sequence',
  TOKEN = PREFIX .. 'token',
  TOTALS = PREFIX .. 'totals',
  WAITING = PREFIX .. 'waiting',
}

function keys.aside(bucket) return PREFIX .. 'aside:' .. bucket end
function keys.cancel(node) return PREFIX .. 'cancel:' .. node end
function keys.entry(entry) return PREFIX .. 'entry:' .. entry end
function keys.finished(status) return PREFIX .. 'finished:' .. status end
function keys.held(node) return PREFIX .. 'held:' .. node end
function keys.hungry(queue) return PREFIX .. 'hungry:' .. queue end
function keys.jobs(node) return PREFIX .. 'jobs:' .. node end
function keys.key(name) return PREFIX .. 'key:' .. name end
function keys.line(lock) return PREFIX .. 'line:' .. lock end
function keys.live(job) return PREFIX .. 'live:' .. job end
function keys.live_of(entry) return PREFIX .. 'live-of:' .. entry end
function keys.lock(lock) return PREFIX .. 'lock:' .. lock end
function keys.memo(nonce) return PREFIX .. 'memo:' .. nonce end
function keys.node(node) return PREFIX .. 'node:' .. node end
function keys.program(program) return PREFIX .. 'program:' .. program end
function keys.ready(queue) return PREFIX .. 'ready:' .. queue end
function keys.run(id) return PREFIX .. 'run:' .. id end
function keys.waiters(lock) return PREFIX .. 'waiters:' .. lock end
function keys.waiting_of(entry) return PREFIX .. 'waiting-of:' .. entry end

-- Channels.
keys.HINTS = PREFIX .. 'hints'

function keys.inbox(inbox) return PREFIX .. 'hint:' .. inbox end
