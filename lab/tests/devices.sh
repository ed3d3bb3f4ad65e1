# What is beside reads and writes: admin commands, many at once; what `qpair list` says; fio on the same drives.
# QPAIR: the program. ADMIN: the example of admin commands (crates/block/examples).
# Drives: 0n1 has blocks of 512 bytes, 0n2 of 4096.
. "$(dirname "$0")/lib.sh"

PATHS='uring-cmd ioctl'
# QEMU's drives have no identifiers of their own, which the kernel remarks.
USUAL="$USUAL|bogus Namespace Identifiers|mandatory"
TOLERATED=$USUAL

ng() { echo "/dev/vmlab/ng$1"; }
controller_of() { readlink -f "/dev/vmlab/nvme$1"; }

# A request for an event waits at the controller while 16 commands at once are answered; then it is told of.
admin_commands() {
    for path in $PATHS; do check "admin by $path" "$ADMIN" event "$(controller_of 0),path=$path"; done
    check "admin with a submission thread" "$ADMIN" event "$(controller_of 0),sqpoll"
    refused "polled admin commands" "iopoll is for namespaces" "$ADMIN" event "$(controller_of 0),iopoll"
    refused "a path of files" "does not lead there" "$ADMIN" event "$(controller_of 0),path=threads"
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

step "admin commands, many at once, while one waits" admin_commands
noisy_step "an admin command whose time is up" admin_timeout
finish
