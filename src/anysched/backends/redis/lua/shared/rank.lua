-- A queue is ordered by -priority * RANK + sequence.

local RANK = 17592186044416
