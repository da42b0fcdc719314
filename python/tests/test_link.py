"""A client among coordinators that break rules, are full, or say that it went wrong: it raises, in time, and comes back
where that is of use."""

import copy
import itertools
import pickle
import socket
import struct
import threading
import unittest
from unittest import mock

import numpy as np

import gradwire
from gradwire import address, coordinator, link, objects, specification, wire
from gradwire.errors import ConnectionFailed, DataError, Interrupted, ProtocolError, Refused

from . import book
from .peer import Peer

NETWORK = [1, 2]
LAYERS = [(np.array([[0.25, -0.25]], np.float32), np.zeros(2, np.float32))]
WEIGHTS = objects.encode_weights(NETWORK, LAYERS)
VALUES = specification.decode(book.bytes_of(dict(book.blocks("specification"))["smallest"])) | {"rounds": 3}
JOB = 7


def done(fingerprint=None, weights=None, size=None) -> bytes:
    """DONE of the smallest job; what is given is a lie."""
    weights = weights or objects.digest_of(WEIGHTS)
    semantic = specification.semantic_digest(VALUES)
    head = (fingerprint or specification.fingerprint(semantic, weights)) + weights
    return (
        head
        + struct.pack("<QQdQQ", size or len(WEIGHTS), 1, 0.5, 1, 0)
        + bytes(80)
        + struct.pack("<IB3xIIIQI32xQI", 0, 1, 1, 1, 0, 0, 0, 0, 0)
    )


def round_of(number: int) -> bytes:
    return struct.pack("<IIdQIIIIQIHd", number, 3, 0.5, 1, 1, 1, 0, 0, 1900, 1, 2, 0.0)


WRONG_ADDRESSES = (
    "box:", "box:0", "box:99999", ":5105", "box:port", "box:\u00b2", "http://box:5105", "a\0b:1", 5105, ("box",), ("box", "x"),
    ("box", -1), ["box", 1, 2], b"box:1",
)  # fmt: skip

ACCEPTED = struct.pack("<BBHII", 3, 0, 0, 0, 0)


def give_weights(connection) -> None:
    """Answers the FETCH of the weights in pieces of 24 bytes, whatever is asked for."""
    for _ in range(100):
        frame = connection.hear()
        if wire.NAMES[frame.type] != "FETCH":
            return
        digest, offset, most, _ = struct.unpack("<32sQII", frame.payload)
        piece = WEIGHTS[offset : offset + min(most, 24)]
        connection.say("DATA", frame.request, digest + struct.pack("<QQ", len(WEIGHTS), offset) + piece)


def forgotten(connection):
    """Takes the job, and has not had its data in time."""
    connection.greet()
    request = connection.hear().request
    connection.say("ACCEPTED", request, ACCEPTED)
    connection.refuse("JOB_DATA", request, "SUBMIT", retry=True)
    connection.hear_to_the_end()


def honest(connection) -> None:
    """A job that is done."""
    connection.greet()
    submit = connection.hear()
    assert wire.NAMES[submit.type] == "SUBMIT", submit
    connection.say("ACCEPTED", submit.request, ACCEPTED)
    connection.say("ROUND", submit.request, round_of(1))
    connection.say("DONE", submit.request, done())
    give_weights(connection)


def watching(peer: Peer, retry_for: float = 0.0, held=None, **options) -> coordinator.Watching:
    held = {} if held is None else held
    return coordinator.Watching(address.Address(*peer.address), JOB, VALUES, objects=held, retry_for=retry_for, **options)


def after_submit(*said):
    """A script that greets, and answers SUBMIT with this."""

    def script(connection):
        connection.greet()
        request = connection.hear().request
        for name, payload in said:
            connection.say(name, request, payload)
        connection.hear_to_the_end()

    return script


