# The controller as nvme-cli and the kernel see it: discovery, identify, logs, properties, digests, refusals.
# ADDR PORT NQN: a target with namespaces 1 (a file), 2 (ram, 512-byte blocks), 3 (read-only).
# GUARD_PORT GUARD_NQN ALLOWED: a target that admits the host NQN $ALLOWED only.
. "$(dirname "$0")/lib.sh"

discover() {
    check discover nvme discover -t tcp -a "$ADDR" -s "$PORT" -q "$HOSTNQN" -I "$HOSTID" -o json >"$TMP/discover"
    # The address that the host reached, never a wildcard: the guest's 10.0.2.2 is the host's 127.0.0.1.
    json "$TMP/discover" \
        "any(r['subnqn'] == '$NQN' and r['subtype'] == 'nvme subsystem' for r in d['records'])" \
        "all(r['traddr'] == '127.0.0.1' and r['trsvcid'] == '$PORT' for r in d['records'])" \
        "all(r['trtype'] == 'tcp' and r['adrfam'] == 'ipv4' for r in d['records'])"
}

several_queues() {
    connect --nr-io-queues=2 --nr-write-queues=2 --nr-poll-queues=1 --queue-size=32
    same "queues, the admin queue included" 6 "$(cat /sys/class/nvme/"$CTRL"/queue_count)"
    same "state" live "$(cat /sys/class/nvme/"$CTRL"/state)"
    same "transport" tcp "$(cat /sys/class/nvme/"$CTRL"/transport)"
    for nsid in 1 2 3; do namespace $nsid; done
}

list() {
    check list nvme list -o json >"$TMP/list"
    json "$TMP/list" \
        "sorted((n['NameSpace'], n['SectorSize']) for n in d['Devices'])[:2] == [(1, 4096), (2, 512)]" \
        "len(d['Devices']) == 3" \
        "all(n['UsedBytes'] <= n['PhysicalSize'] == n['MaximumLBA'] * n['SectorSize'] for n in d['Devices'])"
}

id_ctrl() {
    check id-ctrl nvme id-ctrl /dev/"$CTRL" -o json >"$TMP/id"
    json "$TMP/id" \
        "d['subnqn'] == '$NQN'" \
        "d['cntlid'] == $(cat /sys/class/nvme/"$CTRL"/cntlid)" \
        "d['kas'] > 0 and d['ioccsz'] >= 4 and d['iorcsz'] == 1 and d['icdoff'] == 0" \
        "d['sgls'] & 3 and d['sqes'] == 0x66 and d['cqes'] == 0x44 and d['maxcmd'] > 0" \
        "d['cntrltype'] == 1 and d['nn'] >= 3 and d['ver'] >= 0x10300" \
        "d['oncs'] & 0x4 and d['oncs'] & 0x8 # Dataset Management, Write Zeroes" \
        "not d['cmic'] & 0x8 # ANA stays off" \
        "d['sn'].strip() and d['mn'].strip() and d['fr'].strip()"
}

id_ns() {
    for nsid in 1 2 3; do
        check id-ns nvme id-ns "$(namespace $nsid)" -o json >"$TMP/ns$nsid"
    done
    json "$TMP/ns1" \
        "d['nsze'] == 128 * 256 and d['ncap'] == d['nsze'] and d['nuse'] <= d['nsze']" \
        "d['lbafs'][d['flbas'] & 15]['ds'] == 12 and d['lbafs'][d['flbas'] & 15]['ms'] == 0" \
        "int(d['nguid'], 16) != 0 and d['nguid'] != json.load(open('$TMP/ns2'))['nguid']"
    json "$TMP/ns2" "d['nsze'] == 64 * 2048 and d['lbafs'][d['flbas'] & 15]['ds'] == 9"
    json "$TMP/ns3" "d['nsattr'] & 1 # write-protected"
    check id-ns nvme id-ns /dev/"$CTRL" -n 77 -o json >"$TMP/ns77"
    json "$TMP/ns77" "d['nsze'] == 0 # a namespace that may come"
    refused "an ID that no namespace can have" "invalid|namespace" nvme id-ns /dev/"$CTRL" -n 5000
}

nguid() { nvme id-ns "$(namespace "$1")" | sed -n 's/^nguid *: *//p'; }

ns_descs() {
    check ns-descs nvme ns-descs "$(namespace 1)" -o json >"$TMP/descs"
    json "$TMP/descs" \
        "any(x['type'] == 'nguid' and x['nguid'] == '$(nguid 1)' for x in d['ns-descs'])" \
        "any(x['type'] == 'uuid' for x in d['ns-descs'])" \
        "any(x['type'] == 'csi' and int(x['csi']) == 0 for x in d['ns-descs'])"
    check list-ns nvme list-ns /dev/"$CTRL" -o json >"$TMP/nsids"
    json "$TMP/nsids" "[n['nsid'] for n in d['nsid_list']] == [1, 2, 3]"
}

