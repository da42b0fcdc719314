#!/usr/bin/env python3
"""A gradwire compute node in Python, written from protocol.md: node.py PORT [--help]. It needs numpy.

Coordinators dial it, give it tasks, get updates back. It computes with numpy, so not to the last bit as "Arithmetic 1":
it announces an arithmetic of its own, and gets tasks of jobs that allow inexact results. Left out: the console,
data that lives at the node, caps on crowds, checks of texts, whatever would survive a restart. Sections of protocol.md
stand in quotes. One loop serves all links, so there are no locks; tasks train on threads: PING is answered at once."""
import argparse, asyncio, concurrent.futures, contextlib, enum, hashlib, math, os, random, re, secrets, signal
import struct, sys, threading, time
from zlib import crc32

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a worker is one thread
import numpy as np

HELLO, WELCOME, ERROR, CHALLENGE, GOODBYE, PING, PONG, CANCEL = *range(0x01, 0x06), *range(0x08, 0x0B)  # "Messages"
HAVE, HELD, PUT, FETCH, DATA, TRAIN, TRAINED, REJECTED, POLL, POLLED = *range(0x10, 0x15), *range(0x20, 0x25)
SUBMIT, ACCEPTED, ROUND, NOTICE, DONE = range(0x30, 0x35)
KNOWN = {*range(0x01, 0x06), *range(0x08, 0x0B), *range(0x10, 0x15), *range(0x20, 0x25), *range(0x30, 0x35)}
LAYOUTS = {  # of payloads, in the notation of `struct`; `*` is whatever is left
    HELLO: "BBBBI16s32s*", ERROR: "HBBQQH*", GOODBYE: "H*", PING: "", PONG: "IId", CANCEL: "I", HAVE: "I*",
    PUT: "32sQQ*", FETCH: "32sQII", DATA: "32sQQ*", TRAIN: "40sBBH32s*", POLL: "40s"}
MAGIC, COORDINATOR, NODE = b"\xF5GRW", 2, 3
EXACT, ARITHMETIC = 1, 40001  # tasks of the first are trained as nearly as numpy can; the second is our own
PAYLOAD_MAX, GREETING_MAX, OBJECTS_MAX, INLINE_MAX, FETCH_BYTES = 2**20, 2**10, 2**29, 2**16, 2**18  # "Limits"
FIRST_BYTE_WAIT, GREETING_WAIT, WRITE_STALL, SILENCE, LOST, LIFE_BYTES = 10, 2, 10, 1, 3, 2**14  # seconds, bytes


class Code(enum.IntEnum):  # "Errors"; those before BUSY end the connection
    MAGIC, HEADER_CHECKSUM, PAYLOAD_CHECKSUM, VERSION, FRAME_TOO_LARGE, UNKNOWN_TYPE, FLAGS = range(1, 8)
    MALFORMED, UNEXPECTED, REQUEST_ID, TIMEOUT, CLUSTER, BUSY, CLOSING, CANCELLED = *range(8, 13), 14, 15, 17
    UNKNOWN_OBJECT, OBJECT_HASH, OBJECT_RANGE, OBJECT_TOO_LARGE, OBJECT_MALFORMED = range(20, 25)
    SPECIFICATION, UNKNOWN_FIELD, ARITHMETIC, TRAINING, INTERNAL = 30, 31, 32, 34, 35


class Fault(Exception):
    """What ERROR says: code, sentence and, where they are not 0, about, got, allowed, retry."""


def check(fits, *fault):
    if not fits:
        raise Fault(*fault)


def log(sentence):
    print(time.strftime("%H:%M:%S"), sentence, file=sys.stderr, flush=True)


def split(layout, data, about):
    """The values of a payload. What has other bytes than these is MALFORMED (step 10 of "The order of checks")."""
    fixed, rest = "<" + layout.rstrip("*"), "*" in layout
    size = struct.calcsize(fixed)
    check(len(data) == size or len(data) > size and rest, Code.MALFORMED, f"{len(data)} bytes, and not {size}", about)
    return struct.unpack_from(fixed, data) + (data[size:],) * rest


