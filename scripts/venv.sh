# Sourced by the other scripts: makes .venv with the extras given and activates it.
#   PYTHON=python3.11 chooses the interpreter; MOSEI_SSL_VENV another place than .venv.
_venv="${MOSEI_SSL_VENV:-.venv}"
_python="${PYTHON:-python3}"
if ! "$_python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  echo "Python 3.11 is needed; '$_python' is not. Set PYTHON to one." >&2
  exit 2
fi
[ -x "$_venv/bin/python" ] || "$_python" -m venv "$_venv"
# shellcheck disable=SC1091
source "$_venv/bin/activate"
_stamp="$_venv/.installed-$1"
if [ ! -e "$_stamp" ] || [ setup.cfg -nt "$_stamp" ]; then
  echo "Installing mosei_ssl[$1] into $_venv (once; a few minutes) ..."
  python -m pip install --quiet --upgrade "pip>=25"
  # Twice quiet: errors are shown, but not setuptools' general remarks on editable installations.
  python -m pip install --quiet --quiet --editable ".[$1]"
  touch "$_stamp"
fi
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
