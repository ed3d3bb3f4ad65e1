# What is beside reads and writes: admin commands, many at once; what `qpair list`, `info` and `raw` say; fio on the
# same drives; a controller over fabrics.
# QPAIR: the program. ADMIN, PROTECTION: examples of crates/block. RING: what does its files.
# Drives: 0n1 has blocks of 512 bytes, 0n2 of 4096; 1n1 8 bytes of protection information (type 1) beside each block,
# 1n2 64 bytes of metadata inside of it. 2n1 to 2n4 have such information in 64 bytes of metadata: at their end, at
# their beginning, and both inside of the block. pair0: a subsystem with two controllers and one namespace.
. "$(dirname "$0")/lib.sh"

PATHS='uring-cmd ioctl'
# QEMU's drives have no identifiers of their own, which the kernel remarks.
USUAL="$USUAL|bogus Namespace Identifiers|mandatory"
TOLERATED=$USUAL

ng() { echo "/dev/vmlab/ng$1"; }
controller_of() { readlink -f "/dev/vmlab/nvme$1"; }

# A request for an event waits at the controller while 16 commands at once are answered; then it is told of.
admin_commands() {
    for path in $PATHS; do check "admin by $path" "$ADMIN" questions "$(controller_of 0),path=$path"; done
    check "an event" "$ADMIN" event "$(controller_of 0)"
    check "an event with a submission thread" "$ADMIN" event "$(controller_of 0),sqpoll"
    refused "polled admin commands" "iopoll is for namespaces" "$ADMIN" questions "$(controller_of 0),iopoll"
    refused "a path of files" "does not lead there" "$ADMIN" questions "$(controller_of 0),path=threads"
    refused "blocks of a controller" "name one of its namespaces" "$QPAIR" bench --quiet "$(controller_of 0)" --count 1
    check "raw by the controller" "$QPAIR" raw --admin --opcode 6 --cdw10 1 --data-len 4k --out "$TMP/raw" \
        "$(controller_of 0)"
    nvme id-ctrl --raw-binary "$(controller_of 0)" >"$TMP/theirs"
    check "as nvme-cli" cmp "$TMP/raw" "$TMP/theirs"
}

# The request has half a second; Linux resets the controller for it, and all that was asked for ends.
admin_timeout() {
    check "timeout" "$ADMIN" timeout "$(controller_of 0)"
    eventually "the namespace is back" test -e "$(ng 0n1)"
    check "a read" "$QPAIR" bench --quiet "$(ng 0n1)" --rw randread --count 100
}


as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }

# All that nvme-cli says is in ours, whatever the order; or it says where not.
same_devices() {
    check "nvme $1" nvme $1 -o json >"$TMP/theirs"
    check "qpair $1" "$QPAIR" $1 -o json >"$TMP/ours"
    python3 -c "$SAME" "$TMP/theirs" "$TMP/ours" || die "nvme $1 and qpair $1 differ"
}
SAME='
import json, sys
def name(one):
    keys = ("DevicePath", "Subsystem", "Controller", "Path", "NameSpace", "HostNQN")
    return next((str(one[key]) for key in keys if key in one), "")
def walk(theirs, ours, at):
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            if key not in ours: sys.exit(f"{at}.{key} is missing")
            walk(value, ours[key], f"{at}.{key}")
    elif isinstance(theirs, list):
        if len(theirs) != len(ours): sys.exit(f"{at} has {len(ours)} entries, not {len(theirs)}")
        for pair in zip(sorted(theirs, key=name), sorted(ours, key=name)): walk(*pair, f"{at}[{name(pair[0])}]")
    elif theirs != ours: sys.exit(f"{at}: theirs {theirs!r}, ours {ours!r}")
walk(*(json.load(open(file)) for file in sys.argv[1:]), "")
'

# ours EXPRESSION...: of `qpair list -v -o json`. `controllers` and `namespaces` are those of all subsystems, by name.
ours() {
    "$QPAIR" list -v -o json >"$TMP/list"
    python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
subsystems = [one for host in d["Devices"] for one in host["Subsystems"]]
controllers = {one["Controller"]: one for subsystem in subsystems for one in subsystem["Controllers"]}
namespaces = {one.get("NameSpace", one["Generic"]): one for subsystem in subsystems for one in subsystem["Namespaces"]}
# But for those that poll, which blocks.sh and passthru.sh try.
works = lambda name: [way["Path"] for way in namespaces[name]["AccessPaths"] if way["Works"] and "," not in way["Path"]]
why = lambda name: {way["Path"]: way["Why"] for way in namespaces[name]["AccessPaths"]}
for wanted in sys.argv[2:]:
    if not eval(wanted): sys.exit(json.dumps(subsystems)[:4000] + "\nnot true: " + wanted)' "$TMP/list" "$@"
}

