"""One connection to a coordinator: dialled, greeted, kept alive, with an answer for every request (protocol.md, sections 3,
4 and 7). Owns the socket, its thread and all deadlines; does not know jobs.

A thread of its own reads and writes, so that the peer's PING and FETCH are answered whatever the caller does meanwhile.
Callers send requests and wait for their answers."""

from __future__ import annotations

import os
import queue
import selectors
import socket
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from . import wire
from ._version import __version__
from .address import Address
from .errors import ConnectionFailed, GradwireError, ProtocolError, Refused, Unanswered, UnknownHost

SOFTWARE = f"gradwire-python {__version__}"
IDENTITY = os.urandom(16)

CONNECT_WAIT = 5.0
GREETING_WAIT = 2.0
SILENCE, LOST = 1.0, 3.0
LIFE_BYTES = 16_384
WRITE_STALL = 10.0
LINGER = 0.5
ANSWER_WAIT = 30.0
FETCH_STALL = 10.0
FETCH_BYTES_A_SECOND = 16_384
PIECE_BYTES, PIECES_IN_FLIGHT = 262_144, 8
# Answers that may wait to be written: a coordinator that asks without end and does not read would fill this memory.
UNWRITTEN_FRAMES_MAX = 2_048
READ_BYTES = 1 << 18


class Request:
    """A request of ours, and the answers that have come to it."""

    def __init__(self, name: str):
        self.name = name
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def next(self, wait: float | None = None) -> Any:
        """The next answer, as `wire.decode` reads it. Raises what ended the request: Refused, or what ended the link, and
        Unanswered where nothing comes in so many seconds."""
        try:
            answer = self.answers.get(timeout=wait)
        except queue.Empty:
            raise Unanswered(f"the coordinator has not answered {self.name} for {wait:g} s") from None
        if isinstance(answer, GradwireError):
            raise answer
        return answer


def dial(address: Address, cluster: str | None) -> tuple[socket.socket, wire.Decoder, wire.Welcome]:
    """A greeted socket, and its stream behind WELCOME. Raises ConnectionFailed, Refused or ProtocolError."""
    try:
        stream = socket.create_connection(address, timeout=CONNECT_WAIT)
    except ConnectionRefusedError:
        text = f"no coordinator: nothing listens at {address} (coordinator_node PORT POLICY starts one)"
        raise ConnectionFailed(text) from None
    except (socket.gaierror, UnicodeError) as error:
        raise UnknownHost(f"no coordinator: the host {address.host} cannot be found: {error}") from None
    except OSError as error:
        raise ConnectionFailed(f"no coordinator: {address} cannot be reached: {error}") from None
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(wire.frame("HELLO", 0, wire.hello(IDENTITY, os.urandom(32), SOFTWARE, cluster)))
        return stream, *_greeted(stream, address, cluster)
    except ProtocolError as error:
        _say_and_close(stream, error)
        raise
    except BaseException as error:
        stream.close()
        if isinstance(error, OSError) and not isinstance(error, ConnectionFailed):
            raise ConnectionFailed(f"no coordinator: {address} failed during the greeting: {error}") from None
        raise


def _greeted(stream: socket.socket, address: Address, cluster: str | None) -> tuple[wire.Decoder, wire.Welcome]:
    decoder = wire.Decoder(wire.GREETING_PAYLOAD_BYTES_MAX)
    deadline = time.monotonic() + GREETING_WAIT
    while True:
        frame = decoder.next()
        if frame is None:
            left = deadline - time.monotonic()
            try:
                stream.settimeout(max(left, 0.001))
                data = stream.recv(READ_BYTES) if left > 0 else None
            except TimeoutError:
                data = None
            if data is None:
                raise ConnectionFailed(f"no coordinator: {address} does not greet within {GREETING_WAIT:g} s")
            if not data:
                raise ConnectionFailed(f"no coordinator: {address} hung up without a greeting: is it a gradwire program?")
            decoder.bytes += data
            continue
        name = wire.NAMES.get(frame.type)
        if frame.type >= 0x80 and name is None:
            continue
        if frame.flags or name is None:
            raise ProtocolError("FLAGS" if name else "UNKNOWN_TYPE", f"{address} does not greet as protocol.md says")
        if name == "ERROR":
            error = wire.decode(name, frame.payload)
            raise error
        if name != "WELCOME":
            raise ProtocolError("UNEXPECTED", f"{address} answered HELLO with {name}")
        if frame.request:
            raise ProtocolError("REQUEST_ID", f"{address} sent WELCOME on request {frame.request}", frame.request)
        welcome = wire.welcome(frame.payload)
        if cluster is not None and welcome.cluster is not None and cluster != welcome.cluster:
            raise ProtocolError("CLUSTER", f"{address} belongs to the cluster {welcome.cluster}, not to {cluster}")
        decoder.payload_bytes_max = wire.PAYLOAD_BYTES_MAX
        return decoder, welcome


