# Sourced by the other scripts: makes .venv with the extras given and activates it.
#   PYTHON=python3.12 chooses the interpreter, 3.11 to 3.13; MOSEI_SSL_VENV another place than .venv.
_venv="${MOSEI_SSL_VENV:-.venv}"
# Nothing where the command does not run: pyenv also has commands for versions not chosen.
_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }
_python="${PYTHON:-python3}"
if [ ! -x "$_venv/bin/python" ]; then
  case "$(_version "$_python")" in
    3.11 | 3.12 | 3.13) "$_python" -m venv "$_venv" ;;
    *) echo "Python 3.11, 3.12 or 3.13 is needed; '$_python' is not. Set PYTHON to one." >&2; exit 2 ;;
  esac
elif [ -n "${PYTHON:-}" ] && [ "$(_version "$PYTHON")" != "$(_version "$_venv/bin/python")" ]; then
  echo "$_venv has Python $(_version "$_venv/bin/python"), not that of PYTHON=$PYTHON:" \
    "remove it, or set MOSEI_SSL_VENV to another place." >&2
  exit 2
fi
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
