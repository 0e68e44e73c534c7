#!/bin/sh
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Install the Debian or Ubuntu packages that a purpose needs and that are missing:
#   packages.sh python | docker | image | servers | browser | go | compiler ...
# Nothing that is installed here is started.
set -eu

missing=""

need() { # program, package that brings it
  if ! command -v "$1" >/dev/null 2>&1 && [ ! -x "/usr/sbin/$1" ]; then
    missing="$missing $2"
  fi
}

need_python() {
  if ! command -v "${PYTHON:-python3}" >/dev/null 2>&1; then
    missing="$missing python3 python3-venv"
  elif ! "${PYTHON:-python3}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing python3-venv"
  fi
}

for purpose in "$@"; do
  case "$purpose" in
    python) need_python ;;
    docker)
      need dockerd docker.io
      # From Debian 13 on the client is a package of its own.
      if ! command -v docker >/dev/null 2>&1; then missing="$missing docker.io docker-cli?"; fi
      ;;
    image)
      need mmdebstrap mmdebstrap
      need ssh openssh-client
      ;;
    servers)
      need redis-server redis-server
      need rabbitmq-server rabbitmq-server
      need prometheus prometheus
      need openssl openssl
      ;;
    browser)
      # Ubuntu has it as a snap alone, which this is not for.
      if ! command -v google-chrome >/dev/null 2>&1; then need chromium "chromium?"; fi
      ;;
    go) need go golang-go ;;
    compiler)
      need gcc gcc
      # What a static program is linked with is no program that could be looked for.
      need gcc libc6-dev
      ;;
    *)
      echo "packages.sh: no purpose '$purpose'" >&2
      exit 2
      ;;
  esac
done

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "packages.sh: missing here:$missing; without apt-get they have to be installed by hand" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  sudo=""
elif command -v sudo >/dev/null 2>&1; then
  sudo="sudo"
else
  echo "packages.sh: missing here:$missing; run this as root or install sudo" >&2
  exit 1
fi

# Stages of a run may miss something at the same moment, and so may other checkouts.
locks="${XDG_CACHE_HOME:-$HOME/.cache}/muejam-celery/locks"
mkdir -p "$locks"
exec 9>"$locks/packages"
flock 9

echo "packages.sh: installing$missing" >&2
$sudo apt-get update -qq

wanted=""
for package in $missing; do
  case "$package" in
    *\?)
      package="${package%\?}"
      if apt-cache show "$package" >/dev/null 2>&1; then wanted="$wanted $package"; fi
      ;;
    *) wanted="$wanted $package" ;;
  esac
done

# Debian starts a daemon as it is installed unless this file says no.
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
  $sudo chmod 755 "$policy"
fi
restore() { if [ -n "$made_policy" ]; then $sudo rm -f "$policy"; fi; }
trap restore EXIT

# shellcheck disable=SC2086 # lists of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $wanted >/dev/null

# Nor are the servers, which the tests run by themselves, to come up with the next boot.
if [ -d /run/systemd/system ]; then
  for package in $wanted; do
    case "$package" in
      redis-server | rabbitmq-server | prometheus) $sudo systemctl disable --quiet "$package" ;;
    esac
  done
fi
