# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about a failure: one line, where it was, and no secret."""

import re
import traceback
from urllib.parse import unquote

MASK = "********"


def place(error):
    """Where in the app the import stopped, innermost frame outside of Python's own import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    inner = [frame for frame in frames if "/celery/" not in frame.filename and "importlib" not in frame.filename]
    return f" ({inner[-1].filename}, line {inner[-1].lineno})" if inner else ""


def reason(error, request):
    """One line about an exception, without any secret of the environment."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, ImportError):
        text = f"{type(error).__name__}: {text}"
    return redact(text, request)[:500]


def redact(text, request):
    """`text` without anything of the environment or of the app that may be secret, and without passwords in URLs."""
    for secret in sorted(secrets(request), key=len, reverse=True):
        text = text.replace(secret, MASK)
    # The last "@" before white space or the next URL ends a password that should have been percent-encoded.
    text = re.sub(r"([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:@]*:)(?:(?!://)\S)*@", rf"\1{MASK}@", text)
    # What is quoted there is as likely the end of a password.
    misread = r"(Port could not be cast to integer value as |Database is int between 0 and limit - 1, not |netloc )"
    return re.sub(misread + r"('[^']*'|\S+)", rf"\1{MASK}", text)


def secrets(request):
    """Texts that nobody may see: values of the environment by their names, and the passwords of every URL."""
    found = set()
    urls = list(request["environment"].values())
    app = request.get("loaded")
    if app is not None:
        names = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")
        urls += [app.conf.get(name) for name in names]
    for name, value in request["environment"].items():
        if re.search("passw|secret|token|key|url|dsn|credential|options", name, re.IGNORECASE):
            found.add(value)
    for url in urls:
        for one in re.split(r";(?=[A-Za-z0-9+.-]+://)", url if isinstance(url, str) else ""):
            password = one.partition("://")[2].rpartition("@")[0].partition(":")[2]
            # In the pieces, too, that a library takes for a host, a port or a path.
            found |= {password, unquote(password), *re.split(r"[/?#@:;\[\]\s]+", password)}
    return {text for text in found if len(text) > 3}
