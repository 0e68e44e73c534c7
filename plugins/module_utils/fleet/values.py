# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values of a fleet: is this text a path, a user, a size, an environment variable? What is wrong, if not?

Every check returns what to change as a sentence, or `None` for a good value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ansible_collections.muejam.celery.plugins.module_utils.brokers.tls import tls_settings
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import fault_of, fault_of_backend
from ansible_collections.muejam.celery.plugins.module_utils.fleet import celery_names, placeholders

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?")
_PATH = re.compile(r"/[^\s\x00-\x1f\x7f\"'\\$%*?]*")
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[KMGT%]?)")
_QUOTA = re.compile(r"[0-9]+(?:\.[0-9]+)?%")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIRECTIVE = re.compile(r"[A-Z][A-Za-z0-9]*")
_SETTING = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|private|dsn|_url$|_uri$", re.IGNORECASE)
# A password may hold what should have been percent-encoded. What could be a host's port is none: alone it never is one,
# and before a path only where what follows can be no more than a path, as in git+https://host:8443/app@v1.
_URL_WITH_PASSWORD = re.compile(
    r"""
    (?<![a-z0-9+.-]) (?: (?P<vcs>(?:git|hg|svn|bzr)\+) | (?!(?:git|hg|svn|bzr)\+) ) [a-z][a-z0-9+.-]* ://
    (?:
        : (?:(?!://)[^@])* @
        | [^/\s:@\[]+ : (?! [0-9]+ (?:[/;,?\#\s"')] | $) ) (?: (?!://|\s-)[^@] )* @
        | [^/\s:@\[.]+ : [0-9]+ [/;,?\#] (?: (?!://)[^\s@] )* (?<!/) @ (?(vcs)[^\s@]*/)
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_OFF = ("", "0", "0.0", "false", "f", "no", "n", "off", "null", "none")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

RESERVED_VARIABLES = {
    "CELERY_BROKER_URL": "use the key broker_url",
    "CELERY_BROKER_READ_URL": "use the key broker_url",
    "CELERY_BROKER_WRITE_URL": "use the key broker_url",
    "CELERY_RESULT_BACKEND": "use the key result_backend",
    "NOTIFY_SOCKET": "systemd sets it",
    "WATCHDOG_USEC": "use the key watchdog",
    "WATCHDOG_PID": "use the key watchdog",
}


def user(value: str) -> str | None:
    """A user's or group's name, as `useradd` takes it."""
    return None if _USER.fullmatch(value) else "is no user or group name: lower-case letters, digits, '-' and '_' only"


def path(value: str) -> str | None:
    """An absolute path that needs no quoting in a unit file."""
    if not value.startswith("/"):
        return f"{value!r} is not absolute: begin it with '/'"
    if ".." in value.split("/") or not _PATH.fullmatch(value):
        return f"{value!r} cannot stand in a unit file: leave out blanks, quotes, '..', and \\ $ % * ?"
    return None


def queue(value: str) -> str | None:
    """A queue's name as `--queues` takes it: a comma would end it."""
    if not value or "," in value or value != value.strip() or has_control_characters(value):
        return f"{value!r} is no queue name: no commas, no control characters, no blanks at its ends"
    return None


def broker_url(value: str) -> str | None:
    """A URL of a broker that the collection can read and drain."""
    fault = line(value) or fault_of(value)
    return str(fault) if fault else None


def result_backend(value: str) -> str | None:
    """A URL of a result backend, or its name."""
    fault = line(value) or fault_of_backend(value)
    return str(fault) if fault else None


def line(value: str) -> str | None:
    """A text of one line."""
    return "holds a line break or another control character: remove it" if has_control_characters(value) else None


def has_control_characters(value: str, allowed: str = "") -> bool:
    """Whether a text holds characters that would end a line, a value or a file early."""
    return any((ord(char) < 32 or ord(char) == 127) and char not in allowed for char in value)


def memory(value: str) -> str | None:
    """A size as systemd's `MemoryMax=` takes it."""
    if value == "infinity":
        return None
    found = _SIZE.fullmatch(value)
    if not found or float(found["number"]) == 0:
        return f"{value!r} is no amount of memory: write it as 512M, 2G or 25%"
    return None


def memory_bytes(value: object, host_memory: int) -> int | None:
    """The number of bytes that `value` stands for, a percentage being one of `host_memory`; `None` for no limit."""
    found = _SIZE.fullmatch(str(value))
    if not found:
        return None
    if found["unit"] == "%":
        return int(float(found["number"]) / 100 * host_memory)
    return int(float(found["number"]) * _UNITS[found["unit"]])


def quota(value: str) -> str | None:
    """A share of CPU time as systemd's `CPUQuota=` takes it: 100% is one core."""
    if not _QUOTA.fullmatch(value) or float(value[:-1]) == 0:
        return f"{value!r} is no share of CPU time: write it as 150% for one and a half cores"
    return None


def variable(name: object, value: object) -> str | None:
    """One environment variable: its name, and a value that systemd passes on unchanged."""
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        return "is no name of an environment variable: letters, digits and '_' only, no digit first"
    if name in RESERVED_VARIABLES:
        return f"is not yours to set: {RESERVED_VARIABLES[name]}"
    if name.startswith("CELERY_LIFECYCLE_"):
        return "is not yours to set: names that begin with CELERY_LIFECYCLE_ are set by the role"
    if isinstance(value, bool) or value is None or not isinstance(value, (str, int, float)):
        return "must be a text or a number: quote it (true and null have no spelling that every program shares)"
    text = str(value)
    if has_control_characters(text, allowed="\n\t"):
        return "holds a control character that systemd refuses in an environment: remove it"
    if placeholders.uses_number(text) and (_SECRET_NAME.search(name) or _URL_WITH_PASSWORD.search(text)):
        return (
            "looks like a secret and holds %i, and values with the worker's number stand in the unit file, "
            "which everyone can read: write %%i if the text itself is meant, or move the number to another variable"
        )
    return None


def directive(name: object, value: object) -> str | None:
    """One further line (or lines) of a unit's [Service] section."""
    if not isinstance(name, str) or not _DIRECTIVE.fullmatch(name):
        return "is no systemd directive: write it as systemd.exec(5) does, such as LimitNOFILE"
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for one in values:
        if not isinstance(one, (str, int, float)):
            return "must be a text, a number, a truth value or a list of them"
        if has_control_characters(str(one)):
            return "holds a line break or another control character: give a list for several lines"
    return None


def celery_setting(name: object, value: object) -> str | None:
    """One setting to pass as Celery's own command-line configuration, which everyone can see in `ps`."""
    if not isinstance(name, str) or not _SETTING.fullmatch(name):
        return (
            "cannot be set on a command line: Celery takes only lower-case names with an underscore there, "
            "such as task_acks_late; set it in the app"
        )
    key = celery_names.SETTING_KEYS.get(name)
    if key:
        return f"has a key of its own: use {key}"
    if name in celery_names.SETTINGS_REFUSED:
        return f"breaks the fleet: {celery_names.SETTINGS_REFUSED[name]}"
    if name == "worker_enable_remote_control" and (not value or str(value).strip().lower() in _OFF):
        return "must stay on: the tools ask and drain workers by remote control"
    if name == "event_serializer" and value != "json":
        return "has to be json: the tools read no other events"
    if name == "accept_content" and (isinstance(value, str) or not {"json", "application/json"} & set(_texts(value))):
        return "has to keep json: the tools speak it with workers"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return "has a value that JSON cannot hold"
    if _SECRET_NAME.search(name) or _URL_WITH_PASSWORD.search(text) or '"password"' in text:
        return "looks like a secret, and settings stand on the command line where `ps` shows them: set it in the app"
    return None


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, Sequence) else []


