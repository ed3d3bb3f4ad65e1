# Block devices by every path: qpair itself runs in the guest, on the kernel's null_blk and scsi_debug.
# QPAIR: the program. COMMANDS: the example of requests (crates/block/examples). RING: what does the other files.
. "$(dirname "$0")/lib.sh"

# Behind the comma of a device's name.
TOLD='path=uring path=threads path=aio path=sync sqpoll'
POLLED='iopoll iopoll,sqpoll'
WAYS="$TOLD $POLLED"

bench() { check "bench $*" "$QPAIR" bench --quiet --ring "$RING" "$@"; }

# null NAME ATTRIBUTE=VALUE...: makes a disk of 64 MiB that keeps what is written, and sets DISK.
null() {
    disk=/sys/kernel/config/nullb/$1
    mkdir "$disk"
    shift
    for set in memory_backed=1 size=64 submit_queues=1 discard=1 "$@" power=1; do
        echo "${set#*=}" >"$disk/${set%%=*}"
    done
    DISK=/dev/$(basename "$disk")
    [ -b "$DISK" ] || DISK=/dev/nullb$(cat "$disk/index")
    eventually "$DISK" test -b "$DISK"
}

# scsi PARAMETERS...: loads scsi_debug and sets DISK.
scsi() {
    check scsi_debug modprobe scsi_debug delay=0 per_host_store=1 "$@"
    eventually "a SCSI disk" scsi_disk
}
scsi_disk() {
    for disk in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*; do
        DISK=/dev/${disk##*/}
    done
    [ -b "$DISK" ]
}

setup() {
    modprobe null_blk nr_devices=0
    modprobe sd_mod
    null small blocksize=512 poll_queues=1 cache_size=1
    echo "$DISK" >"$TMP/small"
    null large blocksize=4096 poll_queues=1
    echo "$DISK" >"$TMP/large"
    null told blocksize=512 poll_queues=0
    echo "$DISK" >"$TMP/told"
    # UNMAP and WRITE SAME, a write cache.
    scsi dev_size_mb=64 lbpu=1 lbpws=1 sector_size=512
    echo "$DISK" >"$TMP/scsi"
    for disk in small large told scsi; do
        queue=/sys/block/$(basename "$(cat "$TMP/$disk")")/queue
        echo "$disk: polls $(cat "$queue/io_poll"), $(cat "$queue/write_cache"), fua $(cat "$queue/fua")"
    done
}
small() { cat "$TMP/small"; }
large() { cat "$TMP/large"; }
told() { cat "$TMP/told"; }
scsi_name() { cat "$TMP/scsi"; }

# verified DISK WAYS...: every block that is read is what was written there last.
verified() {
    disk=$1
    shift
    for way; do
        bench "$disk,$way" --rw randrw --bs 4k --qd 32 --verify --count 300 --size 4MiB
        bench "$disk,$way" --rw write --bs 128k --qd 8 --verify --count 32 --fua
    done
}

# No depth is rounded, and more than a queue takes waits its turn.
depths() {
    for way in $WAYS; do
        bench "$(large),$way" --rw randrw --bs 4k --qd 1,3,7,33,100,1000 --verify --count 400 --size 8MiB
    done
}

# What each of them wrote the kernel reads, past its page cache, and so does the next one.
every_path_to_another() {
    set -- $WAYS path=uring
    while [ $# -gt 1 ]; do
        dd if=/dev/urandom of="$TMP/bytes" bs=64k count=3 2>/dev/null
        check "write by $1" "$QPAIR" write "$(small),$1" --from "$TMP/bytes"
        dd if="$(small)" of="$TMP/kernel-read" bs=64k count=3 iflag=direct 2>/dev/null
        cmp "$TMP/bytes" "$TMP/kernel-read" || die "the kernel does not read what $1 wrote"
        check "read by $2" "$QPAIR" read "$(small),$2" --size 192KiB --to "$TMP/back"
        cmp "$TMP/bytes" "$TMP/back" || die "$2 does not read what $1 wrote"
        shift
    done
}

# requests DISK WAYS...: flush, write with FUA, write zeroes, deallocate, compare, verify, copy.
requests() {
    disk=$1
    shift
    for way; do
        check "requests by $way" "$COMMANDS" requests "$disk,$way" | tee "$TMP/said"
        grep -q "compare, verify, copy, write zeroes, deallocate" "$TMP/said" || die "not all requests"
    done
}

# The kernel splits what is more than a device takes at once; what it splits it does not poll for.
split() {
    echo 4 >"/sys/block/$(basename "$(large)")/queue/max_sectors_kb"
    for way in $WAYS; do
        bench "$(large),$way" --rw randrw --bs 128k --qd 4 --verify --count 16 --size 4MiB
    done
    echo 128 >"/sys/block/$(basename "$(large)")/queue/max_sectors_kb"
}

# What a way needs is named where it is not there; nothing else is taken instead.
refusals() {
    for disk in told scsi_name; do
        refused "no queues for polling" "$(basename "$($disk)")/queue/io_poll is 0" \
            "$QPAIR" bench --quiet "$($disk),iopoll" --count 1
    done
    dd if=/dev/zero of="$TMP/disk.img" bs=1M count=1 2>/dev/null
    refused "a file system that cannot" "iopoll (needs direct I/O|is not possible)" \
        "$QPAIR" bench --quiet "$TMP/disk.img,iopoll" --count 1
    refused "smaller blocks" "smaller than its own of 4096" "$QPAIR" info "$(large),bs=512"
    refused "commands" "needs an NVMe namespace" "$QPAIR" bench --quiet "$(small)" --path uring-cmd --count 1
    refused "polling by threads" "iopoll is for the paths uring" \
        "$QPAIR" bench --quiet "$(small),iopoll" --path threads --count 1
}

what_info_says() {
    "$QPAIR" info "$(small)" -o json >"$TMP/small.json"
    "$QPAIR" info "$(told)" -o json >"$TMP/told.json"
    ways='[way["Path"] for way in d["access_paths"] if way["Works"]]'
    json "$TMP/small.json" "$ways == ['uring', 'uring,iopoll', 'uring,sqpoll', 'threads', 'aio', 'sync']"
    json "$TMP/told.json" "$ways == ['uring', 'uring,sqpoll', 'threads', 'aio', 'sync']" \
        '"io_poll is 0" in [way["Why"] for way in d["access_paths"] if way["Path"] == "uring,iopoll"][0]'
}

read_only() {
    blockdev --setro "$(small)"
    refused "to write" "takes no writes" "$QPAIR" write "$(small)" --fill 1 --count 8
    for way in path=uring path=sync iopoll; do
        bench "$(small),ro,$way" --rw randread --bs 4k --qd 8 --count 100
        refused "$way: a write" "read-only" "$QPAIR" bench --quiet "$(small),ro,$way" --rw write --count 1
    done
    blockdev --setrw "$(small)"
}

# A file on ext4 on such a disk polls as the disk itself does; without direct I/O aio would make a reactor wait.
files() {
    mkfs.ext4 -q -b 4096 "$(large)"
    mkdir -p "$TMP/mnt"
    mount "$(large)" "$TMP/mnt"
    for way in path=uring path=aio sqpoll $POLLED; do
        bench "$TMP/mnt/disk.img,size=16MiB,bs=4096,$way" --rw randrw --bs 4k --qd 16 --verify --count 200
    done
    refused "aio through the page cache" "path aio waits.*smaller than the 4096 that direct I/O needs" \
        "$QPAIR" serve "$TMP/mnt/other.img,size=1MiB,bs=512,path=aio" --listen 127.0.0.1:0
    refused "polling through the page cache" "iopoll needs direct I/O" \
        "$QPAIR" bench --quiet "$TMP/mnt/other.img,bs=512,iopoll" --count 1
    # What is mounted is for nobody else, but with force.
    for way in path=uring path=sync; do
        refused "$way: a disk that is mounted" "It is in use: mounted" \
            "$QPAIR" bench --quiet "$(large),$way" --rw write --count 1
        bench "$(large),force,$way" --rw randwrite --bs 4k --offset 48MiB --size 4MiB --count 100
    done
    refused "to serve it" "with ,force it is opened" "$QPAIR" serve "$(large)" --listen 127.0.0.1:0
    "$QPAIR" serve "$(large)" --force --listen 127.0.0.1:4420 >"$TMP/serve" 2>&1 &
    serving=$!
    eventually "a target" grep -q '^on 127' "$TMP/serve"
    kill $serving
    wait $serving || { cat "$TMP/serve"; die "the target did not end well"; }
    umount "$TMP/mnt"
}

# The target on a disk that is polled for; the kernel's host checks what it wrote, and qpair too when it has gone.
served() {
    for way in iopoll sqpoll; do
        "$QPAIR" serve "$(large),$way,uuid=11111111-2222-4333-8444-555555555555" --listen 127.0.0.1:4420 \
            --nqn "$NQN" --ring "$RING" >"$TMP/serve" 2>&1 &
        serving=$!
        ADDR=127.0.0.1 PORT=4420
        eventually "a target" grep -q '^on 127' "$TMP/serve"
        connect --nr-io-queues=1
        served=$(namespace 1)
        verify "$served" 4k 16 2m
        dd if="$served" of="$TMP/served" bs=64k count=8 iflag=direct 2>/dev/null
        disconnect
        kill $serving
        wait $serving || { cat "$TMP/serve"; die "the target did not end well"; }
        check "read" "$QPAIR" read "$(large),$way" --size 512KiB --to "$TMP/back"
        cmp "$TMP/served" "$TMP/back" || die "$way: not what the host read"
    done
}
NQN=nqn.2026-01.io.qpair:blocks

# A disk that grew is served with its new size after a reload.
grown() {
    cat >"$TMP/qpair.toml" <<END
ring = "$RING"
reactors = 1
[[listener]]
address = "127.0.0.1:4420"
[[subsystem]]
nqn = "$NQN"
[[subsystem.namespace]]
nsid = 1
device = "$(scsi_name)"
END
    "$QPAIR" serve --config "$TMP/qpair.toml" >"$TMP/serve" 2>&1 &
    serving=$!
    ADDR=127.0.0.1 PORT=4420
    eventually "a target" grep -q '^on 127' "$TMP/serve"
    connect --nr-io-queues=1
    before=$(blockdev --getsize64 "$(namespace 1)")
    echo 2 >/sys/bus/pseudo/drivers/scsi_debug/virtual_gb
    echo 1 >"/sys/block/$(basename "$(scsi_name)")/device/rescan"
    check reload "$QPAIR" reload --pid $serving
    eventually "the new size" is_larger "$before"
    same "its size" 2147483648 "$(blockdev --getsize64 "$(namespace 1)")"
    disconnect
    kill $serving
    wait $serving || { cat "$TMP/serve"; die "the target did not end well"; }
}
is_larger() { [ "$(blockdev --getsize64 "$(namespace 1)")" -gt "$1" ]; }

# Blocks 4660 to 4669 of the disk cannot be read any more.
medium_error() {
    echo 2 >/sys/bus/pseudo/drivers/scsi_debug/opts
    for way in $TOLD; do
        refused "$way: a bad block" "cannot read block 4660 of .*No data available" \
            "$QPAIR" read "$(scsi_name),$way" --lba 4660 --count 1 --to /dev/null
        check "$way: the one before" "$QPAIR" read "$(scsi_name),$way" --lba 4659 --count 1 --to /dev/null
        check "$way: the rest" "$QPAIR" read "$(scsi_name),$way" --lba 4670 --count 8 --to /dev/null
    done
    echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts
}

# A disk is taken away under load: every request ends, most with an error that says so.
removed() {
    before=
    for way in path=uring path=aio sqpoll; do
        [ -z "$before" ] || scsi_again
        before=$(scsi_name)
        "$QPAIR" bench --quiet "$before,$way" --rw randrw --bs 4k --rate 300 --secs 20 >"$TMP/bench" 2>&1 &
        running=$!
        sleep 1
        echo 1 >"/sys/block/$(basename "$before")/device/delete"
        wait $running && die "nothing failed"
        cat "$TMP/bench"
        ! grep -q '[1-9][0-9]* requests did not complete' "$TMP/bench" || die "$way: requests that did not end"
        grep -qE 'No such device|Input/output error' "$TMP/bench" || die "$way: it does not say why"
    done
}
scsi_again() {
    modprobe -r scsi_debug
    scsi dev_size_mb=64
    echo "$DISK" >"$TMP/scsi"
}

step "null_blk and scsi_debug" setup
step "512-byte blocks by every path, verified" verified "$(small)" $WAYS
step "4096-byte blocks by every path, verified" verified "$(large)" $WAYS
step "a disk without queues for polling, verified" verified "$(told)" $TOLD
step "a SCSI disk, verified" verified "$(scsi_name)" $TOLD
step "depths that are no powers of two" depths
step "the kernel and every path read what another wrote" every_path_to_another
step "every request" requests "$(small)" $WAYS
step "every request of a SCSI disk" requests "$(scsi_name)" $TOLD
step "transfers that the kernel splits" split
step "refusals" refusals
step "info" what_info_says
step "a read-only disk" read_only
step "files on such a disk" files
step "a target on such a disk" served
noisy_step "a disk grows" grown
noisy_step "a medium error" medium_error
noisy_step "a disk is removed under load" removed
finish
