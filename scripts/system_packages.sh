#!/usr/bin/env bash
# Installs the Debian packages behind the names given, and only those that are missing:
#   scripts/system_packages.sh [make] [venv] [chromium] [fonts]
set -euo pipefail

has() { command -v "$1" >/dev/null 2>&1; }
has_font() { [[ -n $(find /usr/share/fonts /usr/local/share/fonts ~/.fonts ~/.local/share/fonts -name "$1" -print -quit 2>/dev/null) ]]; }

missing=()
for name in "$@"; do
  case $name in
    make) has make || missing+=(make) ;;
    venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv) ;;
    chromium) has chromium || has chromium-browser || has google-chrome || missing+=(chromium) ;;
    fonts) # letters of most scripts, and emoji: the browser tests read what is drawn
      has_font 'DejaVuSans.ttf' || missing+=(fonts-dejavu-core)
      has_font 'NotoColorEmoji.ttf' || missing+=(fonts-noto-color-emoji) ;;
    *) echo "$0: unknown name $name" >&2; exit 2 ;;
  esac
done
((${#missing[@]})) || exit 0

if ! has apt-get; then
  echo "Missing: ${missing[*]} (Debian's names). This machine has no apt-get: install them its own way, then run again." >&2
  exit 1
fi
as_root=()
if ((EUID)); then
  if ! has sudo; then
    echo "Missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