class Answers(unittest.TestCase):
    def test_a_job_that_is_done_gives_its_weights_from_pieces_shorter_than_asked_for(self):
        rounds = []
        # Two pieces are asked for at a time, and what comes of the first leaves a gap.
        with Peer(honest) as peer, mock.patch.object(link, "PIECE_BYTES", 32):
            ended = watching(peer, on_round=rounds.append).run()
        self.assertEqual(ended.weights, WEIGHTS)
        self.assertEqual([told.round for told in rounds], [1])

    def test_a_job_that_fails_raises_its_code_and_its_sentence(self):
        said = wire.error("NO_NODES", wire.MESSAGES["SUBMIT"], "no node was left")
        with Peer(after_submit(("ACCEPTED", ACCEPTED), ("ERROR", said))) as peer, self.assertRaises(Refused) as refused:
            watching(peer, retry_for=60.0).run()
        error = refused.exception
        self.assertEqual((error.code, str(error), error.job), ("NO_NODES", "NO_NODES: no node was left", f"{JOB:032x}"))
        self.assertIsInstance(error, gradwire.GradwireError)
        self.assertEqual(peer.connections, 1)

    def test_data_is_served_while_the_job_is_collected(self):
        rows = bytes(range(250)) * 8
        digest = objects.digest_of(rows)
        pieces = []

        def script(connection):
            connection.greet(payload_bytes_max=1024)
            submit = connection.hear()
            for request, offset, most in [(2, 0, 40), (4, 40, 5000)]:
                connection.say("FETCH", request, wire.fetch(digest, offset, most))
                pieces.append(connection.hear().payload[48:])
            connection.say("FETCH", 6, wire.fetch(digest, len(rows), 1))
            connection.say("FETCH", 8, wire.fetch(bytes(32), 0, 1))
            connection.say("HAVE", 10, struct.pack("<I", 2) + digest + bytes(32))
            connection.say("PING", 12)
            heard = [connection.hear() for _ in range(4)]
            codes = [wire.decode("ERROR", frame.payload).code for frame in heard[:2]]
            assert codes == ["OBJECT_RANGE", "UNKNOWN_OBJECT"], codes
            assert wire.decode("HELD", heard[2].payload) == [len(rows), 0]
            assert wire.NAMES[heard[3].type] == "PONG"
            connection.say("DONE", submit.request, done())
            give_weights(connection)

        with Peer(script) as peer:
            watching(peer, held={digest: rows}).run()
        # As much as the coordinator takes, of what is asked for.
        self.assertEqual(b"".join(pieces), rows[: 40 + 1024 - 48])

    def test_rounds_that_a_job_cannot_have_are_refused_and_not_kept(self):
        def told(number, rounds, loss=0.5, errors=0.0, squares=0.0):
            head = struct.pack("<IIdQIIIIQ", number, rounds, loss, 1, 1, 1, 0, 0, 1900)
            return head + struct.pack("<IHdHd", 2, 2, errors, 3, squares)

        wrong = [
            told(4, 4), told(1, 2), told(0, 3), told(4, 3), told(1, 3, loss=float("nan")), told(1, 3, errors=2.0), told(1, 3, squares=-4.0),
        ]  # fmt: skip
        for payload in wrong:
            with Peer(after_submit(("ACCEPTED", ACCEPTED), ("ROUND", payload))) as peer, self.assertRaises(ProtocolError):
                watching(peer).run()

    def test_weights_larger_than_an_object_may_be_are_not_fetched(self):
        watch = coordinator.Watching(address.Address("box", 1), JOB, VALUES | {"hidden": [1 << 16, 1 << 16]}, objects=None)
        weights = objects.digest_of(b"")
        size = objects.weights_bytes(specification.network(watch.values))
        said = wire.decode("DONE", done(specification.fingerprint(watch.semantic, weights), weights, size))
        with self.assertRaisesRegex(ProtocolError, "at most"):
            watch._done(None, said)

    def test_what_a_coordinator_lies_about_is_found_out(self):
        wrong = bytes(range(32))
        lies = [done(fingerprint=wrong), done(size=len(WEIGHTS) + 8)]
        for lie in lies:
            with Peer(after_submit(("DONE", lie))) as peer, self.assertRaises(ProtocolError):
                watching(peer).run()

        def wrong_bytes(connection):
            connection.greet()
            connection.say("DONE", connection.hear().request, done())
            fetch = connection.hear()
            head = fetch.payload[:32] + struct.pack("<QQ", len(WEIGHTS), 0)
            connection.say("DATA", fetch.request, head + WEIGHTS[:-1] + b"?")
            connection.hear_to_the_end()

        with Peer(wrong_bytes) as peer, self.assertRaises(ProtocolError) as refused:
            watching(peer).run()
        self.assertEqual(refused.exception.code, "OBJECT_HASH")


