#!/usr/bin/env bash
# Makes .tools/readers: Python packages that are not ours and read what we write, for the tests and benchmarks that
# compare with them (pyarrow, Pillow, TensorBoard). Once they are there it costs a few milliseconds. Nothing that a
# pipeline runs needs them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/wheels.sh
source "$root/scripts/wheels.sh"
packages=('numpy>=1.26' 'pillow>=11' 'pyarrow>=17' 'tensorboard>=2.17' 'setuptools<81')
tools=${PATCHWORK_CACHE:-$root}/.tools
readers=$tools/readers
stamp="$(python3 --version 2>&1) ${packages[*]}"

main() {
    [[ -f $readers/stamp && $(<"$readers/stamp") == "$stamp" ]] && return
    require_pip
    local partial=$tools/readers-partial
    mkdir -p "$tools"
    exec 8>"$tools/readers.lock"
    python3 -c 'import fcntl; fcntl.flock(8, fcntl.LOCK_EX)'
    [[ -f $readers/stamp && $(<"$readers/stamp") == "$stamp" ]] && return
    rm -rf "$partial" "$readers"
    note 'Python packages for the tests: 80 MB to download'
    PIP_REQUIRE_VIRTUALENV=0 python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --only-binary=:all: --target "$partial" "${packages[@]}" 2>"$tools/readers.log" ||
        explain_pip_failure "$(<"$tools/readers.log")"
    echo "$stamp" >"$partial/stamp"
    mv "$partial" "$readers"
}

main
