# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Chromium of a test's own, without a window, which is told what to do over a pair of pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from muejam_bed.shell import BedError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ANSWER_SECONDS = 60.0
# It reads its orders from descriptor 3 and answers on 4.
_START = 'exec "$@" 3<&"$ORDERS" 4>&"$ANSWERS"'
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def program() -> str | None:
    """Return the path of the browser that is installed; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Tab:
    """A page in the browser.

    :ivar complaints: what the browser said of the page: faults of its scripts, and what its policy did not allow.
    """

    def __init__(self, orders: int, answers: int) -> None:
        self.complaints: list[str] = []
        self._orders = orders
        self._answers = answers
        self._read = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log"):
            self.call(f"{part}.enable")

    def open(self, url: str) -> None:
        """Go to a page and return when it has been read."""
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            raise BedError(f"{url}: {failed}")
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BedError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > until:
                raise BedError(f"{expression} is not true after {seconds:.0f} s; {self.complaints}")
            time.sleep(0.05)

    def show(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be so large, in pixels, and of somebody who likes it dark or not."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def without_scripts(self, off: bool) -> None:
        """Run no scripts of pages from the next one on, or run them again."""
        self.call("Emulation.setScriptExecutionDisabled", value=off)

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something, by the name that its DevTools have for it, and return the answer."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while True:
            said = self._message(method)
            if said.get("id") == self._number:
                if "error" in said:
                    raise BedError(f"{method}: {said['error']}")
                answer: dict[str, Any] = said["result"]
                return answer
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(said["params"]["exceptionDetails"]))
        elif said.get("method") == "Log.entryAdded":
            self.complaints.append(f"{said['params']['entry'].get('url')}: {said['params']['entry']['text']}")

    def _message(self, awaited: str) -> dict[str, Any]:
        until = time.monotonic() + _ANSWER_SECONDS
        while b"\0" not in self._read:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise BedError(f"the browser did not answer to {awaited} within {_ANSWER_SECONDS:.0f} s")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise BedError(f"the browser ended before it answered to {awaited}")
            self._read += more
        text, _end, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextmanager
def tab_running(folder: Path) -> Iterator[Tab]:
    """Run a browser that keeps its files in C(folder), with one page.

    :raises BedError: when there is none, or it does not come up.
    """
    found = program()
    if not found:
        raise BedError(f"no browser is installed, none of {', '.join(PROGRAMS)}: run tests/bed/packages.sh browser")
    orders_in, orders_out = os.pipe()
    answers_in, answers_out = os.pipe()
    environment = {**os.environ, "ORDERS": str(orders_in), "ANSWERS": str(answers_out)}
    command = ["bash", "-c", _START, "bash", found, *_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    log = folder / "chromium.log"
    with log.open("wb") as out:
        browser = subprocess.Popen(
            command,
            pass_fds=(orders_in, answers_out),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    os.close(orders_in)
    os.close(answers_out)
    try:
        try:
            tab = Tab(orders_out, answers_in)
        except (BedError, OSError) as error:
            raise BedError(f"{found}: {error}\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}") from error
        yield tab
    finally:
        os.close(orders_out)
        os.close(answers_in)
        browser.terminate()
        try:
            browser.wait(20)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait(20)
