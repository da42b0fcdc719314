"""Where a coordinator is: its host, its port, and the cluster that it belongs to. Owns how callers say so; opens no connection."""

from __future__ import annotations

import os
from typing import NamedTuple, Union

from .errors import DataError
from .options import shown
from .wire import NAME_BYTES_MAX, NAME_CHARACTERS

DEFAULT_ADDRESS = "127.0.0.1:5105"
DEFAULT_PORT = "5105"
PORT_MAX = 65_535

Where = Union[str, tuple[str, int], None]


class Address(NamedTuple):
    """Where a coordinator listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(asked: Where = None) -> Address:
    """The coordinator's address: the argument, else what GRADWIRE_ADDRESS says, else 127.0.0.1:5105. As text `host`, `host:port`
    or `[v6]:port`. Raises DataError where it is none."""
    told = asked if asked is not None and asked != "" else os.environ.get("GRADWIRE_ADDRESS") or DEFAULT_ADDRESS
    if isinstance(told, str):
        pair: tuple[object, ...] = _parts(told.strip())
    else:
        pair = tuple(told) if isinstance(told, (tuple, list)) else ()
    if len(pair) == 2 and isinstance(pair[0], str):
        host, port = pair[0], str(pair[1])
        is_host = host != "" and host.isprintable() and not any(letter in host for letter in " /@")
        # More digits than a port has are none, however many there are.
        if is_host and port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= PORT_MAX:
            return Address(host, int(port))
    raise DataError(f"{shown(told)} is no address of a coordinator: write host:port, such as {DEFAULT_ADDRESS}")


def _parts(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    is_v6_alone = text.count(":") > 1 and not text.startswith("[")
    if not colon or text.endswith("]") or is_v6_alone:
        host, port = text, DEFAULT_PORT
    return host.strip("[]"), port


def cluster_of(asked: str | None) -> str | None:
    """The name of a cluster. Raises DataError where it is none."""
    if asked is None:
        return None
    if isinstance(asked, str) and 1 <= len(asked) <= NAME_BYTES_MAX and all(map(_is_of_name, asked)):
        return asked
    raise DataError(
        f"{shown(asked)} is no name of a cluster: it has 1 to {NAME_BYTES_MAX} letters, digits, points, hyphens and underscores"
    )


def _is_of_name(letter: str) -> bool:
    return letter.isascii() and ord(letter) in NAME_CHARACTERS
