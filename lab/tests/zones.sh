# Zones: qpair itself runs in the guest, on a zoned namespace that QEMU emulates and on a zoned block device.
# QPAIR: the program. RING: what does its files.
# Drives: 0n1 is zoned, 16 zones of 4 MiB, blocks of 4096 bytes, at most 6 zones active and 4 open. nullb0 is a zoned
# block device (null_blk): 256 zones of 4 MiB that take 3 MiB each, the first two conventional, and blocks of 512 bytes.
. "$(dirname "$0")/lib.sh"

# QEMU's drives have no identifiers of their own, which the kernel remarks.
USUAL="$USUAL|bogus Namespace Identifiers|mandatory"
TOLERATED=$USUAL

NG=/dev/vmlab/ng0n1
DISK=$(readlink -f /dev/vmlab/nvme0n1)
# Blocks of a zone.
SIZE=1024

zones() { check "zones $*" "$QPAIR" zones "$@"; }

# The report, field by field, is nvme-cli's and the kernel's.
agree() {
    nvme zns report-zones "$NG" -o json >"$TMP/nvme"
    blkzone report "$DISK" >"$TMP/blkzone"
    for name in "$NG" "$DISK"; do
        zones report "$name" -o json >"$TMP/qpair"
        check "$name: as nvme-cli and blkzone have it" python3 -c "$AGREE" "$TMP/nvme" "$TMP/qpair" "$TMP/blkzone"
    done
}
# The kernel gives full zones another pointer, which means nothing. It has sectors, and pointers from the zone's start.
AGREE='
import json, re, sys
wanted, got = (json.load(open(name)) for name in sys.argv[1:3])
assert got["schema"] == 1 and got["nr_zones"] == wanted["nr_zones"] == len(got["zone_list"]), got
kernel = [re.findall(r"0x[0-9a-f]+", line) + re.findall(r"zcond: *([0-9]+)", line) for line in open(sys.argv[3])]
for zone, theirs, (start, size, capacity, pointer, state) in zip(got["zone_list"], wanted["zone_list"], kernel):
    full = zone["state"] == "FULL"
    for key in theirs:
        assert zone[key] == theirs[key] or full and key == "wp", (key, zone, theirs)
    assert [zone["slba"] * 8, zone["cap"] * 8] == [int(start, 16), int(capacity, 16)], (zone, start, capacity)
    assert full or (zone["wp"] - zone["slba"]) * 8 == int(pointer, 16), (zone, pointer)
    assert full == (state == "14"), (zone, state)
'

# Of one zone of the namespace, as nvme-cli has it.
state() { nvme zns report-zones "$NG" -s $(($1 * SIZE)) -d 1 -o json | sed -n 's/.*"state":"\(.*\)",.*/\1/p'; }

# Every verb, by native commands and by the kernel's calls. What is written goes the same way: the kernel has write
# pointers of its own in mind, and sees nothing of native commands.
verbs() {
    head -c 16k /dev/urandom >"$TMP/bytes"
    for name in "$NG" "$NG,path=ioctl" "$DISK"; do
        zones reset "$name" --all
        zones open "$name" --zone $((2 * SIZE))
        same "opened by $name" EXP_OPENED "$(state 2)"
        check "write to $name" "$QPAIR" write "$name" --lba $((3 * SIZE)) --from "$TMP/bytes"
        same "written" IMP_OPENED "$(state 3)"
        zones close "$name" --zone $((3 * SIZE))
        same "closed by $name" CLOSED "$(state 3)"
        zones finish "$name" --zone $((2 * SIZE)) --count 2
        same "finished by $name" "FULL FULL" "$(state 2) $(state 3)"
        agree
        zones reset "$name" --zone $((2 * SIZE))
        same "one of two reset by $name" "EMPTY FULL" "$(state 2) $(state 3)"
        agree
    done
}

# All zones of a verb are those whose state allows it.
all_zones() {
    for name in "$NG" "$DISK"; do
        zones reset "$name" --all
        for zone in 1 2; do zones open "$name" --zone $((zone * SIZE)); done
        check "write to $name" "$QPAIR" write "$name" --lba $((2 * SIZE)) --from "$TMP/bytes"
        zones close "$name" --all
        same "closed by $name" "CLOSED CLOSED" "$(state 1) $(state 2)"
        zones finish "$name" --all
        same "finished by $name" "EMPTY FULL FULL" "$(state 0) $(state 1) $(state 2)"
        zones reset "$name" --all
        same "reset by $name" "" "$(zones report "$name" -o json | grep '"state"' | grep -v EMPTY)"
    done
}

