# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systemd hosts for tests and the demo: bring one up, take it down, or print an inventory for it."""

from __future__ import annotations

import argparse
import sys

from muejam_bed import container, reach
from muejam_bed.engine import ensure_engine
from muejam_bed.image import RELEASES, ensure_image
from muejam_bed.prepared import ensure_prepared
from muejam_bed.shell import BedError, checkout_key


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    commands = argparse.ArgumentParser(prog="host.py", description=__doc__)
    verbs = commands.add_subparsers(dest="verb", required=True)

    for verb, help_text in (
        ("image", "make sure there is an engine and the image of a bare host"),
        ("prepared", "the same with the image of a host that has packages and virtual environments"),
    ):
        engine = verbs.add_parser(verb, help=help_text)
        engine.add_argument("--release", choices=RELEASES, default="bookworm")

    up = verbs.add_parser("up", help="bring a host up and print an inventory for it")
    up.add_argument("name")
    up.add_argument("--release", choices=RELEASES, default="bookworm")
    up.add_argument("--prepared", action="store_true", help="with what the roles would install")
    up.add_argument("--fresh", action="store_true", help="replace a host of this name")

    for verb, help_text in (
        ("down", "remove hosts with everything on them"),
        ("inventory", "print an inventory for a running host"),
        ("address", "print a running host's IP address"),
    ):
        one = verbs.add_parser(verb, help=help_text)
        one.add_argument("name", nargs="+" if verb == "down" else None)

    verbs.add_parser("prefix", help="print what the names of this checkout's hosts begin with")
    verbs.add_parser("clean", help="remove every host that this checkout started")
    return commands


def main() -> int:
    """Do what the command line asks for."""
    given = parser().parse_args()
    if given.verb == "prefix":
        print(f"muejam-{checkout_key()}")
        return 0
    try:
        ensure_engine()
        if given.verb == "image":
            print(ensure_image(given.release))
        elif given.verb == "prepared":
            print(ensure_prepared(given.release))
        elif given.verb == "up":
            image = ensure_prepared(given.release) if given.prepared else None
            container.up(given.name, given.release, fresh=given.fresh, image=image)
            print(reach.inventory(given.name), end="")
        elif given.verb == "inventory":
            print(reach.inventory(given.name), end="")
        elif given.verb == "address":
            print(container.address(given.name))
        else:
            for name in given.name if given.verb == "down" else container.names_of_checkout():
                container.down(name)
    except BedError as error:
        print(f"bed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
