# The pools of three caches, when the caches are killed and when the power is cut (the host kills QEMU): two on an
# NVDIMM, mapped as it is, durable and warm; a durable one on a disk that loses what was not flushed. The host is their
# client: it changes things all the while, and knows what was acknowledged.
# QPAIR: the program. FS: of the NVDIMM. FOUND: in what state pools are, `new`, or `unclosed` after a cut. PERSISTS:
# what the durable cache on the NVDIMM says. KILLS: how often caches are killed. CUT: whether the power is cut; else all
# ends in order, and other troubles of files are looked at.
. "$(dirname "$0")/lib.sh"

NVDIMM=/mnt/nvdimm DISK=/mnt/disk
CACHES="lines warm sync"
rm -f "$SHARED/done" # of the boot before

make_file_systems() {
    check "a namespace" ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem
    case $FS in
        ext4) check "mkfs of the NVDIMM" mkfs.ext4 -q -b 4096 /dev/pmem0 ;;
        xfs) check "mkfs of the NVDIMM" mkfs.xfs -q -m reflink=0 /dev/pmem0 ;;
    esac
    check "mkfs of the disk" mkfs.ext4 -q -b 4096 /dev/vda
}

mounted() {
    [ "$FOUND" != new ] || make_file_systems
    mkdir -p $NVDIMM $DISK
    check "mount of the NVDIMM" mount -o dax=always /dev/pmem0 $NVDIMM
    check "mount of the disk" mount /dev/vda $DISK
}

# about NAME: sets where a cache has its pool, and so on.
about() {
    case $1 in
        lines) POOL=$NVDIMM/lines.pool KEEP=durable PORT=11211 REACTORS=2 SAYS=$PERSISTS ;;
        warm) POOL=$NVDIMM/warm.pool KEEP=warm PORT=11212 REACTORS=1 SAYS= ;;
        sync) POOL=$DISK/sync.pool KEEP=durable PORT=11213 REACTORS=1 SAYS=fdatasync ;;
    esac
}

SERVE="$QPAIR cache --json --memory 16MiB --eviction none"

# begin NAME: starts it, without waiting.
begin() {
    about "$1"
    rm -f "$TMP/$1.out"
    $SERVE --listen memcache=0.0.0.0:$PORT --reactors $REACTORS --pool $POOL --durability $KEEP \
        >"$TMP/$1.out" 2>"$TMP/$1.err" &
    echo $! >"$TMP/$1.pid"
}

# began NAME FOUND: waits for it, and looks at what it says of its pool.
began() {
    about "$1"
    eventually "$1 listens" listens "$1"
    cat "$TMP/$1.out"
    same "the pool of $1" "$2" "$(said "$1" pool)"
    case $(said "$1" persists_by) in
        "$SAYS"*) ;;
        *) die "$1 persists by '$(said "$1" persists_by)', not by '$SAYS'" ;;
    esac
}
listens() {
    ! gone "$1" || die "$1 has ended: $(cat "$TMP/$1.err")"
    grep -q '"event":"listening"' "$TMP/$1.out"
}
said() { sed -n 's/.*"'"$2"'":"\([^"]*\)".*/\1/p' "$TMP/$1.out"; }
gone() { [ ! -e "/proc/$(cat "$TMP/$1.pid")" ]; }

# all_found FOUND FOUND_WARM: starts all, and they serve what they should.
all_found() {
    for name in $CACHES; do begin $name; done
    began lines "$1"
    began sync "$1"
    began warm "$2"
    ask_host check
}

# end SIGNAL NAME...: and waits for that.
end() {
    signal=$1
    shift
    for name; do kill "-$signal" "$(cat "$TMP/$name.pid")"; done
    for name; do eventually "$name ends" gone "$name"; done
}

killed() {
    ask_host load
    end KILL $CACHES
    all_found unclosed unclosed
}

stop() {
    end TERM "$@"
    for name; do grep '"event":"stopped"' "$TMP/$name.out" || die "$name ended with: $(cat "$TMP/$name.err")"; done
}

closed() {
    stop $CACHES
    all_found closed closed
}

# Takes the last of the space.
fill() { ! dd if=/dev/zero of=$DISK/rest bs=4k oflag=append conv=notrunc 2>"$TMP/dd" || die "the disk is not full"; }

refuses() {
    what=$1 why=$2
    shift 2
    refused "$what" "$why" $SERVE --listen memcache=127.0.0.1:0 "$@"
}

# A pool that is there has its space. A new one says that it lacks it and leaves nothing, and one with holes that it
# cannot fill is refused as well.
full_disk() {
    stop sync
    check "a copy" cp $DISK/sync.pool $DISK/holes.pool
    fill
    check "a hole" fallocate -p -o 4MiB -l 1MiB $DISK/holes.pool
    fill
    refuses "a new pool" "it cannot be made: No space left" --pool $DISK/new.pool
    ! ls $DISK | grep new || die "something is left"
    refuses "a pool with a hole" "its space cannot be allocated: No space left" --pool $DISK/holes.pool \
        --durability durable
    begin sync
    began sync closed
    killed
    rm $DISK/rest $DISK/holes.pool
}

read_only() {
    stop sync
    check remount mount -o remount,ro $DISK
    refuses "a pool that cannot be written" "it cannot be opened: Read-only file system" --pool $DISK/sync.pool \
        --durability durable
    refuses "a pool that cannot be made" "it cannot be made: Read-only file system" --pool $DISK/new.pool
    check remount mount -o remount,rw $DISK
    begin sync
    began sync closed
    ask_host check
}

# The others go on.
cut_off() {
    check "a shorter file" truncate -s 5000 $NVDIMM/lines.pool
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/11211; printf "set k 0 0 1\r\nx\r\nget k\r\n" >&3; cat <&3' >"$TMP/told" || true
    [ ! -s "$TMP/told" ] || die "it was told: $(cat "$TMP/told")"
    eventually "the cache ends" gone lines
    cat "$TMP/lines.err"
    grep -q 'are lost: the file was cut off' "$TMP/lines.err" || die "it does not say why"
    refuses "a pool that was cut off" "its label says 16777216: it was cut off" --pool $NVDIMM/lines.pool \
        --durability durable --reactors 2
    stop warm sync
}

step "file systems on the NVDIMM and on the disk" mounted
if [ "$FOUND" = new ]; then
    step "new pools: the one on the NVDIMM persists by $PERSISTS" all_found new new
else
    step "after the cut all that was acknowledged is there; the warm pool is dropped" all_found unclosed dropped
fi
n=1
while [ $n -le "$KILLS" ]; do
    step "kill $n of all caches under load" killed
    n=$((n + 1))
done
[ -z "$CUT" ] || ask_host cut
step "SIGTERM of all caches, and another start" closed
step "a disk without space" full_disk
step "a file system that is read-only" read_only
step "a pool that is cut off under its cache, on the NVDIMM" cut_off
finish
