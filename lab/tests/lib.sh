# Shared by the guest scripts. A script is a list of steps, each a function:
#
#     step "what is tested" function arguments...
#
# A step passes when its function returns 0 and the kernel had nothing to complain about. It prints
# `ok NAME (seconds s)` or `FAIL NAME` and its log; `cargo xtask test` counts these lines. A failed
# step does not keep the next ones from running. Inside a function: check, same, refused, die.
# `BADPAGE NAME`: it would have passed, but for a page of the guest (README.md, "A bad page").
#
# From the host: ADDR, PORT, NQN and what else the script says at its top. SHARED: a directory of the host, in which the
# script asks for what only the host can do (ask_host).

HOSTNQN=nqn.2014-08.org.nvmexpress:uuid:6f1d2c3b-0000-4000-8000-00000000a11c
HOSTID=6f1d2c3b-0000-4000-8000-00000000a11c
# As an installed host has them. Who is not told else would take what the firmware says, if the kernel shows it.
mkdir -p /etc/nvme
echo "$HOSTNQN" >/etc/nvme/hostnqn
echo "$HOSTID" >/etc/nvme/hostid
TMP=$(mktemp -d)
FAILED=0

uptime_s() { cut -d' ' -f1 /proc/uptime; }

# What the kernel reported since the last call at warning level or worse, from nvme or of its own bugs. Bad pages of
# the one known kind go to the file `pages`. If nvme_tcp could not send because of one, so does all that follows from
# it, and the file `unsent` has what it says of that.
complaints() {
    clear_log
    : >"$TMP/pages"
    awk -v pages="$TMP/pages" "$SPLIT" "$TMP/dmesg" | awk -F'[<>]' '$2 % 8 <= 4' >"$TMP/warnings"
    : >"$TMP/dmesg"
    grep -E "$BUGS" "$TMP/warnings"
    grep -iE 'nvme|I/O error|blk_update|EXT4-fs (error|warning)' "$TMP/warnings" |
        grep -vE "$BUGS|$TOLERATED" >"$TMP/io"
    if grep "$UNSENT" "$TMP/io" >"$TMP/unsent"; then cat "$TMP/io" >>"$TMP/pages"; else cat "$TMP/io"; fi
}
# The kernel's own: never tolerated.
BUGS='WARNING:|BUG|Oops|Call Trace|hung'
# EIO of a send: a page that nobody holds. What a target does to a connection has other numbers (EPIPE, ECONNRESET).
UNSENT='nvme[0-9]*: failed to send request -5'
# A free page that was given back once too often, and that has nothing else wrong; one that is to be sent, all the same.
SPLIT='
    /BUG: Bad page state/ { inside = 1; report = "" }
    /-\[ cut here \]-/ { inside = 1; report = "" }
    !inside { print; next }
    { report = report $0 "\n" }
    /<\/TASK>/ && report ~ /BUG: Bad page state/ {
        inside = 0
        known = report ~ /refcount:-1 mapcount:0 mapping:0000000000000000/ && report ~ /because: nonzero _refcount/
        if (known) printf "%s", report >pages; else printf "%s", report
    }
    /-\[ end trace / {
        inside = 0
        known = report ~ /WARNING: .* skb_splice_from_iter\+/
        if (known) printf "%s", report >pages; else printf "%s", report
    }
    END { if (inside) printf "%s", report }
'
# For steps that look at the log themselves: from now on. What was there still counts.
clear_log() {
    dmesg -r >>"$TMP/dmesg"
    dmesg -C
}

# Warnings that mean nothing: a queue smaller than the one asked for, a reset that was asked for.
USUAL='clamping down|resetting controller'
TOLERATED=$USUAL

step() {
    name=$1 begun=$(uptime_s)
    shift
    # Not in a condition, which would switch off `set -e` inside.
    ( set -e; "$@" ) >"$TMP/log" 2>&1 </dev/null
    status=$?
    complaints >"$TMP/kernel"
    took=$(awk "BEGIN { printf \"%.1f\", $(uptime_s) - $begun }")
    if [ -s "$TMP/unsent" ] && [ ! -s "$TMP/kernel" ]; then
        # The connection is of no use any more, and whatever the step found wrong may follow from that.
        echo "BADPAGE $name ($took s)"
        head -n 20 "$TMP/pages" | sed 's/^/    kernel: /'
        finish
    fi
    if [ $status -eq 0 ] && [ ! -s "$TMP/kernel" ]; then
        if [ ! -s "$TMP/pages" ]; then
            echo "ok $name ($took s)"
        else
            echo "BADPAGE $name ($took s)"
            sed 's/^/    kernel: /' "$TMP/pages"
        fi
        return 0
    fi
    FAILED=$((FAILED + 1))
    echo "FAIL $name ($took s, status $status)"
    sed 's/^/    | /' "$TMP/log" | tail -n 40
    sed 's/^/    kernel: /' "$TMP/kernel" | head -n 20
    grep -E 'BUG|page:' "$TMP/pages" | sed 's/^/    kernel: /'
}

# A step whose very point makes the nvme driver and what is above it complain.
noisy_step() {
    TOLERATED=.
    step "$@"
    TOLERATED=$USUAL
}

finish() {
    rm -rf "$TMP"
    [ $FAILED -eq 0 ]
    exit
}

# To stderr: stdout may be on its way into a file.
die() { echo "$*" >&2; exit 1; }

# check WHAT COMMAND...: the command must succeed; what it prints is shown when it does not.
check() {
    what=$1; shift
    "$@" || die "$what: status $? from: $*"
}

# same WHAT WANTED GOT
same() { [ "$2" = "$3" ] || die "$1: wanted '$2', got '$3'"; }

# refused WHAT PATTERN COMMAND...: the command must fail, and say something that matches.
refused() {
    what=$1 pattern=$2; shift 2
    if "$@" >"$TMP/refused" 2>&1; then
        cat "$TMP/refused"
        die "$what: should have been refused: $*"
    fi
    cat "$TMP/refused"
    grep -qiE "$pattern" "$TMP/refused" || die "$what: refused, but not with '$pattern'"
}

# json FILE EXPRESSION...: Python expressions over the parsed document `d`, all of which must be true.
json() {
    python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
for wanted in sys.argv[2:]:
    if not eval(wanted):
        sys.exit(json.dumps(d)[:2000] + "\nnot true: " + wanted)' "$@"
}

# connect [OPTIONS...]: connects to $NQN and sets CTRL (nvme0).
connect() {
    check connect nvme connect -t tcp -a "$ADDR" -s "$PORT" -n "$NQN" -q "$HOSTNQN" -I "$HOSTID" "$@"
    CTRL=$(controller) || die "no controller for $NQN"
}

disconnect() {
    check disconnect nvme disconnect -n "$NQN"
    tries=0
    while controller >/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || die "still connected after 5 s"
        sleep 0.1
    done
}

# The kernel's name of the connected controller.
controller() {
    for c in /sys/class/nvme/nvme*; do
        [ -e "$c/subsysnqn" ] || continue
        [ "$(cat "$c/subsysnqn")" = "$NQN" ] && { echo "${c##*/}"; return 0; }
    done
    return 1
}

# connect_as HOSTNQN HOSTID [OPTIONS]: connects as another host beside the first one, and sets OTHER (nvme1).
# Two queues: one has a scheduler, whose requests are made for all namespaces at once (README.md, "A bad page").
# `nvme connect` finds that this guest is connected already, whoever the host is; the kernel does look.
connect_as() {
    options=transport=tcp,traddr=$ADDR,trsvcid=$PORT,nqn=$NQN,hostnqn=$1,hostid=$2,nr_io_queues=2${3:+,$3}
    exec 3<>/dev/nvme-fabrics
    check "connect as another host" echo "$options" >&3
    OTHER=nvme$(sed -n 's/.*instance=\([0-9]*\).*/\1/p' <&3)
    exec 3>&-
    [ "$OTHER" != nvme ] || die "the other host did not connect"
    [ "$OTHER" != "$CTRL" ] || die "the other host got the first one's controller"
}

# device CONTROLLER NSID: waits for the block device of one of several controllers and prints its path. For kernels
# without multipath, where each controller has its own.
device() {
    tries=0
    while [ $tries -lt 100 ]; do
        for n in /sys/class/nvme/"$1"/nvme*n*; do
            [ -e "$n/nsid" ] && [ "$(cat "$n/nsid")" = "$2" ] || continue
            [ -b "/dev/${n##*/}" ] && { echo "/dev/${n##*/}"; return 0; }
        done
        tries=$((tries + 1))
        sleep 0.1
    done
    echo "no block device for namespace $2 of $1" >&2
    return 1
}

# eventually WHAT COMMAND...: what the kernel does by itself, within 15 s.
eventually() {
    what=$1; shift
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] || die "$what: not after 15 s"
        sleep 0.1
    done
}