# The kernel's own names of the subsystem with two controllers: its namespace, and both.
pair() {
    for subsystem in /sys/class/nvme-subsystem/*; do
        [ "$(cat "$subsystem/subsysnqn")" = nqn.2019-08.org.qemu:pair0 ] || continue
        set -- "$subsystem"/nvme[0-9]
        same "its controllers" 2 $#
        HEAD=$(basename "$subsystem"/nvme*n1) ONE=${1##*/} OTHER=${2##*/}
    done
}

# The head node of a namespace with two ways to it is listed once; its ways, which have no nodes, at their controllers.
lists() {
    same_devices list
    same_devices "list -v"
    pair
    hidden() { echo "${HEAD%n1}c${1#nvme}n1"; }
    all="'uring-cmd', 'ioctl', 'uring', 'threads', 'aio', 'sync'"
    ours "works('$HEAD') == [$all]" "namespaces['$HEAD']['NSID'] == 1" \
        "[way['Path'] for way in controllers['$ONE']['Paths']] == ['$(hidden "$ONE")']" \
        "[way['Path'] for way in controllers['$OTHER']['Paths']] == ['$(hidden "$OTHER")']" \
        "controllers['$ONE']['Cntlid'] != controllers['$OTHER']['Cntlid']" \
        "controllers['$ONE']['Transport'] == 'pcie' and controllers['$ONE']['State'] == 'live'"
    "$QPAIR" list >"$TMP/text"
    same "the namespace in the table" 1 "$(grep -c "/dev/$HEAD " "$TMP/text")"
    # With metadata inside of its blocks, a namespace has a block device without blocks, or none.
    inside=$(basename "$(readlink -f "$(ng 1n2)")")
    find="next(one for one in namespaces.values() if one['Generic'] == '$inside')"
    ours "$find['MaximumLBA'] > 8000" "$find['AccessPaths'][0] == {'Path': 'uring-cmd', 'Works': True, 'Why': ''}"
}

infos() {
    node=$(readlink -f "$(ng 0n2)")
    check info "$QPAIR" info "$node" -o json >"$TMP/info"
    json "$TMP/info" "d['kind'] == 'nvme'" "d['nsid'] == 2" "d['block_bytes'] == 4096" "d['size_bytes'] == 64 << 20" \
        "d['features']['compare'] and d['features']['copy']" "d['nvme']"
    check info "$QPAIR" info "$(ng 1n2)" -o json >"$TMP/info"
    json "$TMP/info" "d['block_bytes'] == 4096" "not d['features']['compare']"
    refused "a controller has no blocks" "name one of its namespaces" "$QPAIR" info "$(controller_of 0)"
}

# raw WHAT ARGUMENTS...: must succeed at the device.
raw() { what=$1; shift; check "raw $what" "$QPAIR" raw "$@" -o json >"$TMP/answer"; }

# Data and metadata both ways, apart and interleaved; an error of the device is its own exit code.
raws() {
    dd if=/dev/urandom of="$TMP/block" bs=4096 count=2 2>/dev/null
    raw write --opcode 1 --cdw10 8 --cdw12 1 --in "$TMP/block" "$(ng 0n2)"
    raw read --opcode 2 --cdw10 8 --cdw12 1 --data-len 8k --out "$TMP/back" "$(ng 0n2)"
    check "the same bytes" cmp "$TMP/block" "$TMP/back"
    raw compare --opcode 5 --cdw10 8 --cdw12 1 --in "$TMP/block" "$(ng 0n2)"
    raw verify --opcode 12 --cdw10 8 --cdw12 1 "$(ng 0n2)"
    # 8 bytes of information beside each block: no checks (PRINFO 0), so any will do but in the escape's place.
    dd if=/dev/urandom of="$TMP/beside" bs=8 count=2 2>/dev/null
    raw "metadata" --opcode 1 --cdw10 8 --cdw12 1 --in "$TMP/block" --metadata-in "$TMP/beside" "$(ng 1n1)"
    raw "metadata" --opcode 2 --cdw10 8 --cdw12 1 --data-len 8k --out "$TMP/back" --metadata-len 16 \
        --metadata-out "$TMP/beside-back" "$(ng 1n1)"
    check "the same bytes" cmp "$TMP/block" "$TMP/back"
    check "the same metadata" cmp "$TMP/beside" "$TMP/beside-back"
    dd if=/dev/urandom of="$TMP/inside" bs=4160 count=2 2>/dev/null
    raw "interleaved" --opcode 1 --cdw10 8 --cdw12 1 --in "$TMP/inside" "$(ng 1n2)"
    raw "interleaved" --opcode 2 --cdw10 8 --cdw12 1 --data-len 8320 --out "$TMP/back" "$(ng 1n2)"
    check "the same blocks with theirs" cmp "$TMP/inside" "$TMP/back"
    for admin in "" --admin; do
        status=0
        "$QPAIR" raw $admin --opcode 0xfe --data-len 8 "$(ng 0n1)" -o json >"$TMP/answer" || status=$?
        same "an opcode that the device does not know $admin" 3 $status
        json "$TMP/answer" "d['status']['sct'] == 0 and d['status']['sc'] == 1"
    done
}

