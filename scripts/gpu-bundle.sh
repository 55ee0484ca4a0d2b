#!/usr/bin/env bash
# Packs what scripts/gpu-check.sh needs into one folder of at most 60 MiB, on a machine that needs no GPU: the programs built
# for CUDA, parity cases, pipelines, the extractor's weights and the PyTorch baseline.
#
#   PATCHWORK_CUDA=1 ./justw setup && scripts/gpu-bundle.sh [DIR]        DIR: .gpu-bundle/, which git ignores
#
# The programs are built against the libtorch that set-up made (or LIBTORCH): `PATCHWORK_CUDA=1` or `PATCHWORK_PYTORCH=1`
# for a GPU; the CPU build for a rehearsal. On the other machine libtorch comes from its PyTorch 2.11.0.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
most_mib=60
out=${1:-$root/.gpu-bundle}
cd "$root"

note() { printf 'gpu-bundle: %s\n' "$1" >&2; }

# fail MESSAGE HINT
fail() {
    printf 'gpu-bundle: error: %s\n  hint: %s\n' "$1" "$2" >&2
    exit 1
}

main() {
    local tree
    scripts/setup.sh
    tree=$(mktemp -d "${TMPDIR:-/tmp}/patchwork-bundle.XXXXXX")
    # shellcheck disable=SC2064 # the folder of this moment
    trap "rm -rf '$tree'" EXIT
    build_programs "$tree/bin"
    mkdir -p "$tree/fixtures" "$tree/weights" "$tree/python"
    cp -r tests/fixtures/parity "$tree/fixtures/parity"
    cp -r pipelines configs "$tree/"
    cp weights/efficientnet-lite0-* "$tree/weights/"
    cp -r python/patchwork_torch python/benchmarks "$tree/python/"
    find "$tree/python" -name __pycache__ -prune -exec rm -rf {} +
    describe >"$tree/bundle.json"
    mkdir -p "$out"
    pack "$tree" "$out/bundle.tar.xz"
    rm -rf "$out/gpu_check"
    cp -r scripts/gpu-check.sh scripts/gpu_check "$out/"
    rm -rf "$out/gpu_check/__pycache__"
    check_size
}

# The two programs, the parity suite and three benchmarks, without symbols.
build_programs() {
    local bin=$1 bench built
    mkdir -p "$bin"
    cargo build --release --locked --package patchwork
    built=$(cargo_target)/release
    cp "$built/patchwork" "$built/patchwork-worker" "$bin/"
    cp "$(built_program --test parity_suite)" "$bin/parity_suite"
    for bench in train sample features; do
        cp "$(built_program --bench "$bench")" "$bin/bench-$bench"
    done
    strip "$bin"/*
    "${CC:-cc}" -shared -fPIC -O2 -o "$bin/count-waits.so" scripts/gpu_check/count_waits.c -ldl
}

cargo_target() {
    cargo metadata --format-version 1 --no-deps --locked |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# The path of a test's or a benchmark's program, as cargo reports it.
built_program() {
    cargo build --release --locked --package patchwork-stages "$@" --message-format json |
        python3 -c 'import json, sys
found = [message["executable"] for message in map(json.loads, sys.stdin) if message.get("executable")]
print(found[-1])'
}

describe() {
    local libtorch=${LIBTORCH:-$root/.libtorch}
    python3 - "$libtorch" "$(git rev-parse HEAD)" "$(git status --porcelain | wc -l)" <<'PYTHON'
import json, os, sys, time
libtorch, commit, changed = sys.argv[1:]
version = os.path.join(libtorch, "build-version")
print(json.dumps({
    "commit": commit,
    "changed_files": int(changed),
    "libtorch": open(version).read().strip() if os.path.exists(version) else libtorch,
    "is_cuda": os.path.exists(os.path.join(libtorch, "lib", "libtorch_cuda.so")),
    "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
}))
PYTHON
}

# One archive: what several programs hold alike is in it once, given a window as large as all of them.
pack() {
    note "packing $(du -sm "$1" | cut -f 1) MiB"
    python3 - "$1" "$2" <<'PYTHON'
import lzma, os, sys, tarfile
tree, archive = sys.argv[1:]
filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 256 << 20}]
with lzma.open(archive + ".partial", "wb", check=lzma.CHECK_CRC32, filters=filters) as packed:
    with tarfile.open(fileobj=packed, mode="w") as files:
        for name in sorted(os.listdir(tree)):
            files.add(os.path.join(tree, name), arcname=name)
os.replace(archive + ".partial", archive)
PYTHON
}

check_size() {
    local mib
    mib=$(du -sm --apparent-size "$out" | cut -f 1)
    ((mib <= most_mib)) || fail "the bundle in $out has $mib MiB, more than $most_mib" 'build from a clean checkout of a release'
    note "$out: $mib MiB; there: $out/gpu-check.sh, or PATCHWORK_DEVICE=cpu $out/gpu-check.sh to rehearse"
}

main
