#!/bin/sh
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Make the virtual environment that the checks and the demo run in: venv.sh DIRECTORY
set -eu

python="${PYTHON:-python3}"
directory="$1"
here="$(dirname "$0")"
requirements="$here/../../requirements/test.txt"
stamp="$directory/made-from"

"$here/packages.sh" python
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "venv.sh: $("$python" --version) is too old: install Python 3.11 or newer and say make PYTHON=python3.12" >&2
  exit 1
fi

# A virtual environment cannot be moved, so where it lies counts too.
fingerprint="$(sha256sum <"$requirements" | cut -c1-16) $("$python" --version) $(pwd)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ]; then exit 0; fi

echo "venv.sh: making $directory (a few minutes, once)" >&2
rm -rf "$directory"
"$python" -m venv "$directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
printf '%s\n' "$fingerprint" >"$stamp"