class Garbage(unittest.TestCase):
    """Nothing here may hang: each ends in seconds, or the suite's time runs out."""

    def ends(self, script, wanted, code=None):
        heard = []

        def listening(connection):
            script(connection)
            heard.extend(connection.hear_to_the_end())

        with Peer(listening) as peer, mock.patch.object(link, "GREETING_WAIT", 0.3), self.assertRaises(wanted) as refused:
            watching(peer).run()
        if isinstance(refused.exception, ConnectionFailed):
            self.assertIn(code, str(refused.exception))
            self.assertLess(str(refused.exception).count("no coordinator"), 2)
        elif code is not None:
            self.assertEqual(refused.exception.code, code)
        return heard

    def test_what_is_no_greeting_is_refused_with_its_code(self):
        cases = [
            (lambda peer: peer.stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), ProtocolError, "MAGIC"),
            (lambda peer: peer.stream.sendall(bytes(range(245, 245 + 11)) * 9), ProtocolError, "MAGIC"),
            (lambda peer: peer.stream.sendall(wire.MAGIC + bytes(20)), ProtocolError, "HEADER_CHECKSUM"),
            (lambda peer: peer.greet(role=3), ProtocolError, "UNEXPECTED"),
            (lambda peer: peer.greet(role=9), ProtocolError, "MALFORMED"),
            (lambda peer: peer.say("PONG", 0, bytes(16)), ProtocolError, "UNEXPECTED"),
            (lambda peer: peer.refuse("CLUSTER"), Refused, "CLUSTER"),
            (lambda peer: peer.stream.shutdown(socket.SHUT_RDWR), ConnectionFailed, "hung up without a greeting"),
            (lambda peer: None, ConnectionFailed, "does not greet within"),
            (lambda peer: peer.stream.sendall(wire.header("WELCOME", 0, 56, 0)), ConnectionFailed, "does not greet within"),
        ]  # fmt: skip
        for number, (script, wanted, code) in enumerate(cases):
            with self.subTest(number):
                self.ends(script, wanted, code)

    def test_what_breaks_the_rules_later_is_answered_with_an_error_and_raised(self):
        def greeted(*raw):
            def script(connection):
                connection.greet()
                connection.hear()
                connection.stream.sendall(b"".join(raw))

            return script

        frame = wire.frame
        cases = [
            (greeted(b"garbage of many bytes, as a tunnel inserts them"), "MAGIC"),
            (greeted(frame("DONE", 1, b"short")), "MALFORMED"),
            (greeted(frame("ROUND", 1, round_of(1))), "FLAGS"),
            (greeted(frame("ROUND", 3, round_of(1), wire.MORE)), "REQUEST_ID"),
            (greeted(frame("PONG", 1, bytes(16))), "UNEXPECTED"),
            (greeted(frame("TRAIN", 2, bytes(100))), "UNEXPECTED"),
            (greeted(frame("PING", 3)), "REQUEST_ID"),
            (greeted(frame("PING", 4), frame("PING", 2)), "REQUEST_ID"),
            (greeted(frame("FETCH", 2, wire.fetch(bytes(32), 0, 0))), "MALFORMED"),
            (greeted(frame("WELCOME", 0, bytes(56))), "UNEXPECTED"),
        ]  # fmt: skip
        for script, code in cases:
            with self.subTest(code):
                self.assertIn("ERROR", self.ends(script, ProtocolError, code))

    def test_optional_messages_are_skipped(self):
        def script(connection):
            head = struct.pack("<4sBBHIII", wire.MAGIC, 1, 0x9F, 0xFFFF, 77, 0, 0)
            connection.greet()
            connection.stream.sendall(head + struct.pack("<I", wire.zlib.crc32(head)))
            submit = connection.hear()
            connection.say("DONE", submit.request, done())
            give_weights(connection)

        with Peer(script) as peer:
            self.assertEqual(watching(peer).run().weights, WEIGHTS)

    def test_a_peer_that_falls_silent_is_asked_once_and_then_lost(self):
        def silent(connection):
            connection.greet()
            connection.hear()

        with mock.patch.multiple(link, SILENCE=0.1, LOST=0.3):
            heard = self.ends(silent, ConnectionFailed, "has been silent for")
        self.assertEqual(heard.count("PING"), 1)

    def test_a_peer_that_lives_and_takes_nothing_is_lost_too(self):
        whole = bytes(1 << 20)
        digest = objects.digest_of(whole)

        def deaf(connection):
            connection.greet()
            connection.hear()
            for request in range(2, 66, 2):
                connection.say("FETCH", request, wire.fetch(digest, 0, len(whole)))
            # It is heard of all the time, and reads nothing.
            for request in range(66, 300_000, 2):
                connection.say("PING", request)

        with (
            Peer(deaf) as peer,
            mock.patch.object(link, "WRITE_STALL", 0.3),
            self.assertRaisesRegex(ConnectionFailed, "takes nothing"),
        ):
            watching(peer, held={digest: whole}).run()

    def test_a_peer_that_lives_and_never_answers_is_lost_too(self):
        def talkative(connection):
            connection.greet()
            connection.hear()
            # Not for ever, that this test ends whatever the client does.
            for _ in range(100):
                frame = connection.hear()
                if wire.NAMES[frame.type] == "PING":
                    connection.say("PONG", frame.request, bytes(16))

        with mock.patch.multiple(link, SILENCE=0.05), mock.patch.object(coordinator, "ANSWER_WAIT", 0.4):
            self.ends(talkative, ConnectionFailed, "has not answered SUBMIT")


