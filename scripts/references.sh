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
tools=${PATCHWORK_CACHE:-$root}/.tools
references=$tools/references
stamp="$(python3 --version 2>&1) ${packages[*]}"

main() {
    [[ -z ${PATCHWORK_BENCH_PYTHON:-} ]] || return 0
    [[ -f $references/stamp && $(<"$references/stamp") == "$stamp" ]] && return
    require_pip
    local partial=$tools/references-partial
    mkdir -p "$tools"
    exec 8>"$tools/references.lock"
    python3 -c 'import fcntl; fcntl.flock(8, fcntl.LOCK_EX)'
    [[ -f $references/stamp && $(<"$references/stamp") == "$stamp" ]] && return
    rm -rf "$partial" "$references"
    note 'pytorch-fid with PyTorch, to compare with: 3 GB to download'
    PIP_REQUIRE_VIRTUALENV=0 python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --only-binary=:all: --target "$partial" "${packages[@]}" 2>"$tools/references.log" ||
        explain_pip_failure "$(<"$tools/references.log")"
    echo "$stamp" >"$partial/stamp"
    mv "$partial" "$references"
}

main
