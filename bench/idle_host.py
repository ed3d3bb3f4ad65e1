"""A host that connects its queues and then only keeps itself alive: what idle connections cost a target."""

import socket
import struct
import threading
import uuid

# PDU types and opcodes: NVMe/TCP transport specification, PDU types; NVMe base specification, opcodes.
ICREQ, ICRESP, COMMAND, RESPONSE = 0x00, 0x01, 0x04, 0x05
FABRICS, SET_FEATURES, KEEP_ALIVE = 0x7F, 0x09, 0x18
PROPERTY_SET, CONNECT, PROPERTY_GET = 0x00, 0x01, 0x04
CC, CSTS = 0x14, 0x1C
ENABLE = 0x460001  # entry sizes of 64 and 16 bytes, 4 KiB pages, NVM command set, enabled
KATO_MS, KEEP_ALIVE_S = 15_000, 5
DYNAMIC_CONTROLLER = 0xFFFF


class Queue:
    """One connection."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cid = 0
        self.socket.sendall(struct.pack("<BBBBIHBBI112x", ICREQ, 0, 128, 0, 128, 0, 0, 0, 0))
        if self.receive(128)[0] != ICRESP:
            raise OSError("no ICResp")

    def receive(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise OSError("the target closed the connection")
            data += part
        return data

    def command(self, opcode, fourth=0, last=b"", data=b""):
        """Sends a command with in-capsule data and returns the first word of its completion. `fourth` is byte 4, `last`
        begins at byte 40."""
        self.cid = (self.cid + 1) & 0x7FFF
        # A data block in the capsule (type 01h), or no data (transport data block, 5Ah).
        sgl = struct.pack("<QI3xB", 0, len(data), 0x01 if data else 0x5A)
        sqe = struct.pack("<BBHB19x", opcode, 0x40, self.cid, fourth) + sgl + last.ljust(24, b"\0")
        length = 72 + len(data)
        self.socket.sendall(struct.pack("<BBBBI", COMMAND, 0, 72, 72 if data else 0, length) + sqe + data)
        pdu = self.receive(24)
        result, status = struct.unpack_from("<I10xH", pdu, 8)
        if pdu[0] != RESPONSE or status >> 1:
            raise OSError(f"command {opcode:#x}/{fourth:#x}: status {status >> 1:#x}")
        return result

    def connect(self, qid, depth, controller, subsystem, host_id, host_nqn):
        data = host_id.bytes + struct.pack("<H238x", controller)
        data += subsystem.encode().ljust(256, b"\0") + host_nqn.encode().ljust(256, b"\0")
        kato = 0 if qid else KATO_MS
        last = struct.pack("<HHHBxI", 0, qid, depth - 1, 0, kato)
        return self.command(FABRICS, CONNECT, last, data.ljust(1024, b"\0")) & 0xFFFF


class IdleHost:
    """An admin queue and `queues` I/O queues, connected until the `with` block ends."""

    def __init__(self, host, port, subsystem, queues):
        host_id = uuid.uuid4()
        who = (subsystem, host_id, f"nqn.2014-08.org.nvmexpress:uuid:{host_id}")
        self.admin = Queue(host, port)
        controller = self.admin.connect(0, 32, DYNAMIC_CONTROLLER, *who)
        self.admin.command(FABRICS, PROPERTY_SET, struct.pack("<B3xIQ", 0, CC, ENABLE))
        while not self.admin.command(FABRICS, PROPERTY_GET, struct.pack("<B3xI", 0, CSTS)) & 1:
            pass
        self.admin.command(SET_FEATURES, last=struct.pack("<II", 7, (queues - 1) << 16 | queues - 1))
        self.queues = []
        for qid in range(1, queues + 1):
            self.queues.append(Queue(host, port))
            self.queues[-1].connect(qid, 128, controller, *who)
        self.leaving = threading.Event()
        self.keeper = threading.Thread(target=self.keep_alive)

    def keep_alive(self):
        while not self.leaving.wait(KEEP_ALIVE_S):
            self.admin.command(KEEP_ALIVE)

    def __enter__(self):
        self.keeper.start()
        return self

    def __exit__(self, *_):
        self.leaving.set()
        self.keeper.join()
        for queue in self.queues + [self.admin]:
            queue.socket.close()