class ComingBack(unittest.TestCase):
    def setUp(self):
        patch = mock.patch.multiple(coordinator, WAIT_MIN=0.001, WAIT_MAX=0.01)
        patch.start()
        self.addCleanup(patch.stop)

    def test_busy_closing_and_recovering_are_asked_again(self):
        def busy(connection):
            connection.greet()
            connection.refuse("BUSY", connection.hear().request, "SUBMIT", retry=True)
            connection.hear_to_the_end()

        def said(code):
            def script(connection):
                connection.hear()
                connection.refuse(code, retry=True)
                connection.hear_to_the_end()

            return script

        with self.assertLogs("gradwire", "WARNING"), Peer(said("RECOVERING"), said("CLOSING"), said("BUSY"), busy, honest) as peer:
            self.assertEqual(watching(peer, retry_for=30.0).run().weights, WEIGHTS)
            self.assertEqual(peer.connections, 5)

    def test_a_full_coordinator_is_waited_for_as_long_as_other_jobs_go_on_there(self):
        state = "running"
        clock = mock.Mock(monotonic=mock.Mock(side_effect=itertools.count()), sleep=mock.Mock())

        def busy(connection):
            connection.greet()
            connection.refuse("BUSY", connection.hear().request, "SUBMIT", retry=True)
            listing = connection.hear()
            number = {name: number for number, name in wire.STATES.items()}[state]
            told = (1).to_bytes(16, "little") + struct.pack("<BBHIIIQQ", number, 0, 0, 1, 3, 0, 1, 0) + bytes(34)
            connection.say("JOB", listing.request, told)
            connection.say("LISTED", listing.request, struct.pack("<I", 1))
            connection.hear_to_the_end()

        with self.assertLogs("gradwire", "WARNING"), mock.patch.object(coordinator, "time", clock):
            with Peer(*[busy] * 20, honest) as peer:
                self.assertEqual(watching(peer, retry_for=5.0).run().weights, WEIGHTS)
            state = "done"
            with Peer(busy) as peer, self.assertRaises(Refused) as refused:
                watching(peer, retry_for=5.0).run()
        self.assertEqual(refused.exception.code, "BUSY")

    def test_a_coordinator_that_takes_no_connection_more_is_waited_for_and_that_is_said(self):
        clock = mock.Mock(monotonic=mock.Mock(side_effect=itertools.count()), sleep=mock.Mock())

        def crowded(connection):
            connection.hear()
            connection.refuse("BUSY", retry=True)
            connection.hear_to_the_end()

        with self.assertLogs("gradwire", "WARNING") as said, mock.patch.object(coordinator, "time", clock):
            with Peer(*[crowded] * 20, honest) as peer:
                self.assertEqual(watching(peer, retry_for=5.0).run().weights, WEIGHTS)
        self.assertEqual(len(said.output), 1)

    def test_a_job_whose_data_could_not_be_had_is_submitted_again_by_whoever_has_it(self):
        with self.assertLogs("gradwire", "WARNING"), Peer(forgotten, forgotten, honest) as peer:
            self.assertEqual(watching(peer, retry_for=30.0).run().weights, WEIGHTS)
            self.assertEqual(peer.connections, 3)
        wrong = wire.error("JOB_DATA", wire.MESSAGES["SUBMIT"], "no")
        for script, options in [
            (after_submit(("ERROR", wrong)), {}), (forgotten, {"retry_for": 0.0}), (forgotten, {"objects": None}),
        ]:  # fmt: skip
            with Peer(script) as peer, self.assertRaises(Refused) as refused:
                watch = watching(peer, retry_for=options.get("retry_for", 30.0))
                watch.objects = options.get("objects", watch.objects)
                watch.run()
            self.assertEqual((refused.exception.code, peer.connections), ("JOB_DATA", 1))

    def test_a_job_whose_data_never_comes_in_time_is_given_up(self):
        # Each look at the clock is 6 s later: more than a connection that has settled takes.
        clock = mock.Mock(monotonic=mock.Mock(side_effect=itertools.count(step=6)), sleep=mock.Mock())

        with self.assertLogs("gradwire", "WARNING"), mock.patch.object(coordinator, "time", clock):
            with Peer(*[forgotten] * 50, honest) as peer, self.assertRaises(Refused) as refused:
                watching(peer, retry_for=100.0).run()
        self.assertEqual(refused.exception.code, "JOB_DATA")

    def test_an_error_that_ends_a_connection_is_not_the_answer_to_what_was_asked(self):
        def damaged(connection):
            connection.greet()
            connection.hear()
            connection.refuse("PAYLOAD_CHECKSUM")
            connection.hear_to_the_end()

        with self.assertLogs("gradwire", "WARNING"), Peer(damaged, honest) as peer:
            self.assertEqual(watching(peer, retry_for=30.0).run().weights, WEIGHTS)
            self.assertEqual(peer.connections, 2)

    def test_a_job_that_is_refused_is_not_asked_again(self):
        for code in ("SPECIFICATION", "CONFLICT", "MEMORY"):
            said = wire.error(code, wire.MESSAGES["SUBMIT"], "no")
            with Peer(after_submit(("ERROR", said))) as peer:
                with self.assertRaises(Refused) as refused:
                    watching(peer, retry_for=30.0).run()
                self.assertEqual((refused.exception.code, peer.connections), (code, 1))

    def test_after_a_cut_the_same_job_is_submitted_with_the_rounds_seen_and_none_is_told_twice(self):
        submits, rounds = [], []

        def cut(connection):
            connection.greet()
            submit = connection.hear()
            submits.append(submit.payload)
            for number in (1, 2):
                connection.say("ROUND", submit.request, round_of(number))

        def rest(connection):
            connection.greet()
            submit = connection.hear()
            submits.append(submit.payload)
            for number in (2, 3):
                connection.say("ROUND", submit.request, round_of(number))
            connection.say("DONE", submit.request, done())
            give_weights(connection)

        with self.assertLogs("gradwire", "WARNING"), Peer(cut, rest) as peer:
            ended = watching(peer, retry_for=30.0, on_round=rounds.append).run()
        self.assertEqual([told.round for told in rounds], [1, 2, 3])
        self.assertEqual([told.round for told in ended.history], [1, 2, 3])
        first, second = submits
        self.assertEqual((first[:16], first[20:]), (second[:16], second[20:]))
        self.assertEqual([struct.unpack_from("<I", payload, 16)[0] for payload in submits], [0, 2])

    def test_a_cut_while_the_data_is_sent_is_no_silence(self):
        rows = bytes(100)
        digest = objects.digest_of(rows)

        def cut(connection):
            connection.greet()
            connection.hear()
            connection.say("FETCH", 2, wire.fetch(digest, 0, 100))
            connection.hear()

        with (
            self.assertLogs("gradwire", "WARNING") as logs,
            Peer(cut, honest) as peer,
            mock.patch.object(coordinator, "ANSWER_WAIT", 3.0),
        ):
            self.assertEqual(watching(peer, 30.0, {digest: rows}).run().weights, WEIGHTS)
        self.assertNotIn("has not answered", logs.output[0])

    def test_a_coordinator_that_takes_the_job_and_dies_again_and_again_is_one_loss(self):
        clock = mock.Mock(monotonic=mock.Mock(side_effect=range(200)), sleep=mock.Mock())

        def dies(connection):
            connection.greet()
            connection.say("ACCEPTED", connection.hear().request, ACCEPTED)

        with self.assertLogs("gradwire", "WARNING"), mock.patch.object(coordinator, "time", clock):
            with Peer(dies) as peer, self.assertRaisesRegex(ConnectionFailed, "did not come back within 20 s"):
                watching(peer, retry_for=20.0).run()
        self.assertLess(peer.connections, 20)

    def test_a_name_that_nobody_knows_is_not_waited_for(self):
        clock = mock.Mock(monotonic=mock.Mock(side_effect=itertools.count()), sleep=mock.Mock())
        with mock.patch.object(coordinator, "time", clock), self.assertRaisesRegex(ConnectionFailed, "^no coordinator: the host"):
            coordinator.Watching(address.Address("nobody.invalid", 1), JOB, VALUES, objects={}, retry_for=3.0).run()
        with self.assertRaisesRegex(ConnectionFailed, "^no coordinator: the host lab..lan cannot be found"):
            link.dial(address.Address("lab..lan", 5105), None)

    def test_a_coordinator_that_does_not_come_back_is_given_up_with_the_words_for_later(self):
        def dies(connection):
            connection.greet()
            connection.say("ACCEPTED", connection.hear().request, ACCEPTED)

        for script, has_arrived in ((dies, True), (lambda connection: connection.stream.close(), False)):
            with self.assertLogs("gradwire", "WARNING"), Peer(script) as peer, self.assertRaises(ConnectionFailed) as lost:
                watching(peer, retry_for=0.3).run()
            self.assertEqual(f"gradwire.attach('{JOB:032x}')" in str(lost.exception), has_arrived)
            self.assertEqual("the job has not been sent" in str(lost.exception), not has_arrived)

    def test_notes_are_left_away_where_submit_would_be_too_long_with_them(self):
        sizes = []

        def script(connection):
            connection.greet(payload_bytes_max=2000)
            submit = connection.hear()
            sizes.append(len(submit.payload))
            connection.say("DONE", submit.request, done())
            give_weights(connection)

        with Peer(script) as peer:
            watch = watching(peer)
            watch.values["notes"] = bytes(1) * 4000
            watch.run()
        self.assertLess(sizes[0], 2000)


