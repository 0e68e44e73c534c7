# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what users read of fleet keys, role variables and metrics from where each is described once.

The tables of keys write the nested options of the roles `worker` and `beat`, and the tables of keys in their READMEs.
The table of variables writes the options and defaults of the role `autoscaler`, and the settings that it checks.
Argument specs write the tables of variables in READMEs. The table of metrics writes the tables in docs/policy.md.
What the service exports, and the alerts with the first words of their runbooks, write the tables in
docs/monitoring.md. What translates policies writes in docs/kubernetes-autoscaling.md what becomes of one. A unit test
compares what this writes with the files.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.manifests import (
    AUTOSCALERS,
    ManifestOptions,
    translate,
)
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.daemon import Daemon
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.metrics import FleetMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.notify import Notifier
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.streams import Streams
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.service.task_metrics import TaskMetrics
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.configuration import Configuration
from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.variables import VARIABLES
from ansible_collections.muejam.celery.plugins.module_utils.decide.metrics import METRICS, Unit
from ansible_collections.muejam.celery.plugins.module_utils.decide.parse import parse_policy
from ansible_collections.muejam.celery.plugins.module_utils.fleet.keys import KEYS, Key
from ansible_collections.muejam.celery.plugins.module_utils.fleet.platforms import PLATFORMS
from ansible_collections.muejam.celery.plugins.module_utils.platforms.fake import FakePlatform
from ansible_collections.muejam.celery.plugins.plugin_utils import beat_role

CHECKOUT = Path(__file__).parents[2]
ROLES = CHECKOUT / "roles"
POLICY = CHECKOUT / "docs/policy.md"
MONITORING = CHECKOUT / "docs/monitoring.md"
RUNBOOKS = CHECKOUT / "docs/runbooks"
ALERTS = CHECKOUT / "monitoring/alerts.yml"
AUTOSCALING = CHECKOUT / "docs/kubernetes-autoscaling.md"
EXAMPLE: dict[str, Any] = {
    "schedule": {
        "windows": [
            {"name": "peak", "time": "08:00-18:00", "min_workers": 5, "max_workers": 20},
            {"name": "off_peak", "time": "18:00-08:00", "min_workers": 2, "max_workers": 10},
        ]
    }
}
"""A policy that is all defaults but for its windows."""

SOME_DAY = 1767225600.0
"""Seconds since the epoch. Nothing in the example depends on the day."""
_ROLE = re.compile(r"P\(muejam\.celery\.(\w+)#role\)")
_VALUE = re.compile(r"[CVO]\(([^()]*)\)")
_KINDS = {"float": "number", "raw": "bool or dict"}


def written() -> dict[Path, str]:
    """Every file that has such a part, and the text that it is to have."""
    own = {f"celery_autoscaler_{name}": variable for name, variable in VARIABLES.items()}
    parts = {
        "worker/meta/argument_specs.yml": ("fleet keys", ["        options:", *_options(KEYS, 10)]),
        "beat/meta/argument_specs.yml": ("beat keys", ["        options:", *_options(beat_role.KEYS, 10)]),
        "autoscaler/meta/argument_specs.yml": ("variables", _options(own, 6, checked=False)),
        "autoscaler/defaults/main.yml": ("variables", (f"{name}: {_plain(key.default)}" for name, key in own.items())),
        "autoscaler/vars/main.yml": (
            "settings",
            (f'  {name}: "{{{{ celery_autoscaler_{name} }}}}"' for name in VARIABLES),
        ),
    }
    texts = {
        ROLES / path: _replaced((ROLES / path).read_text(encoding="utf-8"), what, "\n".join(lines), "# ")
        for path, (what, lines) in parts.items()
    }
    for readme in sorted(ROLES.glob("*/README.md")):
        text = readme.read_text(encoding="utf-8")
        if "variables, written by make docs" in text:
            specs = readme.parent / "meta/argument_specs.yml"
            options = yaml.safe_load(texts.get(specs) or specs.read_text(encoding="utf-8"))
            variables = options["argument_specs"]["main"]["options"]
            texts[readme] = _replaced(text, "variables", "\n".join(_variables(variables)))
    for role, what, keys in (("worker", "fleet keys", KEYS), ("beat", "beat keys", beat_role.KEYS)):
        readme = ROLES / role / "README.md"
        texts[readme] = _replaced(texts[readme], what, "\n".join(_rows(keys)))
    text = _replaced(POLICY.read_text(encoding="utf-8"), "metrics of rules", "\n".join(_metrics(True)))
    texts[POLICY] = _replaced(text, "other metrics", "\n".join(_metrics(False)))
    text = _replaced(MONITORING.read_text(encoding="utf-8"), "alerts", "\n".join(_alerts()))
    texts[MONITORING] = _replaced(text, "exported metrics", "\n".join(_exported()))
    text = AUTOSCALING.read_text(encoding="utf-8")
    texts[AUTOSCALING] = _replaced(text, "what becomes of a policy", "\n".join(_translations()))
    return texts


def exported() -> list[Any]:
    """Every family of metrics that the service exports, by name, without its values."""
    daemon = Daemon(Configuration, FakePlatform(), lambda line: None, Notifier({}))
    families = [*FleetMetrics(daemon).collect(), *TaskMetrics(daemon, Streams(lambda worker: None)).collect()]
    return sorted(families, key=lambda family: family.name)


