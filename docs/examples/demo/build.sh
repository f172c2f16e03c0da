#!/bin/sh
# Gathers the sources of this repository, compresses them and writes a report about every line and word.
set -eu
output=$TOMBOLO_OUTPUT
files=$output/files.txt

find . -type f -name '*.rs' -o -type f -name '*.toml' -o -type f -name '*.md' -o -type f -name '*.proto' -o -type f -name '*.lock' |
  LC_ALL=C sort > "$files"
echo "gathering $(wc -l < "$files") files"
tar --create --gzip --file "$output/sources.tar.gz" --files-from "$files"

mkdir "$output/report"
echo "writing the report"
xargs -d '\n' awk '{ printf "%s\t%d\t%s\n", FILENAME, FNR, $0 }' < "$files" > "$output/report/lines.tsv"
xargs -d '\n' awk '{ for (i = 1; i <= NF; i++) printf "%s\t%s\t%d\n", $i, FILENAME, FNR }' < "$files" > "$output/report/words.tsv"
wc -l < "$output/report/lines.tsv" > "$output/report/line-count.txt"

(cd "$output" && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs -d '\n' sha256sum > SHA256SUMS)
du -sh "$output" | awk '{ print "output: " $1 }'
