"""What is asked of a coordinator: jobs to be trained, watched, listed, cancelled, resumed (protocol.md, section 9). Owns
coming back to a coordinator that is lost, and how a watched job ends; does not know data or models."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from . import specification, wire
from .address import Address
from .errors import ConnectionFailed, DataError, GradwireError, Interrupted, ProtocolError, Refused, Unanswered, UnknownHost
from .link import ANSWER_WAIT, Link
from .objects import OBJECT_BYTES_MAX, weights_bytes
from .options import real

T = TypeVar("T")

log = logging.getLogger("gradwire")

RETRY_FOR = 300.0
WAIT_MIN, WAIT_MAX = 0.1, 5.0
# A connection that ends sooner, with nothing said on it, ends nothing: the loss before it goes on.
SETTLED = 5.0
JOBS_MAX = 20_000
# What may pass, where the coordinator says `retry` with it.
OF_THE_MOMENT = frozenset({"BUSY", "CLOSING", "RECOVERING"})
CANCEL, RESUME = 1, 2


class Ended(NamedTuple):
    """A job that is done: what it says, and its weights as an object."""

    done: wire.Done
    weights: bytes
    history: list[wire.Round]


def may_pass(error: GradwireError) -> bool:
    """Whether the same may succeed later."""
    if isinstance(error, Refused):
        return bool(error.retry) and error.code in OF_THE_MOMENT
    return isinstance(error, ConnectionFailed)


class Patience:
    """For how long, and how often, a coordinator that cannot be had is asked again."""

    def __init__(self, retry_for: float):
        self.retry_for = real("retry_for", retry_for)
        self.was_there = False
        self._lost_at: float | None = None
        self._back_at: float | None = None
        self._wait = WAIT_MIN

    @property
    def is_lost(self) -> bool:
        return self._lost_at is not None

    def is_for(self, error: GradwireError) -> bool:
        """Whether to ask again after this is of use."""
        # A name that nobody knows is a slip, rather, where it was never known.
        is_slip = isinstance(error, UnknownHost) and not self.was_there
        return not is_slip and may_pass(error) and self.retry_for > 0

    def wait(self, error: GradwireError, others_go_on: bool) -> bool:
        """Waits until it is time to ask again; False where patience has come to its end. While others go on for whom there was
        room, it comes to none."""
        now = time.monotonic()
        # Where it is there, and had not the job's data in time, only a round ends the loss: the same may come again and again.
        is_in_vain = isinstance(error, Refused) and error.code == "JOB_DATA"
        if not is_in_vain and self._back_at is not None and now - self._back_at >= SETTLED:
            self._lost_at = None
        self._back_at = None
        if self._lost_at is None:
            self._lost_at, self._wait = now, WAIT_MIN
            log.warning("%s; asking again for %g s", error, self.retry_for)
        elif others_go_on:
            self._lost_at = now
        left = self._lost_at + self.retry_for - now
        if left <= 0:
            return False
        # Those who have lost the same coordinator do not all come back at once.
        time.sleep(min(left, self._wait * (1.0 - 0.5 * random.random())))
        self._wait = min(2 * self._wait, WAIT_MAX)
        return True

    def back(self) -> None:
        """The coordinator answers."""
        self._back_at = time.monotonic()

    def settled(self) -> None:
        """It has said something new: whatever comes now is a loss of its own."""
        self._lost_at = self._back_at = None


def _is_crowded(error: GradwireError, is_greeted: bool) -> bool:
    """Whether a coordinator takes no connection more, which has room in the end, too."""
    return not is_greeted and isinstance(error, Refused) and error.code == "BUSY"


def asked(address: Address, question: Callable[[Link], T], retry_for: float, cluster: str | None) -> T:
    """What a question over a connection comes to; it is asked again as a job is watched again. Raises as the question, and
    ConnectionFailed where the coordinator cannot be had within `retry_for` seconds."""
    patience = Patience(retry_for)
    while True:
        is_greeted = False
        try:
            with Link(address, {}, cluster) as link:
                is_greeted = patience.was_there = True
                return question(link)
        except GradwireError as error:
            if not patience.is_for(error) or not patience.wait(error, _is_crowded(error, is_greeted)):
                raise


class Watching:
    """A job that is watched until it ends, over as many connections as it takes.

    It is submitted where `objects` are those that its `fields` name, and attached to where they are None. `values` are its
    specification's."""

    def __init__(
        self,
        address: Address,
        job: int,
        values: Mapping[str, Any],
        *,
        objects: Mapping[bytes, Any] | None,
        on_round: Callable[[wire.Round], object] | None = None,
        on_notice: Callable[[wire.Notice], object] | None = None,
        retry_for: float = RETRY_FOR,
        cluster: str | None = None,
    ):
        self.address, self.job, self.values, self.objects = address, job, dict(values), objects
        self.on_round, self.on_notice = on_round, on_notice
        self.cluster = cluster
        self.semantic = specification.semantic_digest(values)
        self._rounds = values.get("rounds") or specification.FIELDS["rounds"].default
        self.history: list[wire.Round] = []
        self._patience = Patience(retry_for)
        self._was_accepted = False

    @property
    def job_id(self) -> str:
        return f"{self.job:032x}"

    def run(self) -> Ended:
        """Watches to the end. Raises Refused where the job is refused or ends otherwise than done, ConnectionFailed where the
        coordinator does not come back within `retry_for` seconds, ProtocolError, and Interrupted."""
        try:
            while True:
                others_go_on = is_greeted = False
                try:
                    with Link(self.address, self.objects or {}, self.cluster) as link:
                        is_greeted = self._patience.was_there = True
                        try:
                            return self._over(link)
                        except Refused as error:
                            others_go_on = error.code == "BUSY" and self._others_go_on(link)
                            raise
                except GradwireError as error:
                    self._wait_or_raise(error, others_go_on or _is_crowded(error, is_greeted))
        except KeyboardInterrupt:
            text = f"stopped watching job {self.job_id}: it goes on, if all of its data had been sent"
            raise Interrupted(text, self.job_id) from None

    def _wait_or_raise(self, error: GradwireError, others_go_on: bool) -> None:
        if isinstance(error, Refused):
            error.job = self.job_id
        retry_for = self._patience.retry_for
        if not (self._patience.is_for(error) or self._submits_again(error)):
            raise error
        if self._patience.wait(error, others_go_on):
            return
        if not isinstance(error, ConnectionFailed):
            raise error
        if self.objects is not None and not self._was_accepted:
            raise ConnectionFailed(f"{error}, for {retry_for:g} s now (retry_for); the job has not been sent") from error
        what = f"the coordinator did not come back within {retry_for:g} s: {error}"
        raise ConnectionFailed(f"{what}. If it still runs, gradwire.attach({self.job_id!r}) watches the job again") from error

    def _submits_again(self, error: GradwireError) -> bool:
        """Whether a job that the coordinator has forgotten, half sent, is sent again: by whoever has its data."""
        is_forgotten = isinstance(error, Refused) and error.code == "JOB_DATA" and error.retry
        return is_forgotten and self.objects is not None and self._patience.retry_for > 0

    def _others_go_on(self, link: Link) -> bool:
        """Whether jobs are under way for which there was room, and which make some when they end."""
        try:
            return any(status.state in ("collecting", "queued", "running") for status in jobs_of(link))
        except GradwireError:
            return False

    def _over(self, link: Link) -> Ended:
        """Watches over one connection, to the job's end or the connection's."""
        seen = self.history[-1].round if self.history else 0
        if self.objects is None:
            request = link.ask("ATTACH", wire.attach(self.job, seen))
        else:
            request = link.ask("SUBMIT", self._submit(seen, link.payload_bytes_max))
        wait: float | None = ANSWER_WAIT
        while True:
            try:
                fetched = link.fetches_answered
                answer = request.next(wait)
            except Unanswered:
                # It may still be fetching the data.
                if link.fetches_answered == fetched:
                    raise
                continue
            match answer:
                case wire.Accepted():
                    wait = None
                    if self._was_accepted and self._patience.is_lost:
                        log.warning("the coordinator is back")
                    self._was_accepted = True
                    self._patience.back()
                case wire.Round():
                    if answer.rounds != self._rounds:
                        raise ProtocolError("UNEXPECTED", f"ROUND tells of {answer.rounds} rounds, and the job has {self._rounds}")
                    self._patience.settled()
                    # A coordinator that does not know what has been shown tells it again.
                    if not self.history or answer.round > self.history[-1].round:
                        self.history.append(answer)
                        if self.on_round is not None:
                            self._tell(self.on_round, answer)
                case wire.Notice():
                    self._patience.settled()
                    # How the nodes stand is told each second, for a screen.
                    log.log(logging.DEBUG if answer.kind == "fleet" else logging.INFO, "%s", answer.text)
                    if self.on_notice is not None and answer.kind != "fleet":
                        self._tell(self.on_notice, answer)
                case wire.Done():
                    return self._done(link, answer)

    def _tell(self, call: Callable[[Any], object], told: Any) -> None:
        """Calls what the caller gave; what it raises says how the job, which goes on, is found."""
        try:
            call(told)
        except Exception as error:
            job = self.job_id
            note = f"job {job} goes on: gradwire.attach({job!r}) watches it again, gradwire.cancel({job!r}) ends it"
            if hasattr(error, "add_note"):
                error.add_note(note)
            else:
                log.warning("%s", note)
            raise

    def _submit(self, seen: int, payload_bytes_max: int) -> bytes:
        """SUBMIT, without notes where it would be longer with them than the coordinator takes."""
        payload = wire.submit(self.job, seen, specification.encode(self.values))
        if len(payload) > payload_bytes_max:
            payload = wire.submit(self.job, seen, specification.encode({**self.values, "notes": None}))
        if len(payload) > payload_bytes_max:
            text = f"the job takes {len(payload)} bytes to submit, and the coordinator takes {payload_bytes_max}"
            raise DataError(f"{text}: take fewer shards")
        return payload

    def _done(self, link: Link, done: wire.Done) -> Ended:
        wanted = specification.fingerprint(self.semantic, done.weights)
        if wanted != done.fingerprint:
            text = f"the coordinator's fingerprint {done.fingerprint.hex()} is not that of this job and its weights, "
            raise ProtocolError("UNEXPECTED", text + wanted.hex())
        if not done.rows:
            raise ProtocolError("UNEXPECTED", "DONE tells of no validation rows")
        size = weights_bytes(specification.network(self.values))
        if size != done.weights_bytes:
            raise ProtocolError("UNEXPECTED", f"the weights have {done.weights_bytes} bytes, and this network's {size}")
        if size > OBJECT_BYTES_MAX:
            raise ProtocolError("UNEXPECTED", f"the weights have {size} bytes, and an object has at most {OBJECT_BYTES_MAX}")
        return Ended(done, link.fetch(done.weights, size), self.history)