def series(family: Any) -> list[str]:
    """The names of a family's series."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
    return [family.name + ending for ending in endings]


def alerts() -> list[dict[str, Any]]:
    """The rules of monitoring/alerts.yml."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def runbook(alert: str) -> Path:
    """The runbook of the alert of that name: in small letters, with a hyphen between words."""
    return RUNBOOKS / (re.sub(r"(?<=.)([A-Z])", r"-\1", alert).lower() + ".md")


def _replaced(text: str, what: str, part: str, comment: str = "") -> str:
    begin, end = ("# ", "") if comment else ("<!-- ", " -->")
    found = re.compile(rf"^( *){begin}{what}, written by make docs{end}\n.*?^ *{begin}end of {what}{end}$", re.M | re.S)
    if not found.search(text):
        raise ValueError(f"there is no place for {what}")
    return found.sub(
        lambda old: f"{old[1]}{begin}{what}, written by make docs{end}\n{part}\n{old[1]}{begin}end of {what}{end}", text
    )


def _options(keys: Any, indent: int, checked: bool = True) -> Iterator[str]:
    """Lines of options that describe these keys.

    :param checked: whether choices are among them. Those of a role's variables Ansible would check, before the role
        can tell all faults at once.
    """
    for name, key in keys.items():
        lines = [f"type: {key.kind.type}"]
        if key.kind.elements:
            lines.append(f"elements: {key.kind.elements}")
        if key.required:
            lines.append("required: true")
        if key.choices and checked:
            lines.append(f"choices: [{', '.join(key.choices)}]")
        if key.default is not None:
            lines.append(f"default: {_plain(key.default)}")
        lines.append("description: >-")
        lines += [f"  {line}" for line in textwrap.wrap(_meaning(key), 116 - indent, break_on_hyphens=False)]
        yield " " * indent + f"{name}:"
        yield from (" " * (indent + 2) + line for line in lines)
        if key.keys:
            yield " " * (indent + 2) + "options:"
            yield from _options(key.keys, indent + 4)


def _meaning(key: Key) -> str:
    parts = [key.text]
    if key.otherwise:
        parts.append(f"Default: {key.otherwise}.")
    if key.adds:
        parts.append("Added to those of the defaults.")
    if key.platforms != PLATFORMS:
        parts.append(f"On {', '.join(key.platforms)} only.")
    return " ".join(parts)


def _rows(keys: Mapping[str, Key]) -> Iterator[str]:
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    for name, key in keys.items():
        value = ", ".join(f"`{choice}`" for choice in key.choices) or _KINDS.get(key.kind.type, key.kind.type)
        if key.kind.elements:
            value = f"list of {key.kind.elements}"
        if key.keys:
            value += " of " + " and ".join(f"`{inner}`" for inner in key.keys)
        if key.required:
            value += ", required"
        if key.default is not None:
            value += f", default `{_plain(key.default)}`"
        yield f"| `{name}` | {value} | {_markdown(_meaning(key))} |"


def _variables(options: dict[str, Any]) -> Iterator[str]:
    yield "| variable | meaning | default |"
    yield "|---|---|---|"
    for name, option in options.items():
        told = option["description"]
        default = f"`{_plain(option['default'])}`" if "default" in option else ""
        yield f"| `{name}` | {_markdown(told if isinstance(told, str) else ' '.join(told))} | {default} |"


def _metrics(in_rules: bool) -> Iterator[str]:
    yield (
        "| `metric` | Unit of the threshold | What it is, and where it comes from |"
        if in_rules
        else ("| Metric | Unit | What it is |")
    )
    yield "|---|---|---|"
    units = {Unit.PERCENT: "per cent, 0 to 100", Unit.SECONDS: "duration" if in_rules else "seconds"}
    for name, metric in METRICS.items():
        if metric.in_rules == in_rules:
            yield f"| `{name}` | {units.get(metric.unit, metric.unit.value)} | {_markdown(metric.text)} |"


def _exported() -> Iterator[str]:
    yield "| Metric | Labels | What it is |"
    yield "|---|---|---|"
    for family in exported():
        labels = ", ".join(f"`{label}`" for label in family._labelnames)
        name = family.name if family.type == "histogram" else series(family)[0]
        yield f"| `{name}` | {labels} | {_markdown(family.documentation)} |"


def _alerts() -> Iterator[str]:
    yield "| Alert | Severity | What it means |"
    yield "|---|---|---|"
    for rule in alerts():
        path = runbook(rule["alert"])
        _title, meaning = path.read_text(encoding="utf-8").split("\n\n")[:2]
        link = f"[`{rule['alert']}`]({path.relative_to(MONITORING.parent)})"
        yield f"| {link} | {rule['labels']['severity']} | {' '.join(meaning.split())} |"


def _translations() -> Iterator[str]:
    options = ManifestOptions(broker_url="redis://redis:6379/0")
    asked = [parse_policy(EXAMPLE), parse_policy({"target": {"wait_time": "30s"}})]
    columns = []
    for autoscaler in AUTOSCALERS:
        found = [each for policy in asked for each in translate(policy, autoscaler, options, SOME_DAY).fidelity]
        columns.append({each["rule"]: f"{each['kept']}: {each['how']}" for each in found})
    yield f"| part of the policy | {' | '.join(f'`{name}`' for name in AUTOSCALERS)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for rule in columns[0]:
        yield f"| `{rule}` | {' | '.join(_markdown(column[rule]) for column in columns)} |"


def _plain(default: object) -> str:
    return default if isinstance(default, str) and default else json.dumps(default)


def _markdown(text: str) -> str:
    text = _ROLE.sub(r"[`\1`](../\1/README.md)", text)
    return _VALUE.sub(r"`\1`", text).replace("|", r"\|")


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
