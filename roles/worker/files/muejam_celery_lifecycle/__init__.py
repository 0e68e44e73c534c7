# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a Celery worker tell its service manager or its container's host the truth, and drain before it stops.

Load it into a worker with ``celery worker --include muejam_celery_lifecycle`` or by the app's ``include`` setting. Its
module ``beat`` does the same for `celery beat`, and says how.
The app itself is not touched. It needs nothing but Celery (5.3 to 5.7) and Python 3.8 or newer, and reads these
environment variables, each optional:

``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``
    systemd's own. READY=1 is sent when the worker consumes, WATCHDOG=1 while its event loop turns, STOPPING=1 when
    the drain is over.
``CELERY_LIFECYCLE_HTTP``
    A port. GET is answered there on all addresses of IPv4 and, where there is any, IPv6, without a login; what is told
    has no secrets. 503 has the reason in one line.

    ``/ready``: 200 while the worker consumes, 503 when it starts, reconnects, drains or stands still.
    ``/alive``: 200 while its event loop turns, in the drain too, and while it waits for the broker; before it has ever
    consumed, for ten minutes at most. 503 otherwise. The port is open from a moment before the worker's pool starts.
    ``/status``: the document of the status file.
``CELERY_LIFECYCLE_ALIVE_WITHIN``
    Seconds without a proof of life, 5 at least, after which ``/alive`` and ``/ready`` answer 503; 0 is never. Without
    it 5, or half of systemd's watchdog.
``CELERY_LIFECYCLE_STATUS_FILE``
    Path of a small JSON file with the worker's state, replaced atomically about once a second. Among others:
    `processed`, the tasks started, and `finished`, the tasks ended, since the process started; `taken`, how many
    messages it was given from each of its queues since then. Every message counts in `taken`: those of unknown,
    revoked and later tasks too, and those that go back to the broker in the end, which count again where they are
    taken again. The file beside it whose name ends in `.taken` has the same counts at any instant (class Tally).
``CELERY_LIFECYCLE_TRANSPORT_OPTIONS``
    JSON object merged over the app's ``broker_transport_options``.
``CELERY_LIFECYCLE_BROKER_USE_SSL``
    JSON object, or true, in place of the app's ``broker_use_ssl``.
``CELERY_LIFECYCLE_PRIORITY``
    ``high_first``: on Redis, 9 is the most urgent priority, as on RabbitMQ. ``low_first``: kombu's order. By default
    ``high_first``, unless the app itself sets ``priority_steps`` or ``queue_order_strategy``: then its order stays.
``CELERY_LIFECYCLE_CONFIG``
    Opaque text, repeated in the status file.

The task events that the worker sends (where they are switched on) get a field `queue`, which Celery leaves out.

On the first SIGTERM a consuming worker cancels its consumers, gives back to the broker what it has fetched and not
begun, finishes what it runs, lets the acknowledgements out, and only then runs Celery's own handler. A second SIGTERM
runs Celery's handler at once.
Celery's remote control command `shutdown` drains in the same way. As the first process of a container, a worker that
has no handlers yet ends at once on SIGTERM, with 143, where the kernel would ignore it.

While RabbitMQ blocks publishers (an alarm), what the worker itself publishes waits for two seconds at most: events are
dropped until it takes messages again, and the state says `blocked`. The last steps after a drain have a limit as well.

Who does what: the worker's event loop only moves a pulse forward and drains; one native thread does the writing and
the notifying, so that a broker being reconnected, or a task of the solo pool that runs in the event loop itself,
does not look like a dead worker. Another one answers probes, whatever holds up the writing. Signal handlers only set
flags.
"""

# early_stop is the first: the others take their time.
from . import early_stop, signals  # noqa: F401  (they do their work by themselves)
