#!/usr/bin/env bash
# Makes .tools/readers: Python packages that are not ours and read what we write, for the tests and benchmarks that
# compare with them (pyarrow, Pillow, TensorBoard). Once they are installed it costs a few milliseconds. Nothing that a
# pipeline runs needs them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/wheels.sh
source "$root/scripts/wheels.sh"
packages=('numpy>=1.26' 'pillow>=11' 'pyarrow>=17' 'tensorboard>=2.17' 'setuptools<81')
python_packages "${PATCHWORK_CACHE:-$root}/.tools" readers \
    'Python packages for the tests: 80 MB to download' "${packages[@]}"
