# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes of one node for tests: bring it up, take it down, give it images, or say how to reach it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bed"))

from muejam_bed.engine import ensure_engine
from muejam_bed.shell import BedError
from muejam_cluster import node
from muejam_cluster.images import ensure_demo


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    commands = argparse.ArgumentParser(prog="cluster.py", description=__doc__)
    verbs = commands.add_subparsers(dest="verb", required=True)
    for verb, help_text in (
        ("up", "bring the cluster of this checkout up and print the path of its kubeconfig"),
        ("down", "remove it with everything in it"),
        ("kubeconfig", "print the path of its kubeconfig"),
        ("kubectl", "print the path of kubectl"),
        ("prepared", "make what it is made of, programs and images, so that it comes up at once"),
        ("demo-image", "make the image of the demo's application in the Docker engine and print its name"),
    ):
        verbs.add_parser(verb, help=help_text)
    load = verbs.add_parser("load-image", help="give it images that the Docker engine has")
    load.add_argument("image", nargs="+")
    return commands


def main() -> int:
    """Do what the command line asks for."""
    given = parser().parse_args()
    try:
        if given.verb == "up":
            print(node.up())
        elif given.verb == "down":
            node.down()
        elif given.verb == "kubeconfig":
            print(node.kubeconfig())
        elif given.verb == "kubectl":
            print(node.kubectl())
        elif given.verb == "prepared":
            node.prepare()
        elif given.verb == "demo-image":
            ensure_engine()
            print(ensure_demo())
        else:
            for image in given.image:
                node.load_image(image)
    except BedError as error:
        print(f"bed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
