# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with single values of a fleet that Celery, a broker, pip or a unit file take.

Every check returns what to change as a sentence, or `None` for a good value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils import checks
from ansible_collections.muejam.celery.plugins.module_utils.brokers import transport_options
from ansible_collections.muejam.celery.plugins.module_utils.brokers.url import Fault, fault_of, fault_of_backend
from ansible_collections.muejam.celery.plugins.module_utils.fleet import celery_names, names, placeholders

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
_IMAGE = re.compile(r"[a-zA-Z0-9][\w.-]*(?::[0-9]+)?(?:/[\w.-]+)*(?::[\w.-]+)?(?:@[a-z0-9]+:[0-9a-fA-F]+)?")
_PEM = "-----BEGIN "
_OFF = ("", "0", "0.0", "false", "f", "no", "n", "off", "null", "none")
RESERVED_VARIABLES = {
    "CELERY_BROKER_URL": "use the key broker_url",
    "CELERY_BROKER_READ_URL": "use the key broker_url",
    "CELERY_BROKER_WRITE_URL": "use the key broker_url",
    "CELERY_RESULT_BACKEND": "use the key result_backend",
    "NOTIFY_SOCKET": "systemd sets it",
    "WATCHDOG_USEC": "use the key watchdog",
    "WATCHDOG_PID": "use the key watchdog",
}


def fleet_name(value: str) -> str | None:
    """A fleet's name."""
    if names.is_fleet_name(value):
        return None
    return (
        f"{value!r} is no fleet name: lower-case letters, digits and '-' inside, "
        f"at most {names.FLEET_NAME_MAX} characters"
    )


def bounds(autoscale: Mapping[str, Any]) -> Iterator[str]:
    """The numbers of processes between which Celery keeps a pool."""
    most, fewest = (checks.whole_number(autoscale.get(name)) for name in ("max", "min"))
    if most is not None and fewest is not None and fewest > most:
        yield f".min: {fewest} is more than max, {most}: lower min or raise max"


def transport(value: object) -> dict[str, Any] | None:
    """The options of a transport, each of the kind that it takes where all of them are."""
    if not isinstance(value, Mapping):
        return None
    try:
        return transport_options.prepared(value)
    except ValueError:
        return dict(value)


def queue(value: str) -> str | None:
    """A queue's name as `--queues` takes it: a comma would end it."""
    if not value or "," in value or value != value.strip() or checks.has_control_characters(value):
        return f"{value!r} is no queue name: no commas, no control characters, no blanks at its ends"
    return None


def broker_url(value: str) -> str | Fault | None:
    """A URL of a broker that the collection can read and drain."""
    return checks.line(value) or fault_of(value)


def result_backend(value: str) -> str | Fault | None:
    """A URL of a result backend, or its name."""
    return checks.line(value) or fault_of_backend(value)


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
    if checks.has_control_characters(text, allowed="\n\t"):
        return "holds a control character that systemd refuses in an environment: remove it"
    if placeholders.uses_number(text) and looks_secret(name, text):
        return (
            "looks like a secret and holds %i, and values with the worker's number stand in the unit file (or the "
            "Deployment), which others can read: write %%i if the text itself is meant, or move the number to another "
            "variable"
        )
    return None


def looks_secret(name: str, text: str) -> bool:
    """Whether a text, or what it is called, looks like a secret."""
    return bool(_SECRET_NAME.search(name) or _URL_WITH_PASSWORD.search(text))


def image(value: str) -> str | None:
    """The name of an image, as container engines take it."""
    return None if _IMAGE.fullmatch(value) else f"{value!r} is no image: write it as registry.example/shop:1.4"


def pem(value: str) -> str | None:
    """The text of a file with a certificate or a key."""
    if value.lstrip().startswith(_PEM):
        return None
    return f"must be the text of a PEM file, which begins with {_PEM!r}: use lookup('ansible.builtin.file', PATH)"


def directive(name: object, value: object) -> str | None:
    """One further line (or lines) of a unit's [Service] section."""
    if not isinstance(name, str) or not _DIRECTIVE.fullmatch(name):
        return "is no systemd directive: write it as systemd.exec(5) does, such as LimitNOFILE"
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for one in values:
        if not isinstance(one, (str, int, float)):
            return "must be a text, a number, a truth value or a list of them"
        if checks.has_control_characters(str(one)):
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
    texts = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if name == "accept_content" and not {"json", "application/json"} & set(map(str, texts)):
        return "has to keep json: the tools speak it with workers"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return "has a value that JSON cannot hold"
    if _SECRET_NAME.search(name) or _URL_WITH_PASSWORD.search(text) or '"password"' in text:
        return "looks like a secret, and settings stand on the command line where `ps` shows them: set it in the app"
    return None


def argument(value: str) -> str | None:
    """One argument of a command line, which everyone can see in `ps`."""
    if not checks.has_control_characters(value) and _URL_WITH_PASSWORD.search(value):
        return "holds a password, and `ps` shows command lines to everyone: pass it in environment"
    return checks.line(value)


def package(value: str) -> str | None:
    """One requirement as pip takes it; it is on pip's command line and in Ansible's output."""
    if _URL_WITH_PASSWORD.search(value):
        return "holds a password, which pip's command line shows: use a netrc file or pip's own configuration"
    return checks.line(value)
