#!/usr/bin/env bash
# experiments.sh PATCHWORK HOME: the scores of the experiments in the registry of HOME, as CSV in docs/experiments
set -euo pipefail
patchwork=$1 home=$2
cd "$(dirname "$0")/.."
for file in pipelines/experiments/*.toml; do
    name=$(basename "$file" .toml)
    for metric in fd_efficientnet_lite0 fd_crop_half_efficientnet_lite0 precision_efficientnet_lite0 recall_efficientnet_lite0; do
        scores=$("$patchwork" --home "$home" compare --metric "$metric" --pipeline "$name" --incomparable --format csv 2>/dev/null) || continue
        mkdir -p "docs/experiments/$name"
        printf '%s\n' "$scores" > "docs/experiments/$name/$metric.csv"
    done
done
"$patchwork" --home "$home" query "SELECT run, stage, error FROM failed_stages" --format csv > docs/experiments/failed.csv
