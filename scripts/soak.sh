#!/usr/bin/env bash
# Trains the demo's network for MINUTES with a checkpoint every minute, and prints memory and images a second by
# twelfths of the time, with their drift from the second twelfth (the first warms up) to the last.
# usage: scripts/soak.sh PATCHWORK MINUTES
set -euo pipefail
patchwork=$1 minutes=$2
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || { echo "\`$minutes\` is not a number of minutes" >&2; exit 2; }
home=$(mktemp -d "${TMPDIR:-/tmp}/patchwork-soak.XXXXXX")
trap 'rm -rf "$home"' EXIT
export PATCHWORK_HOME=$home
status=0
"$patchwork" run pipelines/demo.toml --until train \
    --set stages.train.duration_images=1_000_000_000 --set stages.train.max_minutes="$minutes" \
    --set stages.train.checkpoint_minutes=1 --set stages.train.log_every_seconds=5 || status=$?
# 130: stopped at its limit, as it should.
((status == 130)) || exit "$status"

# The mean of a series in each twelfth of its time, and the change from the second to the last.
series() {
    "$patchwork" query "
        WITH points AS (SELECT value, julianday(time) AS time FROM metrics WHERE name = '$1'),
             span AS (SELECT MIN(time) AS begin, MAX(time) AS until FROM points),
             parts AS (
                 SELECT CAST(MIN(11, 12 * (time - begin) / (until - begin)) AS INTEGER) + 1 AS part, value
                 FROM points, span)
        SELECT part, COUNT(*) AS points, ROUND(AVG(value), 2) AS $1,
               ROUND(100 * (AVG(value) / (SELECT AVG(value) FROM parts WHERE part = 2) - 1), 2) AS drift_percent
        FROM parts GROUP BY part ORDER BY part"
}
series memory_mib
series images_per_second
