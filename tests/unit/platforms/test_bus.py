# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd asked over D-Bus: a bus of the test's own answers as it is told to."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jeepney import HeaderFields, Message, new_error, new_method_return
from jeepney.low_level import Parser

from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd import bus
from ansible_collections.muejam.celery.plugins.module_utils.platforms.systemd.bus import Bus

ROW = ("celery-worker-web@1.service", "Worker 1", "loaded", "active", "running", "", "/unit/a", 417, "stop", "/job/417")
PATTERN = "celery-worker-web@*.service"

Answer = Callable[[Message], Message | None]


def units(asked: Message) -> Message:
    """Answer with one unit, or with none to another pattern."""
    return new_method_return(asked, "a(ssssssouso)", ([ROW] if asked.body == ([], [PATTERN]) else [],))


def greeting(asked: Message) -> Message:
    return new_method_return(asked, "s", (":1.1",))


def silence(_asked: Message) -> None:
    return None


def refusal(asked: Message) -> Message:
    return new_error(asked, "org.freedesktop.DBus.Error.LimitsExceeded", "s", ("no",))


class MadeUpBus:
    """Serves one connection after the other."""

    def __init__(self, path: Path) -> None:
        self.login = b"OK 0123456789abcdef0123456789abcdef\r\n"
        self.greet: Answer = greeting
        self.answer: Answer = units
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.ways: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End all connections, as a bus that is started anew does."""
        for way in self.ways:
            with contextlib.suppress(OSError):
                way.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Be no more."""
        # A thread that waits for the next connection does not hear that its socket is closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                way, _address = self._listener.accept()
                self.connections += 1
                self.ways.append(way)
                threading.Thread(target=self._speak, args=(way,), daemon=True).start()

    def _speak(self, way: socket.socket) -> None:
        with contextlib.suppress(OSError), way:
            heard = b""
            while b"BEGIN\r\n" not in heard:
                data = way.recv(4096)
                if not data:
                    return
                heard += data
                if b"AUTH" in data:
                    way.sendall(self.login)
            parser, serial = Parser(), 0
            parser.add_data(heard.partition(b"BEGIN\r\n")[2])
            while True:
                asked = parser.get_next_message()
                if asked is None:
                    data = way.recv(4096)
                    if not data:
                        return
                    parser.add_data(data)
                    continue
                hello = asked.header.fields.get(HeaderFields.member) == "Hello"
                reply = self.greet(asked) if hello else self.answer(asked)
                if reply:
                    serial += 1
                    way.sendall(reply.serialise(serial))


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpBus]:
    path = tmp_path / "bus"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
    served = MadeUpBus(path)
    yield served
    served.close()


def test_units_are_listed_over_one_connection(made_up: MadeUpBus) -> None:
    asked = Bus()
    assert asked.list_units(PATTERN) == {"celery-worker-web@1.service": ("active", "running", "stop")}
    assert asked.list_units("celery-worker-mail@*.service") == {}
    assert made_up.connections == 1
    asked.close()


def test_a_connection_that_is_lost_is_made_anew_with_the_next_question(made_up: MadeUpBus) -> None:
    asked = Bus()
    assert asked.list_units(PATTERN)
    made_up.cut()
    assert asked.list_units(PATTERN) is None
    assert asked.list_units(PATTERN)
    asked.close()


@pytest.mark.parametrize(
    "answer",
    [
        refusal,
        lambda asked: new_method_return(asked, "as", (["celery-worker-web@1.service"],)),
        lambda asked: new_method_return(asked),
    ],
    ids=["refused", "another form", "empty"],
)
def test_what_is_no_list_is_unknown_and_not_empty(made_up: MadeUpBus, answer: Answer) -> None:
    asked = Bus()
    made_up.answer = answer
    assert asked.list_units(PATTERN) is None
    made_up.answer = units
    assert asked.list_units(PATTERN)
    asked.close()


@pytest.mark.parametrize("where", ["greet", "answer"])
def test_a_bus_that_is_silent_is_given_up(made_up: MadeUpBus, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    asked = Bus()
    with monkeypatch.context() as impatient:
        impatient.setattr(bus, "PATIENCE", 0.3)
        setattr(made_up, where, silence)
        assert asked.list_units(PATTERN) is None
    setattr(made_up, where, {"greet": greeting, "answer": units}[where])
    assert asked.list_units(PATTERN)
    asked.close()


def test_a_bus_that_lets_nobody_in_is_asked_again(made_up: MadeUpBus) -> None:
    asked = Bus()
    made_up.greet = refusal
    assert asked.list_units(PATTERN) is None
    made_up.greet, made_up.login = greeting, b"REJECTED EXTERNAL\r\n"
    assert asked.list_units(PATTERN) is None
    made_up.login = b"no such thing\r\n"
    assert asked.list_units(PATTERN) is None
    made_up.login = b"OK 0123456789abcdef0123456789abcdef\r\n"
    assert asked.list_units(PATTERN)
    asked.close()


def test_what_is_no_message_ends_the_connection(made_up: MadeUpBus) -> None:
    asked = Bus()
    assert asked.list_units(PATTERN)
    for way in made_up.ways:
        way.sendall(b"\xff" * 64)
    assert asked.list_units(PATTERN) is None
    assert asked.list_units(PATTERN)
    asked.close()


def test_without_a_bus_or_the_library_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    assert Bus().list_units(PATTERN) is None
    monkeypatch.setitem(sys.modules, "jeepney", None)
    assert Bus().list_units(PATTERN) is None