def fields(data, length, about):
    """Tagged fields ("Greeting", "The specification"): tag and value of each; `length` is the type of lengths."""
    last = -1
    while data:
        tag, size, data = split("H" + length + "*", data, about)
        check(tag > last, Code.MALFORMED, f"field {tag:#06x} is out of order or repeated", about)
        last, (value, data) = tag, split(f"{size}s*", data, about)
        yield tag, value


class Store:
    """Objects and beginnings of objects ("How objects travel"), for all links; what came longest ago makes room."""
    def __init__(self):
        self.entries = {}  # by digest: size of the whole, bytes so far

    def held(self, digest):
        return len(self.entries.get(digest, (0, b""))[1])

    def whole(self, digest):
        size, data = self.entries.get(digest, (1, b""))
        return memoryview(data).toreadonly() if len(data) == size else None

    def add(self, digest, size, offset, piece, about):
        """Takes a piece, and says how much is held then. A whole object is checked before its use."""
        if self.whole(digest) is not None:
            return self.held(digest)
        check(size <= OBJECTS_MAX, Code.OBJECT_TOO_LARGE, "it is too large", about, size, OBJECTS_MAX)
        held, end = self.held(digest), offset + len(piece)
        check(held == offset < end <= size, Code.OBJECT_RANGE, f"{held} bytes are held", about, offset, held)
        total, data = self.entries.setdefault(digest, (size, bytearray()))
        data += piece  # memory grows with what has come
        if total != size or end == size and hashlib.sha256(data).digest() != digest:
            del self.entries[digest]
            raise Fault(Code.OBJECT_HASH, "the bytes do not have the digest that names them", about, 0, 0, 1)
        while sum(map(self.held, self.entries)) > OBJECTS_MAX:
            self.entries.pop(next(iter(self.entries)))
        return end


def tensors(data, kind, *wanted):
    """An object's tensors and descriptor ("The descriptor"); wanted: element, 1 f32 or 2 u32, and sides of each."""
    head, sizes = struct.pack("<BB6x", kind, len(wanted)), [math.prod(sides) for _, *sides in wanted]
    for element, *sides in wanted:
        head += struct.pack(f"<BBB5x{len(sides)}Q", element, 0, len(sides), *sides)
    fits = data[:len(head)] == head and len(data) == len(head) + 4 * sum(sizes) and 0 not in sizes
    check(fits, Code.OBJECT_MALFORMED, f"an object of kind {kind} and shape {wanted} was wanted", TRAIN)
    parts = np.split(np.frombuffer(data, "<f4", offset=len(head)), np.cumsum(sizes)[:-1])
    return [part.view(" fI"[w[0]]).reshape(w[1:]) for part, w in zip(parts, wanted)], head


RECIPE = {  # "The specification": tag: name, type, default (...: it is required), least
    1: ("arithmetic", "H", EXACT, 0), 2: ("inputs", "I", ..., 1), 3: ("hidden", "I", (), 1),
    4: ("classes", "I", ..., 2),
    5: ("activation", "B", 1, 1), 6: ("optimiser", "B", 1, 1), 7: ("reduction", "B", 1, 1), 8: ("initial", "B", 1, 1),
    9: ("eta", "f", ..., 0), 10: ("decay", "f", 1, 0), 11: ("batch", "I", None, 1), 12: ("epochs", "I", 1, 1),
    13: ("epsilon", "f", 0, 0), 14: ("stop", "f", None, 0), 15: ("seed", "Q", 1, 0)}
CHOICES = {"activation": 3, "optimiser": 2, "reduction": 2, "initial": 2}  # the last number of each


