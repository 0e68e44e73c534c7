# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts in the spelling of systemd: arguments and environment of a unit, lines of an environment file.

The rules are those of systemd.syntax(7), systemd.service(5) "Command lines" and systemd.exec(5) "EnvironmentFile=".
"""

from __future__ import annotations

import re

from ansible_collections.muejam.celery.plugins.module_utils.fleet import placeholders

_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_FILE_ESCAPES = re.compile(r'([\\"`$])')


def argument(text: str) -> str:
    """One word of `ExecStart=`; `%i` and `%H` in it stay specifiers, nothing else in it is expanded."""
    word = placeholders.for_systemd(_escaped(text).replace("$", "$$"), arguments=True)
    return word if _BARE.fullmatch(word) else f'"{word}"'


def unit_variable(name: str, text: str) -> str:
    """The value of one `Environment=` line; `%i` in `text` stays a specifier."""
    return f'"{name}={placeholders.for_systemd(_escaped(text), arguments=False)}"'


def file_variable(name: str, text: str) -> str:
    """One variable of an environment file, where nothing is expanded and a value may go over several lines."""
    escaped = _FILE_ESCAPES.sub(r"\\\1", text)
    return f'{name}="{escaped}"'


def _escaped(text: str) -> str:
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(char, escape)
    return text
