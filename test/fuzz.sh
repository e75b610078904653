#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Fuzzes every target of the module, one after the other.
#
#   test/fuzz.sh [TIME]    how long each gets, 10s if not said
set -euo pipefail

cd "$(dirname "$0")/.."
time=${1:-10s}
found=0

while IFS=: read -r file _ line; do
    target=${line#func }
    target=${target%%(*}
    found=$((found + 1))
    printf '\n== %s in %s, for %s\n' "$target" "$(dirname "$file")" "$time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null
done < <(find cmd internal packaging test -name '*_test.go' -print0 | xargs -0 grep -nE '^func Fuzz[A-Za-z0-9_]*\(' /dev/null)

if [ "$found" -eq 0 ]; then
    echo 'fuzz: no fuzz target found' >&2
    exit 1
fi
printf '\n%d fuzz targets, nothing found\n' "$found"
