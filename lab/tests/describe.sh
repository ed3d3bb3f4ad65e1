# What devices say of themselves, by qpair and by nvme-cli: key by key the same. QPAIR: the program, run in the guest.
# Drives as in passthru.sh: 0n1 plain, 1n1 with protection information, 1n2 with metadata, 2n1 zoned.
# ADDR PORT NQN: a target with namespace 1, which the kernel reaches by nvme-tcp and qpair by itself. The kernel is one
# without multipath.
. "$(dirname "$0")/lib.sh"

# QEMU's drives have no identifiers of their own, which the kernel remarks.
TOLERATED="$USUAL|bogus Namespace Identifiers|mandatory"

ng() { echo "/dev/vmlab/ng$1"; }

# agree 'NVME COMMAND' 'QPAIR COMMAND' DEVICE: everything that nvme-cli says is in ours; or both are refused.
agree() {
    if nvme $1 "$3" -o json >"$TMP/theirs" 2>"$TMP/said"; then
        check "qpair $2 $3" "$QPAIR" $2 "$3" -o json >"$TMP/ours"
        check "nvme $1 and qpair $2 $3" python3 -c "$AGREE" "$TMP/theirs" "$TMP/ours"
    else
        status=0
        "$QPAIR" $2 "$3" -o json >"$TMP/ours" || status=$?
        same "nvme $1 is refused ($(cat "$TMP/said")), and so is qpair $2 $3" 3 $status
        json "$TMP/ours" "d['type'] == 'nvme' and d['sct'] + d['sc'] > 0"
    fi
}
# nvme-cli 2.3 shows numbers with the highest bit set as negative.
AGREE='
import json, sys
def walk(theirs, ours, at):
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            if key not in ours: sys.exit(f"{at}.{key} is missing")
            walk(value, ours[key], f"{at}.{key}")
    elif isinstance(theirs, list):
        if len(theirs) != len(ours): sys.exit(f"{at} has {len(ours)} entries, not {len(theirs)}")
        for index, pair in enumerate(zip(theirs, ours)): walk(*pair, f"{at}[{index}]")
    elif theirs != ours and not (isinstance(theirs, int) and theirs < 0 and ours in (theirs + 2**32, theirs + 2**64)):
        sys.exit(f"{at}: theirs {theirs!r}, ours {ours!r}")
theirs, ours = (json.load(open(name)) for name in sys.argv[1:])
assert theirs and ours["schema"] == 1
walk(theirs, ours, "")
'

# of DEVICE...: what every namespace of the NVM command set has
of() {
    for device; do
        agree id-ctrl "id ctrl" "$device"
        agree id-ns "id ns" "$device"
        agree ns-descs "id descriptors" "$device"
        agree "cmdset-ind-id-ns -n ${device##*n}" "id ind-ns" "$device"
        agree list-ns "id list" "$device"
        agree smart-log "log smart" "$device"
        agree "error-log -e 256" "log error" "$device"
    done
}

drives() {
    of "$(ng 0n1)" "$(ng 1n1)" "$(ng 1n2)"
    for drive in 1n1 1n2; do agree nvm-id-ns "id nvm-ns" "$(ng $drive)"; done
    agree nvm-id-ctrl "id nvm-ctrl" "$(ng 0n1)"
}

