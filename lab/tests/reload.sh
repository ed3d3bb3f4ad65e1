# The target's configuration changes while the kernel is connected: namespaces come, grow and go, in the middle of
# verified load; two hosts share a namespace.
# ADDR PORT NQN: a target that follows a file; its namespace 1 is a file of 64 MiB. Asks the host to put another
# configuration into force: `start`, `more` (and namespace 2, memory), `grown` (namespace 1 of 96 MiB), `bad` (a
# mistake).
. "$(dirname "$0")/lib.sh"

BLOCKS="--bs=4k --size=32m --iodepth=16"

# The namespace IDs that the kernel has block devices for.
has() {
    found=$(for n in /sys/block/nvme*n*; do
        case ${n##*/} in nvme*c*n*) continue ;; esac # a path below a multipath head
        [ -e "$n/nsid" ] && cat "$n/nsid"
    done | sort -n | tr '\n' ' ')
    [ "$found" = "$1" ]
}

is_large() { [ "$(blockdev --getsize64 "$DEV")" = $(($1 << 20)) ]; }

load() {
    fio --name=reload --filename="$DEV" --rw=randwrite $BLOCKS --ioengine=libaio --direct=1 --thread --verify=crc32c \
        --verify_fatal=1 --randseed=7 --minimal "$@"
}

added() {
    ask_host more
    eventually "namespace 2" has "1 2 "
    verify "$(namespace 2)" 4k 8 4m
}

removed() {
    ask_host start
    eventually "namespace 2 has gone" has "1 "
    dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null || die "namespace 1 cannot be read"
}

grown() {
    is_large 64 || die "it has $(blockdev --getsize64 "$DEV") bytes"
    ask_host grown
    eventually "the kernel sees 96 MiB" is_large 96
    verify "$DEV" 64k 8 8m --offset=88m
    zeros "$DEV" 64 16
}

# The load writes and verifies all the time while the configuration changes back and forth.
in_the_middle() {
    load --rate_iops=1200 &
    job=$!
    sleep 1
    changes=0
    while kill -0 $job 2>/dev/null && [ $changes -lt 4 ]; do
        ask_host more
        ask_host grown
        changes=$((changes + 1))
    done
    kill -0 $job 2>/dev/null || die "the load ended before the last change: the test proves nothing"
    wait $job || die "fio: status $?"
    same "state" live "$(cat /sys/class/nvme/"$CTRL"/state)"
}

mistake() {
    eventually "namespace 2 has gone" has "1 "
    ask_host bad
    has "1 " || die "a file with a mistake changed the namespaces"
    check "every block is still there" load --verify_only
}

# Another host beside the first one: what one writes, the other reads.
two_hosts() {
    connect_as "$HOSTNQN-2" 22222222-0000-4000-8000-000000000002
    other=$(device "$OTHER" 1)
    dd if=/dev/urandom of="$DEV" bs=64k count=16 oflag=direct conv=fsync 2>/dev/null
    same "what the other host reads" "$(hash "$DEV" 0 1)" "$(hash "$other" 0 1)"
    dd if=/dev/urandom of="$other" bs=64k count=16 oflag=direct conv=fsync 2>/dev/null
    same "what this host reads" "$(hash "$other" 0 1)" "$(hash "$DEV" 0 1)"
    check "the second host leaves" nvme disconnect -d "$OTHER"
    dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null || die "the first host cannot read any more"
}

# The kernel runs without multipath here, so that two hosts in one guest have a block device each.
USUAL="$USUAL|without CONFIG_NVME_MULTIPATH|multipathing not supported"
TOLERATED=$USUAL

dmesg -C
step "connect" connect --nr-io-queues=2
CTRL=$(controller)
DEV=$(namespace 1)
step "a namespace is added" added
noisy_step "a namespace is removed" removed
step "a namespace grows" grown
noisy_step "changes in the middle of verified load" in_the_middle
step "a mistake changes nothing" mistake
step "two hosts on one namespace" two_hosts
step "disconnect" disconnect
finish