smart() {
    dd if=/dev/zero of="$(namespace 1)" bs=128k count=8 oflag=direct 2>/dev/null
    dd if="$(namespace 1)" of=/dev/null bs=128k count=8 iflag=direct 2>/dev/null
    sleep 1 # a target may add its counters up once in a while
    check smart-log nvme smart-log /dev/"$CTRL" -o json >"$TMP/smart"
    # A data unit is 1000 blocks of 512 bytes, rounded up: the mebibyte above is three of them.
    json "$TMP/smart" \
        "d['critical_warning'] == 0 and int(d['media_errors']) == 0" \
        "int(d['host_read_commands']) >= 8 and int(d['data_units_read']) >= 3" \
        "int(d['host_write_commands']) >= 8 and int(d['data_units_written']) >= 3"
}

logs() {
    check error-log nvme error-log /dev/"$CTRL" -e 4 -o json >"$TMP/errors"
    check fw-log nvme fw-log /dev/"$CTRL" -o json >"$TMP/fw"
    check effects-log nvme effects-log /dev/"$CTRL"
    for id in 1 2 3 5; do
        length=512
        [ $id = 5 ] && length=4096
        check "log $id" nvme get-log /dev/"$CTRL" --log-id=$id --log-len=$length --raw-binary >"$TMP/raw"
        same "bytes of log $id" $length "$(wc -c <"$TMP/raw")"
    done
    # CSUPP of read (02h) in the I/O part, at 1024 + 4 * 2: passthrough without privileges asks for it.
    [ $(($(od -An -tu1 -j1032 -N1 "$TMP/raw") & 1)) = 1 ] || die "log 5 does not say that reads are supported"
    refused "a log that is not there" "invalid" nvme get-log /dev/"$CTRL" --log-id=0xbe --log-len=512
}

# By Property Get; `nvme show-regs` asks a fabrics controller for registers that only PCIe has.
properties() {
    [ $(($(property 0x1c) & 1)) = 1 ] || die "CSTS: not ready"
    [ $(($(property 0x14) & 1)) = 1 ] || die "CC: not enabled"
    [ "$(($(property 0x8)))" -ge $((0x10300)) ] || die "VS: older than 1.3"
    [ $(($(property 0x0) & 0xffff)) -gt 0 ] || die "CAP: no queue entries"
    refused "a property that is not there" "invalid" nvme get-property /dev/"$CTRL" --offset=0x24
}

property() { nvme get-property /dev/"$CTRL" --offset="$1" | sed -n 's/.*: *\(0x\)\{0,1\}\([0-9a-f]*\)$/0x\2/p'; }

features() {
    check get-feature nvme get-feature /dev/"$CTRL" -f 7              # number of queues
    check get-feature nvme get-feature /dev/"$CTRL" -f 0xf            # keep-alive timer
    refused "an unknown feature" "invalid" nvme get-feature /dev/"$CTRL" -f 0xbe
    refused "an unknown command" "invalid" nvme admin-passthru /dev/"$CTRL" --opcode=0xc9
}

reset() {
    check reset nvme reset /dev/"$CTRL"
    same "state after a reset" live "$(cat /sys/class/nvme/"$CTRL"/state)"
    dd if="$(namespace 1)" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null || die "cannot read after a reset"
}

# connects with these options, moves some data, disconnects
session() {
    connect "$@"
    verify "$(namespace 1)" 4k 8 1m
    verify "$(namespace 2)" 128k 8 2m
    disconnect
}

identity_is_stable() {
    connect
    first=$(nguid 1)
    disconnect
    connect
    same "NGUID after a reconnect" "$first" "$(nguid 1)"
    disconnect
}

wrong_nqn() {
    refused "an unknown subsystem" "could not add|failed|invalid|denied|error" \
        nvme connect -t tcp -a "$ADDR" -s "$PORT" -n "$NQN.other" -q "$HOSTNQN" -I "$HOSTID"
    dmesg | grep -qi "connect invalid data parameter\|subsysnqn\|SUBNQN\|rejected" || die "the kernel does not say why"
}

foreign_host() {
    refused "a host that is not on the list" "could not add|failed|denied|not allowed|error" \
        nvme connect -t tcp -a "$ADDR" -s "$GUARD_PORT" -n "$GUARD_NQN" -q "$HOSTNQN" -I "$HOSTID"
    dmesg | tail -n 5
    dmesg | grep -qi "not allowed\|hostnqn\|rejected\|invalid host" || die "the kernel does not say why"
}

allowed_host() {
    check connect nvme connect -t tcp -a "$ADDR" -s "$GUARD_PORT" -n "$GUARD_NQN" -q "$ALLOWED" -I "$HOSTID"
    NQN=$GUARD_NQN
    namespace 1
    disconnect
}

nothing_left() { ls /sys/class/nvme; same "controllers left" "" "$(ls /sys/class/nvme)"; }

dmesg -C
step "discover" discover
step "connect with 5 I/O queues" several_queues
CTRL=$(controller)
step "list" list
step "id-ctrl" id_ctrl
step "id-ns" id_ns
step "ns-descs, list-ns" ns_descs
step "smart-log" smart
step "logs 1 2 3 5" logs
step "properties" properties
step "features, unknown commands" features
step "reset" reset
step "clean disconnect" disconnect
step "identity is stable" identity_is_stable
step "header digest" session --hdr-digest
step "data digest" session --data-digest
step "both digests" session --hdr-digest --data-digest
step "no SQ flow control" session --disable-sqflow
noisy_step "wrong NQN is refused" wrong_nqn
noisy_step "foreign host is refused" foreign_host
step "allowed host is admitted" allowed_host
step "nothing left" nothing_left
finish
