# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd reads from what we write: read back here by its documented rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muejam.celery.plugins.module_utils.fleet import placeholders, systemd_text

TEXT = st.text(alphabet=st.sampled_from("ab%iH$\"'\\` \t;{}#=-é"), max_size=12)
ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}


def unquoted(word: str) -> str:
    if not word.startswith('"'):
        return word
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', word), word
    return re.sub(r"\\(.)", lambda found: ESCAPES[found[1]], word[1:-1])


def expanded(text: str) -> str:
    return re.sub(r"%(.)", lambda found: {"%": "%", "i": "7", "H": "box"}[found[1]], text)


@given(TEXT)
def test_an_argument_arrives_as_it_was_meant(text: str) -> None:
    word = unquoted(systemd_text.argument(text))
    arrived = re.sub(r"\$(.)", lambda found: {"$": "$"}[found[1]], expanded(word))
    assert arrived == placeholders.filled(text, 7, "box")


@given(TEXT)
def test_a_literal_arrives_as_it_is(text: str) -> None:
    assert placeholders.filled(placeholders.literal(text), 7, "box") == text
    assert not placeholders.uses_number(placeholders.literal(text))


@given(TEXT)
def test_a_variable_of_the_unit_arrives_as_it_was_meant(text: str) -> None:
    line = expanded(unquoted(systemd_text.unit_variable("A", text)))
    assert line == "A=" + placeholders.filled(text, 7)


@given(TEXT | st.just("two\nlines"))
def test_a_variable_of_the_file_arrives_as_it_is(text: str) -> None:
    line = systemd_text.file_variable("A", text)
    assert re.sub(r'\\([\\"`$])', r"\1", line[len('A="') : -1]) == text
    assert re.fullmatch(r'A="(?:[^"\\]|\\[\\"`$])*"', line)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("--pool=solo", "--pool=solo"),
        ("", '""'),
        (";", '";"'),
        ("a b", '"a b"'),
        ("%n.log", "%%n.log"),
        ("web-%i@%H", "web-%i@%H"),
        ("%%i", "%%i"),
        ("$HOME", '"$$HOME"'),
        ('{"a": 1}', '"{\\"a\\": 1}"'),
    ],
)
def test_words(text: str, word: str) -> None:
    assert systemd_text.argument(text) == word


def test_in_an_environment_only_the_number_is_filled_in() -> None:
    assert placeholders.filled("%H:%M 900%i 100%%i", 3) == "%H:%M 9003 100%i"
    assert placeholders.plain("%H:%M 100%%i") == "%H:%M 100%i"
    assert systemd_text.unit_variable("A", "%H:%M 900%i") == '"A=%%H:%%M 900%i"'
