#!/usr/bin/env bash
# Install the test extra into .venv and run the suite, examples in docstrings included; arguments go
# to pytest.
#   ./scripts/test.sh              everything
#   ./scripts/test.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh dev

ruff check .
ruff format --check .
mypy
# One process per core, one thread each; a file's tests stay together, they share fixtures. The order
# is that of tests/conftest.py: slow files first.
export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
parallel=(--numprocesses "${PYTEST_WORKERS:-auto}" --dist loadfile --no-loadscope-reorder)
python -m pytest "${parallel[@]}" "$@"
# The models are backend-agnostic: the same tests under JAX, which would spend most of its time on
# optimising programs that run once; both processes share what they compile.
JAX_COMPILATION_CACHE_DIR="$(mktemp -d)"
trap 'rm -rf "$JAX_COMPILATION_CACHE_DIR"' EXIT
export JAX_COMPILATION_CACHE_DIR JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
quick="--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
KERAS_BACKEND=jax XLA_FLAGS="$quick ${XLA_FLAGS:-}" \
  python -m pytest "${parallel[@]}" tests/layers tests/models tests/examples "$@"
