-- The server's time, read once per call: TIME in seconds and microseconds, NOW_TEXT in milliseconds.

local TIME = redis.call('TIME')
local NOW_TEXT = string.format('%s%03d', TIME[1], math.floor(TIME[2] / 1000))