class AtTheKeyboard(unittest.TestCase):
    def test_who_interrupts_gets_the_jobs_id_and_the_coordinator_no_cancel(self):
        heard = []

        def script(connection):
            connection.greet()
            submit = connection.hear()
            connection.say("ROUND", submit.request, round_of(1))
            heard.extend(connection.hear_to_the_end())

        def interrupt(_):
            raise KeyboardInterrupt

        with Peer(script) as peer, self.assertRaises(Interrupted) as interrupted:
            watching(peer, retry_for=30.0, on_round=interrupt).run()
        self.assertEqual(interrupted.exception.job, f"{JOB:032x}")
        self.assertEqual(heard, ["GOODBYE"])
        self.assertFalse([thread for thread in threading.enumerate() if thread.name.startswith("gradwire")])


    def test_what_a_callback_raises_says_how_the_job_is_found(self):
        def script(connection):
            connection.greet()
            connection.say("ROUND", connection.hear().request, round_of(1))
            connection.hear_to_the_end()

        def fails(_):
            raise RuntimeError("no room")

        with Peer(script) as peer, self.assertRaisesRegex(RuntimeError, "no room") as failed:
            watching(peer, on_round=fails).run()
        if hasattr(failed.exception, "add_note"):
            self.assertIn(f"gradwire.attach('{JOB:032x}')", failed.exception.__notes__[0])


