# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RabbitMQ, as it is known before one is opened."""

from __future__ import annotations

from ansible_collections.muejam.celery.plugins.module_utils.brokers.kind import Kind, Scheme

# Read in `kombu.connection.Connection._init_params` 5.7. Numbers arrive as text, which `heartbeat` alone survives;
# py-amqp knows the settings of TLS without `ssl_`.
_OPTIONS = ("heartbeat", "insist", "login_method", "ssl")

RABBITMQ = Kind(
    name="RabbitMQ",
    schemes={
        "amqp": Scheme(5672, _OPTIONS),
        "amqps": Scheme(5671, _OPTIONS, known_as="amqp"),
        "pyamqp": Scheme(5672, _OPTIONS, known_as="amqp"),
    },
    database="/",
    databases_are_numbers=False,
    tls_keys=("ca_certs", "certfile", "keyfile", "cert_reqs", "server_hostname", "ciphers"),
    managed=True,
    # AMQP's own, by which both ends notice that the other is gone.
    listening_options={"heartbeat": 20},
)
