#!/usr/bin/env python3
"""A gradwire compute node in Python: an example of how to implement protocol.md in another language.

    node.py PORT [--listen ADDR] [--workers N] [--reject P] [--delay SECONDS] [--name NAME] [--cluster NAME]

It needs Python 3.9, numpy, and the files beside it: `wire.py` has the bytes, `link.py` the connection,
`training.py` the mathematics. Here is what a node does with them. Sections of protocol.md stand in quotes.

The main thread accepts connections. Each link has a thread that reads, and answers at once what it can: PING
does not wait for a task. A pool of workers fetches what tasks need, trains, and answers TRAIN.

It computes as numpy does, not to the last bit of "Arithmetic 1". So it announces an arithmetic of its own,
and is given work only by jobs that allow inexact results.

Left out: the console (a person gets one line), data that lives at the node, limits of a recipe that the
coordinator has checked, the exact code for whatever is wrong in a payload (mostly it is MALFORMED), several
FETCHes at a time on a link, limits on crowds beyond a plain cap, and objects that outlive the program.
"""
import argparse
import hashlib
import os
import platform
import random
import secrets
import signal
import socketserver
import struct
import sys
import threading
import time
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor, wait

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there: a worker is one thread
sys.dont_write_bytecode = True  # nothing is left beside the sources

import training
import wire
from link import PAYLOAD_BYTES_MAX, STALL, TICK, Link, log
from wire import Code, Refusal, Type, check

INLINE_UPDATE_BYTES_MAX, HAVE_DIGESTS_MAX = 1 << 16, 1024  # "Limits"
OBJECT_BYTES_MAX, STORE_BYTES_MAX, FETCH_BYTES = 1 << 28, 1 << 29, 1 << 18
OBJECTS_MAX, TASKS_MAX, LINKS_MAX = 4096, 1024, 64
WAITING, RUNNING = 2, 3  # states of a task that is known (POLLED)
LOAD_PROBABILITY, BUSY = 1, 2  # reasons of REJECTED


class Store:
    """Objects and beginnings of objects, for all links ("Objects"). What was used longest ago makes room."""

    def __init__(self):
        self.lock, self.objects = threading.Lock(), {}  # by digest: bytes of the whole, bytes so far

    def held(self, digest):
        return len(self.objects.get(digest, (0, b""))[1])

    def whole(self, digest):
        with self.lock:
            size, data = self.objects.get(digest, (1, b""))
            if len(data) < size:
                return None
            self.objects[digest] = self.objects.pop(digest)  # the last to make room
            return memoryview(data).toreadonly()

    def add(self, digest, size, offset, piece):
        """Takes a piece; says how much is held then ("How objects travel"). A whole object is checked."""
        check(size <= OBJECT_BYTES_MAX, Code.OBJECT_TOO_LARGE, "it is too large", size, OBJECT_BYTES_MAX)
        check(0 < len(piece) <= size - offset, Code.OBJECT_RANGE, "this is no piece of it", offset, size)
        with self.lock:
            total, data = self.objects.get(digest, (size, bytearray()))
            if len(data) == total:
                return total
            check(offset == len(data), Code.OBJECT_RANGE, f"{len(data)} bytes are held", offset, len(data))
            self.objects[digest] = total, data
            data += piece  # memory grows with what has come, never with a size that was announced
            if total != size or len(data) == size and hashlib.sha256(data).digest() != digest:
                del self.objects[digest]
                raise Refusal(Code.OBJECT_HASH, "the bytes do not have the digest that names them", retry=1)
            while len(self.objects) > OBJECTS_MAX or sum(map(self.held, self.objects)) > STORE_BYTES_MAX:
                del self.objects[next(iter(self.objects))]
            return len(data)


