#!/usr/bin/env bash
# From a fresh machine to a SavedModel: make .venv, install, then walk every stage.
#   ./scripts/quickstart.sh                      on a small synthetic corpus
#   ./scripts/quickstart.sh --manual-dir PATH    on your own .csd files
#   ./scripts/quickstart.sh --help
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
case "${1:-}" in -h | --help) exec bash "$here/walk.sh" --help ;; esac
caller="$PWD"
cd "$here/.."
# shellcheck disable=SC1091
source scripts/venv.sh "${MOSEI_SSL_EXTRAS:-audio}"
repository="$PWD"
cd "$caller"
exec bash "$here/walk.sh" --configs "$repository/configs/small" \
  --out "$repository/quickstart" --saved-models "$repository/saved_models" "$@"