def argument(value: str) -> str | None:
    """One argument of a command line, which everyone can see in `ps`."""
    if has_control_characters(value):
        return "holds a line break or another control character: remove it"
    if _URL_WITH_PASSWORD.search(value):
        return "holds a password, and `ps` shows command lines to everyone: pass it in environment"
    return None


def package(value: str) -> str | None:
    """One requirement as pip takes it; it is on pip's command line and in Ansible's output."""
    if _URL_WITH_PASSWORD.search(value):
        return "holds a password, which pip's command line shows: use a netrc file or pip's own configuration"
    return line(value)


_TLS_FILES = ("ca_certs", "certfile", "keyfile")
_TLS_KEYS_OF = {
    "redis": (*_TLS_FILES, "cert_reqs", "check_hostname", "ciphers", "password"),
    "amqp": (*_TLS_FILES, "cert_reqs", "server_hostname", "ciphers"),
}
"""What the drivers of the brokers know. Each takes another name for a mistake in the program."""
_TLS_KEYS = tuple(dict.fromkeys(name for names in _TLS_KEYS_OF.values() for name in names))


def tls(value: Mapping[str, object] | bool | str) -> Iterator[str]:
    """How to speak TLS with the broker: each fault with its place below the key."""
    if not isinstance(value, Mapping):
        return
    if not value:
        yield ": is empty: write true, or leave the key out"
    for written, given in value.items():
        name = _tls_name(written)
        if name not in _TLS_KEYS:
            yield f".{written}: is not known, use {', '.join(_TLS_KEYS)}"
        elif given is None:
            continue
        elif name in _TLS_FILES:
            fault = path(given) if isinstance(given, str) else "must be a text"
            if fault:
                yield f".{written}: {fault}"
        elif name in ("cert_reqs", "check_hostname"):
            try:
                tls_settings({name: str(given)}, "amqp")
            except ValueError as error:
                yield f".{written}: {error}"


def tls_of_driver(value: object, driver: str) -> Iterator[str]:
    """What the driver of the broker does not know: each fault with its place below the key."""
    known = _TLS_KEYS_OF[driver]
    for written in value if isinstance(value, Mapping) else ():
        if _tls_name(written) not in known:
            broker = "Redis" if driver == "redis" else "RabbitMQ"
            yield f".{written}: is not known for {broker}, use {', '.join(known)}"


def _tls_name(written: object) -> str:
    return str(written).removeprefix("ssl_")


CheckText = Callable[[str], "str | None"]

TEXTS: Mapping[str, CheckText] = {
    "app": line,
    "working_directory": path,
    "virtualenv": path,
    "python": line,
    "user": user,
    "group": user,
    "broker_url": broker_url,
    "result_backend": result_backend,
    "memory_max": memory,
    "cpu_quota": quota,
}
LISTS: Mapping[str, CheckText] = {
    "command": argument,
    "environment_files": path,
    "extra_args": argument,
    "packages": package,
    "queues": queue,
    "read_write_paths": path,
}
MAPPINGS: Mapping[str, Callable[[object, object], str | None]] = {
    "environment": variable,
    "unit_options": directive,
    "celery_settings": celery_setting,
}
