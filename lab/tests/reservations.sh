# Reservations by nvme-cli and by the kernel's own ioctls, from two controllers of two hosts: who may do what, what the
# reports and notifications say, and what outlives a kill of the target.
# ADDR PORT NQN: a target whose namespace 1 is a file and whose namespace 2 is memory that always has the same UUID.
# Asks the host to `kill` it; then it is away for a second.
. "$(dirname "$0")/lib.sh"

# The second host differs in both names; the kernel allows no less. Keys and identifiers use all of their bits.
HOSTNQN_B=nqn.2014-08.org.nvmexpress:uuid:b22d0000-1234-4567-89ab-fedcba987654
HOSTID_B=b22d0000-1234-4567-89ab-fedcba987654
KEY_A=0xa1 KEY_B=0xb2b2b2b2b2b2b2b2
# As the reports have them.
PLAIN_A=$(echo $HOSTID | tr -d -) PLAIN_B=$(echo $HOSTID_B | tr -d -)

# Reservation types.
WRITE_EXCLUSIVE=1 EXCLUSIVE_ACCESS=2 WRITE_REGISTRANTS=3 ACCESS_REGISTRANTS=4 WRITE_ALL=5

two_hosts() {
    connect --nr-io-queues=2 --reconnect-delay=1 --ctrl-loss-tmo=600
    connect_as "$HOSTNQN_B" "$HOSTID_B" reconnect_delay=1,ctrl_loss_tmo=600
    for nsid in 1 2; do
        device "$CTRL" $nsid
        device "$OTHER" $nsid
    done
    echo "$CTRL $OTHER" >"$TMP/controllers"
}

# --- what the hosts do: DEVICE, then keys and types

register() { check "register $2" nvme resv-register "$1" --nrkey="$2" --rrega=0 --cptpl="${3:-0}"; }
unregister() { check "unregister $2" nvme resv-register "$1" --crkey="$2" --rrega=1; }
acquire() { check "acquire type $3" nvme resv-acquire "$1" --crkey="$2" --rtype="$3" --racqa=0; }
preempt() { check "preempt $3" nvme resv-acquire "$1" --crkey="$2" --prkey="$3" --rtype="$4" --racqa="${5:-1}"; }
release() { check "release type $3" nvme resv-release "$1" --crkey="$2" --rtype="$3" --rrela=0; }
clear_all() { check "clear" nvme resv-release "$1" --crkey="$2" --rrela=1; }

may_write() { check "a write to $1" dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct; }
may_read() { check "a read of $1" dd if="$1" of=/dev/null bs=4k count=1 iflag=direct; }
# The kernel makes EBADE of a conflict.
may_not_write() { refused "a write to $1" "invalid exchange" dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct; }
may_not_read() { refused "a read of $1" "invalid exchange" dd if="$1" of=/dev/null bs=4k count=1 iflag=direct; }

# report DEVICE RTYPE [HOST:KEY:HOLDER...]: the extended report has this type and these entries, and no others.
report() {
    device=$1 rtype=$2; shift 2
    check report nvme resv-report "$device" --eds -o json >"$TMP/report"
    # Controllers are dynamic: the report has one entry for each host, whose CNTLID says so.
    json "$TMP/report" \
        "d['rtype'] == $rtype and d['regctl'] == $#" \
        "all(x['cntlid'] == 0xffff for x in d['regctlext'])" \
        "sorted('%s:%#x:%d' % (x['hostid'], x['rkey'], x['rcsts']) for x in d['regctlext']) == sorted('$*'.split())"
}
generation() { sed -n 's/.*"gen": *\([0-9]*\).*/\1/p' "$TMP/report"; }

# HOST KEY: such an entry.
holds() { echo "$1:$2:1"; }
registered() { echo "$1:$2:0"; }

# --- the steps

capabilities() {
    check id-ctrl nvme id-ctrl /dev/"$CTRL" -o json >"$TMP/id"
    json "$TMP/id" "d['oncs'] & 0x20 # reservations" "d['ctratt'] & 1 # host identifiers of 128 bits"
    check id-ns nvme id-ns "$A" -o json >"$TMP/ns"
    json "$TMP/ns" "d['rescap'] == 0xff # persistence, all types, the IEKEY of 1.3" "d['nmic'] & 1 # shared"
    check id-ns nvme id-ns "$A2" -o json >"$TMP/ns"
    json "$TMP/ns" "d['rescap'] == 0xfe # memory keeps nothing"
}

registrations() {
    report "$A" 0
    before=$(generation)
    register "$A" $KEY_A
    refused "a second key" "conflict" nvme resv-register "$A" --nrkey=0x77 --rrega=0
    register "$B" 0x1
    check "replace" nvme resv-register "$B" --crkey=0x1 --nrkey=$KEY_B --rrega=2
    report "$A" 0 "$(registered $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    same "changes of the registrations" 3 $(($(generation) - before))
    json "$TMP/report" "d['ptpls'] == 0"
    # Entries with 64 bits have no room for what a host on fabrics is called.
    refused "a report with short host identifiers" "host identifier inconsistent" nvme resv-report "$A" -o json
    may_write "$A"
    may_write "$B"
}

