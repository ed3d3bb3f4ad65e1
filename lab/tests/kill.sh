# The target is killed under load and comes back a second later: the kernel reconnects, repeats what was in flight, and
# nobody sees an error or a lost write.
# ADDR PORT NQN: a target whose namespace 1 is a file. KILLS: how often it is killed. Asks the host to `kill` it; then
# it is away for a second.
. "$(dirname "$0")/lib.sh"

# Four seconds of load at least, however fast the guest is: it has to last until the target is back.
BLOCKS="--bs=4k --size=32m --iodepth=16 --rate_iops=2000"

# The same addresses and contents from the same seed, so that a later run can check what an earlier one wrote.
blocks() {
    seed=$1; shift
    fio --name=kill --filename="$DEV" --rw=randwrite $BLOCKS --ioengine=libaio --direct=1 --thread --verify=crc32c \
        --verify_fatal=1 --randseed="$seed" --minimal "$@"
}

# strike_during SEED OPTIONS...: the job runs, the target is struck while it does, and the job ends without an error.
strike_during() {
    blocks "$@" &
    job=$!
    sleep 1.5
    ask_host kill
    kill -0 $job 2>/dev/null || die "the load ended before the target was back: the test proves nothing"
    wait $job || die "fio: status $?"
    settled
}

reconnected() { dmesg | grep -qi "reconnected"; }

# Connected again, and no request of the load has failed.
settled() {
    dmesg | grep -i "nvme\|error" | tail -n 12
    reconnected || die "the kernel did not reconnect"
    same "state" live "$(cat /sys/class/nvme/"$CTRL"/state)"
    ! dmesg | grep -iE "I/O error|blk_update_request|critical .* error|Removing" || die "I/O errors reached the user"
}

round() {
    # Zeros first: a write that got lost cannot pass for the one of the round before.
    check discard blkdiscard "$DEV"
    strike_during "$1" --do_verify=0 --rate_iops=1600
    clear_log
    check "every block holds what was written last" blocks "$1" --verify_only
}

# The blocks of the last round, read while the target goes away.
round_of_reads() { strike_during "$KILLS" --verify_only --rate_iops=1600; }

idle() {
    ask_host kill
    eventually "a reconnect without I/O" reconnected
    settled
    check "every block is still there" blocks "$KILLS" --verify_only
}

dmesg -C
step "connect" connect --nr-io-queues=2 --reconnect-delay=1 --ctrl-loss-tmo=600 --keep-alive-tmo=5
CTRL=$(controller)
DEV=$(namespace 1)
n=1
while [ $n -le "$KILLS" ]; do
    noisy_step "kill $n during verified writes" round $n
    n=$((n + 1))
done
noisy_step "kill during verified reads" round_of_reads
noisy_step "kill while idle" idle
step "disconnect" disconnect
finish
