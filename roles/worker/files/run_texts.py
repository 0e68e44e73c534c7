# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the probe of an app from the texts of its files: nothing of it is put on the host.

Standard input: a JSON object, the request; `texts` in it has the packages, each {name of a file: its text}.
Standard output: one line of JSON, whatever happens.
"""

import importlib
import importlib.abc
import importlib.util
import json
import os
import sys


class Texts(importlib.abc.InspectLoader):
    """Imports flat packages from the texts of their files."""

    def __init__(self, packages):
        self.packages = packages
        self.texts = {
            (package + "." + name[: -len(".py")]).replace(".__init__", ""): text
            for package, files in packages.items()
            for name, text in files.items()
        }

    def find_spec(self, fullname, path=None, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname in self.texts else None

    def is_package(self, fullname):
        return fullname in self.packages

    def get_source(self, fullname):
        return self.texts[fullname]


def main():
    source, request = sys.argv[1], json.load(sys.stdin)
    sys.meta_path.insert(0, Texts(request["texts"]))
    outside = importlib.import_module("muejam_celery_probe.outside")
    if len(sys.argv) == 2:
        print(json.dumps(outside.outside(source, request)))
        return
    answer = importlib.import_module("muejam_celery_probe.inside").inside(request)
    print("\n" + outside.MARK + json.dumps(answer), flush=True)
    # Threads and exit handlers of an app are not to hold up the answer.
    os._exit(0)


if __name__ == "__main__":
    main()