# ask_host WORDS...: has the host do something, and waits until it is done.
ask_host() {
    echo "$*" >"$SHARED/words"
    mv "$SHARED/words" "$SHARED/ask"
    tries=0
    while [ ! -e "$SHARED/done" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || die "the host was asked to '$*' and did not in 60 s"
        sleep 0.1
    done
    rm "$SHARED/done"
}

# namespace NSID: waits for the block device and prints its path. The kernel scans after it connected.
namespace() {
    tries=0
    while [ $tries -lt 100 ]; do
        for n in /sys/block/nvme*n*; do
            case ${n##*/} in nvme*c*n*) continue ;; esac # a path below a multipath head
            [ -e "$n/nsid" ] && [ "$(cat "$n/nsid")" = "$1" ] || continue
            [ -b "/dev/${n##*/}" ] && { echo "/dev/${n##*/}"; return 0; }
        done
        tries=$((tries + 1))
        sleep 0.1
    done
    echo "no block device for namespace $1" >&2
    return 1
}

# verify DEVICE BLOCK DEPTH BYTES [FIO OPTIONS...]: writes random blocks, then reads and checks every one.
verify() {
    device=$1 block=$2 depth=$3 bytes=$4; shift 4
    check "fio bs=$block depth=$depth" fio --name=verify --filename="$device" --rw=randwrite --bs="$block" \
        --iodepth="$depth" --size="$bytes" --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 \
        --thread --output-format=terse --minimal --randseed="$(date +%s%N)" "$@"
}

# zeros DEVICE OFFSET_MIB COUNT_MIB: this part must read as zeros.
zeros() {
    dd if="$1" bs=1M skip="$2" count="$3" iflag=direct 2>/dev/null | tr -d '\0' | head -c 1 >"$TMP/rest"
    [ ! -s "$TMP/rest" ] || die "$1: bytes that are not zero in the $3 MiB from $2 MiB"
}

# hash DEVICE OFFSET_MIB COUNT_MIB
hash() { dd if="$1" bs=1M skip="$2" count="$3" iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1; }
