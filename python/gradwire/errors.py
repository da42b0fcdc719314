"""What goes wrong, by cause. Owns the exceptions that a caller may catch; does not know how they come about."""

from __future__ import annotations

from typing import Any


def _made(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class _Sent:
    """An exception that comes whole out of another process: a pool's pickles would call its class with its sentence alone."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.args, dict(self.__dict__))  # type: ignore


class GradwireError(_Sent, Exception):
    """Anything that this package refuses or meets. `str` of it is a sentence; `code` is the protocol's name of the cause
    (protocol.md, "Errors": `NO_NODES`, `BUSY`, ...), or None where no peer named one."""

    code: str | None = None


class DataError(GradwireError, ValueError):
    """The data or the options cannot be used."""


class ModelFileError(GradwireError, ValueError):
    """A file is no model, or cannot be read or written."""


class ConnectionFailed(GradwireError, ConnectionError):
    """There is no connection to the coordinator, or it has ended and did not come back in time."""


class Unanswered(ConnectionFailed):
    """The connection lives, and what was asked has no answer yet."""


class UnknownHost(ConnectionFailed):
    """The coordinator's name stands for no address."""


class ProtocolError(GradwireError):
    """The peer broke a rule of the protocol. `code` is the rule's, as this client answered it."""

    def __init__(self, code: str, text: str, got: int = 0, allowed: int = 0):
        super().__init__(text)
        self.code: str = code
        self.got, self.allowed = got, allowed


class Refused(GradwireError):
    """The coordinator answered with ERROR: a request was refused, or the job has ended so.

    `retry` says whether the same request may succeed later; `got` and `allowed` are numbers where the code has such;
    `job` is the job's id in 32 hexadecimal digits, where one was asked about."""

    def __init__(self, code: str, text: str, retry: bool = False, got: int = 0, allowed: int = 0, about: int = 0):
        super().__init__(text)
        self.code: str = code
        self.retry, self.got, self.allowed, self.about = retry, got, allowed, about
        self.job: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.args[0]}"


class Interrupted(_Sent, KeyboardInterrupt):
    """The person at the keyboard had enough of waiting. The job goes on, if all of its data had been sent: `job` is its
    id, which `gradwire.attach` watches again and `gradwire.cancel` ends."""

    def __init__(self, text: str, job: str):
        super().__init__(text)
        self.job = job