write_exclusive() {
    acquire "$A" $KEY_A $WRITE_EXCLUSIVE
    report "$B" $WRITE_EXCLUSIVE "$(holds $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    may_write "$A"
    may_read "$A"
    may_read "$B"
    may_not_write "$B"
    refused "deallocation" "conflict" nvme dsm "$B" --ad --slbs=0 --blocks=8
    refused "another's reservation" "conflict" nvme resv-acquire "$B" --crkey=$KEY_B --rtype=1 --racqa=0
    refused "a key that is not the host's" "conflict" nvme resv-release "$A" --crkey=0x5 --rtype=1 --rrela=0
    refused "a release of another type" "invalid field" nvme resv-release "$A" --crkey=$KEY_A --rtype=2 --rrela=0
    # The other namespace has reservations of its own.
    may_write "$B2"
    release "$A" $KEY_A $WRITE_EXCLUSIVE
    may_write "$B"
}

exclusive_access() {
    acquire "$A" $KEY_A $EXCLUSIVE_ACCESS
    report "$A" $EXCLUSIVE_ACCESS "$(holds $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    may_write "$A"
    may_read "$A"
    may_not_write "$B"
    may_not_read "$B"
    release "$A" $KEY_A $EXCLUSIVE_ACCESS
    may_read "$B"
}

# Who is registered may; who is not may not.
registrants_only() {
    acquire "$A" $KEY_A $WRITE_REGISTRANTS
    may_write "$B"
    unregister "$B" $KEY_B
    report "$B" $WRITE_REGISTRANTS "$(holds $PLAIN_A $KEY_A)"
    may_not_write "$B"
    may_read "$B"
    release "$A" $KEY_A $WRITE_REGISTRANTS
    acquire "$A" $KEY_A $ACCESS_REGISTRANTS
    may_not_read "$B"
    register "$B" $KEY_B
    may_read "$B"
    may_write "$B"
    release "$A" $KEY_A $ACCESS_REGISTRANTS
}

# All registrants hold it; it ends with the last of them.
all_registrants() {
    acquire "$B" $KEY_B $WRITE_ALL
    report "$A" $WRITE_ALL "$(holds $PLAIN_A $KEY_A)" "$(holds $PLAIN_B $KEY_B)"
    may_write "$A"
    unregister "$B" $KEY_B
    report "$A" $WRITE_ALL "$(holds $PLAIN_A $KEY_A)"
    may_not_write "$B"
    unregister "$A" $KEY_A
    report "$A" 0
    may_write "$B"
    register "$A" $KEY_A
    register "$B" $KEY_B
}

# told CONTROLLER TYPE: the next notification of namespace 1, which is asked for until there is one.
told() {
    tries=0
    until check notifications nvme resv-notif-log /dev/"$1" -o json >"$TMP/told" \
        && json "$TMP/told" "d['rn_log_type'] == $2 and d['nsid'] == 1" >"$TMP/not" 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || { cat "$TMP/not"; die "$1 was not told of type $2"; }
        sleep 0.1
    done
}
# forget CONTROLLER: takes all notifications until now.
forget() {
    until check notifications nvme resv-notif-log /dev/"$1" -o json >"$TMP/told" \
        && json "$TMP/told" "d['rn_log_type'] == 0" 2>/dev/null; do :; done
}
REGISTRATION_PREEMPTED=1 RESERVATION_RELEASED=2 RESERVATION_PREEMPTED=3

# While A writes as much as it can, B takes its place. From then on nothing of A reaches the disk.
preemption() {
    action=$1
    forget "$CTRL"
    acquire "$A" $KEY_A $WRITE_EXCLUSIVE
    fio --name=fenced --filename="$A" --rw=randwrite --bs=4k --iodepth=32 --size=16m --time_based --runtime=60 \
        --ioengine=libaio --direct=1 --thread --minimal >"$TMP/fenced" 2>&1 &
    job=$!
    sleep 2
    kill -0 $job 2>/dev/null || { cat "$TMP/fenced"; die "the load has ended before it was fenced"; }
    preempt "$B" $KEY_B $KEY_A $WRITE_EXCLUSIVE "$action"
    check "zeros" dd if=/dev/zero of="$B" bs=1M count=16 oflag=direct
    if wait $job; then die "the load did not notice"; fi
    grep -qi "invalid exchange" "$TMP/fenced" || { cat "$TMP/fenced"; die "the load ended for another reason"; }
    zeros "$B" 0 16
    report "$B" $WRITE_EXCLUSIVE "$(holds $PLAIN_B $KEY_B)"
    may_not_write "$A"
    told "$CTRL" $REGISTRATION_PREEMPTED
    release "$B" $KEY_B $WRITE_EXCLUSIVE
    register "$A" $KEY_A
}

notifications() {
    forget "$CTRL"
    forget "$OTHER"
    acquire "$B" $KEY_B $WRITE_REGISTRANTS
    release "$B" $KEY_B $WRITE_REGISTRANTS
    told "$CTRL" $RESERVATION_RELEASED
    acquire "$B" $KEY_B $WRITE_EXCLUSIVE
    clear_all "$A" $KEY_A
    told "$OTHER" $RESERVATION_PREEMPTED
    report "$B" 0
    may_write "$A"
}

