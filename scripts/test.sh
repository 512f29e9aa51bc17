#!/usr/bin/env bash
# Install the test extra into .venv and run the suite; arguments go to pytest.
#   ./scripts/test.sh              everything
#   ./scripts/test.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh dev

ruff check .
ruff format --check .
mypy
python -m pytest "$@"
# The models are backend-agnostic: the same tests under JAX.
KERAS_BACKEND=jax python -m pytest tests/layers tests/models "$@"