# By its own node a controller has no namespace: one must be named.
controllers() {
    node=$(readlink -f "$(ng 0n1)")
    node=/dev/nvme${node#/dev/ng} node=${node%n*}
    agree id-ctrl "id ctrl" "$node"
    agree list-ns "id list" "$node"
    agree list-ctrl "id controllers" "$node"
    agree primary-ctrl-caps "id primary" "$node"
    agree list-secondary "id secondary" "$node"
    agree id-uuid "id uuids" "$node"
    agree id-domain "id domains" "$node"
    agree list-endgrp "id endurance-groups" "$node"
    agree id-nvmset "id nvm-sets" "$node"
    agree smart-log "log smart" "$node"
    agree "id-ns -n 2" "id ns --nsid 2" "$node"
    status=0
    "$QPAIR" id ns "$node" 2>"$TMP/said" || status=$?
    same "a namespace must be named" 2 $status
    grep -q -e '--nsid' "$TMP/said" || die "it does not say how: $(cat "$TMP/said")"
}

zoned() {
    agree "zns id-ns" "id zns-ns" "$(ng 2n1)"
    agree "zns id-ctrl" "id zns-ctrl" "$(ng 2n1)"
    agree ns-descs "id descriptors" "$(ng 2n1)"
}

# nvme-cli 2.3 has text only: "get-feature:0x07 (Number of Queues), Current value:0x0003f003f"
features() {
    for fid in 0x01 0x04 0x07 0x0b; do
        theirs=$(nvme get-feature "$1" -f $fid | sed -n 's/.*value: *\(0x\)\{0,1\}\([0-9a-fA-F]*\).*/\2/p')
        check "feature $fid" "$QPAIR" feature get $fid "$1" -o json >"$TMP/feature"
        json "$TMP/feature" "d['value'] == 0x$theirs"
    done
}

# A feature that is set by qpair is seen by nvme-cli.
set_feature() {
    before=$("$QPAIR" feature get 4 "$1" -o json | sed -n 's/.*"value": \([0-9]*\).*/\1/p')
    check "set" "$QPAIR" feature set temperature-threshold --value 0x155 "$1"
    nvme get-feature "$1" -f 4 | grep -qi '0*155$' || die "nvme-cli does not see it: $(nvme get-feature "$1" -f 4)"
    check "set back" "$QPAIR" feature set temperature-threshold --value "$before" "$1"
}

# Every log that the drive has, by any name, whole; and its bytes as nvme-cli reads them.
logs() {
    for log in firmware effects changed-ns; do check "log $log" "$QPAIR" log $log "$1" >"$TMP/text"; done
    for log in 3,firmware,512 5,effects,4096; do
        lid=${log%%,*} bytes=${log##*,} name=${log#*,} name=${name%,*}
        nvme get-log "$1" --log-id="$lid" --log-len="$bytes" --raw-binary >"$TMP/theirs"
        check "log $name" "$QPAIR" log $name --raw "$1" >"$TMP/ours"
        check "the bytes of log $name" cmp "$TMP/theirs" "$TMP/ours"
    done
}

# Our target through the kernel: the same answers as nvme-cli gets, and the same as without the kernel.
through_the_kernel() {
    connect --nr-io-queues=1
    block=$(device "$CTRL" 1)
    device=/dev/ng${block#/dev/nvme}
    eventually "its character device" test -c "$device"
    of "$device"
    agree nvm-id-ns "id nvm-ns" "$device"
    features "$device"
    check "by the kernel" "$QPAIR" id ns "$device" >"$TMP/kernel-way"
    check "by qpair" "$QPAIR" id ns "nvme-tcp://$ADDR:$PORT/$NQN?ns=1" >"$TMP/own-way"
    check "both ways" diff "$TMP/kernel-way" "$TMP/own-way"
    disconnect
}

# The discovery log of our target, by nvme-cli and by qpair itself. nvme-cli 2.3 has no word for a port that needs no
# secure channel and lets hosts go without flow control (treq).
discovery() {
    check "nvme discover" nvme discover -t tcp -a "$ADDR" -s "$PORT" -o json | sed '/"treq":/d' >"$TMP/theirs"
    check "qpair log discovery" "$QPAIR" log discovery "nvme-tcp://$ADDR:$PORT" -o json >"$TMP/ours"
    check "key by key" python3 -c "$AGREE" "$TMP/theirs" "$TMP/ours"
}

dmesg -C
step "drives as nvme-cli shows them" drives
step "a controller by its own node" controllers
step "a zoned drive" zoned
step "features" features "$(ng 0n1)"
step "a feature that is set" set_feature "$(ng 0n1)"
step "logs" logs "$(ng 0n1)"
step "our target through the kernel" through_the_kernel
step "its discovery controller" discovery
finish
