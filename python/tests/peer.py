"""A coordinator that says whatever a test wants, one script for each connection."""

import socket
import struct
import threading
from collections.abc import Callable

from gradwire import wire

Script = Callable[["Connection"], object]


class Connection:
    """The acceptor's end of a connection."""

    def __init__(self, stream: socket.socket):
        self.stream = stream
        self.stream.settimeout(10)
        self.decoder = wire.Decoder(wire.PAYLOAD_BYTES_MAX)

    def hear(self) -> wire.Frame:
        """The next frame of the client. PING is heard like any other."""
        while (frame := self.decoder.next()) is None:
            data = self.stream.recv(1 << 16)
            if not data:
                raise EOFError
            self.decoder.bytes += data
        return frame

    def say(self, name: str, request: int, payload: bytes = b"", flags: int | None = None) -> None:
        flags = (wire.MORE if name in wire.PARTIAL else 0) if flags is None else flags
        self.stream.sendall(wire.frame(name, request, payload, flags))

    def greet(self, role: int = wire.COORDINATOR, payload_bytes_max: int = 1 << 20) -> None:
        """Reads HELLO and sends WELCOME."""
        assert wire.NAMES[self.hear().type] == "HELLO"
        self.say("WELCOME", 0, struct.pack("<BBBBI48x", 1, 0, role, 0, payload_bytes_max))

    def refuse(self, code: str, request: int = 0, about: str = "HELLO", retry: bool = False, text: str = "no") -> None:
        self.say("ERROR", request, wire.error(code, wire.MESSAGES[about], text, retry=retry))

    def hear_to_the_end(self) -> list[str]:
        """The names of what comes until the client hangs up."""
        heard = []
        try:
            while True:
                heard.append(wire.NAMES[self.hear().type])
        except (EOFError, OSError):
            return heard


class Peer:
    """Listens on a free port while it is entered. Connection i is handled by script i, all later ones by the last."""

    def __init__(self, *scripts: Script):
        self.scripts = scripts
        self.connections = 0
        self.faults: list[BaseException] = []

    def __enter__(self) -> "Peer":
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()[:2]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            with stream:
                try:
                    script(Connection(stream))
                except (EOFError, OSError):
                    pass  # the client has hung up
                except BaseException as fault:
                    self.faults.append(fault)

    def __exit__(self, *_: object) -> None:
        # A listener that is closed alone leaves its thread in accept.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        if self.faults:
            raise self.faults[0]
