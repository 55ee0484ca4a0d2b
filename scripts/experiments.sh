#!/usr/bin/env bash
# experiments.sh PATCHWORK HOME: the scores of the experiments that are finished in HOME, as CSV in docs/experiments
set -euo pipefail
patchwork=$(realpath "$1") home=$(realpath "$2")
cd "$(dirname "$0")/.."
for file in pipelines/experiments/*.toml; do
    name=$(basename "$file" .toml)
    # Scores of some of the seeds alone are not a result.
    if ! plan=$("$patchwork" --home "$home" explain "$file" --format csv 2>/dev/null) || grep -qv ',cached,' <<< "${plan#*$'\n'}"; then
        echo "$name: not finished in $home, not exported" >&2
        continue
    fi
    mkdir -p "docs/experiments/$name"
    for metric in fd_efficientnet_lite0 fd_crop_half_efficientnet_lite0 precision_efficientnet_lite0 recall_efficientnet_lite0; do
        "$patchwork" --home "$home" compare --metric "$metric" --pipeline "$name" --incomparable --format csv \
            > "docs/experiments/$name/$metric.csv" 2>/dev/null
    done
    echo "$name: exported"
done
"$patchwork" --home "$home" query "SELECT run, stage, error FROM failed_stages" --format csv > docs/experiments/failed.csv