class Task:
    """One TRAIN, and how far it is."""

    def __init__(self, name, may_reject, source, reserved, base, rest):
        check(may_reject in (0, 1) and source in (1, 2) and not reserved, Code.MALFORMED, "this is no TRAIN")
        check(source == 1, Code.UNKNOWN_OBJECT, "no data lives at this node")
        self.name, self.may_reject, self.base = name, may_reject, base
        self.step, self.number = struct.unpack_from("<QI", name, 16)  # "The name of a task"
        self.shard, size, rest = wire.split("32sI*", rest)
        check(size == len(rest), Code.MALFORMED, "the fields do not fill the payload")
        self.recipe, self.cancelled = wire.read_recipe(rest), threading.Event()
        self.state, self.batches_done, self.batches_planned = WAITING, 0, 0

    def __str__(self):
        return f"step {self.step} shard {self.number}"

    def before_batch(self):
        check(not self.cancelled.is_set(), Code.CANCELLED, "the task was cancelled")
        self.batches_done += 1

    def train(self, base, shard, delay):
        """What TRAINED says of it: epochs, loss, microseconds, and the update as an object."""
        recipe = self.recipe
        start, (x, labels) = wire.read_weights(base, recipe), wire.read_rows(shard, recipe)
        self.state, self.batches_planned = RUNNING, training.batches(recipe, len(x))
        self.cancelled.wait(delay)
        started = time.monotonic()
        inputs = recipe, start, x, labels, self.step, self.number
        epochs, loss, changes = training.train(*inputs, self.before_batch)
        microseconds = int(1e6 * (time.monotonic() - started))
        self.rows_trained = epochs * len(x)
        diverged = training.has_diverged(loss, changes)
        check(not diverged, Code.TRAINING, "the training diverged: take a lower learning rate (eta)")
        return epochs, loss, microseconds, wire.update_object(changes)


class CoordinatorLink(Link):
    """A coordinator's link, and what its messages ask for."""

    def setup(self):
        super().setup()
        self.node, self.fetching = self.server, threading.Lock()
        self.node.links.add(self)

    def finish(self):
        super().finish()
        self.node.links.discard(self)

    def fetch(self, digest):
        """An object that is held, or is fetched piece by piece; one at a time, so that none comes twice."""
        store = self.node.store
        with self.fetching:
            while (data := store.whole(digest)) is None:
                offset = store.held(digest)
                future = self.ask(Type.FETCH, Type.DATA, "32sQII", digest, offset, FETCH_BYTES, 0)
                wait([future], STALL)
                piece = future.result() if future.done() else None
                fits = piece and (piece[0], piece[2]) == (digest, offset)
                check(fits, Code.UNKNOWN_OBJECT, "what the task needs cannot be had", retry=1)
                if store.held(digest) == offset:  # else another link was faster
                    store.add(*piece)
        return data

    def train(self, request, task):
        """A worker's part of TRAIN: all of it."""
        try:
            base, shard = self.fetch(task.base), self.fetch(task.shard)
            epochs, loss, microseconds, update = task.train(base, shard, self.node.options.delay)
            self.node.rows_per_second = task.rows_trained / max(microseconds, 1) * 1e6
            digest, size = hashlib.sha256(update).digest(), len(update)
            if size > min(INLINE_UPDATE_BYTES_MAX, self.peer_payload_bytes_max - 108):
                self.node.store.add(digest, size, 0, update)
                update = b""
            values = task.name, epochs, loss, microseconds, digest, size, len(update), update
            log(f"{self.title}: {task} trained: loss {loss:.6g}, {microseconds / 1e6:.3f} s")
            self.answer(request, Type.TRAINED, f"40sI4xdQ32sQI{len(update)}s", *values)
        except Exception as fault:
            if not isinstance(fault, Refusal):
                traceback.print_exc()
                fault = Refusal(Code.INTERNAL, type(fault).__name__, retry=1)
            fault.about = Type.TRAIN
            self.refuse(request, fault)
        finally:
            self.node.tasks.discard(task)

    def on_hello(self, _, low, high, role, reserved, payload_bytes_max, identity, nonce, rest):
        fits = 1 <= low <= high and role in (1, 2, 3) and not reserved and payload_bytes_max >= 1024
        check(fits, Code.MALFORMED, "this is no HELLO")
        check(low == 1, Code.VERSION, "only version 1 is spoken here", low + 256 * high, 257)
        theirs, ours = dict(wire.fields(rest, "H")), self.node.fields
        for tag in theirs:
            known = tag in ours or tag & 0x8000
            check(known or tag == 1, Code.UNKNOWN_FIELD, f"field {tag:#06x} is not known here", tag)
        check(role == wire.COORDINATOR, Code.UNEXPECTED, "a node works for coordinators")
        fits = 1 not in theirs or 1 not in ours or theirs[1] == ours[1]
        check(fits, Code.CLUSTER, "this node belongs to another cluster")
        rest = b"".join(struct.pack("<HH", tag, len(value)) + value for tag, value in ours.items())
        values = 1, wire.NODE, PAYLOAD_BYTES_MAX, self.node.identity, secrets.token_bytes(32)
        self.send(Type.WELCOME, 0, struct.pack("<BxBxI16s32s", *values) + rest)
        self.greeted, self.peer_payload_bytes_max = True, min(payload_bytes_max, PAYLOAD_BYTES_MAX)
        self.sign_of_life()
        log(f"{self.title}: linked to the coordinator")

    def on_ping(self, request):
        self.answer(request, Type.PONG, "IId", *self.node.load(), self.node.rows_per_second)

    def on_have(self, request, count, digests):
        fits = count <= HAVE_DIGESTS_MAX and len(digests) == 32 * count
        check(fits, Code.MALFORMED, "the digests are too many, or do not fill the payload")
        held = [self.node.store.held(digests[at:at + 32]) for at in range(0, len(digests), 32)]
        self.answer(request, Type.HELD, f"I{count}Q", count, *held)

    def on_put(self, request, *piece):
        self.answer(request, Type.HELD, "IQ", 1, self.node.store.add(*piece))

    def on_fetch(self, request, digest, offset, bytes_max, reserved):
        check(bytes_max > 0 and not reserved, Code.MALFORMED, "this is no FETCH")
        data = self.node.store.whole(digest)
        check(data is not None, Code.UNKNOWN_OBJECT, "no object of this digest is held here")
        check(offset < len(data), Code.OBJECT_RANGE, f"it has {len(data)} bytes", offset, len(data))
        piece = bytes(data[offset:offset + min(bytes_max, self.peer_payload_bytes_max - 48)])
        self.answer(request, Type.DATA, f"32sQQ{len(piece)}s", digest, len(data), offset, piece)

    def on_train(self, request, *values):
        task = Task(*values)
        reason = self.node.accept(task)
        if reason:
            log(f"{self.title}: {task} rejected")
            self.answer(request, Type.REJECTED, "40sB3xII", task.name, reason, *self.node.load())
        else:
            with self.lock:
                self.open[request] = task
            self.node.pool.submit(self.train, request, task)

    def on_poll(self, request, name):
        found = [task for task in list(self.open.values()) if task and task.name == name]
        values = [(task.state, task.batches_done, task.batches_planned) for task in found] or [(1, 0, 0)]
        self.answer(request, Type.POLLED, "40sB3xQQ", name, *values[0])

    def on_cancel(self, _, request):
        task = self.open.get(request)
        if task:
            task.cancelled.set()
            refusal = Refusal(Code.CANCELLED, "the task was cancelled")
            refusal.about = Type.TRAIN
            self.refuse(request, refusal)


