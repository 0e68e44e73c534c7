# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler of this host, which lets go of fleets until the next deployment writes its configuration anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.defaults import (
    ACT,
    CONFIGURATION_FILE,
    IN_FORCE_FILE,
    SERVICE,
)
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import services
from ansible_collections.muejam.celery.plugins.module_utils.whole_files import write_whole


def service_runs() -> bool:
    """Whether this host runs the autoscaler."""
    return services.runs(SERVICE)


def without(configured: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A configuration in which the fleets named are not scaled any more, but only observed."""
    if configured.get("mode") != ACT:
        return dict(configured)
    fleets = configured.get("fleets") or []
    return {
        **configured,
        "fleets": [
            {key: value for key, value in fleet.items() if key != "policy"} if fleet.get("name") in names else fleet
            for fleet in fleets
        ],
    }


@dataclass(frozen=True)
class HostAutoscaler:
    """The autoscaler of a host: where its configuration is, whether it runs, and how it is told to read it."""

    configuration: str = CONFIGURATION_FILE
    in_force: str = IN_FORCE_FILE
    runs: Callable[[], bool] = service_runs
    where: str = "on this host"

    def sized(self) -> frozenset[str]:
        """The fleets that it has a policy for, where it runs and acts.

        Faults of its configuration are not looked for: with any, the autoscaler changes nothing.

        :raises OperationError: when it runs and its configuration cannot be read.
        """
        if not self.runs():
            return frozenset()
        # Most hosts have none. What checks a whole configuration would be half of all that a module brings along.
        from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.settings.documents import load_document

        configured: Any = load_document(self.configuration, "the configuration")
        try:
            policies = {watched["name"]: watched.get("policy") for watched in configured.get("fleets") or ()}
            acts = configured.get("mode") == ACT
            return frozenset(name for name, policy in policies.items() if acts and policy is not None)
        except (AttributeError, KeyError, TypeError):
            raise OperationError(
                f"use the configuration {self.configuration}",
                "it is not a configuration of the autoscaler",
                "Deploy the autoscaler again.",
            ) from None

    def let_go(self, names: Sequence[str] | None, keep: Sequence[str], check: bool) -> list[str]:
        """Have the autoscaler scale the fleets named no more, and return those that it did scale until now.

        :param names: None is all but those to keep.
        :raises OperationError: when its configuration cannot be read or written, or it does not read it.
        """
        configured = self._read()
        scaled = [fleet["name"] for fleet in configured.get("fleets") or [] if "policy" in fleet]
        gone = [name for name in scaled if (name not in keep if names is None else name in names)]
        then = without(configured, gone)
        if then == configured:
            return []
        if not check:
            # What scales reads it for each request, so from here on it refuses.
            _write(Path(self.configuration), then, 0o640)
            self._have_it_read_again()
            if self.runs():
                services.reload(SERVICE)
        return gone

    def _have_it_read_again(self) -> None:
        """Have the next deployment give the autoscaler all of its configuration, and not restart it for that."""
        path = Path(self.in_force)
        try:
            noted = json.loads(path.read_text(encoding="utf-8"))
            del noted["configuration"]
        except (OSError, ValueError, KeyError, TypeError):
            # A note that tells nothing of use has the autoscaler restarted.
            path.unlink(missing_ok=True)
        else:
            _write(path, noted, 0o644)

    def _read(self) -> dict[str, Any]:
        try:
            configured: dict[str, Any] = json.loads(Path(self.configuration).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise OperationError(
                f"read which fleets the autoscaler scales from {self.configuration}",
                error,
                "Put the file right, or remove it and deploy again.",
            ) from None
        return configured


def _write(path: Path, value: Mapping[str, Any], mode: int) -> None:
    found = path.stat()
    write_whole(path, json.dumps(value, indent=4, sort_keys=True) + "\n", mode, (found.st_uid, found.st_gid))
