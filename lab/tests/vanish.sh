# A host that vanishes: its network is dead, nobody says goodbye. The target ends the association when keep-alives stay
# out and has nothing left of it; when the network is back, the kernel reconnects and repeats what was in flight.
# ADDR PORT NQN: a target whose namespace 1 is a file and whose namespace 2 is memory. Asks the host to wait until the
# target has nothing of it any more, because keep-alives stayed out (`forgotten`) or because it said goodbye (`left`).
. "$(dirname "$0")/lib.sh"

KATO_S=4

vanish() {
    ip link set eth0 down
    ask_host forgotten
    # What the kernel knows of it until then: nothing that would have told the target.
    dmesg | grep -i nvme | tail -n 6
    clear_log
    ip link set eth0 up
    eventually "a reconnect" reconnected
    same "state" live "$(cat /sys/class/nvme/"$CTRL"/state)"
}

reconnected() { dmesg | grep -qi "reconnected"; }

idle() {
    vanish
    verify "$(namespace 1)" 4k 8 1m
}

# The same addresses and contents each time, so that a later run can check what an earlier one wrote.
load() {
    device=$1; shift
    fio --name=vanish --filename="$device" --size=32m --ioengine=libaio --direct=1 --thread --verify=crc32c \
        --verify_fatal=1 --randseed=11 --minimal --rw=randwrite "$@"
}

# vanish_during NSID FIO OPTIONS...: the network goes while this writes; the job ends without an error when it is back,
# and every block holds what was written.
vanish_during() {
    dev=$(namespace "$1"); shift
    load "$dev" --do_verify=0 "$@" &
    job=$!
    sleep 2
    vanish
    kill -0 $job 2>/dev/null || die "the load ended before the network was back: the test proves nothing"
    wait $job || die "fio: status $?"
    no_errors
    check "every block holds what was written" load "$dev" "$@" --verify_only
}

no_errors() {
    ! dmesg | grep -iE "I/O error|blk_update_request|critical .* error|Removing" || die "I/O errors reached the user"
}

# Their data comes with the command, ...
small_writes() { vanish_during "$1" --bs=4k --iodepth=16 --size=16m --rate_iops=600; }

# ... or the target has asked for it, and waits.
LARGE="--bs=256k --iodepth=8"
large_writes() { vanish_during "$1" $LARGE --rate_iops=15; }

# Answers that nobody takes: the target holds them for a while, and must let go of them.
large_reads() {
    dev=$(namespace "$1")
    reread "$dev" &
    job=$!
    sleep 1
    vanish
    touch "$TMP/enough"
    wait $job || die "the reads: status $?"
    rm "$TMP/enough"
    no_errors
}
reread() { while [ ! -e "$TMP/enough" ]; do load "$1" $LARGE --verify_only || return 1; done; }

# The other end of the same story: a host that says goodbye leaves nothing either.
leave() {
    disconnect
    ask_host left
}

dmesg -C
step "connect with a keep-alive time-out of $KATO_S s" \
    connect --nr-io-queues=2 --keep-alive-tmo=$KATO_S --reconnect-delay=1 --ctrl-loss-tmo=600
CTRL=$(controller)
noisy_step "the host vanishes while idle" idle
noisy_step "during writes that carry their data" small_writes 1
noisy_step "during large writes to a file" large_writes 1
noisy_step "during large writes to memory" large_writes 2
noisy_step "during large reads of a file" large_reads 1
noisy_step "during large reads of memory" large_reads 2
step "a host that leaves leaves nothing" leave
finish
