#!/usr/bin/env bash
# launch.sh RANKS PROGRAM…: starts so many ranks of a program on this machine and tells each as torchrun does.
set -uo pipefail
ranks=$1; shift
processes=()
for ((rank = 0; rank < ranks; rank++)); do
  RANK=$rank WORLD_SIZE=$ranks LOCAL_RANK=$rank "$@" &
  processes+=($!)
done
trap 'kill -TERM "${processes[@]}" 2>/dev/null' TERM
worst=0
for process in "${processes[@]}"; do
  # A signal ends a wait early.
  while :; do
    wait "$process"; code=$?
    kill -0 "$process" 2>/dev/null || break
  done
  ((code <= worst)) || worst=$code
done
exit "$worst"
