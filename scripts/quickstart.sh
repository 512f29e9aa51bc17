#!/usr/bin/env bash
# From a fresh machine to a SavedModel: make .venv, install, then walk every stage.
#   ./scripts/quickstart.sh                                     on a small synthetic corpus
#   ./scripts/quickstart.sh --recordings DIR --labels SHEET     on your recordings and their labels
#   ./scripts/quickstart.sh --manual-dir DIR                    on a corpus in MOSEI's layout
# All options: mosei-ssl quickstart --help
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,6s/^# *//p' "$0" && exit ;; esac
caller="$PWD"
cd "$(dirname "$0")/.."
# shellcheck disable=SC1091
source scripts/venv.sh "${MOSEI_SSL_EXTRAS:-audio,train}"
places=(--out "$PWD/quickstart" --saved-models "$PWD/saved_models")
cd "$caller"
[ "${1:-}" != --recordings ] || shift
exec mosei-ssl quickstart "${places[@]}" "$@"
