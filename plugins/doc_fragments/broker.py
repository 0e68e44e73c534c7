# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to the broker."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  broker_url:
    description:
      - URL of the broker, written as for Celery's own C(broker_url).
      - Redis as V(redis://), V(rediss://) (TLS), V(redis+socket://) (unix socket) or V(sentinel://) (several separated
        by V(;)), RabbitMQ as V(amqp://) or V(amqps://) (TLS).
      - Percent-encode what is special in a URL. In a user or a password those are V(/), V(?), V(#), V(@), V(:), V(;),
        V([), V(]), V(%) and blanks. The filters C(urlencode) and C(replace('/', '%2F')) do it. A URL that holds one of
        them is refused, as libraries take a part of such a password for something else.
      - Of options behind a V(?) those are taken that Celery takes there.
      - Messages never show the password.
    type: str
    required: true
  transport_options:
    description:
      - What the application gives to Celery as C(broker_transport_options).
      - Give the same here as there, or other keys are read than the workers use. On Redis C(global_keyprefix),
        C(priority_steps), C(sep) and C(unacked_key) decide where messages lie, and C(master_name) is needed for
        V(sentinel://).
      - Values of keys that look like secrets (C(password), C(token) and the like, at any depth) are kept out of the
        output.
    type: dict
    default: {}
  ssl:
    description:
      - What the application gives to Celery as C(broker_use_ssl). V(true), or a dictionary with C(ca_certs),
        C(certfile), C(keyfile), C(cert_reqs) (V(required), V(optional), V(none)) and C(check_hostname).
      - The names may also carry the prefix C(ssl_) that Redis wants; both forms work with both brokers.
      - Not needed with V(rediss://) and V(amqps://) when the system's certificate authorities are enough.
    type: raw
  timeout:
    description:
      - Seconds that the whole reading may take, connecting included.
    type: float
    default: 5
  tools_python:
    description:
      - Python interpreter with Celery, kombu and redis-py on the host where the module runs. It is used when the
        interpreter that Ansible chose lacks them.
      - The roles of this collection make the default one.
    type: path
    default: /opt/muejam-celery/venv/bin/python
notes:
  - The module runs anywhere the broker can be reached from, for example with C(delegate_to) on a worker.
requirements:
  - celery >= 5.4, kombu >= 5.4 and, for Redis, redis >= 4.5.2, in either interpreter
"""
