#!/usr/bin/env bash
# The recipe `test-python`: types, lints and tests of python/patchwork_torch, against the built program too. Needs a Python
# with PyTorch and the packages of `python/pyproject.toml` ([project] and `test`): PATCHWORK_PYTHON, or `python3`.
#
# test-python.sh PATCHWORK [PYTEST-ARGUMENTS...]
set -euo pipefail
program=$1
shift
python=${PATCHWORK_PYTHON:-python3}
cd "$(dirname "${BASH_SOURCE[0]}")/../python"

fail() {
    printf 'test-python: %s\n  hint: %s\n' "$1" "$2" >&2
    exit 1
}

"$python" -c 'import torch' 2>/dev/null ||
    fail "\`$python\` does not import PyTorch" \
        'pip install torch, or name a Python that has it by PATCHWORK_PYTHON'
missing=$("$python" - <<'PYTHON'
import importlib.util
wanted = ["safetensors", "numpy", "pyarrow", "pandas", "blake3", "pytest", "mypy", "ruff"]
print(*(name for name in wanted if importlib.util.find_spec(name) is None))
PYTHON
)
[[ -z $missing ]] || fail "\`$python\` is missing $missing" "$python -m pip install './python[test]'"
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
PATCHWORK_PROGRAM=$program "$python" -m pytest -q "$@"