# Who may not open the device is told so, and sees what there is all the same.
users() {
    # What must be asked for is missing: how large a namespace without a block device is.
    for as in as_user ""; do
        $as "$QPAIR" list | awk '/nvme/ { print $2, $3, $4 }' >"$TMP/list$as"
    done
    check "the same list" cmp "$TMP/list" "$TMP/listas_user"
    [ "$(wc -l <"$TMP/list")" -ge 5 ] || die "it is short: $(cat "$TMP/list")"
    as_user "$QPAIR" list -v -o json >"$TMP/ours"
    grep -q "Permission denied" "$TMP/ours" || die "it does not say why: $(cat "$TMP/ours")"
    if grep -q '"Works": true' "$TMP/ours"; then die "something works: $(cat "$TMP/ours")"; fi
    for words in info "raw --opcode 0" "read --count 1"; do
        refused "$words" "permission denied" as_user "$QPAIR" $words "$(ng 0n1)"
    done
    refused "a controller" "run qpair as root" as_user "$QPAIR" id ctrl "$(controller_of 0)"
}

# Namespaces go and come, and the list with them. One that is gone when it is opened is told to be gone.
namespaces_go_and_come() {
    node=$(readlink -f "$(ng 0n2)") drive=$(controller_of 0)
    mknod "$TMP/gone" c $(stat -c '%Hr %Lr' "$node")
    check detach-ns nvme detach-ns "$drive" -n 2 -c 0
    check rescan "$QPAIR" rescan "$drive"
    eventually "it is off the list" not_listed "$node"
    refused "its name" "qpair list" "$QPAIR" info "$node"
    refused "its number" "qpair list" "$QPAIR" info "$TMP/gone"
    check attach-ns nvme attach-ns "$drive" -n 2 -c 0
    check rescan "$QPAIR" rescan "$drive"
    eventually "it is on the list" listed "$node"
    check info "$QPAIR" info "$node" >/dev/null
}
listed() { "$QPAIR" list | grep -q " $1 "; }
not_listed() { ! listed "$1"; }

# We make and check it where the controller does, and it finds what is wrong.
protection() {
    for path in $PATHS; do
        for at in 1:56 2:0 3:56 4:0; do
            check "protection by $path" "$PROTECTION" "$(ng "2n${at%:*}"),path=$path" >"$TMP/said"
            grep -q "information at ${at#*:} of 64 bytes" "$TMP/said" || die "2n${at%:*}: $(cat "$TMP/said")"
        done
    done
}

NQN=nqn.2026-01.io.qpair:devices

# configure SIZE [MORE]: the file that the target follows.
configure() {
    cat >"$TMP/qpair.toml" <<END
ring = "$RING"
reactors = 1
[[listener]]
address = "127.0.0.1:4420"
[[subsystem]]
nqn = "$NQN"
[[subsystem.namespace]]
nsid = 1
device = "$TMP/disk.img"
block-size = 4096
size = "$1"
$2
END
}