def jobs_of(link: Link, job: int = 0) -> list[wire.JobStatus]:
    """How all jobs stand, or one."""
    return _listed(link.ask("JOBS", job.to_bytes(16, "little")))


def order(link: Link, job: int, verb: int) -> wire.JobStatus:
    """Has a job cancelled or resumed; how it stands then."""
    listed = _listed(link.ask("ORDER", wire.order(job, verb)))
    if len(listed) != 1:
        raise ProtocolError("UNEXPECTED", f"ORDER was answered with {len(listed)} jobs")
    return listed[0]


def describe(link: Link, job: int) -> dict[str, Any]:
    """What was asked for with a job: its specification's values."""
    told, fields = link.ask("DESCRIBE", job.to_bytes(16, "little")).next(ANSWER_WAIT)
    if told != f"{job:032x}":
        raise ProtocolError("UNEXPECTED", f"DESCRIBED speaks of job {told}")
    return specification.decode(fields)


def _listed(request: Any) -> list[wire.JobStatus]:
    jobs: list[wire.JobStatus] = []
    while True:
        answer = request.next(ANSWER_WAIT)
        if isinstance(answer, wire.JobStatus) and len(jobs) < JOBS_MAX:
            jobs.append(answer)
        elif answer == len(jobs):
            return jobs
        else:
            raise ProtocolError("UNEXPECTED", "the coordinator's answer does not fit a question about jobs")
