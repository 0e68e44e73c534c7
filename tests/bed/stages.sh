#!/bin/sh
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Run make targets one after the other, each with a banner and its duration; stop at the first that fails.
# The last one ends with its own words.
set -eu

begun=$(date +%s)
past=""

while [ $# -gt 0 ]; do
  stage="$1"
  shift
  if [ $# -eq 0 ] && [ -n "$past" ]; then
    printf '\n==> so far:%s\n' "$past"
  fi
  printf '\n==> %s\n' "$stage"
  started=$(date +%s)
  if ! "${MAKE:-make}" --no-print-directory "$stage"; then
    printf '\n==> FAILED in the stage "%s" after %s s (passed before it:%s)\n' \
      "$stage" "$(($(date +%s) - started))" "${past:- nothing}" >&2
    printf '    again, this stage alone: make %s\n' "$stage" >&2
    exit 1
  fi
  past="$past $stage $(($(date +%s) - started)) s,"
  if [ $# -gt 0 ]; then
    printf '==> %s passed in %s s (%s s since the start)\n' \
      "$stage" "$(($(date +%s) - started))" "$(($(date +%s) - begun))"
  fi
done
