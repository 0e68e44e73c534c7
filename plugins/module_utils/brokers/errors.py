# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say in an operator's words why a broker could not be reached or read."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator

from ansible_collections.muejam.celery.plugins.module_utils.brokers.time_limit import TookTooLong
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError
from ansible_collections.muejam.celery.plugins.module_utils.redaction import Hide

_LOGIN = (
    "Check the user and the password in broker_url (percent-encode special characters) against those of the broker."
)
_REDIS_RIGHTS = (
    "Grant the user what reading queues, workers and events takes: ACL SETUSER <user> +@read +@connection "
    "+@transaction +@pubsub +@scripting +brpop +lpushx +sadd +srem +zadd +zrem +del +time '~*' '&*'. For fewer keys "
    "and channels name those of the queues with '*' behind each, _kombu.*, unacked* and *.pidbox, each behind '~', and "
    "the channels '&/*', with global_keyprefix before each."
)
_MASTER_NAME = (
    "Give master_name in transport_options as the sentinels know it, and check that they see a master and as many "
    "other sentinels as min_other_sentinels says."
)
# How redis-py shows a sentinel that did not answer: from 6 on it tells every setting of the connection.
_SENTINEL = re.compile(
    r"<?(?:redis\.client\.)?Redis[<(].*?\bhost=(?P<host>[^,<>()]+),port=(?P<port>\d+).*?[)>] - ", re.DOTALL
)
# A script of kombu's that calls what the user may not is told of in other words.
_NO_RIGHTS = ("no permissions", "can't run this command", "can't access at least one of the keys")
_AMQP_RIGHTS = (
    "Grant the user the virtual host, for example with rabbitmqctl set_permissions -p <vhost> <user> '' '' '.*'."
)


def explain(error: BaseException, tried: str, *, opening: bool, hide: Hide) -> OperationError:
    """Return the error for the operator.

    :param error: what kombu, redis-py, py-amqp or the socket raised.
    :param tried: what was attempted and on what, as the rest of "Could not ...".
    :param opening: whether it happened while connecting; else the connection stood and broke.
    :param hide: masks the secrets of this broker in what the library says.
    """
    if isinstance(error, OperationError):
        return error
    return OperationError(tried, hide(_why(error)), _next_step(error, opening))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it came from: often only the innermost, the socket's, tells the cases apart."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__


def _names(error: BaseException) -> set[str]:
    # By name, because the libraries that define them may be absent, and differ between versions in who inherits whom.
    return {base.__name__ for base in type(error).__mro__}


def _why(error: BaseException) -> str:
    text = str(error).strip()
    # Channel errors of AMQP carry the reply text in front of the method's coordinates.
    reply = getattr(error, "reply_text", None)
    if reply:
        return str(reply)
    return _SENTINEL.sub(r"\g<host>:\g<port> - ", text) or type(error).__name__


def _next_step(error: BaseException, opening: bool) -> str:
    names, text = _names(error), _why(error)
    if "BusyLoadingError" in names or text.startswith("LOADING"):
        return "The server is still loading its data; try again when it has finished."
    if "MasterNotFoundError" in names or "SENTINEL" in text:
        return _next_step_of_sentinels(text)
    if "master_name" in text:
        return _MASTER_NAME
    if "NoPermissionError" in names or "NOPERM" in text or any(part in text.lower() for part in _NO_RIGHTS):
        return _REDIS_RIGHTS
    if "AuthenticationError" in names or "WRONGPASS" in text or "NOAUTH" in text:
        return _LOGIN
    if "Login was refused" in text or ("AccessRefused" in names and opening):
        return _LOGIN
    if "AccessRefused" in names:
        return _AMQP_RIGHTS
    if "NotAllowed" in names or "NOT_ALLOWED" in text:
        if "not found" in text:
            return (
                "The virtual host at the end of broker_url does not exist. Correct it (the default one is written %2F) "
                "or make it with rabbitmqctl add_vhost."
            )
        return _AMQP_RIGHTS
    if "DB index" in text or "Database is int" in text or "invalid DB" in text:
        return (
            "Correct the database number at the end of broker_url: 0 up to one less than the server's setting "
            "'databases'."
        )
    return _next_step_of_network(error, opening)


def _next_step_of_sentinels(text: str) -> str:
    if "AuthenticationError" in text or "NOAUTH" in text or "WRONGPASS" in text:
        return "The sentinels want a login of their own: give it as sentinel_kwargs in transport_options."
    # redis-py lists what each sentinel did instead of answering.
    if "ConnectionError" in text or "TimeoutError" in text:
        return (
            "Not every sentinel answered, and none that did knows a master. Check that the sentinels run, and that "
            "host and port of each in broker_url are right (theirs is mostly 26379) and open to this host."
        )
    if "unknown command" in text:
        return "There is a Redis server there and no sentinel: name the sentinels in broker_url, or write redis://."
    return _MASTER_NAME


def _next_step_of_network(error: BaseException, opening: bool) -> str:
    chain = list(_chain(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return (
            "The server's certificate was not accepted. Give the authority that signed it as ca_certs in the option "
            "ssl, and use the host name that the certificate names."
        )
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return (
            "TLS could not be agreed on. Check that this port serves TLS (rediss:// and amqps:// do, redis:// and "
            "amqp:// do not), and whether the server asks for a client certificate (certfile and keyfile in ssl)."
        )
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return "The host name in broker_url could not be resolved. Correct it, or check the name service of this host."
    # A refusal says more than the timeout of a second address of the same name.
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return (
            "Nothing listens there. Check that the broker runs, and that host and port in broker_url are right and "
            "open to this host."
        )
    if any(isinstance(cause, FileNotFoundError) for cause in chain):
        return "There is no such file: check the path of the socket in broker_url and the certificate files in ssl."
    if any(isinstance(cause, PermissionError) for cause in chain):
        return "This user may not open the file: check the rights of the socket and of the certificate files."
    if any(getattr(cause, "errno", None) in (errno.EHOSTUNREACH, errno.ENETUNREACH) for cause in chain):
        return "There is no route to that address. Check the host in broker_url and the network of this host."
    if any(isinstance(cause, TookTooLong) or "TimeoutError" in _names(cause) or "timeout" in _names(cause)
           for cause in chain):  # fmt: skip
        if opening:
            return (
                "The broker did not answer in time. Check host and port in broker_url, that no firewall drops the "
                "traffic, and that both sides use TLS or neither does; raise timeout if it is only slow."
            )
        return (
            "The broker stopped answering before everything was read, so nothing is reported. Check its health; raise "
            "timeout if it is only slow."
        )
    if any(isinstance(cause, (KeyError, ValueError)) for cause in chain[:1]):
        return "Write broker_url and transport_options as for Celery, for example redis://host:6379/0."
    if opening and (
        isinstance(error, (TypeError, ImportError))
        or "DataError" in _names(error)
        or "Client names cannot" in _why(error)
    ):
        return "An option has a name or a value that the library does not take: correct it in transport_options or ssl."
    if any(isinstance(cause, (OSError, EOFError)) or "ConnectionError" in _names(cause) for cause in chain):
        if opening:
            return (
                "The connection broke during the greeting. Check that the port is the broker's and whether it wants "
                "TLS (rediss://, amqps:// or the option ssl); the broker's log may say why it hung up."
            )
        return "The broker went away before everything was read, so nothing is reported. Check its health and its log."
    return "See the broker's log for the other side of this."