def _say_and_close(stream: socket.socket, error: ProtocolError) -> None:
    """Says on request 0 what is wrong, and closes with care."""
    try:
        stream.settimeout(LINGER)
        stream.sendall(wire.frame("ERROR", 0, wire.error(error.code, 0, str(error), error.got, error.allowed)))
        stream.shutdown(socket.SHUT_WR)
        end = time.monotonic() + LINGER
        while time.monotonic() < end and stream.recv(READ_BYTES):
            pass
    except OSError:
        pass
    finally:
        stream.close()


class Link:
    """An open connection. Whoever is at the other end may fetch from `objects`, by their digests."""

    def __init__(self, address: Address, objects: Mapping[bytes, Any], cluster: str | None = None):
        """Dials and greets. Raises ConnectionFailed, Refused or ProtocolError."""
        self.address, self.objects = address, objects
        self._stream, self._decoder, welcome = dial(address, cluster)
        self.payload_bytes_max = welcome.payload_bytes_max
        self.bytes_received = 0
        """Bytes that have come so far, whatever they are."""
        self.fetches_answered = 0
        """FETCHes that have been answered so far."""
        self._stream.setblocking(False)
        self._lock = threading.Lock()
        # Frames that wait; pieces of objects let others go first. And what is left of the one that is being written.
        self._small: deque[bytes] = deque()
        self._pieces: deque[tuple[Any, ...]] = deque()
        self._writing: deque[memoryview] = deque()
        self._requests: dict[int, Request] = {}
        self._next_id = 1
        self._last_theirs = 0
        self._goodbye: str | None = None
        self._ended: GradwireError | None = None
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"gradwire {address}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What callers do -----------------------------------------------------------------------------------------------------

    def ask(self, name: str, payload: bytes = b"") -> Request:
        """Sends a request. Its answers come from the request. Raises what has ended the link."""
        request = Request(name)
        with self._lock:
            if self._ended is not None:
                raise self._ended
            number = self._next_id
            self._next_id += 2
            self._requests[number] = request
            self._small.append(wire.frame(name, number, payload))
        self._rouse()
        return request

    def cancel(self, request: Request) -> None:
        """Says that a request is no longer wanted; its final answer still comes."""
        with self._lock:
            number = next((number for number, other in self._requests.items() if other is request), None)
            if number is not None:
                self._small.append(wire.frame("CANCEL", 0, struct.pack("<I", number)))
        self._rouse()

    def fetch(self, digest: bytes, size: int) -> bytes:
        """An object of so many bytes, piece by piece, some of them on their way at a time.

        Raises Refused, ProtocolError where it is another one, or what has ended the link."""
        from .objects import digest_of

        whole = bytearray()
        most = PIECE_BYTES
        asked: deque[tuple[int, int, Request]] = deque()
        while len(whole) < size:
            at = asked[-1][0] + asked[-1][1] if asked else len(whole)
            while at < size and len(asked) < PIECES_IN_FLIGHT:
                length = min(most, size - at)
                asked.append((at, length, self.ask("FETCH", wire.fetch(digest, at, length))))
                at += length
            offset, length, request = asked.popleft()
            piece = self._piece(request)
            if piece.digest != digest or piece.offset != offset or piece.object_bytes != size or len(piece.bytes) > length:
                raise ProtocolError("OBJECT_HASH", "the coordinator sent a piece of another object than was asked for")
            whole += piece.bytes
            if len(piece.bytes) < length:
                # It gives shorter pieces: what is on its way leaves a gap.
                most = len(piece.bytes)
                asked.clear()
        if digest_of(whole) != digest:
            raise ProtocolError("OBJECT_HASH", "the bytes of the object do not have the digest that names it")
        return bytes(whole)

    def _piece(self, request: Request) -> wire.Piece:
        """The answer to a FETCH, for which a peer gets the longer the more it sends."""
        deadline, seen = time.monotonic() + FETCH_STALL, self.bytes_received
        while True:
            try:
                return request.next(0.25)
            except Unanswered:
                pass
            deadline += (self.bytes_received - seen) / FETCH_BYTES_A_SECOND
            seen = self.bytes_received
            if time.monotonic() > deadline:
                raise ConnectionFailed("the coordinator sends nothing of what it was asked for")

    def close(self, why: str = "the client is done") -> None:
        """Says goodbye and closes. Open requests are void."""
        with self._lock:
            self._goodbye = self._goodbye or why
        self._rouse()
        self._thread.join()

    def _rouse(self) -> None:
        try:
            self._wake.send(b"\0")
        except OSError:
            pass  # it is awake, or has ended

    # What the thread does ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ended: GradwireError
        try:
            for frame in self._decoder.frames(b""):
                self._handle(frame)
            ended = self._talk()
        except ProtocolError as error:
            ended = error
            self._last_words(wire.frame("ERROR", 0, wire.error(error.code, 0, str(error), error.got, error.allowed)))
        except GradwireError as error:
            ended = error
        except OSError as error:
            ended = ConnectionFailed(f"the connection to {self.address} has ended: {error}")
        except Exception as error:  # a fault of this package: whoever waits hears of it
            ended = GradwireError(f"the link to {self.address} met a fault of its own: {error!r}")
        with self._lock:
            self._ended = ended
            requests, self._requests = list(self._requests.values()), {}
        for request in requests:
            request.answers.put(ended)
        for stream in (self._stream, self._wake, self._woken):
            stream.close()

    def _talk(self) -> GradwireError:
        """Reads and writes until one side says goodbye. Returns why it ended."""
        alive = written = time.monotonic()
        # Of a frame that still comes, and of those that the peer takes: 16 KiB are a sign of life.
        of_unfinished = of_written = 0
        has_pinged = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._stream, selectors.EVENT_READ)
            while True:
                with self._lock:
                    goodbye, is_writing = self._goodbye, bool(self._small or self._pieces or self._writing)
                if goodbye is not None:
                    self._last_words(wire.frame("GOODBYE", 0, wire.with_text(goodbye)))
                    return ConnectionFailed("the connection is closed")
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_writing else 0)
                selector.modify(self._stream, events)
                due = alive + (LOST if has_pinged else SILENCE)
                ready = selector.select(max(0.0, due - time.monotonic()))
                now = time.monotonic()
                if not is_writing:
                    written = now
                for key, mask in ready:
                    if key.fileobj is self._woken:
                        self._drain()
                        continue
                    if mask & selectors.EVENT_READ:
                        before = self.bytes_received
                        has_frame = self._read()
                        of_unfinished = 0 if has_frame else of_unfinished + self.bytes_received - before
                        if has_frame or of_unfinished >= LIFE_BYTES:
                            alive, has_pinged, of_unfinished = now, False, 0
                    if mask & selectors.EVENT_WRITE:
                        of_written += self._write()
                        written = now
                        if of_written >= LIFE_BYTES:
                            alive, has_pinged, of_written = now, False, 0
                if now - written > WRITE_STALL:
                    raise ConnectionFailed(f"{self.address} takes nothing of what is written to it")
                if now - alive >= LOST:
                    raise ConnectionFailed(f"{self.address} has been silent for {LOST:g} s")
                if now - alive >= SILENCE and not has_pinged:
                    has_pinged = True
                    with self._lock:
                        self._requests[self._next_id] = Request("PING")
                        self._small.append(wire.frame("PING", self._next_id))
                        self._next_id += 2

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _read(self) -> bool:
        """Takes what has come; whether a whole frame was among it."""
        try:
            data = self._stream.recv(READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionFailed(f"{self.address} has closed the connection")
        self.bytes_received += len(data)
        has_frame = False
        for frame in self._decoder.frames(data):
            has_frame = True
            self._handle(frame)
        return has_frame

    def _write(self) -> int:
        """Writes until the socket takes no more; how many bytes it took."""
        taken = 0
        while self._next_to_write():
            head = self._writing[0]
            try:
                sent = self._stream.send(head)
            except BlockingIOError:
                break
            taken += sent
            self._writing[0] = head[sent:]
            if sent == len(head):
                self._writing.popleft()
        return taken

    def _next_to_write(self) -> bool:
        """Whether there is something to write, which is in its place then."""
        if not self._writing:
            with self._lock:
                if self._small:
                    self._writing.append(memoryview(self._small.popleft()))
                elif self._pieces:
                    self._writing.extend(map(memoryview, self._pieces.popleft()))
        return bool(self._writing)

    def _last_words(self, frame: bytes) -> None:
        """Writes what waits and then this, and reads on for a moment, that nothing sent is lost."""
        try:
            self._stream.settimeout(LINGER)
            # Whole frames alone: what is half sent goes first, and so do requests and answers; pieces are void.
            self._pieces.clear()
            while self._next_to_write():
                self._stream.sendall(self._writing.popleft())
            self._stream.sendall(frame)
            self._stream.shutdown(socket.SHUT_WR)
            end = time.monotonic() + LINGER
            while time.monotonic() < end and self._stream.recv(READ_BYTES):
                pass
        except OSError:
            pass

    def _answer(self, name: str, request: int, *parts: Any) -> None:
        crc = size = 0
        for part in parts:
            crc, size = zlib.crc32(part, crc), size + len(part)
        if size > self.payload_bytes_max:
            text = f"the answer would have {size} bytes"
            number = wire.MESSAGES[name]
            return self._answer("ERROR", request, wire.error("FRAME_TOO_LARGE", number, text, size, self.payload_bytes_max))
        head = wire.header(name, request, size, crc)
        with self._lock:
            if len(self._pieces) + len(self._small) >= UNWRITTEN_FRAMES_MAX:
                raise ConnectionFailed(f"{self.address} asks without end, and takes nothing of the answers")
            if name == "DATA":
                self._pieces.append((head, *parts))
            else:
                self._small.append(head + b"".join(parts))

    def _handle(self, frame: wire.Frame) -> None:
        """Checks 6 to 10 of protocol.md, "The order of checks", and then does what the message wants."""
        name = wire.NAMES.get(frame.type)
        if name is None:
            if frame.type >= 0x80:
                return
            raise ProtocolError("UNKNOWN_TYPE", f"there is no message of type {frame.type:#04x}", frame.type)
        if frame.flags != (wire.MORE if name in wire.PARTIAL else 0):
            raise ProtocolError("FLAGS", f"{name} came with flags {frame.flags:#06x}", frame.flags)
        is_alone = name in ("CANCEL", "GOODBYE") or (name == "ERROR" and frame.request == 0)
        if is_alone:
            if frame.request:
                raise ProtocolError("REQUEST_ID", f"{name} came on request {frame.request}", frame.request)
            return self._alone(name, wire.decode(name, frame.payload))
        if name in wire.ASKED:
            if frame.request == 0 or frame.request % 2 or frame.request <= self._last_theirs:
                raise ProtocolError("REQUEST_ID", f"{name} came on request {frame.request}", frame.request)
            self._last_theirs = frame.request
            return self._asked(name, frame.request, wire.decode(name, frame.payload))
        if name != "ERROR" and name not in wire.ANSWER_NAMES:
            raise ProtocolError("UNEXPECTED", f"a coordinator does not send {name} to a client")
        with self._lock:
            request = self._requests.get(frame.request)
        if request is None:
            raise ProtocolError("REQUEST_ID", f"{name} answers request {frame.request}, which is not open", frame.request)
        if name != "ERROR" and name not in wire.ANSWERS[request.name]:
            raise ProtocolError("UNEXPECTED", f"{name} does not answer {request.name}")
        answer = wire.decode(name, frame.payload)
        if name not in wire.PARTIAL:
            with self._lock:
                del self._requests[frame.request]
        request.answers.put(answer)

    def _alone(self, name: str, value: Any) -> None:
        if name == "GOODBYE":
            raise ConnectionFailed(f"{self.address} has said goodbye: {value}")
        # Whatever ends a connection and not a request says nothing of what was asked: another connection may do.
        if isinstance(value, Refused):
            raise ConnectionFailed(f"{self.address} has ended the connection: {value}")

    def _asked(self, name: str, request: int, value: Any) -> None:
        """A request of the coordinator."""
        about = wire.MESSAGES[name]
        if name == "PING":
            return self._answer("PONG", request, struct.pack("<IId", 0, 0, 0.0))
        if name == "HAVE":
            sizes = [len(self.objects[digest]) if digest in self.objects else 0 for digest in value]
            return self._answer("HELD", request, struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
        digest, offset, bytes_max, reserved = value
        if bytes_max == 0 or reserved:
            raise ProtocolError("MALFORMED", "FETCH asks for no bytes")
        whole = self.objects.get(digest)
        if whole is None:
            text = f"no object {digest.hex()[:8]} is held here"
            return self._answer("ERROR", request, wire.error("UNKNOWN_OBJECT", about, text))
        if offset >= len(whole):
            text = f"the object has {len(whole)} bytes, and none at {offset}"
            return self._answer("ERROR", request, wire.error("OBJECT_RANGE", about, text, offset, len(whole)))
        end = offset + min(bytes_max, self.payload_bytes_max - wire.PIECE_HEAD_BYTES)
        piece = memoryview(whole)[offset:end]
        self._answer("DATA", request, digest + struct.pack("<QQ", len(whole), offset), piece)
        self.fetches_answered += 1
        return None