def read_recipe(data):
    """Network, recipe and seed of TRAIN, as attributes; the coordinator has checked their upper limits."""
    spec = argparse.Namespace(**{name: default for name, _, default, _ in RECIPE.values()})
    for tag, value in fields(data, "I", TRAIN):
        if tag & 0xC000 == 0xC000:
            continue
        check(tag in RECIPE, Code.UNKNOWN_FIELD, f"field {tag:#06x} is not known here", TRAIN, tag)
        name, kind, default, least = RECIPE[tag]
        got = split(f"{len(value) // 4}I" if name == "hidden" else kind, value, TRAIN)
        setattr(spec, name, got if name == "hidden" else got[0])
        known = getattr(spec, name) != default and (name not in CHOICES or 0 < got[0] <= CHOICES[name])
        check(known, Code.MALFORMED, f"{name} has its default, or a number that there is not", TRAIN)
        check(all(least <= number for number in got), Code.SPECIFICATION, f"{name} is out of its limits", TRAIN)
    check(... not in vars(spec).values(), Code.MALFORMED, "inputs, classes and eta are required", TRAIN)
    known = spec.arithmetic in (EXACT, ARITHMETIC)
    check(known, Code.ARITHMETIC, "it is not known here", TRAIN, spec.arithmetic, ARITHMETIC)
    sides = [spec.inputs, *spec.hidden, spec.classes]
    spec.tensors = [tensor for i, o in zip(sides, sides[1:]) for tensor in ((1, i, o), (1, o))]
    return spec


def gradients(spec, params, x, labels):
    """A batch's loss, summed over its rows, and its derivatives by weights and biases ("Forward" to "Gradients")."""
    inputs, found, row = [x], [], np.arange(len(x))
    for w, b in zip(params[:-2:2], params[1:-2:2]):
        z = inputs[-1] @ w + b
        inputs.append(np.maximum(z, 0) if spec.activation == 1 else z)
    z = inputs[-1] @ params[-2] + params[-1]
    z -= z.max(1, keepdims=True)
    e, epsilon = np.exp(z), np.float32(spec.epsilon)
    s, scale = e.sum(1), np.float32(1 / len(x) if spec.reduction == 1 else 1)
    losses = -np.log(e[row, labels] / s + epsilon) if epsilon else np.log(s) - z[row, labels]
    d = e * (scale / s)[:, None]
    d[row, labels] -= scale
    for layer, x in reversed([*enumerate(inputs)]):
        found[:0] = x.T @ d, d.sum(0)
        if layer:
            d = d @ params[2 * layer].T * (None, x > 0, 1, x >= 0)[spec.activation]
    return float(losses.sum(dtype=np.float64)), found