class OutOfAPool(unittest.TestCase):
    def test_every_exception_comes_whole_out_of_another_process(self):
        refused = Refused("NO_NODES", "none", True, 1, 2, 3)
        refused.job = "ab" * 16
        for error in (
            refused, ProtocolError("MAGIC", "no", 4, 5), Interrupted("stopped", "cd" * 16), DataError("x"), gradwire.UnknownHost("y"),
            gradwire.Unanswered("z"),
        ):  # fmt: skip
            for back in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
                self.assertIs(type(back), type(error))
                self.assertEqual((str(back), back.args, back.__dict__), (str(error), error.args, error.__dict__))


class Addresses(unittest.TestCase):
    def test_argument_environment_and_default_come_in_this_order(self):
        with mock.patch.dict("os.environ", {"GRADWIRE_ADDRESS": "lab:5200"}):
            self.assertEqual(address.address_of("box:1"), ("box", 1))
            self.assertEqual(address.address_of(), ("lab", 5200))
        with mock.patch.dict("os.environ", {"GRADWIRE_ADDRESS": ""}):
            self.assertEqual(address.address_of(), ("127.0.0.1", 5105))
        for text, wanted in [("box", ("box", 5105)), ("[::1]:7", ("::1", 7)), ("::1", ("::1", 5105)), ("[::1]", ("::1", 5105)), (("box", 7), ("box", 7))]:
            self.assertEqual(address.address_of(text), wanted)
        for wrong in WRONG_ADDRESSES:
            with self.assertRaises(DataError, msg=repr(wrong)):
                address.address_of(wrong)

    def test_a_cluster_has_a_name_that_may_travel(self):
        self.assertEqual((address.cluster_of("lab-1"), address.cluster_of(None)), ("lab-1", None))
        for wrong in ("", "\u00e9", "x" * 65, "a b", 5):
            with self.assertRaises(DataError, msg=repr(wrong)):
                gradwire.jobs("127.0.0.1:1", cluster=wrong)

    def test_where_nothing_listens_the_sentence_says_so(self):
        with Peer(honest) as peer:
            pass
        with self.assertRaises(ConnectionFailed) as failed:
            gradwire.jobs(peer.address, retry_for=0)
        self.assertIn("nothing listens", str(failed.exception))


