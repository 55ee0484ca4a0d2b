# Patchwork's recipes. `./justw RECIPE` works without an installed `just`.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

patchwork := env("CARGO_TARGET_DIR", "target") / "release/patchwork"

# list the recipes
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# fetch libtorch and the feature extractor's weights; costs nothing once they are installed
setup:
    @scripts/setup.sh

# build the program: target/release/patchwork
build: setup
    @cargo build --release --locked --package patchwork

# write pipelines/NAME.toml for a folder or archive of images: `just init data/pets`
[no-exit-message]
init *ARGS: build
    @"{{ patchwork }}" init "$@"

# run pipelines/NAME.toml: `just pipeline demo`, `just pipeline experiments/p-ratio --dry-run`
[no-exit-message]
pipeline NAME *ARGS: build
    @"{{ patchwork }}" run "pipelines/$1.toml" "${@:2}"

# Python packages that read in the tests what we write; costs nothing once they are installed
[private]
readers:
    @scripts/readers.sh

# what CI runs: format, clippy, documentation, dependencies, all tests
test: setup readers && deny
    scripts/check-links.py
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --release --workspace --no-deps --document-private-items --locked
    cargo test --release --workspace --locked

# the fast part of `test`: format, clippy, unit tests
check: setup
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    cargo test --release --workspace --lib --locked

# hold all dependencies against deny.toml: licences, sources, advisories
deny:
    @scripts/deny.sh

# test python/patchwork_torch, against the program too; needs a Python with PyTorch (PATCHWORK_PYTHON)
test-python *ARGS: build
    @scripts/test-python.sh "$(realpath "{{ patchwork }}")" "$@"

# compare with the reference implementations' numbers: those of the repository, or of DIR; on PATCHWORK_DEVICE, the CPU if unset
parity DIR="": setup
    @if [[ -n $1 ]]; then PARITY_DIR=$(cd "{{ invocation_directory() }}" && cd "$1" && pwd); export PARITY_DIR; fi; \
    cargo test --release --locked --workspace --test parity_suite -- --nocapture

# renew docs/reference/settings.md and schemas/pipeline.json from the settings' types, docs/reference/commands.md from the help
settings:
    PATCHWORK_WRITE_SETTINGS=1 cargo test --release --locked --workspace --test manual
    PATCHWORK_WRITE_SETTINGS=1 cargo test --release --locked --package patchwork --bin patchwork the_reference_of_commands

# write the tables and plots of docs/experiments.md again; with HOME its scores too, from that home's registry
experiments HOME="":
    @if [[ -n $1 ]]; then "{{ just_executable() }}" --justfile "{{ justfile() }}" build; scripts/experiments.sh "{{ patchwork }}" "$1"; fi
    PATCHWORK_WRITE_EXPERIMENTS=1 cargo test --release --locked --package patchwork --test experiments_page

# kill the smoke pipeline at random moments, N times to its end, and compare every byte with an undisturbed run
crash N="100": setup
    PATCHWORK_CRASH_ROUNDS="$1" cargo test --release --locked --workspace --test end_to_end -- a_killed_run --nocapture

# fail, and die, at every operation that makes bytes permanent, one after the other (a quarter of an hour)
faults: setup
    PATCHWORK_FAULT_STRIDE=1 cargo test --release --locked --workspace --test end_to_end -- a_fault_at_any --nocapture

# train the demo's network for MINUTES with a checkpoint every minute; prints the drift of memory and images a second
[no-exit-message]
soak MINUTES="60": build
    @scripts/soak.sh "{{ patchwork }}" "$1"

# measure NAME: autoencoder, dataset, evaluate, features, ranks, registry, serve [--beside-training], stored_latents, supervisor, train_autoencoder; beside PyTorch: sample, train [--device cuda]
bench NAME *ARGS: setup readers
    @if [[ $1 == evaluate ]]; then scripts/references.sh; fi
    cargo bench --locked --workspace --bench "$1" -- "${@:2}"

# resume what failed or was interrupted: `just retry`, `just retry celeba-3`
[no-exit-message]
retry *ARGS: build
    @"{{ patchwork }}" retry "$@"

# compare runs: `just compare demo-1 demo-2`
[no-exit-message]
compare *ARGS: build
    @"{{ patchwork }}" compare "$@"

# open the registry in sqlite3, read-only
[no-exit-message]
db:
    @command -v sqlite3 >/dev/null || { echo 'sqlite3 is missing (Debian, Ubuntu: sudo apt install sqlite3); `just query SQL` needs none' >&2; exit 1; }
    @registry="${PATCHWORK_HOME:-runs}/registry.db"; \
    [[ -f $registry ]] || { echo "there is no $registry yet: run a pipeline first" >&2; exit 1; }; \
    sqlite3 -readonly -header -column "$registry"

# show the runs in a browser
[no-exit-message]
serve *ARGS: build
    @"{{ patchwork }}" serve "$@"

# list the runs
[no-exit-message]
runs *ARGS: build
    @"{{ patchwork }}" runs "$@"

# ask the registry: `just query "SELECT * FROM run_summary"`
[no-exit-message]
query SQL *ARGS: build
    @"{{ patchwork }}" query "$@"

# check the installation and suggest fixes
[no-exit-message]
doctor *ARGS: build
    @"{{ patchwork }}" doctor "$@"