# What the device says where 32 appends at once went, is where they are.
appends() {
    for name in "$NG" "$NG,path=ioctl"; do
        zones reset "$name" --zone 0
        head -c 2M /dev/urandom >"$TMP/bytes"
        zones append "$name" --zone 0 --from "$TMP/bytes" --bs 16k --qd 32 -o json >"$TMP/places"
        zones append "$name" --zone 0 --from - --pad --bs 16k -o yaml <"$TMP/places" >"$TMP/more"
        grep -q 'slba: 512' "$TMP/more" || die "not behind the others: $(cat "$TMP/more")"
        check "read back" "$QPAIR" read "$name" --lba 0 --size 2M --to "$TMP/back"
        check "each is where the device said" python3 -c "$PLACES" "$TMP/places" "$TMP/bytes" "$TMP/back"
        agree
    done
}
PLACES='
import json, sys
places = json.load(open(sys.argv[1]))["appends"]
sent, found = (open(name, "rb").read() for name in sys.argv[2:])
assert len(places) == 128 and len({one["slba"] for one in places}) == 128, len(places)
for one in places:
    at, length = one["slba"] * 4096, one["blocks"] * 4096
    assert found[at:at + length] == sent[one["offset"]:one["offset"] + length], one
'

# The device's own status is told, and what cannot be is refused before anything is sent.
refusals() {
    zones reset "$NG" --all
    zones finish "$NG" --zone 0
    refused "append to a full zone" "Zone Is Full .1h/b9h" "$QPAIR" zones append "$NG" --zone 0 --from "$TMP/bytes"
    refused "no read-only zone" "Invalid Zone State Transition" "$QPAIR" zones offline "$NG" --zone 0
    status=0
    "$QPAIR" zones close "$NG" --zone $SIZE || status=$?
    same "the exit code of a device's status" 3 $status
    for zone in 1 2 3 4; do zones open "$NG" --zone $((zone * SIZE)); done
    refused "a fifth open zone" "Too Many Open Zones" "$QPAIR" zones open "$NG" --zone $((5 * SIZE))
    zones reset "$NG" --all
    refused "not the start of a zone" "write 0x400" "$QPAIR" zones reset "$NG" --zone 1025
    refused "behind the last" "end with block 16383" "$QPAIR" zones reset "$NG" --zone 16384
    refused "too many" "count 15 at most" "$QPAIR" zones reset "$NG" --zone 1024 --count 16
    refused "append to a block device" "/dev/ng" "$QPAIR" zones append "$DISK" --zone 0 --from "$TMP/bytes"
    refused "no zones" "has no zones" "$QPAIR" zones report ram:1MiB
    zones finish "$NG" --zone 0 --dry-run | grep -q 'would finish zone 0' || die "it does not say what it would do"
    same "a dry run" EMPTY "$(state 0)"
    zones report "$NG" --state full | grep -q '^0 zones of 4 MiB: none' || die "the summary"
}

bench() {
    check "bench $*" "$QPAIR" bench --quiet --ring "$RING" "$@" >"$TMP/bench"
    cat "$TMP/bench"
}

# Appends and writes under load are all found where they must be; zones are finished and filled again meanwhile.
load() {
    for name in "$NG" "$NG,path=ioctl"; do
        bench "$name" --rw append --bs 16k --qd 32 --verify --count 1200 --size 8MiB
        grep -q '[1-9][0-9]* reads checked, .* 0 miscompares; everything' "$TMP/bench" || die "nothing was verified"
        bench "$name" --rw append --bs 12k --qd 4 --queues 2 --verify --count 1200 --size 12MiB
    done
    same "outside of the range" EMPTY "$(state 3)"
    for name in "$NG" "$DISK"; do
        bench "$name" --rw write --bs 48k --qd 8 --verify --count 900
    done
    for path in uring threads aio sync; do
        bench "$DISK,path=$path" --rw write --bs 64k --qd 4 --verify --count 100
    done
    bench "$NG" --rw randread --bs 4k --count 100
    for name in "$NG" "$DISK"; do
        for rw in randwrite randrw rw; do
            refused "$rw" "no writes but in sequence" "$QPAIR" bench --quiet "$name" --rw $rw --count 1
        done
    done
    for name in "$NG" "$DISK"; do
        refused "serve" "in sequence only" "$QPAIR" serve "$name" --listen 127.0.0.1:4420
    done
    refused "appends to a block device" "no zone appends" "$QPAIR" bench --quiet "$DISK" --rw append --count 1
    refused "appends without zones" "no zones" "$QPAIR" bench --quiet null:1MiB --rw append --count 1
}

