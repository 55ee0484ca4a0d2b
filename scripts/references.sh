#!/usr/bin/env bash
# Makes .tools/references: pytorch-fid 0.3.0 with PyTorch, which `just bench evaluate` compares with. Nothing else needs
# them. PyTorch comes from the Python package index, where its wheels for x86_64 Linux are the CUDA ones: 3 GB to
# download, 7 GB unpacked. PATCHWORK_BENCH_PYTHON names a Python that has them already: then nothing is done.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/wheels.sh
source "$root/scripts/wheels.sh"
# SciPy 1.18 drops the argument of sqrtm that pytorch-fid 0.3.0 gives.
packages=('torch==2.11.0' 'torchvision==0.26.0' 'pytorch-fid==0.3.0' 'scipy<1.16' 'numpy>=1.26' 'pillow>=11')
[[ -z ${PATCHWORK_BENCH_PYTHON:-} ]] || exit 0
python_packages "${PATCHWORK_CACHE:-$root}/.tools" references \
    'pytorch-fid with PyTorch, to compare with: 3 GB to download' "${packages[@]}"
