#!/bin/sh
# Checks what `build` left behind, on another cluster: every checksum, and the counts against the archive's own content.
set -eu
input=$TOMBOLO_INPUTS/build

echo "checking $(wc -l < "$input/SHA256SUMS") checksums"
(cd "$input" && sha256sum --check --quiet SHA256SUMS)

mkdir unpacked
tar --extract --gzip --file "$input/sources.tar.gz" --directory unpacked
found=$(find unpacked -type f | wc -l)
expected=$(wc -l < "$input/files.txt")
[ "$found" -eq "$expected" ] || { echo "expected $expected files, found $found" >&2; exit 1; }

lines=$(cd unpacked && xargs -d '\n' awk 'END { print NR }' < "$input/files.txt" | awk '{ sum += $1 } END { print sum }')
[ "$lines" -eq "$(cat "$input/report/line-count.txt")" ] || { echo "the archive has $lines lines, the report says otherwise" >&2; exit 1; }

echo "all good: $found files, $lines lines"
printf 'files %d\nlines %d\n' "$found" "$lines" > "$TOMBOLO_OUTPUT/result.txt"