class Jobs(unittest.TestCase):
    def test_every_question_is_asked_again_while_the_coordinator_cannot_be_had(self):
        job = f"{JOB:032x}"
        status = (JOB).to_bytes(16, "little") + struct.pack("<BBHIIIQQ", 3, 0, 0, 1, 3, 0, 1, 0) + bytes(34)

        def recovering(connection):
            connection.hear()
            connection.refuse("RECOVERING", retry=True)
            connection.hear_to_the_end()

        def lost(connection):
            connection.greet()
            connection.hear()

        def there(connection):
            connection.greet()
            request = connection.hear().request
            connection.say("JOB", request, status)
            connection.say("LISTED", request, struct.pack("<I", 1))
            connection.hear_to_the_end()

        def refuses(connection):
            connection.greet()
            connection.refuse("UNKNOWN_JOB", connection.hear().request, "DESCRIBE")
            connection.hear_to_the_end()

        with mock.patch.multiple(coordinator, WAIT_MIN=0.001, WAIT_MAX=0.01):
            for ask in (
                lambda at: gradwire.jobs(at)[0],
                lambda at: gradwire.cancel(job, at),
                lambda at: gradwire.resume(job, at),
            ):
                with self.assertLogs("gradwire", "WARNING") as said, Peer(recovering, lost, there) as peer:
                    self.assertEqual(ask(peer.address).job, job)
                    self.assertEqual((peer.connections, len(said.output)), (3, 1))
            with self.assertLogs("gradwire", "WARNING"), Peer(recovering, lost, refuses) as peer:
                with self.assertRaises(Refused) as refused:
                    gradwire.attach(job, peer.address)
                self.assertEqual((refused.exception.code, peer.connections), ("UNKNOWN_JOB", 3))
                with self.assertRaisesRegex(DataError, "retry_for"):
                    gradwire.jobs(peer.address, retry_for="x")
            # Not at all, and not for ever.
            for retry_for in (0, 0.05):
                with Peer(recovering) as peer, self.assertRaises(Refused) as refused:
                    gradwire.jobs(peer.address, retry_for=retry_for)
                self.assertEqual((refused.exception.code, peer.connections > 1), ("RECOVERING", retry_for > 0))

    def test_jobs_are_listed_and_ordered_by_the_first_digits_of_their_ids(self):
        ids = ["0a" * 16, "0b" * 16]
        status = [int(job, 16).to_bytes(16, "little") + struct.pack("<BBHIIIQQ", 3, 0, 0, 1, 3, 0, 1, 0) + bytes(34) for job in ids]
        orders = []

        def script(connection):
            connection.greet()
            while True:
                frame = connection.hear()
                name = wire.NAMES[frame.type]
                if name == "GOODBYE":
                    return
                told = status if name == "JOBS" else status[1:]
                if name == "ORDER":
                    orders.append(frame.payload)
                for payload in told:
                    connection.say("JOB", frame.request, payload)
                connection.say("LISTED", frame.request, struct.pack("<I", len(told)))

        with Peer(script) as peer:
            self.assertEqual([job.job for job in gradwire.jobs(peer.address)], ids)
            self.assertEqual(gradwire.cancel("0b", peer.address).job, ids[1])
            self.assertEqual(gradwire.resume(ids[1], peer.address).state, "running")
            for wrong in ("0", "0c", "", "xyz"):
                with self.assertRaises(DataError):
                    gradwire.cancel(wrong, peer.address)
        number = int(ids[1], 16)
        self.assertEqual(orders, [wire.order(number, 1), wire.order(number, 2)])