class Node(socketserver.ThreadingTCPServer):
    """What the links share."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, options):
        super().__init__((options.listen, options.port), CoordinatorLink)
        self.options, self.store, self.pool = options, Store(), ThreadPoolExecutor(options.workers)
        self.links, self.tasks, self.rows_per_second = set(), set(), 0.0
        self.lock = threading.Lock()  # who takes a task holds it
        address = "%s:%d" % self.server_address
        self.identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{address}.{platform.node()}").bytes  # every time
        fields = {1: options.cluster.encode(), 2: struct.pack("<H", wire.OURS),
                  0x8001: struct.pack("<I", options.workers), 0x8002: options.name.encode()}
        self.fields = {tag: value for tag, value in fields.items() if value}  # of WELCOME ("Greeting")
        log(f"listening at {address}")

    def verify_request(self, request, client_address):
        return len(self.links) < LINKS_MAX

    def load(self):
        """How many tasks are trained, and how many wait, of all links."""
        states = [task.state for task in list(self.tasks)]
        return states.count(RUNNING), states.count(WAITING)

    def accept(self, task):
        """Takes a task in, or says why it is rejected; 0: it is not."""
        with self.lock:
            check(len(self.tasks) < TASKS_MAX, Code.BUSY, "too many tasks wait at this node", retry=1)
            if task.may_reject and random.random() < self.options.reject:
                return LOAD_PROBABILITY
            if task.may_reject and len(self.tasks) >= self.options.workers:
                return BUSY
            self.tasks.add(task)
            return 0

    def stop(self):
        """Says GOODBYE on every link, and waits a moment for the peers to hear it."""
        for link in list(self.links):
            if link.greeted:
                link.send(Type.GOODBYE, 0, struct.pack("<H13s", 13, b"shutting down"))
            link.closed = True
        for task in list(self.tasks):
            task.cancelled.set()
        self.pool.shutdown(wait=False, cancel_futures=True)
        patience = time.monotonic() + 2
        while self.links and time.monotonic() < patience:
            time.sleep(TICK)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, help="0 takes any free one")
    defaults = dict(listen="127.0.0.1", workers=1, reject=0.0, delay=0.0, name="", cluster="")
    for name, default in defaults.items():
        parser.add_argument("--" + name, type=type(default), default=default)
    node = Node(parser.parse_args())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like SIGINT
    try:
        node.serve_forever()
    except KeyboardInterrupt:
        node.stop()


if __name__ == "__main__":
    main()
