# The data: fio with checksums, digests, deallocation, zeroes, block sizes, a read-only disk, a file system.
# ADDR PORT NQN: a target with namespaces 1 (a file, 4096-byte blocks), 2 (ram, 512-byte blocks), 3 (read-only).
# READONLY: the image behind namespace 3, as the host sees it. FULL: not empty for longer runs.
. "$(dirname "$0")/lib.sh"

SCALE=${FULL:+8}
SCALE=${SCALE:-1}

fio_runs() {
    for nsid in 1 2; do
        verify "$(namespace $nsid)" 4k 1 $((1 * SCALE))m
        verify "$(namespace $nsid)" 4k 32 $((8 * SCALE))m
        verify "$(namespace $nsid)" 128k 1 $((8 * SCALE))m
        verify "$(namespace $nsid)" 128k 32 $((32 * SCALE))m
    done
}

# Sizes off the usual: 512-byte blocks, a block more than fits into a capsule, a megabyte that the kernel has to split.
odd_sizes() {
    verify "$(namespace 2)" 512 8 256k
    verify "$(namespace 2)" 8704 8 1m
    verify "$(namespace 1)" 12k 8 2m --verify_interval=4k
    verify "$(namespace 1)" 1m 4 16m
    # Mixed sizes, in-capsule and R2T beside one another on the same queue.
    verify "$(namespace 1)" 4k 16 8m --bssplit=4k/50:8k/20:64k/20:128k/10 --verify_interval=4k
}

mixed_load() {
    check "fio mixed" fio --name=mixed --filename="$(namespace 1)" --rw=randrw --rwmixread=70 --bs=4k --iodepth=16 \
        --numjobs=2 --size=24m --offset_increment=24m --ioengine=libaio --direct=1 --verify=crc32c --thread \
        --time_based --runtime=$((4 * SCALE)) --verify_backlog=256 --minimal
}

with_digests() {
    connect --hdr-digest --data-digest --nr-io-queues=2
    verify "$(namespace 1)" 4k 32 4m
    verify "$(namespace 1)" 128k 8 16m
    disconnect
}

