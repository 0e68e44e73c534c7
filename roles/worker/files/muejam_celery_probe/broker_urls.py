# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the URLs of brokers lead to."""

import re

from .redaction import reason


def other_broker(conf, request):
    """The broker that the app's own settings name, without its login; None where it is the fleet's or none."""
    for name in ("broker_url", "broker_write_url"):
        try:
            # `conf.broker_url` would be the fleet's, by the environment.
            own = conf.first(name, "broker_host") if name == "broker_url" else conf.get(name)
            if own and (not_encoded(own) or not places(own, request) & fleets_places(request)):
                return told(own, request)
        except Exception as error:
            return f"which cannot be read: {reason(error, request)}"
    return None


def parts(urls):
    """The scheme, the login and the place of each URL of a setting, which is a list, or a text joined by semicolons.

    The last "@" ends a login, however it is written: kombu takes the end of a password for a host, a port or a path.
    """
    for text in [urls] if isinstance(urls, str) else urls:
        for url in re.split(r";(?=[A-Za-z][A-Za-z0-9+.-]*://)", text):
            scheme, way, rest = url.partition("://")
            login, _at, found = rest.rpartition("@") if way else ("", "", url)
            for one in filter(None, found.split(";") if way else [found]):
                yield scheme + way if way else "", login, one


def not_encoded(urls):
    """Whether a login has signs in it that end it for kombu, which then goes elsewhere."""
    return any(re.search("[/?#]", login) for _scheme, login, _place in parts(urls))


def told(urls, request):
    """Where URLs lead to, without their logins."""
    text = "; ".join("{}://{}:{}/{}".format(*found) for found in sorted(places(urls, request), key=str))
    return text + (" (percent-encode / ? # in its login, or it is read as another place)" if not_encoded(urls) else "")


def fleets_places(request):
    """Where the fleet's own URLs lead to."""
    return places(request["environment"]["CELERY_BROKER_URL"], request)


def places(urls, request):
    """What URLs lead to: kind, host, port and the database or virtual host."""
    from kombu import Connection

    found = set()
    for start, _login, rest in parts(urls):
        connection = Connection(start + rest)
        scheme = connection.transport_cls
        scheme, usual_port, usual_space = request["schemes"].get(scheme, (scheme, None, "/"))
        host = {"localhost": "127.0.0.1", None: "127.0.0.1", "": "127.0.0.1"}.get(
            connection.hostname, connection.hostname
        )
        space = str(connection.virtual_host or "").strip("/") or usual_space
        found.add((scheme, host, connection.port or usual_port, space))
    return found
