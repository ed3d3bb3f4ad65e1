# A disk that a qpair.exe serves, in Wine on the host: fio with checksums, flushes, and a file system that the kernel
# mounts and that outlives the target.
# ADDR PORT NQN: a target with namespaces 1 (a file, 4096-byte blocks) and 2 (memory). Asks the host to `kill` it, or to
# `stop` it in order; then it is away for a second.
. "$(dirname "$0")/lib.sh"

fio_runs() {
    for nsid in 1 2; do
        verify "$(namespace $nsid)" 4k 16 4m
        verify "$(namespace $nsid)" 128k 8 16m
    done
}

write_cache() {
    dev=$(namespace 1)
    same "cache" "write back" "$(cat /sys/block/"${dev##*/}"/queue/write_cache)"
    check "fio fsync" fio --name=fsync --filename="$dev" --rw=randwrite --bs=4k --size=1m --fsync=4 --sync=1 \
        --direct=1 --ioengine=psync --minimal
}

with_digests() {
    connect --hdr-digest --data-digest --nr-io-queues=2
    verify "$(namespace 1)" 4k 16 4m
    disconnect
}

mounted() {
    dev=$(namespace 1)
    mkdir -p "$TMP/tree" "$TMP/mount"
    cp -r "$(dirname "$0")/.." "$TMP/tree/lab"
    head -c 12582912 /dev/urandom >"$TMP/tree/large"
    check mkfs mkfs.ext4 -q -F "$dev"
    check mount mount -t ext4 "$dev" "$TMP/mount"
    check copy cp -a "$TMP/tree" "$TMP/mount/"
    sync
    check compare diff -r --no-dereference "$TMP/tree" "$TMP/mount/tree"
}

reconnected() { dmesg | grep -qi "reconnected"; }

# outlives HOW: files are copied while the target goes; all of them are there when it is back, from the disk.
outlives() {
    clear_log
    cp -a "$TMP/tree" "$TMP/mount/$1" &
    job=$!
    ask_host "$1"
    wait $job || die "cp: status $?"
    eventually "a reconnect" reconnected
    check unmount umount "$TMP/mount"
    check fsck fsck.ext4 -f -n "$(namespace 1)"
    check mount mount -t ext4 "$(namespace 1)" "$TMP/mount"
    check compare diff -r --no-dereference "$TMP/tree" "$TMP/mount/$1"
    ! dmesg | grep -iE "I/O error|blk_update_request|critical .* error|Removing" || die "I/O errors reached the user"
}

leave() {
    check unmount umount "$TMP/mount"
    disconnect
}

dmesg -C
step "connect" connect --nr-io-queues=2 --reconnect-delay=1 --ctrl-loss-tmo=600 --keep-alive-tmo=5
CTRL=$(controller)
step "fio verify, 4 KiB and 128 KiB" fio_runs
step "write cache, flush" write_cache
step "ext4: copy, compare" mounted
noisy_step "ext4 outlives the target's death" outlives kill
noisy_step "ext4 outlives the target's end" outlives stop
step "disconnect" leave
step "fio verify with both digests" with_digests
finish