class Task:
    """One TRAIN, from its payload to its result."""
    def __init__(self, name, may_reject, source, reserved, base, rest):
        check(may_reject <= 1 and source in (1, 2) and not reserved, Code.MALFORMED, "this is no TRAIN", TRAIN)
        check(source == 1, Code.UNKNOWN_OBJECT, "no data lives at this node", TRAIN)
        self.name, self.base, (self.shard, size, rest) = name, base, split("32sI*", rest, TRAIN)
        check(size == len(rest), Code.MALFORMED, "the fields do not fill the payload", TRAIN)
        self.spec, self.stop, self.state, self.done, self.planned = read_recipe(rest), threading.Event(), 2, 0, 0
        self.step, self.number = struct.unpack_from("<QI", name, 16)  # "The name of a task"

    def train(self, base, shard, node):
        """Epochs, loss, microseconds and update ("A task"); on a worker's thread."""
        self.state, spec, rows = 3, self.spec, int.from_bytes(shard[16:24], "little")
        np.seterr(all="ignore")  # what overflows has diverged, and is found at the end
        base, head = tensors(base, 1, *spec.tensors)
        (x, y), _ = tensors(shard, 2, (1, rows, spec.inputs), (2, rows))
        fits = all(np.isfinite(t).all() for t in (x, *base)) and y.max() < spec.classes
        check(fits, Code.OBJECT_MALFORMED, "a number is not finite, or a label is no class", TRAIN)
        params, m, v = ([t * k for t in base] for k in np.float32((1, 0, 0)))
        rate, size, started = np.float32(spec.eta * spec.decay**self.step), spec.batch or rows, time.monotonic()
        self.planned = spec.epochs * math.ceil(rows / size)
        self.stop.wait(node.delay)
        for epoch in range(1, spec.epochs + 1):
            order, loss = np.arange(rows), 0.0
            if spec.batch:
                np.random.default_rng([spec.seed, self.step, self.number, epoch]).shuffle(order)
            for at in range(0, rows, size):
                check(not self.stop.is_set(), Code.CANCELLED, "the task was cancelled", TRAIN)
                old, found = gradients(spec, params, x[order[at:at + size]], y[order[at:at + size]])
                loss, self.done = loss + old, self.done + 1
                c1, c2 = np.float32([1 / (1 - 0.9**self.done), 1 / (1 - 0.999**self.done)])
                for i, g in enumerate(found):  # "Updates of the weights"
                    if spec.optimiser == 2:
                        m[i] += np.float32(0.1) * (g - m[i])
                        v[i] += np.float32(0.001) * (g * g - v[i])
                        g = m[i] * c1 / (np.sqrt(v[i] * c2) + np.float32(1e-8))
                    params[i] -= rate * g
            if spec.stop is not None and abs(old - (loss := gradients(spec, params, x, y)[0])) <= spec.stop:
                break
        seconds, changes = time.monotonic() - started, [new - old for new, old in zip(params, base)]
        good = math.isfinite(loss) and all((abs(change) < 2**14).all() for change in changes)
        check(good, Code.TRAINING, "the training diverged: take a lower learning rate (eta)", TRAIN)
        node.rows_per_second = rows * epoch / seconds
        return epoch, loss, int(1e6 * seconds), b"\3" + head[1:] + b"".join(c.tobytes() for c in changes)


