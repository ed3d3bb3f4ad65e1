# NVMe commands through the kernel: qpair itself runs in the guest, on drives that QEMU emulates.
# QPAIR: the program. COMMANDS, PROTECTION: the examples of native commands (crates/block/examples). RING: what does
# its files.
# Drives: 0n1 has blocks of 512 bytes, 0n2 of 4096; 1n1 8 bytes of protection information (type 1) beside each block,
# 1n2 64 bytes of metadata inside of it; 2n1 is zoned. pair0: a subsystem with two controllers and one
# namespace.
. "$(dirname "$0")/lib.sh"

PATHS='uring-cmd ioctl'
# QEMU's drives have no identifiers of their own, which the kernel remarks.
USUAL="$USUAL|bogus Namespace Identifiers|mandatory"
TOLERATED=$USUAL

ng() { echo "/dev/vmlab/ng$1"; }

# The block device beside it, under the kernel's own name.
disk() { readlink -f "/dev/vmlab/nvme$1"; }

bench() { check "bench $*" "$QPAIR" bench --quiet --ring "$RING" "$@"; }

# The md5 of the first 256 KiB, by nvme-cli: nvme_read DRIVE BLOCK_BYTES
nvme_read() {
    count=$((65536 / $2))
    for piece in 0 1 2 3; do
        nvme read "$(disk "$1")" -s $((piece * count)) -c $((count - 1)) -z 65536 2>/dev/null || die "nvme read: $piece"
    done | md5sum | cut -d' ' -f1
}

dd_read() { dd if="$(disk "$1")" bs="$2" count="$3" iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1; }

verified() {
    for path in $PATHS; do
        bench "$(ng $1)" --path $path --rw randrw --bs 4k --qd 32 --verify --count 1500 --size 16MiB
        bench "$(ng $1)" --path $path --rw write --bs 128k --qd 8 --verify --count 128 --fua
    done
}

# What qpair wrote by one path, the kernel's block device and nvme-cli read, and not what was there before.
others_read_what_it_wrote() {
    for drive in 0n1,512 0n2,4096; do
        block=${drive#*,} drive=${drive%,*} before=
        for path in $PATHS; do
            bench "$(ng $drive)" --path $path --rw write --bs 64k --size 256k --count 4 --qd 4 --verify
            after=$(dd_read $drive 64k 4)
            [ "$after" != "$before" ] || die "$drive: nothing new was written by $path"
            same "$drive by $path: nvme read" "$after" "$(nvme_read $drive $block)"
            before=$after
        done
    done
}

# What each path of qpair wrote, each other reads: NVMe commands, and the block device by all that does its files.
every_path_to_every_other() {
    set --
    for path in $PATHS; do set -- "$@" "$(ng 0n2),path=$path"; done
    for path in uring threads aio sync; do set -- "$@" "$(disk 0n2),path=$path"; done
    for by; do
        dd if=/dev/urandom of="$TMP/bytes" bs=64k count=3 2>/dev/null
        check "write by $by" "$QPAIR" write "$by" --from "$TMP/bytes"
        for to; do
            # Those of the block device among themselves are tested without a drive.
            case $by$to in */ng*) ;; *) continue ;; esac
            check "read by $to" "$QPAIR" read "$to" --size 192KiB --to "$TMP/back"
            cmp "$TMP/bytes" "$TMP/back" || die "$to does not read what $by wrote"
        done
    done
}

