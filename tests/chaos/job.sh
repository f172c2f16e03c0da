# What each job of the load does: says that it begins, reads its inputs, writes lines, leaves an output of known digest, and says so.
# The time is that of the machine's own clock, which is the same in all processes, whatever their calendars say.
set -u
name=$TOMBOLO_JOB_NAME
epoch=$TOMBOLO_ATTEMPT_EPOCH
# In a pod there is no such file: what is said goes to an address, with a name of its own, until it was heard. That is always near, so that nobody is
# there any more where it takes minutes.
read -r me < /proc/sys/kernel/random/uuid
count=0
tell() {
    if test -z "$WORK_HEARS" || test -e "$WORK_WITNESS"; then
        echo "$1" >> "$WORK_WITNESS"
        return
    fi
    count=$((count + 1))
    tries=0
    # shellcheck disable=SC2086 # host and port
    until test "$(echo "$me-$count $1" | nc -w 5 $WORK_HEARS)" = heard; do
        tries=$((tries + 1))
        test $tries -lt 600 || exit 4
        sleep 0.2
    done
}
say() {
    read -r now rest < /proc/uptime
    tell "$now $WORK_TAG $name $epoch $TOMBOLO_CLUSTER_NAME $*"
}
digest_of() {
    sum=$(sha256sum < "$1") && echo "${sum%% *}"
}
say begins
for parent in $WORK_PARENTS; do
    file=$TOMBOLO_INPUTS/$parent/data
    if test -f "$file"; then
        read -r made_by < "$file"
        say reads "$parent" "$(digest_of "$file")" "$made_by"
    else
        say reads "$parent" missing
    fi
done
line=0
round=0
while test $round -lt "$WORK_ROUNDS"; do
    round=$((round + 1))
    until=$((WORK_LINES * round / WORK_ROUNDS))
    while test $line -lt $until; do
        line=$((line + 1))
        echo "line $line of attempt $epoch"
    done
    sleep 0.5
    say lives
done
if test "$epoch" -le "$WORK_FAILS_UNTIL"; then
    say ends none 1
    exit 1
fi
file=$TOMBOLO_OUTPUT/data
{
    echo "$WORK_TAG $name $epoch"
    head -c "$WORK_BYTES" /dev/urandom
} > "$file" || exit 3
say ends "$(digest_of "$file")" 0
