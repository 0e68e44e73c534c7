# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis and Valkey, as they are known before one is opened."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.brokers.kind import Kind, Scheme

# Read in `kombu.connection.Connection._init_params` and `kombu.utils.url.parse_url` 5.7. The names in `ssl_` reach
# redis-py. Numbers arrive as text, which it does not take.
_SSL_OPTIONS = tuple(
    f"ssl_{name}"
    for name in ("ca_certs", "ca_path", "ca_data", "certfile", "keyfile", "password", "cert_reqs", "check_hostname")
)
_OPTIONS = ("credential_provider", "heartbeat", "insist", "connect_timeout", "login_method", *_SSL_OPTIONS)

REDIS = Kind(
    name="Redis",
    schemes={
        "redis": Scheme(6379, _OPTIONS),
        "rediss": Scheme(6379, _OPTIONS, known_as="redis"),
        "redis+socket": Scheme(None, ("virtual_host", "client_name", "credential_provider")),
        "sentinel": Scheme(26379, _OPTIONS),
    },
    libraries=("redis",),
    database="0",
    databases_are_numbers=True,
    tls_keys=("ca_certs", "certfile", "keyfile", "cert_reqs", "check_hostname", "ciphers", "password"),
    tls_prefix="ssl_",
    visibility_timeout=3600,
    list_options={"global_keyprefix": "", "sep": "\x06\x16", "priority_steps": [0, 3, 6, 9]},
    worker_options=("global_keyprefix", "sep", "priority_steps", "queue_order_strategy", "visibility_timeout"),
    low_first=True,
    prefetch_can_be_off=True,
    lists_queues=True,
)