# A zoned block device that is no NVMe namespace.
null_blk() {
    modprobe null_blk nr_devices=1 zoned=1 zone_size=4 zone_capacity=3 zone_nr_conv=2 gb=1 memory_backed=1 \
        zone_max_open=4 zone_max_active=6
    zones report "$NULL" >"$TMP/report"
    grep -q '^256 zones of 4 MiB: 2 no write pointer, 254 empty' "$TMP/report" || die "$(cat "$TMP/report")"
    grep -q '^open at once: 4; open or closed: 6' "$TMP/report" || die "$(cat "$TMP/report")"
    bench "$NULL" --rw write --bs 64k --qd 8 --verify --count 300 --offset 8MiB --size 12MiB
    # In zone 2, of 8192 sectors; a larger file crosses no zone.
    zones reset "$NULL" --all
    head -c 1M /dev/urandom >"$TMP/bytes"
    check "write in sequence" "$QPAIR" write "$NULL" --lba 16384 --from "$TMP/bytes"
    refused "write anywhere" "18432 is the next" "$QPAIR" write "$NULL" --lba 16384 --from "$TMP/bytes"
    refused "write anywhere" "18432 is the next" "$QPAIR" copy "$NULL" "$NULL" --count 8 --to-lba 20000
    check "copy to the write pointer" "$QPAIR" copy "$NULL" "$NULL" --lba 16384 --count 2048 --to-lba 18432 --verify
    zones report "$NULL" --from 16384 --count 1 -o json >"$TMP/report"
    json "$TMP/report" "d['zone_list'] == [dict(slba=16384, wp=20480, cap=6144, state='IMP_OPENED', type='SEQWRITE_REQ',
        attrs=0, attrs_info=0)]"
    zones finish "$NULL" --zone 16384
    refused "write to a full zone" "that is full" "$QPAIR" write "$NULL" --lba 20480 --from "$TMP/bytes"
    refused "append" "native NVMe command" "$QPAIR" zones append "$NULL" --zone 16384 --from "$TMP/bytes"
    zones reset "$NULL" --all
}
NULL=/dev/nullb0

# A zone that is a file: zonefs on that device. Its tools are not here, but its super block is short.
zonefs() {
    python3 -c "$SUPER" >"$TMP/super"
    check "the super block" "$QPAIR" write "$NULL" --from "$TMP/super"
    modprobe zonefs
    mkdir -p /run/zones
    check mount mount -t zonefs "$NULL" /run/zones
    seq=/run/zones/seq
    refused "a zone in use" "is mounted at" "$QPAIR" zones reset "$NULL" --zone 16384
    number=0
    for path in uring threads aio sync; do
        file=$seq/$number,path=$path number=$((number + 1))
        same "$file is empty" 0 "$(stat -c %s "${file%,*}")"
        check "$file: its size is the capacity" "$QPAIR" info "$file" -o json >"$TMP/info"
        json "$TMP/info" "d['size_bytes'] == 3 << 20"
        check "write to $file" "$QPAIR" write "$file" --from "$TMP/bytes"
        same "$file" 1048576 "$(stat -c %s "${file%,*}")"
        refused "write behind the end of $file" "256 is the next" "$QPAIR" write "$file" --lba 300 --from "$TMP/bytes"
        check "write on to $file" "$QPAIR" write "$file" --lba 256 --from "$TMP/bytes"
        for back in uring threads aio sync; do
            check "read by $back" "$QPAIR" read "${file%,*},path=$back" --size 2MiB --to "$TMP/back"
            cat "$TMP/bytes" "$TMP/bytes" | cmp - "$TMP/back" || die "$file by $back"
        done
        refused "nothing is there yet" "512 blocks are written" "$QPAIR" read "$file" --lba 600 --count 1
        bench "$file" --rw write --bs 64k --qd 4 --verify --count 100
        refused "random writes" "no writes but in sequence" "$QPAIR" bench --quiet "$file" --rw randwrite --count 1
    done
    zones finish "$seq/0" --zone 0
    same "finished" 3145728 "$(stat -c %s "$seq/0")"
    zones report "$seq/0" | grep -q '1 full' || die "it is full"
    zones reset "$seq/0" --zone 0
    same "reset" 0 "$(stat -c %s "$seq/0")"
    refused "open" "by itself" "$QPAIR" zones open "$seq/0" --zone 0
    bench /run/zones/cnv/0 --rw randwrite --bs 4k --qd 8 --verify --count 100
    umount /run/zones
}
# struct zonefs_super (fs/zonefs/zonefs.h): its sum is that of 4096 bytes with the sum as 0, and not inverted.
SUPER='
import struct, sys, zlib
super = lambda crc: struct.pack("<II64s16sQIII", 0x5a4f4653, crc, b"", b"q" * 16, 0, 0, 0, 0).ljust(4096, b"\0")
sys.stdout.buffer.write(super(zlib.crc32(super(0)) ^ 0xffffffff))
'

step "every verb, as nvme-cli and the kernel see it" verbs
step "all zones at once" all_zones
step "appends, 32 at once" appends
step "refusals" refusals
step "load" load
step "a zoned block device" null_blk
step "zonefs, by every path" zonefs
finish