# A controller over fabrics is one like any other; its namespaces grow, come and go as the target's file says.
fabrics() {
    ADDR=127.0.0.1 PORT=4420
    configure 32MiB
    "$QPAIR" serve --config "$TMP/qpair.toml" >"$TMP/serve" 2>&1 &
    serving=$!
    eventually "a target" grep -q '^on 127' "$TMP/serve"
    connect --nr-io-queues=1
    eventually "a namespace" on_fabrics 1 $((32 << 20))
    block=$("$QPAIR" list -o json | python3 -c "$FABRICS" 1) over=/dev/ng${block#/dev/nvme}
    same_devices list
    ours "controllers['$CTRL']['Transport'] == 'tcp' and 'trsvcid=4420' in controllers['$CTRL']['Address']" \
        "works('${block#/dev/}') == ['uring-cmd', 'ioctl', 'uring', 'threads', 'aio', 'sync']"
    for path in $PATHS; do
        check "admin by $path" "$ADMIN" questions "/dev/$CTRL,path=$path"
        any_command "$over,path=$path"
    done
    configure 48MiB '[[subsystem.namespace]]
nsid = 7
device = "ram:16MiB"
block-size = 4096'
    check reload "$QPAIR" reload --config "$TMP/qpair.toml"
    check rescan "$QPAIR" rescan "/dev/$CTRL"
    eventually "it has grown" on_fabrics 1 $((48 << 20))
    eventually "another one has come" on_fabrics 7 $((16 << 20))
    block=$("$QPAIR" list -o json | python3 -c "$FABRICS" 7)
    for path in $PATHS; do unreadable "/dev/ng${block#/dev/nvme},path=$path"; done
    configure 48MiB
    check reload "$QPAIR" reload --config "$TMP/qpair.toml"
    eventually "it has gone" not_on_fabrics 7
    disconnect
    eventually "all have gone" not_on_fabrics 1
    kill $serving
    wait $serving || { cat "$TMP/serve"; die "the target did not end well"; }
}
# The path of the namespace with this ID and, if it is said, this size, on the target here.
FABRICS='
import json, sys
wanted = [int(word) for word in sys.argv[1:]]
for one in json.load(sys.stdin)["Devices"]:
    if one["SerialNumber"].startswith("vmlab") or one["SerialNumber"] == "pair0": continue
    if [one["NameSpace"], one["PhysicalSize"]][:len(wanted)] == wanted: sys.exit(print(one["DevicePath"]))
sys.exit(1)'
on_fabrics() { "$QPAIR" list -o json | python3 -c "$FABRICS" "$@" >/dev/null; }
not_on_fabrics() { ! on_fabrics "$@"; }

# answered SCT SC ARGUMENTS...: what the device says to it.
answered() {
    sct=$1 sc=$2 status=0; shift 2
    "$QPAIR" raw "$@" -o json >"$TMP/answer" || status=$?
    same "$*" 3 $status
    json "$TMP/answer" "d['status']['sct'] == $sct" "d['status']['sc'] == $sc"
}

# little BYTES NUMBER ...: numbers as a device reads them.
little() { python3 -c '
import sys
words = [int(word, 0) for word in sys.argv[1:]]
for size, number in zip(words[::2], words[1::2]): sys.stdout.buffer.write(number.to_bytes(size, "little"))' "$@"; }

# Whatever our target knows passes through the kernel; what it does not know has its status.
any_command() {
    dd if=/dev/urandom of="$TMP/two" bs=4096 count=2 2>/dev/null
    raw write --opcode 1 --cdw10 16 --cdw12 1 --in "$TMP/two" "$1"
    raw compare --opcode 5 --cdw10 16 --cdw12 1 --in "$TMP/two" "$1"
    head -c 8192 /dev/zero >"$TMP/zeros"
    answered 2 0x85 --opcode 5 --cdw10 16 --cdw12 1 --in "$TMP/zeros" "$1"
    raw verify --opcode 12 --cdw10 16 --cdw12 1 "$1"
    # One source: 2 blocks from 16, to 64.
    little 8 0 8 16 2 1 14 0 >"$TMP/source"
    raw copy --opcode 0x19 --cdw10 64 --cdw12 0 --in "$TMP/source" "$1"
    raw read --opcode 2 --cdw10 64 --cdw12 1 --data-len 8k --out "$TMP/back" "$1"
    check "what was copied" cmp "$TMP/two" "$TMP/back"
    # One range to deallocate, after which it reads as zeros.
    little 4 0 4 2 8 64 >"$TMP/range"
    raw deallocate --opcode 9 --cdw10 0 --cdw11 4 --in "$TMP/range" "$1"
    raw read --opcode 2 --cdw10 64 --cdw12 1 --data-len 8k --out "$TMP/back" "$1"
    check "what was deallocated" cmp "$TMP/zeros" "$TMP/back"
    raw flush --opcode 0 "$1"
    raw "reservation report" --opcode 0x0e --cdw10 15 --cdw11 1 --data-len 64 --out "$TMP/report" "$1"
    same "generation, type and registrants" "0000000000000000" "$(od -An -tx1 -N8 "$TMP/report" | tr -d ' ')"
    answered 0 1 --opcode 0x5a --data-len 8 "$1"
    answered 0 0x80 --opcode 2 --cdw10 0x7fffffff --data-len 4k "$1"
}

# A block that was made unreadable cannot be read, nor verified, until it is written.
unreadable() {
    raw "write uncorrectable" --opcode 4 --cdw10 17 --cdw12 0 "$1"
    answered 2 0x81 --opcode 2 --cdw10 16 --cdw12 1 --data-len 8k "$1"
    answered 2 0x81 --opcode 12 --cdw10 16 --cdw12 1 "$1"
    raw read --opcode 2 --cdw10 16 --cdw12 0 --data-len 4k --out "$TMP/back" "$1"
    raw write --opcode 1 --cdw10 16 --cdw12 1 --in "$TMP/two" "$1"
    raw read --opcode 2 --cdw10 16 --cdw12 1 --data-len 8k --out "$TMP/back" "$1"
    check "what was written" cmp "$TMP/two" "$TMP/back"
}

# fio_on DEVICE OPTIONS...: fio through the same device file, by the same calls.
fio_on() {
    device=$(readlink -f "$1"); shift
    fio --name=devices --filename="$device" --ioengine=io_uring_cmd --cmd_type=nvme --thread --bs=4k --size=8m \
        --randseed=1 "$@"
}

# What fio stamps, qpair carries to a namespace with other blocks, where fio finds all of it; and the other way.
fio_agrees() {
    check "fio writes" fio_on "$(ng 0n1)" --rw=randwrite --iodepth=16 --verify=md5 --do_verify=0 >/dev/null
    check "qpair copies" "$QPAIR" copy "$(ng 0n1)" "$(ng 0n2)" --size 8MiB --verify --force >/dev/null
    check "fio verifies" fio_on "$(ng 0n2)" --rw=randwrite --iodepth=16 --verify=md5 --verify_only >/dev/null
    dd if=/dev/urandom of="$TMP/some" bs=4k count=1 2>/dev/null
    check "qpair writes" "$QPAIR" write "$(ng 0n2)" --fill 0xa5 --size 8MiB >/dev/null
    check "fio reads" fio_on "$(ng 0n2)" --rw=read --iodepth=16 --verify=pattern --verify_pattern=0xa5 >/dev/null
    "$QPAIR" write "$(ng 0n2)" --lba 77 --from "$TMP/some" >/dev/null
    if fio_on "$(ng 0n2)" --rw=read --iodepth=16 --verify=pattern --verify_pattern=0xa5 >/dev/null 2>&1; then
        die "fio did not notice another block"
    fi
}

# Not held: an emulated processor tells little of a real one.
beside_fio() {
    theirs=$(fio_on "$(ng 0n2)" --rw=randread --iodepth=32 --time_based --runtime=2 --output-format=json |
        python3 -c 'import json, sys; print(round(json.load(sys.stdin)["jobs"][0]["read"]["iops"]))')
    "$QPAIR" bench --quiet "$(ng 0n2)" --rw randread --bs 4k --qd 32 --secs 2 --size 8MiB --json >"$TMP/bench"
    ours=$(python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))["total"]["iops"]))' "$TMP/bench")
    ratio=$(awk "BEGIN { printf \"%.2f\", $ours / $theirs }")
    echo "4 KiB random reads at depth 32: fio $theirs IOPS, qpair $ours, $ratio of fio" >"$TMP/ratio"
}

step "qpair list as nvme-cli, two ways to a namespace" lists
step "qpair info" infos
step "qpair raw, data and metadata both ways" raws
step "a user who may not open" users
step "namespaces that go and come" namespaces_go_and_come
step "protection information in larger metadata" protection
step "a controller over fabrics: any command, and namespaces that grow, come and go" fabrics
step "fio finds what qpair wrote, and the other way" fio_agrees
step "beside fio" beside_fio
sed 's/^/    /' "$TMP/ratio"
step "admin commands, many at once, while one waits" admin_commands
noisy_step "an admin command whose time is up" admin_timeout
finish
