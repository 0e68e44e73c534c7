# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read-only scripts that run inside the Redis server.

What they save is not the server's time but the client's: thousands of small
commands and answers are slow to write and to parse. Lists of names come and go as
one JSON text each.
"""

from __future__ import annotations

LISTS = """
local prefix, sep, binding = ARGV[1], ARGV[2], ARGV[3]
local suffixes, names = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
local call, width, out, n = redis.pcall, #suffixes, {}, 0
local keys = {}
for i = 1, #names do
  local name = names[i]
  local key, empty = prefix .. name, true
  for j = 1, width do keys[j] = key .. suffixes[j] end
  local left = call('EXISTS', unpack(keys))
  if type(left) ~= 'number' then left = width end
  for j = 1, width do
    local length = 0
    if left > 0 then
      length = call('LLEN', keys[j])
      if type(length) ~= 'number' then
        length, left = '-', left - 1
      elseif length > 0 then
        empty, left = false, left - 1
      end
    end
    n = n + 1
    out[n] = length
  end
  local bound = 1
  if empty then
    bound = call('SISMEMBER', binding .. name, name .. sep .. sep .. name)
    if type(bound) ~= 'number' then bound = '-' end
  end
  n = n + 1
  out[n] = bound
end
return table.concat(out, ' ')
"""
"""Lengths of the lists of each queue, then whether it has messages or the binding that Celery makes by default.

ARGV: key prefix, separator, prefix of binding tables, JSON of list suffixes, JSON of names.
A number that cannot be read is a minus sign. Most lists of most queues do not
exist, so it pays to ask first how many do.
"""

UNACKED = """
local key, cursor = ARGV[1], ARGV[2]
local most, at_once, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local binding, sep = ARGV[6], ARGV[7]
local find, sub, byte, match = string.find, string.sub, string.byte, string.match
local first = cursor == '0'
local counts, odd, seen, size = {}, {}, 0, 0
local plain, window = ', ?"[^"\\\\]*", ?"[^"\\\\]*"%]$', 64
if first and redis.call('HLEN', key) <= at_once then most = at_once end
local function quote_before(value, at)
  while at > 0 do
    if byte(value, at) == 34 then
      local back = at - 1
      while byte(value, back) == 92 do back = back - 1 end
      if (at - back) % 2 == 1 then return at end
    end
    at = at - 1
  end
end
local function escaped_route(value)
  if sub(value, -2) ~= '"]' then return nil end
  local key_start = quote_before(value, #value - 2)
  local exchange_end = key_start and quote_before(value, key_start - 1)
  local exchange_start = exchange_end and quote_before(value, exchange_end - 1)
  if exchange_start and find(sub(value, exchange_end + 1, key_start - 1), '^, ?$')
      and find(sub(value, exchange_start - 2, exchange_start - 1), ', ?$') then
    return ',' .. sub(value, exchange_start)
  end
end
repeat
  local found = redis.call('HSCAN', key, cursor, 'COUNT', 50)
  cursor = found[1]
  local entries = found[2]
  for i = 1, #entries, 2 do
    local value, route = entries[i + 1], nil
    if byte(value, 1) == 91 then
      local at = find(value, plain, #value > window and #value - window or 1)
        or find(value, plain, #value > 256 and #value - 256 or 1)
      route = at and sub(value, at) or escaped_route(value)
      if route then window = #route + 8 end
    end
    if route then counts[route] = (counts[route] or 0) + 1 else odd[#odd + 1] = entries[i] end
    seen, size = seen + 1, size + #value
  end
until cursor == '0' or seen >= most or size >= bytes
local own, routes = {}, {}
for route, count in pairs(counts) do
  local exchange, name = match(route, '^, ?"([^"\\\\]+)", ?"([^"\\\\]+)"%]$')
  local members = first and exchange and exchange == name and redis.pcall('SRANDMEMBER', binding .. name, 2)
  if members and #members == 1 and members[1] == name .. sep .. sep .. name then
    own[#own + 1] = '"' .. name .. '",' .. count
  else
    routes[#routes + 1] = '[' .. count .. route
  end
end
return {cursor, '[' .. table.concat(own, ',') .. ']', '[' .. table.concat(routes, ',') .. ']', odd}
"""
"""One step through the hash of unacknowledged messages: how many per end of value, which names the route.

ARGV: key, cursor, most entries of a step, most entries of a hash that is counted in
one go, most bytes of a step, prefix of binding tables, separator. Returns the next
cursor; JSON of names and counts of queues whose exchange leads to them alone (only
in the first step); JSON of [count, exchange, routing key] of the others; and the
names of entries with an end of another form.

A quote is structural in JSON when an even number of backslashes stands before it,
so going backwards from the end finds the last two strings of the list without
reading the message in front of them. As most names are of a like length, the search
begins where the last one was found.
"""