class Link:
    """A coordinator's connection, from its first byte to its last ("A connection")."""
    def __init__(self, node, reader, writer):
        self.node, self.store, self.reader, self.writer = node, node.store, reader, writer
        self.welcome, self.closed, self.most, self.heard = False, False, GREETING_MAX, time.monotonic()
        self.open, self.last, self.asked, self.own = set(), 0, {}, 0  # the peer's requests, and ours
        self.tasks, self.fetching = {}, asyncio.Lock()
        self.title = "link %s:%d" % writer.get_extra_info("peername")[:2]
        writer.transport.set_write_buffer_limits(high=2 * PAYLOAD_MAX)  # above that, reading waits for it

    async def run(self):
        first, beat = b"", asyncio.create_task(self.stay_in_touch())
        self.node.links.add(self)
        try:
            first = await asyncio.wait_for(self.reader.readexactly(1), FIRST_BYTE_WAIT)
            if first.isspace() or b" " <= first <= b"~":  # "Text"
                return self.writer.write(b"This gradwire node has no console: ask the coordinator.\r\n")
            await asyncio.wait_for(self.receive(first), GREETING_WAIT)
            while True:
                await self.receive()
        except Fault as fault:
            self.refuse(0, fault)
        except asyncio.TimeoutError:
            if first:
                self.refuse(0, Fault(Code.TIMEOUT, "this took too long", HELLO, 0, 1000 * GREETING_WAIT))
        except (EOFError, OSError) as end:
            log(f"{self.title}: closed ({end})")
        finally:
            self.closed = True
            for waiting in (beat, *(future for _, future in self.asked.values())):
                waiting.cancel()
            for task in self.tasks.values():
                task.stop.set()
            with contextlib.suppress(OSError, RuntimeError, EOFError, asyncio.TimeoutError):
                self.writer.write_eof()  # "Closing well"
                await asyncio.wait_for(self.reader.readexactly(PAYLOAD_MAX), 0.5)
            self.writer.transport.abort()
            self.node.links.discard(self)

    async def stay_in_touch(self):
        """PING after a second without a sign of life, the end after three ("Heartbeat")."""
        pinged = None
        while await asyncio.sleep(0.1, result=True):
            silent = time.monotonic() - self.heard if self.welcome else 0
            if silent >= LOST:
                self.reader.set_exception(OSError("nothing was heard for 3 seconds"))
            elif silent >= SILENCE and pinged != self.heard:
                pinged, _ = self.heard, self.ask(PING, PONG)

    async def frame(self, head):
        """The next frame that is not skipped: type, request, payload; steps 1 to 7 of "The order of checks"."""
        kind = 0xFF
        while kind >= 0x80:
            while len(head) < 24:
                check(MAGIC.startswith(head), Code.MAGIC, "a frame begins with F5 47 52 57")
                head += await self.reader.readexactly(1 if len(head) < 4 else 20)
            _, version, kind, flags, request, size, payload_crc, head_crc = struct.unpack("<4sBBHIIII", head)
            got, head, most = crc32(head[:20]), b"", PAYLOAD_MAX if self.welcome else GREETING_MAX
            check(got == head_crc, Code.HEADER_CHECKSUM, "the header's checksum is wrong", 0, got, head_crc)
            check(version == 1, Code.VERSION, f"this is version {version}, not 1", 0, version * 257, 257)
            check(size <= most, Code.FRAME_TOO_LARGE, "the payload is too long", 0, size, most)
            payload = bytearray()  # grows as the bytes arrive, each LIFE_BYTES of which are a sign of life
            while len(payload) < size:
                payload += await self.reader.readexactly(min(LIFE_BYTES, size - len(payload)))
                self.heard = time.monotonic()
            got, self.heard, payload = crc32(payload), time.monotonic(), bytes(payload)
            check(got == payload_crc, Code.PAYLOAD_CHECKSUM, "the checksum is wrong", 0, got, payload_crc)
        check(kind in KNOWN, Code.UNKNOWN_TYPE, f"messages of type {kind:#04x} are not known", kind, kind)
        check(flags == (ACCEPTED <= kind <= NOTICE), Code.FLAGS, "flags that mean nothing here", kind, flags)
        return kind, request, payload

    async def receive(self, head=b""):
        """A frame to the method of its type, after steps 8 and 9."""
        kind, request, payload = await self.frame(head)
        fits = kind not in (HELLO, WELCOME, CHALLENGE, SUBMIT) if self.welcome else kind in (HELLO, ERROR)
        check(fits, Code.UNEXPECTED, f"message {kind:#04x} is not expected here", kind)
        wrong = Code.REQUEST_ID, f"message {kind:#04x} cannot have request id {request}", kind, request
        if kind in (PING, HAVE, PUT, FETCH, TRAIN, POLL):
            check(request % 2 and request > self.last, *wrong)
            check(len(self.open) < 1024, Code.BUSY, "too many requests are open", 0, 1025, 1024, 1)
            self.last = request
            self.open.add(request)
        elif kind in (HELLO, GOODBYE, CANCEL) or kind == ERROR and not request:
            check(not request, *wrong)
        else:
            check(request in self.asked, *wrong)
            check(kind in (ERROR, self.asked[request][0]), Code.UNEXPECTED, "it answers something else", kind)
        try:
            HANDLERS[kind](self, request, *split(LAYOUTS[kind], payload, kind))
        except Fault as fault:
            if not request or fault.args[0] < Code.BUSY:
                raise
            self.refuse(request, fault)
        await asyncio.wait_for(self.writer.drain(), WRITE_STALL)

    def send(self, kind, request, layout="", *values):
        payload = struct.pack("<" + layout, *values)
        if self.closed or request % 2 and request not in self.open:
            return  # there is one final answer
        if len(payload) > self.most:
            return self.refuse(request, Fault(Code.FRAME_TOO_LARGE, "too long", kind, len(payload), self.most))
        self.open.discard(request)
        head = struct.pack("<4sBBHIII", MAGIC, 1, kind, 0, request, len(payload), crc32(payload))
        self.writer.write(head + struct.pack("<I", crc32(head)) + payload)

    def refuse(self, request, fault):
        code, text, about, got, allowed, retry = (*fault.args, 0, 0, 0, 0)[:6]
        log(f"{self.title}: request {request} refused: {Code(code).name}: {text}")
        text = re.sub("[^ -~]", " ", text)[:500].encode()
        self.send(ERROR, request, f"HBBQQH{len(text)}s", code, about, retry, got, allowed, len(text), text)

    def ask(self, kind, answer, layout="", *values):
        """Opens a request; its future gets the answer's values, none of ERROR."""
        self.own, future = self.own + 2, asyncio.get_running_loop().create_future()
        self.asked[self.own] = answer, future
        self.send(kind, self.own, layout, *values)
        return future

    async def object(self, digest):
        """Held, or fetched piece by piece; one at a time, so that none is fetched twice."""
        async with self.fetching:
            while self.store.whole(digest) is None:
                check(not self.closed, Code.CLOSING, "the link is closed", TRAIN)
                offset = self.store.held(digest)
                got = await self.ask(FETCH, DATA, "32sQII", digest, offset, FETCH_BYTES, 0)
                check(got and got[::2] == (digest, offset), Code.UNKNOWN_OBJECT, "no data", TRAIN, 0, 0, 1)
                if self.store.held(digest) == offset:  # or another link was faster
                    self.store.add(*got, TRAIN)
            return self.store.whole(digest)

    async def train(self, request, task):
        try:
            node, objects = self.node, (await self.object(task.base), await self.object(task.shard))
            epochs, loss, us, update = await asyncio.wrap_future(node.pool.submit(task.train, *objects, node))
            digest, size = hashlib.sha256(update).digest(), len(update)
            if size > min(INLINE_MAX, self.most - 108):
                self.store.add(digest, size, 0, update, TRAIN)
                update = b""
            log(f"{self.title}: step {task.step} shard {task.number} trained: loss {loss:.6g}, {us / 1e6:.3f} s")
            values = task.name, epochs, loss, us, digest, size, len(update), update
            self.send(TRAINED, request, f"40sI4xdQ32sQI{len(update)}s", *values)
        except Exception as fault:
            fault = fault if isinstance(fault, Fault) else Fault(Code.INTERNAL, repr(fault), TRAIN, 0, 0, 1)
            if request in self.tasks:  # else CANCELLED has been said
                self.refuse(request, fault)
        finally:
            self.tasks.pop(request, None)

    def load(self):
        """Tasks running and waiting, of all links."""
        states = [task.state for link in self.node.links for task in link.tasks.values()]
        return states.count(3), states.count(2)

    def on_hello(self, _, low, high, role, reserved, most, identity, nonce, rest):
        fits = 1 <= low <= high and 1 <= role <= 3 and not reserved and most >= GREETING_MAX
        check(fits, Code.MALFORMED, "this is no HELLO", HELLO)
        check(low == 1, Code.VERSION, "only version 1 is spoken here", HELLO, low + 256 * high, 257)
        node, theirs, ours = self.node, dict(fields(rest, "H", HELLO)), self.node.cluster.encode()
        for tag in theirs:
            check(tag in (1, 2) or tag & 0x8000, Code.UNKNOWN_FIELD, f"field {tag:#06x}?", HELLO, tag)
        check(role == COORDINATOR, Code.UNEXPECTED, "a node works for coordinators", HELLO)
        check(not ours or theirs.get(1, ours) == ours, Code.CLUSTER, f"this cluster is {node.cluster}", HELLO)
        told = {1: ours, 2: struct.pack("<H", ARITHMETIC), 0x8001: struct.pack("<I", node.workers),
                0x8002: node.name.encode()}
        rest = b"".join(struct.pack("<HH", tag, len(value)) + value for tag, value in told.items() if value)
        self.welcome, self.most, self.heard = True, min(most, PAYLOAD_MAX), time.monotonic()
        values = 1, NODE, PAYLOAD_MAX, node.id, secrets.token_bytes(32), rest
        self.send(WELCOME, 0, f"BxBxI16s32s{len(rest)}s", *values)
        log(f"{self.title}: linked to the coordinator")

    def on_error(self, request, code, about, retry, got, allowed, *sentence):
        if not request:
            self.on_goodbye(code, *sentence)
        self.asked.pop(request)[1].set_result(None)

    def on_goodbye(self, code, size, text):
        check(size == len(text) <= 1000, Code.MALFORMED, "the text does not fill the payload", GOODBYE)
        raise EOFError(f"it said {code}: {text!r}")

    def on_ping(self, request):
        self.send(PONG, request, "IId", *self.load(), self.node.rows_per_second)

    def on_pong(self, request, *load):
        self.asked.pop(request)

    def on_cancel(self, _, request):
        if request in self.tasks:
            self.tasks.pop(request).stop.set()
            self.refuse(request, Fault(Code.CANCELLED, "the task was cancelled", TRAIN))

    def on_have(self, request, count, rest):
        check(count <= 1024 and len(rest) == 32 * count, Code.MALFORMED, "these are no digests", HAVE)
        held = [self.store.held(rest[at:at + 32]) for at in range(0, len(rest), 32)]
        self.send(HELD, request, f"I{count}Q", count, *held)

    def on_put(self, request, *values):
        self.send(HELD, request, "IQ", 1, self.store.add(*values, PUT))

    def on_fetch(self, request, digest, offset, most, reserved):
        check(most and not reserved, Code.MALFORMED, "this is no FETCH", FETCH)
        data = self.store.whole(digest)
        check(data is not None, Code.UNKNOWN_OBJECT, "no object of this digest is held here", FETCH)
        check(offset < len(data), Code.OBJECT_RANGE, f"it has {len(data)} bytes", FETCH, offset, len(data))
        piece = bytes(data[offset:offset + min(most, self.most - 48)])
        self.send(DATA, request, f"32sQQ{len(piece)}s", digest, len(data), offset, piece)

    def on_data(self, request, digest, size, offset, piece):
        check(piece and offset + len(piece) <= size, Code.MALFORMED, "this is no piece", DATA)
        self.asked.pop(request)[1].set_result((digest, size, offset, piece))

    def on_poll(self, request, name):
        found = [(task.state, task.done, task.planned) for task in self.tasks.values() if task.name == name]
        self.send(POLLED, request, "40sB3xQQ", name, *(*found, (1, 0, 0))[0])

    def on_train(self, request, name, may_reject, *values):
        task, load = Task(name, may_reject, *values), self.load()
        reason = 1 if random.random() < self.node.reject else 2 if sum(load) >= self.node.workers else 0
        if may_reject and reason:
            log(f"{self.title}: step {task.step} shard {task.number} rejected")
            return self.send(REJECTED, request, "40sB3xII", name, reason, *load)
        self.tasks[request], task.job = task, asyncio.create_task(self.train(request, task))


HANDLERS = {globals()[name[3:].upper()]: handler for name, handler in vars(Link).items() if name.startswith("on_")}


async def main():
    parser, stop = argparse.ArgumentParser(description=__doc__.splitlines()[0]), asyncio.Event()
    parser.add_argument("port", type=int, metavar="PORT", help="0 takes any free one")
    for name, default in dict(listen="127.0.0.1", workers=1, reject=0.0, delay=0.0, name="", cluster="").items():
        parser.add_argument("--" + name, type=type(default), default=default)
    node = parser.parse_args()
    node.id, node.links, node.store, node.rows_per_second = secrets.token_bytes(16), set(), Store(), 0.0
    node.pool = concurrent.futures.ThreadPoolExecutor(node.workers)
    server = await asyncio.start_server(lambda *streams: Link(node, *streams).run(), node.listen, node.port)
    log("listening at %s:%d" % server.sockets[0].getsockname()[:2])
    for end in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(end, stop.set)
    await stop.wait()
    server.close()
    for link in list(node.links):
        if link.welcome:
            link.send(GOODBYE, 0, "H13s", 13, b"shutting down")
        link.reader.set_exception(OSError("this node shuts down"))
    while node.links:
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
