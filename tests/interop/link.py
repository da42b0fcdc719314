"""A connection of protocol.md, seen by who accepts it: frames, requests and answers, greeting, heartbeat.

A link's own thread reads, and calls what its heir has for each message: `on_ping` for PING, and so on. Any
thread may send. Sections of protocol.md are named in quotes. Knows nothing of training.
"""
import contextlib
import select
import socket
import socketserver
import struct
import sys
import threading
import time
from concurrent.futures import Future
from zlib import crc32

import wire
from wire import Code, Refusal, Type, check

PAYLOAD_BYTES_MAX, GREETING_PAYLOAD_BYTES_MAX = 1 << 20, 1 << 10  # "Limits"
SIGN_OF_LIFE_BYTES = 1 << 14
GREETING_WAIT, HEARTBEAT_SILENCE, HEARTBEAT_LOST, TICK = 2, 1, 3, 0.1  # seconds
STALL = 10  # FIRST_BYTE_WAIT and WRITE_STALL


def log(sentence):
    print(time.strftime("%H:%M:%S"), sentence, file=sys.stderr, flush=True)


class Link(socketserver.BaseRequestHandler):
    """A connection, from its first byte to its last."""

    def setup(self):
        self.socket, self.title = self.request, "link %s:%d" % self.client_address
        self.lock = threading.RLock()  # whoever sends holds it
        self.greeted = self.closed = self.pinged = False
        self.heard = time.monotonic()  # the last sign of life; before the greeting, the first byte
        self.peer_payload_bytes_max = 0
        self.open, self.last_open = {}, 0  # the peer's requests without an answer: their tasks, or None
        self.asked, self.last_asked = {}, 0  # ours: what answers them, and a future of its values

    def handle(self):
        self.socket.settimeout(STALL)
        try:
            first, self.heard = self.socket.recv(1, socket.MSG_PEEK), time.monotonic()
            if first.isspace() or b" " <= first <= b"~":  # "Text"
                self.socket.sendall(b"This is a gradwire node without a console: ask its coordinator.\r\n")
                return
            while True:
                self.receive()
        except Refusal as refusal:
            self.refuse(0, refusal)
        except OSError as end:
            log(f"{self.title}: {end}")

    def finish(self):
        with self.lock:
            self.closed = True
            for task in filter(None, self.open.values()):
                task.cancelled.set()
            for _, future in self.asked.values():
                future.set_result(None)
        with contextlib.suppress(OSError):
            # What is unread when a socket closes makes the close a reset, which destroys what was said last.
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1)
            for _ in range(64):
                if not self.socket.recv(1 << 16):
                    break

    def read(self, count):
        """So many bytes, as memory that grows as they come. Keeps up heartbeat and deadline meanwhile."""
        data, counted = bytearray(), 0
        while len(data) < count:
            silence = time.monotonic() - self.heard
            if self.closed or silence >= HEARTBEAT_LOST:
                raise ConnectionError("closed" if self.closed else "lost: nothing was heard for 3 seconds")
            if not self.greeted:
                check(silence < GREETING_WAIT, Code.TIMEOUT, "no HELLO came in time", 0, 1000 * GREETING_WAIT)
            elif silence >= HEARTBEAT_SILENCE and not self.pinged:
                self.pinged = True
                self.ask(Type.PING, Type.PONG)
            if select.select([self.socket], [], [], TICK)[0]:
                piece = self.socket.recv(min(count - len(data), 1 << 16))
                if not piece:
                    raise ConnectionError("the peer has hung up")
                data += piece
            if len(data) - counted >= SIGN_OF_LIFE_BYTES:
                counted = len(data)
                self.sign_of_life()
        return bytes(data)

    def sign_of_life(self):
        if self.greeted:  # until then the deadline is a total
            self.heard, self.pinged = time.monotonic(), False

    def receive(self):
        """The next frame, by the steps of "The order of checks", and what it asks for."""
        for byte in wire.MAGIC:  # step 1
            check(self.read(1)[0] == byte, Code.MAGIC, "a frame begins with F5 47 52 57")
        most = PAYLOAD_BYTES_MAX if self.greeted else GREETING_PAYLOAD_BYTES_MAX
        head = wire.MAGIC + self.read(wire.HEADER_BYTES - len(wire.MAGIC))
        kind, flags, request, size, payload_crc = wire.read_header(head, most)  # steps 2 to 4
        payload = self.read(size)
        crc = crc32(payload)
        check(crc == payload_crc, Code.PAYLOAD_CHECKSUM, "the payload's checksum is wrong", crc, payload_crc)
        self.sign_of_life()
        if kind >= 0x80:  # an optional message, and none is known here
            return
        try:
            self.judge(kind, flags, request)
            on_message = getattr(self, "on_" + Type(kind).name.lower())
            on_message(request, *wire.split(wire.LAYOUTS[kind], payload))  # step 10
        except Refusal as refusal:
            refusal.about = kind
            if refusal.code < Code.BUSY or request not in self.open:
                raise
            self.refuse(request, refusal)

    def judge(self, kind, flags, request):
        """Steps 6 to 9."""
        check(kind in wire.KNOWN, Code.UNKNOWN_TYPE, f"messages of type {kind:#04x} are not known", kind)
        check(flags == (kind in wire.PARTIAL), Code.FLAGS, f"the flags {flags:#06x} mean nothing here", flags)
        fits = kind in wire.LAYOUTS and (kind == Type.HELLO) != self.greeted
        check(fits, Code.UNEXPECTED, f"{Type(kind).name} is not expected here")
        wrong = Code.REQUEST_ID, f"{Type(kind).name} cannot have request id {request} here", request
        if kind in wire.REQUESTS:
            check(request % 2 == 1 and request > self.last_open, *wrong)
            with self.lock:
                self.last_open, self.open[request] = request, None
        elif kind in wire.ANSWERS or kind == Type.ERROR and request != 0:
            check(request in self.asked, *wrong)
            fits = kind in (self.asked[request][0], Type.ERROR)
            check(fits, Code.UNEXPECTED, f"{Type(kind).name} is no answer to request {request}")
        else:
            check(request == 0, *wrong)

    def send(self, kind, request, payload=b""):
        with self.lock:
            if not self.closed:
                try:
                    self.socket.sendall(wire.frame(kind, request, payload))
                except OSError:
                    self.closed = True  # half a frame may be out: nothing can follow it

    def answer(self, request, kind, layout, *values):
        """The one final answer to a request of the peer: whoever comes second is not heard."""
        payload = struct.pack("<" + layout, *values)
        fits = len(payload) <= self.peer_payload_bytes_max
        check(fits, Code.INTERNAL, "the answer is longer than the payloads that you take")
        with self.lock:
            if self.open.pop(request, self) is not self:
                self.send(kind, request, payload)

    def refuse(self, request, refusal):
        """ERROR: the final answer to a request, or on request 0 the last word of the connection."""
        with self.lock:
            if request == 0 or self.open.pop(request, self) is not self:
                log(f"{self.title}: request {request} refused: {refusal}")
                self.send(Type.ERROR, request, refusal.payload())

    def ask(self, kind, answer, layout="", *values):
        """Opens a request. Its future gets the answer's values: none of ERROR, None when the link ends."""
        future = Future()
        with self.lock:
            self.last_asked += 2
            self.asked[self.last_asked] = answer, future
            self.send(kind, self.last_asked, struct.pack("<" + layout, *values))
            if self.closed:
                self.asked.pop(self.last_asked)
                future.set_result(None)
        return future

    def on_answer(self, request, *values):
        with self.lock:
            _, future = self.asked.pop(request)
        future.set_result(values)

    on_pong = on_data = on_answer

    def on_error(self, request, code, about, retry, got, allowed, size, sentence):
        check(size == len(sentence), Code.MALFORMED, "the sentence does not fill the payload")
        if request == 0:
            raise ConnectionError(f"it says {sentence.decode(errors='replace')!r}")
        self.on_answer(request)

    def on_goodbye(self, _, size, sentence):
        check(size == len(sentence), Code.MALFORMED, "the sentence does not fill the payload")
        raise ConnectionError(f"it says {sentence.decode(errors='replace')!r}")
