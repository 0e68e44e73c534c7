# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many messages arrived in lists since the last reading, whoever takes them.

kombu pushes new messages to the left of a list and workers take them from the right. The newest message of a reading is
its mark: at the next one, what stands left of it has arrived since. A mark is the message's C(delivery_tag), which
kombu makes anew for each message it sends, and not the message, which may be large. A mark that is gone has been
taken, and with it everything that was older.

What is searched is not all that arrived but as much as was taken: a list that has grown by 1,000 has at least 1,000
messages left of its mark. The server serves nobody else during a search, so that is done in steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.link import RedisLink
from ansible_collections.muejam.celery.plugins.module_utils.brokers.redis.scripts import turns
from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TimeLimit
from ansible_collections.muejam.celery.plugins.module_utils.fleet.readings import ListReading

LISTS_OF_A_STEP = 200
ELEMENTS_OF_A_STEP = 400
BYTES_OF_A_STEP = 1 << 19
STEPS = 40
"""Most steps of a search; 16,000 messages taken from one list between two readings."""

_SEARCH = """
local room, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local lists, out = cjson.decode(ARGV[3]), {}
local call, find, match, sub, max, min = redis.pcall, string.find, string.match, string.sub, math.max, math.min
local tag = '"delivery_tag": ?"([%w-]+)"'
for i = 1, #lists do
  local key, mark, before, at = lists[i][1], lists[i][2], lists[i][3], lists[i][4]
  local length, arrived, newest = call('LLEN', key), '@' .. at, '-'
  if type(length) ~= 'number' then length = 0 end
  if length > 0 and bytes > 0 then
    local head = call('LINDEX', key, 0)
    bytes = bytes - #head
    newest = match(sub(head, -400), tag) or match(head, tag) or '-'
    local function search(first, last)
      local step = 4
      while first < last do
        if room <= 0 or bytes <= 0 then return '@' .. first end
        local part = call('LRANGE', key, first, min(first + step, last) - 1)
        local size = 0
        for j = 1, #part do
          if find(part[j], mark, 1, true) then return first + j - 1 end
          size = size + #part[j]
        end
        first, room, bytes = first + #part, room - #part, bytes - size
        step = max(1, min(step * 2, 64, math.floor(65536 * #part / size)))
      end
    end
    if mark == '' then
      arrived = 'none'
    elseif newest == mark then
      arrived = 0
    else
      local grown = max(length - before, 0)
      arrived = search(max(at, grown), length)
      if not arrived then
        room = max(room, 64)
        arrived = search(max(grown - 64, 0), grown) or 'gone'
      end
    end
  end
  out[i] = length .. ' ' .. arrived .. ' ' .. newest
end
return out
"""
"""For each list its length, how many messages arrived since its mark, and its newest message's tag.

ARGV: most elements and bytes to look at, JSON of lists as [key, mark or empty, length at the mark, place to begin].
In place of a number: C(gone) for a mark that is not there any more, C(none) where there was none, C(@<place>) where the
search has not come to its end. Messages given back stand at the right and were not there when the list was marked, so
the mark may stand a little left of where it must be without them.
"""


Entry = tuple[str, str, int, int]
"""A list to count in: its key, the tag of its mark, its length at the mark, the place at which to begin."""


def count_arrivals(link: RedisLink, marks: Mapping[str, str], limit: TimeLimit) -> dict[str, ListReading]:
    """Return what arrived in each list.

    :param marks: of the last reading by key, empty where there was none.
    :raises ServerRefused: when this user may not run scripts.
    """
    found: dict[str, ListReading] = {}
    pending = [_entry(key, mark) for key, mark in marks.items()]
    for _step in range(STEPS):
        unfinished = []
        for (key, tag, length, _place), line in zip(pending, _ask(link, pending)):
            now, arrived, newest = line.decode().split(" ")
            waiting = int(now)
            count = waiting if arrived == "gone" else int(arrived) if arrived.isdigit() else None
            found[key] = ListReading(waiting, "" if newest == "-" else f"{waiting} {newest}", count)
            if arrived.startswith("@") and waiting:
                unfinished.append((key, tag, length, int(arrived[1:])))
        pending = unfinished
        if not pending:
            break
        limit.left()
    return found


def _entry(key: str, mark: str) -> Entry:
    length, _blank, tag = mark.partition(" ")
    return key, tag, int(length) if tag and length.isdigit() else 0, 0


def _ask(link: RedisLink, entries: Sequence[Entry]) -> list[bytes]:
    calls = turns(_SEARCH, ELEMENTS_OF_A_STEP, BYTES_OF_A_STEP, rows=entries, at_once=LISTS_OF_A_STEP)
    return [line for reply in link.answers(calls) for line in reply]
