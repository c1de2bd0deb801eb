#!/usr/bin/env bash
# Makes a virtual environment and installs this project into it, from locks with hashes.
#   deploy/venv.sh DIRECTORY LOCK…
set -euo pipefail

venv=$1
shift

if [ ! -x "$venv/bin/pip" ]; then
  python=""
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "assetgate needs Python 3.11 or newer, found $(python3 --version 2>&1 || echo none): apt-get install python3 python3-venv" >&2
    exit 1
  fi
  echo "• Python environment in $venv ($("$python" --version))"
  rm -rf "$venv"
  if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "$python cannot make virtual environments: apt-get install python3-venv" >&2
    exit 1
  fi
fi

for lock in "$@"; do
  echo "• Packages of $lock"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock"
done
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
