#!/usr/bin/env bash
# Checks Patchwork on a GPU in at most eight minutes: runs the bundle of scripts/gpu-bundle.sh and writes report.md and
# report.json. Needs a Python 3.10 or newer; where it has PyTorch 2.11.0, its libtorch is used and its speed is measured
# beside ours. Needs no network.
#
#   scripts/gpu-check.sh [--bundle DIR] [--out DIR] [--steps NAME,…]
#
# PATCHWORK_DEVICE         cuda:0 (the default), cuda:N, or cpu: the same way in little, on the processor
# PATCHWORK_CHECK_SECONDS  the longest that it may take: 470 s
# PATCHWORK_CHECK_SIZE     small or full, whatever the device
# PATCHWORK_PYTHON         the Python to use: python3
# OUT                      where the report goes: gpu-report/
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PATCHWORK_PYTHON:-python3}
command -v "$python" >/dev/null || {
    echo "gpu-check: \`$python\` is missing; name a Python by PATCHWORK_PYTHON" >&2
    exit 2
}
# Beside the bundle's archive, or in a checkout whose bundle lies in .gpu-bundle/.
bundle=()
if [[ " $* " != *" --bundle"* && ! -e $here/bundle.tar.xz ]]; then bundle=(--bundle "$here/../.gpu-bundle"); fi
exec "$python" "$here/gpu_check" "${bundle[@]}" "$@"