write_cache() {
    dev=$(namespace 1)
    # A volatile cache: flushes must be asked for, and FUA must be known.
    same "cache" "write back" "$(cat /sys/block/"${dev##*/}"/queue/write_cache)"
    same "FUA" 1 "$(cat /sys/block/"${dev##*/}"/queue/fua)"
    check "fio fsync" fio --name=fsync --filename="$dev" --rw=randwrite --bs=4k --size=1m --fsync=4 --sync=1 \
        --direct=1 --ioengine=psync --minimal
    check flush nvme flush "$dev" -n 1
}

# fills 16 MiB with noise and punches the middle out with $3...
punch() {
    dev=$(namespace "$1") how=$2; shift 2
    check fill dd if=/dev/urandom of="$TMP/noise" bs=1M count=16
    check write dd if="$TMP/noise" of="$dev" bs=1M oflag=direct
    before=$(hash "$dev" 0 4) after=$(hash "$dev" 12 4)
    check "$how" "$@" --offset $((4 << 20)) --length $((8 << 20)) "$dev"
    zeros "$dev" 4 8
    same "before the hole" "$before" "$(hash "$dev" 0 4)"
    same "behind the hole" "$after" "$(hash "$dev" 12 4)"
}

discard() {
    for nsid in 1 2; do
        dev=$(namespace $nsid)
        [ "$(cat /sys/block/"${dev##*/}"/queue/discard_max_bytes)" -gt 0 ] || die "$dev: no discard"
        punch $nsid blkdiscard blkdiscard
    done
}

write_zeroes() {
    for nsid in 1 2; do
        dev=$(namespace $nsid)
        [ "$(cat /sys/block/"${dev##*/}"/queue/write_zeroes_max_bytes)" -gt 0 ] || die "$dev: no write zeroes"
        punch $nsid "write zeroes" blkdiscard --zeroout
    done
    # One block, not a multiple of anything.
    check "write-zeroes" nvme write-zeroes "$(namespace 2)" --start-block=3 --block-count=0
    zeros_at=$(dd if="$(namespace 2)" bs=512 skip=3 count=1 iflag=direct 2>/dev/null | tr -d '\0' | wc -c)
    same "bytes left in block 3" 0 "$zeros_at"
}

out_of_range() {
    last=$(cat /sys/block/"$(basename "$(namespace 2)")"/size)
    refused "a read behind the end" "LBA|range" nvme read "$(namespace 2)" --start-block="$last" --block-count=0 \
        --data-size=512 --data="$TMP/x"
    # And the queue is none the worse for it.
    verify "$(namespace 2)" 4k 4 256k
}

block_sizes() {
    same "namespace 1" 4096 "$(cat /sys/block/"$(basename "$(namespace 1)")"/queue/logical_block_size)"
    same "namespace 2" 512 "$(cat /sys/block/"$(basename "$(namespace 2)")"/queue/logical_block_size)"
    # What is written to one is not seen in the other.
    check fill dd if=/dev/urandom of="$(namespace 1)" bs=1M count=4 oflag=direct
    first=$(hash "$(namespace 1)" 0 4)
    check fill dd if=/dev/urandom of="$(namespace 2)" bs=1M count=4 oflag=direct
    same "namespace 1 after a write to 2" "$first" "$(hash "$(namespace 1)" 0 4)"
    [ "$first" != "$(hash "$(namespace 2)" 0 4)" ] || die "both namespaces hold the same"
}

read_only() {
    dev=$(namespace 3)
    same "the kernel's view" 1 "$(cat /sys/block/"${dev##*/}"/ro)"
    check "content" cmp "$READONLY" "$dev"
    refused "dd" "permit|read-only|denied" dd if=/dev/zero of="$dev" bs=4k count=1 oflag=direct
    # Past the kernel, straight to the target.
    head -c 4096 /dev/urandom >"$TMP/block"
    refused "a write by passthrough" "write.protect|read.only" nvme io-passthru "/dev/ng${dev##*/nvme}" --opcode=1 \
        --namespace-id=3 --cdw12=0 --data-len="$(cat /sys/block/"${dev##*/}"/queue/logical_block_size)" --write \
        --input-file="$TMP/block"
    check flush blockdev --flushbufs "$dev"
    check "content afterwards" cmp "$READONLY" "$dev"
}

file_system() {
    dev=$(namespace 1) tree=$TMP/tree mount=$TMP/mount
    mkdir -p "$tree" "$mount"
    # The tree is first taken out of the host's files, which may change, into the guest's memory.
    cp -r "$(dirname "$0")/.." "$tree/lab"
    for i in 1 2 3 4 5 6 7 8; do
        mkdir "$tree/$i"
        for j in 1 2 3 4 5 6 7 8; do head -c $((i * j * 1117)) /dev/urandom >"$tree/$i/file $j"; done
        ln -s "file $i" "$tree/$i/link"
    done
    head -c 12582912 /dev/urandom >"$tree/large"
    check discard blkdiscard "$dev"
    check mkfs mkfs.ext4 -q -F "$dev"
    check mount mount -t ext4 "$dev" "$mount"
    check copy cp -a "$tree" "$mount/"
    rm -r "$tree/3" "$mount/tree/3"
    check trim fstrim "$mount"
    sync
    check unmount umount "$mount"
    disconnect
    connect
    dev=$(namespace 1)
    check "fsck" fsck.ext4 -f -n "$dev"
    check remount mount -t ext4 "$dev" "$mount"
    check compare diff -r --no-dereference "$tree" "$mount/tree"
    check unmount umount "$mount"
}

dmesg -C
step "connect" connect --nr-io-queues=2
CTRL=$(controller)
step "fio verify, 4 KiB and 128 KiB, depth 1 and 32" fio_runs
step "fio verify, odd and mixed sizes" odd_sizes
step "fio verify, reads and writes mixed" mixed_load
step "write cache, flush, FUA" write_cache
step "blkdiscard" discard
step "write zeroes" write_zeroes
step "two block sizes" block_sizes
noisy_step "a read behind the end" out_of_range
noisy_step "a read-only namespace" read_only
step "ext4: copy, remount, compare, fsck" file_system
step "disconnect" disconnect
step "fio verify with both digests" with_digests
finish
