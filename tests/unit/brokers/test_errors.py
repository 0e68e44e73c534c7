# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is advised, from what a library said."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
from redis.exceptions import DataError, NoPermissionError, ResponseError
from redis.sentinel import MasterNotFoundError

from ansible_collections.muejam.celery.plugins.module_utils.brokers.errors import explain
from ansible_collections.muejam.celery.plugins.module_utils.brokers.opening import open_broker
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
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
        (TypeError("Redis.__init__() got an unexpected keyword argument 'pasword'"), "transport_options or ssl"),
        (ImportError("No module named 'shop'"), "transport_options or ssl"),
        (DataError("Invalid input of type: 'dict'"), "transport_options or ssl"),
        (
            ResponseError("Client names cannot contain spaces, newlines or special characters."),
            "transport_options or ssl",
        ),
        (ResponseError("The user executing the script can't run this command or subcommand script"), "+@scripting"),
    ],
)
def test_advice(error: Exception, advice: str) -> None:
    assert advice in explain(error, "read", opening=True, hide=Hide()).next_step


@pytest.mark.parametrize(
    "shown",
    [
        "Redis<ConnectionPool<Connection<host=h1,port=26379,db=0>>>",
        "<redis.client.Redis(<redis.connection.ConnectionPool(<redis.connection.Connection(host=h1,port=26379,db=0)>)>)>",
        "<redis.client.Redis(<redis.connection.ConnectionPool(<redis.connection.Connection(db=0,password=<REDACTED>,"
        "retry=<redis.retry.Retry object at 0x7f>,host=h1,port=26379,socket_keepalive=True)>)>)>",
    ],
)
def test_sentinels_are_named_by_host_and_port_alone(shown: str) -> None:
    other = shown.replace("h1", "h2")
    error = MasterNotFoundError(
        f"No master found for 'shop' : {shown} - ConnectionError('x'), {other} - TimeoutError('y')"
    )
    why = explain(error, "read", opening=True, hide=Hide()).why
    assert why == "No master found for 'shop' : h1:26379 - ConnectionError('x'), h2:26379 - TimeoutError('y')"


@pytest.mark.parametrize(
    "options", [{}, {"sentinel_kwargs": {"socket_timeout": 600, "password": "not-a-real-password"}}]
)
def test_sentinels_that_are_not_there_are_told_as_such(options: dict[str, Any]) -> None:
    with contextlib.ExitStack() as stack:
        ports = []
        for _number in range(2):
            # Bound and without a listener: nobody else gets the port, and who connects is refused.
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
        url = ";".join(f"sentinel://127.0.0.1:{port}" for port in ports)
        # Without a pause between attempts this takes a moment; with them more than a minute.
        with (
            pytest.raises(OperationError, match="Not every sentinel answered") as caught,
            open_broker(url, {"master_name": "shop", **options}, None, 20.0),
        ):
            pytest.fail("it was opened")
    assert all(f"127.0.0.1:{port} - " in caught.value.why for port in ports)
    assert "<" not in caught.value.why
