# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read-only scripts that run inside the Redis server.

What they save is not the server's time but the client's: thousands of small
commands and answers are slow to write and to parse. Lists of names come and go as
one JSON text each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

# Redis runs all the commands it finds in its input before it turns to another client. With an argument of 32 KB
# (PROTO_MBULK_BIG_ARG) it reads up to the end of that argument and no further, so each script is a turn of its own.
_TURN = b" " * (33 * 1024)

LISTS = """
local prefix, sep, binding = ARGV[1], ARGV[2], ARGV[3]
local suffixes, names = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
local call, out, n = redis.pcall, {}, 0
for i = 1, #names do
  local name, some, odd = names[i], false, false
  local key = prefix .. name
  for j = 1, #suffixes do
    local length = call('LLEN', key .. suffixes[j])
    n = n + 1
    out[n] = length
    if length ~= 0 then
      some, odd = true, odd or type(length) ~= 'number'
    end
  end
  n = n + 1
  out[n] = some and not odd and 1 or call('SISMEMBER', binding .. name, name .. sep .. sep .. name)
end
return out
"""
"""Lengths of the lists of each queue, then 1 where it exists: something waits, or it has Celery's default binding.

ARGV: key prefix, separator, prefix of binding tables, JSON of list suffixes, JSON of names.
What cannot be read is an error among the numbers; then the binding is asked for too.
"""

UNACKED = """
local key, cursor = ARGV[1], ARGV[2]
local most, at_once, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local binding, sep = ARGV[6], ARGV[7]
local byte, find, match = string.byte, string.find, string.match
local first, counts, odd, seen, size = cursor == '0', {}, {}, 0, 0
if first and redis.call('HLEN', key) <= at_once then most = at_once end
repeat
  local found = redis.call('HSCAN', key, cursor, 'COUNT', 50)
  local entries = found[2]
  cursor = found[1]
  for i = 1, #entries, 2 do
    local value = entries[i + 1]
    local route = byte(value, 1) == 91 and match(value, '.*(, ?"[^"]*", ?"[^"]*"%])$', -256)
    if route and not find(route, '\\n', 1, true) then
      counts[route] = (counts[route] or 0) + 1
    else
      odd[#odd + 1] = entries[i]
    end
    seen, size = seen + 1, size + #value
  end
until cursor == '0' or seen >= most or size >= bytes
local routes = {}
for route, count in pairs(counts) do
  local name = first and match(route, '^, ?"([^"\\\\]+)", ?"%1"%]$')
  local alone = name and redis.pcall('SCARD', binding .. name) == 1
  if alone and redis.pcall('SISMEMBER', binding .. name, name .. sep .. sep .. name) == 1 then
    route = ', "", "' .. name .. '"]'
  end
  routes[#routes + 1] = count .. route
end
return {cursor, table.concat(routes, '\\n'), odd}
"""
"""One step through the hash of unacknowledged messages: how many per end of value, which names the route.

ARGV: key, cursor, most entries of a step, most entries of a hash that is counted in
one go, most bytes of a step, prefix of binding tables, separator. Returns the next
cursor; lines of a count and an end of values, as one text, which a client reads quicker than hundreds; and the names of
entries with an end of another form.
Where an exchange leads to the queue of its own name alone (looked up in the first step only), the end is that of a
message sent to the queue itself.

A quote in a string of JSON has a backslash before it, and never a comma or a blank. So going
backwards from the end finds the last two strings of the list, where they hold no quotes, without
reading the message in front of them.
"""


def turns(script: str, *arguments: object, rows: Sequence[Any], at_once: int) -> Iterator[tuple[Any, ...]]:
    """Yield calls of a script, each with JSON of so many of the rows at the end of its arguments.

    Where there are several, each is a turn of its own for the server.
    """
    padding = (_TURN,) if len(rows) > at_once else ()
    for at in range(0, len(rows), at_once):
        packed = json.dumps(rows[at : at + at_once], ensure_ascii=False).encode("utf-8", "surrogateescape")
        yield ("EVAL", script, 0, *arguments, packed, *padding)