# pr DEVICE NUMBER FORMAT VALUES...: an ioctl of <linux/pr.h>, as cluster software uses it.
pr() {
    python3 -c '
import fcntl, struct, sys
device, number, format, *numbers = sys.argv[1:]
data = struct.pack("=" + format, *(int(n, 0) for n in numbers))
request = 1 << 30 | len(data) << 16 | ord("p") << 8 | int(number)
try:
    with open(device, "rb+", buffering=0) as file:
        status = fcntl.ioctl(file, request, bytearray(data))
except OSError as error:
    sys.exit(str(error))
sys.exit(status and "status %#x" % status)' "$@"
}
pr_register() { pr "$1" 200 QQII "$2" "$3" 0 0; }
pr_reserve() { pr "$1" 201 QII "$2" "$3" 0; }
pr_release() { pr "$1" 202 QII "$2" "$3" 0; }
pr_preempt() { pr "$1" 203 QQII "$2" "$3" "$4" 0; }
pr_clear() { pr "$1" 205 QII "$2" 0 0; }

ioctls() {
    check "register" pr_register "$A" 0 $KEY_A
    check "register" pr_register "$B" 0 $KEY_B
    check "reserve" pr_reserve "$A" $KEY_A $EXCLUSIVE_ACCESS
    report "$A" $EXCLUSIVE_ACCESS "$(holds $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    json "$TMP/report" "d['ptpls'] == 1 # the kernel always asks for it"
    # PR_STS_RESERVATION_CONFLICT
    refused "a reservation beside it" "status 0x18" pr_reserve "$B" $KEY_B $EXCLUSIVE_ACCESS
    # What <linux/pr.h> calls the old key is the one that the caller has, whatever its documentation says.
    check "preempt" pr_preempt "$B" $KEY_B $KEY_A $EXCLUSIVE_ACCESS
    report "$A" $EXCLUSIVE_ACCESS "$(holds $PLAIN_B $KEY_B)"
    check "release" pr_release "$B" $KEY_B $EXCLUSIVE_ACCESS
    check "register" pr_register "$A" 0 $KEY_A
    check "clear" pr_clear "$A" $KEY_A
    report "$A" 0
}

restart() {
    clear_log
    ask_host kill
    eventually "both hosts are back" reconnected
}
reconnected() { [ "$(dmesg | grep -ci "reconnected")" -ge 2 ]; }

persistence() {
    register "$A" $KEY_A 3
    register "$B" $KEY_B
    acquire "$A" $KEY_A $EXCLUSIVE_ACCESS
    register "$A2" $KEY_A
    refused "persistence of memory" "invalid field" nvme resv-register "$B2" --nrkey=0x9 --rrega=0 --cptpl=3
    report "$A" $EXCLUSIVE_ACCESS "$(holds $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    json "$TMP/report" "d['ptpls'] == 1"
    before=$(generation)
    restart
    report "$B" $EXCLUSIVE_ACCESS "$(holds $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    json "$TMP/report" "d['ptpls'] == 1"
    same "generation" "$before" "$(generation)"
    may_not_write "$B"
    may_not_read "$B"
    may_write "$A"
    report "$A2" 0
}

no_persistence() {
    check "no more persistence" nvme resv-register "$A" --crkey=$KEY_A --nrkey=$KEY_A --rrega=2 --cptpl=2
    report "$B" $EXCLUSIVE_ACCESS "$(holds $PLAIN_A $KEY_A)" "$(registered $PLAIN_B $KEY_B)"
    json "$TMP/report" "d['ptpls'] == 0"
    restart
    report "$B" 0
    may_write "$B"
}

leave() {
    check "the second host leaves" nvme disconnect -d "$OTHER"
    disconnect
}

# The kernel runs without multipath here, so that two hosts in one guest have a block device each.
USUAL="$USUAL|without CONFIG_NVME_MULTIPATH|multipathing not supported"
# What a conflict looks like in the kernel's log.
USUAL="$USUAL|sct 0x0 / sc 0x83|reservation conflict error|callbacks suppressed"
TOLERATED=$USUAL

dmesg -C
step "two hosts connect" two_hosts
read -r CTRL OTHER <"$TMP/controllers"
A=$(device "$CTRL" 1) A2=$(device "$CTRL" 2)
B=$(device "$OTHER" 1) B2=$(device "$OTHER" 2)
step "capabilities" capabilities
step "register, replace, report" registrations
step "Write Exclusive" write_exclusive
step "Exclusive Access" exclusive_access
step "Registrants Only" registrants_only
step "All Registrants" all_registrants
step "preempt fences a load" preemption 1
step "preempt and abort fences a load" preemption 2
step "release and clear are told" notifications
step "the kernel's ioctls" ioctls
noisy_step "a persistent reservation outlives a kill" persistence
noisy_step "another one does not" no_persistence
step "disconnect" leave
finish
