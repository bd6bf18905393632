-- SPDX-License-Identifier: MIT
-- Replays prepared requests: a file of complete HTTP requests, each preceded by its length as 8 decimal digits. Every request is sent once; a run
-- that needs more than there are says so, because a repeated event would be answered from the idempotency filter and measure something else.
local requests = {}
local position = 0
wrapped_total = 0 -- global, so that done() can read it from the thread

function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local head = file:read(8)
    if head == nil then break end
    requests[#requests + 1] = file:read(tonumber(head))
  end
  file:close()
  position = tonumber(args[2] or "0")
end

function request()
  position = position + 1
  if position > #requests then
    position = 1
    wrapped_total = wrapped_total + 1
  end
  return requests[position]
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency, calls)
  local all_wrapped = 0
  for _, thread in ipairs(threads) do all_wrapped = all_wrapped + (thread:get("wrapped_total") or 0) end
  local errors = summary.errors
  io.write(string.format("RESULT requests=%d duration_us=%d p50_us=%d p99_us=%d max_us=%d connect=%d read=%d write=%d status=%d timeout=%d wrapped=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout, all_wrapped))
end