# A target on the namespace reads what the block device wrote, and the other way round. It sleeps while nothing comes.
it_reads_what_others_wrote() {
    dd if=/dev/urandom of="$(disk 0n2)" bs=64k count=16 oflag=direct 2>/dev/null
    "$QPAIR" serve "$(ng 0n2)" --listen 127.0.0.1:4420 --nqn "$NQN" --ring "$RING" >"$TMP/serve" 2>&1 &
    serving=$!
    ADDR=127.0.0.1 PORT=4420
    eventually "a target" grep -q '^on 127' "$TMP/serve"
    connect --nr-io-queues=1
    served=$(namespace_of "$CTRL")
    same "read through the target" "$(dd_read 0n2 64k 16)" \
        "$(dd if="$served" bs=64k count=16 iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1)"
    verify "$served" 4k 16 2m
    over=/dev/ng${served#/dev/nvme}
    bench "$over" --rw randrw --bs 8k --qd 8 --verify --count 200 --size 4MiB
    refused "no queues for polling" "nvme.poll_queues=1" "$QPAIR" bench --quiet "$over,iopoll" --count 1
    disconnect
    kill $serving
    wait $serving || { cat "$TMP/serve"; die "the target did not end well"; }
}
NQN=nqn.2026-01.io.qpair:passthru

namespace_of() {
    tries=0
    until ls -d /sys/class/nvme/"$1"/nvme*n* >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || die "no namespace of $1"
        sleep 0.1
    done
    echo "/dev/$(ls /sys/class/nvme/"$1" | grep -E '^nvme[0-9]+(c[0-9]+)?n[0-9]+$' | head -1 | sed 's/c[0-9]*n/n/')"
}

# The kernel has no block device for them, or one that is empty; the controller makes and checks the information.
protection() {
    for path in $PATHS; do
        bench "$(ng 1n1)" --path $path --rw randrw --bs 4k --qd 16 --verify --count 500 --size 4MiB
    done
    refused "64 bytes of metadata" "does not know this command" \
        "$QPAIR" bench --quiet "$(ng 1n2)" --rw read --count 1
}

# Every request, and commands that no block request can say, many at once: a library's user sends them.
native() {
    for path in $PATHS; do
        check "requests by $path" "$COMMANDS" requests "$(ng 0n1),path=$path" | tee "$TMP/said"
        grep -q "compare, copy, write zeroes" "$TMP/said" || die "not all requests: $(cat "$TMP/said")"
        check "protection by $path" "$PROTECTION" "$(ng 1n1),path=$path"
        check "metadata by $path" "$COMMANDS" metadata "$(ng 1n2),path=$path"
        check "append by $path" "$COMMANDS" append "$(ng 2n1),path=$path"
    done
}

# Requests over several buffers, by commands and on the block device: of lengths that no page ends at where the path
# takes such, and as many as there may be.
scattered() {
    for path in $PATHS; do
        bench "$(ng 0n1)" --path $path --rw randrw --bs 4k --iov 3 --qd 16 --verify --count 300 --size 4MiB
        bench "$(ng 0n2)" --path $path --rw randrw --bs 128k --iov 64 --qd 4 --verify --count 60 --size 4MiB
    done
    for path in uring threads aio sync; do
        bench "$(disk 0n1)" --path $path --rw randrw --bs 4k --iov 3 --qd 16 --verify --count 200 --size 4MiB
    done
    bench "$(ng 0n2),iopoll" --rw randrw --bs 16k --iov 5 --qd 4 --verify --count 60 --size 4MiB
}

# Completions that are asked for, requests that a thread of the kernel takes, and both; on the block device, too.
polling() {
    for how in iopoll sqpoll iopoll,sqpoll; do
        bench "$(ng 0n2),$how" --rw randrw --bs 4k --qd 16 --verify --count 300 --size 4MiB
        bench "$(disk 0n2),$how" --rw randrw --bs 4k --qd 16 --verify --count 300 --size 4MiB
    done
}

# The ring of the commands has the buffers: the kernel lists what it pinned for it.
fixed_buffers() {
    "$QPAIR" bench --quiet "$(ng 0n1)" --ring portable --rw randread --secs 20 >"$TMP/bench" 2>&1 &
    running=$!
    eventually "registered buffers" registered $running
    kill $running
    wait $running || die "the run did not end well: $(cat "$TMP/bench")"
}
registered() {
    cat /proc/"$1"/fdinfo/* 2>/dev/null | grep -A1 '^UserBufs' | grep -qE ' 0: 0x[0-9a-f]+/[1-9]'
}

# While the controller is reset, and when the namespace is gone, every command ends, if with an error; nothing is left.
resets() {
    for path in $PATHS; do
        "$QPAIR" bench --quiet "$(ng 0n1)" --path $path --rw randrw --rate 500 --secs 3 >"$TMP/bench" 2>&1 &
        running=$!
        sleep 1
        echo 1 >"/sys/class/nvme/$(controller_of 0)/reset_controller"
        sleep 1
        check "qpair reset" "$QPAIR" reset "/dev/$(controller_of 0)"
        # 1: requests failed.
        wait $running || same "$path: its exit code" 1 $?
        ended "$path"
    done
    verified 0n1
}
controller_of() { readlink -f "/dev/vmlab/nvme$1" | sed 's,/dev/,,'; }
ended() {
    cat "$TMP/bench"
    grep -q '^total' "$TMP/bench" || die "$1: no report"
    ! grep -q '[1-9][0-9]* requests did not complete' "$TMP/bench" || die "$1: commands that did not end"
}

detach() {
    before=$(readlink -f "$(ng 0n1)")
    "$QPAIR" bench --quiet "$before" --rw randrw --rate 500 --secs 20 >"$TMP/bench" 2>&1 &
    running=$!
    sleep 1
    check detach-ns nvme detach-ns "/dev/$(controller_of 0)" -n 1 -c 0
    wait $running && die "nothing failed"
    ended detached
    check attach-ns nvme attach-ns "/dev/$(controller_of 0)" -n 1 -c 0
    check "qpair rescan" "$QPAIR" rescan "/dev/$(controller_of 0)"
    eventually "the namespace is back" test -e "$before"
    bench "$before" --rw randrw --verify --count 100 --size 1MiB
}

# A namespace behind two controllers: the kernel has one device file for it, and takes the way that is there.
two_controllers() {
    pair=
    for subsystem in /sys/class/nvme-subsystem/*; do
        [ "$(cat "$subsystem/subsysnqn")" = nqn.2019-08.org.qemu:pair0 ] || continue
        set -- "$subsystem"/nvme[0-9]
        same "its controllers" 2 $#
        pair=/dev/$(basename "$subsystem"/ng*) one=$1 other=$2
    done
    check "its namespace" test -c "$pair"
    for path in $PATHS; do
        bench "$pair" --path $path --rw randrw --bs 4k --qd 16 --verify --count 300 --size 4MiB
    done
    "$QPAIR" bench --quiet "$pair" --rw randrw --rate 300 --secs 3 >"$TMP/bench" 2>&1 &
    running=$!
    sleep 1
    echo 1 >"$one/reset_controller"
    sleep 1
    echo 1 >"$other/reset_controller"
    # 1: requests failed.
    wait $running || same "its exit code" 1 $?
    ended "two controllers"
}

# What cannot be is refused, with advice.
refusals() {
    refused "a controller" "name one of its namespaces" "$QPAIR" bench --quiet /dev/vmlab/nvme0 --count 1
    refused "a namespace is no controller" "no NVMe controller" "$QPAIR" reset "$(ng 0n1)"
    refused "a path of files" "does not lead there" "$QPAIR" bench --quiet "$(ng 0n1)" --path threads --count 1
    refused "an option of files" "leave bs= and size= out" "$QPAIR" bench --quiet "$(ng 0n1),bs=4096" --count 1
    refused "no right to open it" "udev rule" \
        setpriv --reuid 1000 --regid 1000 --clear-groups "$QPAIR" bench --quiet "$(ng 0n1)" --count 1
}

# Users who may open the file may read and write (Linux 6.2), and are told what the kernel does not let them do.
unprivileged() {
    chmod 666 "$(readlink -f "$(ng 0n1)")"
    for path in $PATHS; do
        check "bench by $path as a user" setpriv --reuid 1000 --regid 1000 --clear-groups \
            "$QPAIR" bench --quiet "$(ng 0n1)" --path $path --rw randrw --verify --count 200 --size 1MiB
    done
    chmod 600 "$(readlink -f "$(ng 0n1)")"
}

step "512-byte blocks by $PATHS, verified" verified 0n1
step "4096-byte blocks by $PATHS, verified" verified 0n2
step "the kernel and nvme-cli read what qpair wrote" others_read_what_it_wrote
step "every path reads what every other wrote" every_path_to_every_other
step "qpair reads what the kernel wrote" it_reads_what_others_wrote
step "protection information" protection
step "every request; native commands: protection information, metadata, zone append" native
step "requests over several buffers" scattered
step "polling" polling
step "registered buffers" fixed_buffers
step "refusals" refusals
step "an ordinary user" unprivileged
noisy_step "the controller is reset under load" resets
noisy_step "the namespace is detached under load" detach
noisy_step "one namespace on two controllers, reset one after the other" two_controllers
finish
