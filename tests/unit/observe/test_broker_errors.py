# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is advised, from what a library said."""

from __future__ import annotations

import pytest
from redis.exceptions import NoPermissionError, ResponseError
from redis.sentinel import MasterNotFoundError

from ansible_collections.muejam.celery.plugins.module_utils.observe.broker_errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MasterNotFoundError("No master found for 'shop'"), "Give master_name in transport_options"),
        (ValueError("'master_name' transport option must be specified."), "Give master_name in transport_options"),
        (
            MasterNotFoundError("No master found for 'shop' : Redis - ConnectionError('111')"),
            "Not every sentinel answered",
        ),
        (MasterNotFoundError("No master found for 'shop' : Redis - TimeoutError('x')"), "Not every sentinel answered"),
        (MasterNotFoundError("No master found for 'shop' : Redis - AuthenticationError('x')"), "sentinel_kwargs"),
        (ResponseError("unknown command 'SENTINEL', with args beginning with: 'masters'"), "no sentinel"),
        (NoPermissionError("this user has no permissions to run the 'publish' command"), "+@pubsub"),
        (NoPermissionError("No permissions to access a channel"), "'&*'"),
        (NoPermissionError("this user has no permissions to run the 'lpushx' command"), "+lpushx"),
        (ResponseError("The user executing the script can't run this command or subcommand script"), "+@scripting"),
    ],
)
def test_advice(error: Exception, advice: str) -> None:
    assert advice in explain(error, "read", opening=True, hide=Hide()).next_step
