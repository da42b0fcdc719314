"""A gradwire compute node, written from protocol.md, whose sections stand in quotes. It needs Python 3.10 and numpy.

Its arithmetic is its own: it works for jobs that allow inexact results. One thread serves all links; another trains, so
that PING is answered meanwhile. Left out: the console, clusters, most limits, checks of what the coordinator checks."""
import argparse, asyncio, hashlib, itertools, logging, math, os, random, signal, struct, threading, time, zlib
import numpy as np

MESSAGES = dict(  # "Messages": number, and how `struct` writes what a payload begins with; bytes or a list may follow
    HELLO=(0x01, "<BBBxI16s32s"), WELCOME=(0x02, "<BxBxI16s32s"), ERROR=(0x03, "<HBBQQH"), GOODBYE=(0x05, "<H"),
    PING=(0x08, "<"), PONG=(0x09, "<IId"), CANCEL=(0x0A, "<I"), HAVE=(0x10, "<I"), HELD=(0x11, "<I"),
    PUT=(0x12, "<32sQQ"), FETCH=(0x13, "<32sQI4x"), DATA=(0x14, "<32sQQ"), TRAIN=(0x20, "<40sBB2x32s"),
    TRAINED=(0x21, "<40sI4xdQ32sQI"), REJECTED=(0x22, "<40sB3xIII"), POLL=(0x23, "<40s"), POLLED=(0x24, "<40sB3xQQ"),
    RESULTS=(0x25, "<16s"), HOLDING=(0x26, "<I"))
NAMES = {number: name for name, (number, _) in MESSAGES.items()}
ERRORS = dict(HEADER_CHECKSUM=2, PAYLOAD_CHECKSUM=3, VERSION=4, FRAME_TOO_LARGE=5, MALFORMED=8, UNEXPECTED=9,
    TIMEOUT=11, CANCELLED=17, UNKNOWN_OBJECT=20, OBJECT_HASH=21, OBJECT_RANGE=22, OBJECT_TOO_LARGE=23, TRAINING=34,
    OBJECT_MALFORMED=24, SPECIFICATION=30, UNKNOWN_FIELD=31, INTERNAL=35)  # "Errors": those before CANCELLED close
RETRYABLE = {"UNKNOWN_OBJECT", "OBJECT_HASH", "OBJECT_TOO_LARGE", "INTERNAL"}  # a task that fails so is given again
RECIPE = {  # "The specification": tag, name, type, default; of the widths of hidden layers all bytes
    1: ("arithmetic", "<H", 1), 2: ("inputs", "<I", None), 3: ("hidden", "<", b""), 4: ("classes", "<I", None),
    5: ("activation", "<B", 1), 6: ("optimiser", "<B", 1), 7: ("reduction", "<B", 1), 8: ("initialisation", "<B", 1),
    9: ("eta", "<f", None), 10: ("eta_decay", "<f", 1.0), 11: ("batch", "<I", None), 12: ("epochs", "<I", 1),
    13: ("log_epsilon", "<f", 0.0), 14: ("stop_loss_change", "<f", None), 15: ("seed", "<Q", 1),
    22: ("local_steps", "<I", 0), 25: ("schedule", "<B", 1), 26: ("schedule_steps", "<I", 1), 27: ("warmup", "<I", 0),
    28: ("label_smoothing", "<f", 0.0), 29: ("dropout", "<f", 0.0),
    30: ("index_columns", "<", b"")}
RELU, IDENTITY, MEAN, ADAM = 1, 2, 1, 2  # values of these fields
WEIGHTS, ROWS, UPDATE, SUM = 1, 2, 3, 4  # kinds of objects
(F32, U32, I64, I128, U8, U16), ELEMENT_BYTES = range(1, 7), (0, 4, 4, 8, 16, 1, 2)  # elements, and bytes of each
BLOCKS, UNKNOWN, WAITING, RUNNING = 3, 1, 2, 3  # where the rows of a task are that yields a sum; states of a task
COORDINATOR, NODE, ARITHMETIC = 2, 3, 40001  # roles, and a number that we chose for what numpy computes
NODE_ID = os.urandom(16)  # another one in each start
MAGIC, HEADER = b"\xF5GRW\1", "<5sBHIII"  # of frames of version 1; the header's own checksum comes behind it
PAYLOAD_MAX, INLINE_MAX, LIFE = 2**20, 2**18, 2**14  # bytes, of "Limits"
PIECE, OBJECTS_MAX, GREETING_WAIT, SILENCE, LOST = 2**18, 2**29, 2, 1, 3  # bytes asked for at a time, kept; seconds


class Fault(Exception):
    """What ERROR says: a code's name, a sentence and, where "Errors" has them, `got` and `allowed`."""


def check(fits, *fault):
    if not fits:
        raise Fault(*fault)


def decode(layout, data):
    """The values that a payload or a field begins with, and the bytes that follow."""
    size = struct.calcsize(layout)
    check(len(data) >= size, "MALFORMED", f"{size} bytes were due, not {len(data)}")
    return *struct.unpack_from(layout, data), data[size:]


def elements(data, kind, *shapes):
    """The elements of an object of this kind with these tensors, of rows as bytes, and the descriptor ("Objects")."""
    head = struct.pack("<BB6x", kind, len(shapes))
    for element, *sides in shapes:
        head += struct.pack(f"<BBB5x{len(sides)}Q", element, 0, len(sides), *sides)
    size = len(head) + sum(ELEMENT_BYTES[element] * math.prod(sides) for element, *sides in shapes)
    check(data.startswith(head) and len(data) == size, "OBJECT_MALFORMED", f"{size} bytes of kind {kind} were due")
    return np.frombuffer(data, "u1" if kind == ROWS else "<f4", offset=len(head)), head


class Task:
    """One TRAIN, until its final answer. The fields of its recipe are attributes."""
    def __init__(self, name, recipe, epoch, ranges):
        self.name, self.epoch, self.ranges = name, epoch, ranges  # a whole shard is a range of no blocks
        self.step, self.shard = struct.unpack_from("<QI", name, 16)  # "The name of a task"
        self.progress, self.draws, self.stop = (WAITING, 0, 0), np.random.default_rng(), threading.Event()
        vars(self).update(recipe)
        for field, most in ("activation", 3), ("optimiser", 2), ("local_steps", 1):
            check(recipe[field] <= most, "TRAINING", f"{field} {recipe[field]} is not computed here")
        widths = [self.inputs, *np.frombuffer(self.hidden, "<u4").tolist(), self.classes]
        self.layers = list(zip(widths, widths[1:]))  # inputs and outputs of each

    def gradient(self, weights, x, labels):
        """A batch's loss, summed over its rows, and its derivatives by the weights ("Forward" to "Gradients")."""
        layers = []  # what goes into each, its weights, and by what outputs were multiplied
        for ins, outs in self.layers:
            w, b, weights = np.split(weights, [ins * outs, ins * outs + outs])
            x = np.maximum(x, 0) if layers and self.activation == RELU else x
            factors = None
            if layers and self.dropout:  # draws of our own, as the order of rows is
                factors = (self.draws.random(x.shape) >= self.dropout) / (1 - self.dropout)
                x = x * factors
            layers.append((x, w.reshape(ins, outs), factors))
            x = x @ w.reshape(ins, outs) + b
        z = x - x.max(axis=1, keepdims=True)
        e, right = np.exp(z), (np.arange(len(x)), labels)
        s = e.sum(axis=1)
        losses = -np.log(e[right] / s + self.log_epsilon) if self.log_epsilon else np.log(s) - z[right]
        scale = 1 / len(x) if self.reduction == MEAN and not self.local_steps else 1
        d = e * (scale / s)[:, None]
        d[right] -= scale * (1 - self.label_smoothing)
        d -= scale * self.label_smoothing / d.shape[1]
        parts = []
        for x, w, factors in reversed(layers):
            parts = [(x.T @ d).ravel(), d.sum(axis=0)] + parts
            d = d @ w.T if factors is None else d @ w.T * factors
            if self.activation != IDENTITY:
                d *= x > 0 if self.activation == RELU else x >= 0
        return float(losses.sum(dtype=np.float64)), np.concatenate(parts)

    def rows(self, shard):
        """A shard's features, 0 and 1 where an index says which is 1, and its labels."""
        rows = int.from_bytes(shard[16:24], "little")  # the first side of the first tensor
        columns = np.frombuffer(self.index_columns, "<u4").reshape(-1, 2).astype(int)  # inputs before it, inputs of it
        largest, plain = columns[:, 1].max(initial=0), self.inputs - int(columns[:, 1].sum())
        element, layout = (U8, "u1") if largest < 2**8 else (U16, "<u2") if largest < 2**16 else (U32, "<u4")
        shapes = (F32, rows, plain), (U32, rows), (element, rows, len(columns))
        data, _ = elements(shard, ROWS, *shapes[:3 if len(columns) else 2])
        values, labels, indices = np.split(data, [4 * rows * plain, 4 * rows * (plain + 1)])
        x, is_plain = np.zeros((rows, self.inputs), np.float32), np.ones(self.inputs, bool)
        indices = indices.view(layout).reshape(rows, len(columns)).T.astype(int)
        for end, (_, count), index in zip(columns.sum(axis=1).cumsum(), columns, indices):
            check((index <= count).all(), "OBJECT_MALFORMED", "an index is beyond its inputs")
            x[index < count, end - count + index[index < count]] = 1
            is_plain[end - count:end] = False
        x[:, is_plain] = values.view("<f4").reshape(rows, plain)
        return x, labels.view("<u4")

    def sum_gradients(self, base, shards):
        """Loss and object of the sum of blocks' gradients, in whole numbers ("Steps of merged gradients")."""
        least = 8 if len(base) < 2**12 else 16 if len(base) < 2**14 else 32 if len(base) < 2**17 else 128
        size = min(1 << min(max(self.batch // 128, least), 128).bit_length() - 1, self.batch)
        total, done, planned = 0, 0, sum(count for _, _, count, _ in self.ranges)
        for (shard, first, count, _), data in zip(self.ranges, shards):
            x, labels = self.rows(data)
            check((first + count - 1) * size < len(x), "TRAINING", f"shard {shard} does not have these blocks")
            order = np.random.default_rng([self.seed, self.epoch, shard]).permutation(len(x))
            for start in range(first * size, (first + count) * size, size):
                check(not self.stop.is_set(), "CANCELLED", "the task was cancelled")
                block = order[start:start + size]
                loss, g = self.gradient(base, x[block], labels[block])
                check(abs(loss) < 2**60 and (abs(g) < 2**40).all(), "TRAINING", "it diverged: take a lower eta")
                total += np.array([int(v) for v in np.rint(np.append(g * 2.0**40, loss * 2.0**20))], object)
                done += 1
                self.progress = RUNNING, done, planned
        head, values, left = struct.pack("<BB6x", SUM, 2 * len(self.layers) + 1), b"", total
        for sides in *(sides for i, o in self.layers for sides in ((i, o), (o,))), (1,):
            tensor, left = np.split(left, [math.prod(sides)])
            is_wide = len(left) == 0 or not all(-2**63 <= v < 2**63 for v in tensor)  # the loss always is
            head += struct.pack(f"<BBB5x{len(sides)}Q", I128 if is_wide else I64, 0, len(sides), *sides)
            values += b"".join(v.to_bytes(16 if is_wide else 8, "little", signed=True) for v in tensor)
        return total[-1] / 2**20, head + values

    def rate(self):
        """The learning rate of the task's step ("Updates of the weights")."""
        k, steps = self.step - self.warmup, max(self.schedule_steps - self.warmup, 1)
        if k < 0:
            return self.eta * (self.step + 1) / (self.warmup + 1)
        flat = steps // 2 if self.schedule == 3 else 0
        place = min(max(k - flat, 0) / (steps - flat), 1) if self.schedule > 1 else 0
        return self.eta * self.eta_decay**k * (1 + math.cos(math.pi * place)) / 2

    def train(self, base, shards, delay):
        """Epochs, loss, microseconds and update ("A task"). It runs on the thread that trains."""
        started = time.monotonic()
        self.stop.wait(delay)
        base, head = elements(base, WEIGHTS, *(shape for i, o in self.layers for shape in ((F32, i, o), (F32, o))))
        if self.local_steps:
            loss, update = self.sum_gradients(base, shards)
            return 0, loss, int(1e6 * (time.monotonic() - started)), update
        x, labels = self.rows(shards[0])
        rows, size, done = len(x), self.batch or len(x), 0
        weights, m, v = base.copy(), np.zeros_like(base), np.zeros_like(base)
        rng, eta = np.random.default_rng([self.seed, self.step, self.shard]), self.rate()
        for epoch in range(1, self.epochs + 1):
            order = rng.permutation(rows) if self.batch else np.arange(rows)
            loss = 0.0
            for batch in np.split(order, range(size, rows, size)):
                check(not self.stop.is_set(), "CANCELLED", "the task was cancelled")
                batch_loss, g = self.gradient(weights, x[batch], labels[batch])
                loss, done = loss + batch_loss, done + 1
                if self.optimiser == ADAM:  # "Updates of the weights"
                    m, v = m + 0.1 * (g - m), v + 0.001 * (g * g - v)
                    g = m / (1 - 0.9**done) / (np.sqrt(v / (1 - 0.999**done)) + 1e-8)
                weights -= eta * g
                self.progress = RUNNING, done, self.epochs * math.ceil(rows / size)
            if self.stop_loss_change is not None:
                before = loss
                loss, _ = self.gradient(weights, x, labels)
                if abs(before - loss) <= self.stop_loss_change:
                    break
        update = weights - base
        check(math.isfinite(loss) and (abs(update) < 2**14).all(), "TRAINING", "it diverged: take a lower eta")
        return epoch, loss, int(1e6 * (time.monotonic() - started)), bytes([UPDATE]) + head[1:] + update.tobytes()


class Link:
    """A coordinator's connection, from its first byte to its last ("A connection")."""
    tasks, objects = {}, {}  # of all links: open tasks by link and request, whole objects by digest
    trainer = asyncio.Lock()  # who holds it may train

    def __init__(self, options, reader, writer):
        self.options, self.reader, self.writer = options, reader, writer
        self.peer_max, self.parts = 0, {}  # the longest payload that it takes, 0 until it greets; beginnings of objects
        self.requests, self.fetched = itertools.count(2, 2), asyncio.Queue()  # ids of ours, what answers FETCH
        self.last = None, None  # job and recipe of the last TRAIN that carried its fields

    async def run(self):
        try:
            while True:
                await self.receive()
        except Fault as fault:
            self.refuse(0, "", *fault.args)
        except asyncio.CancelledError:  # the program ends
            self.send("GOODBYE", 0, 13, rest=b"shutting down")
        except (EOFError, OSError, asyncio.TimeoutError) as end:
            logging.info(f"a link has ended: {end!r}")
        finally:
            for task in [task for (link, _), task in self.tasks.items() if link is self]:
                task.stop.set()
            self.fetched.put_nowait(())  # to whichever of them waits for an object
            self.writer.write_eof()  # "Closing well": it reads on for a moment
            await asyncio.sleep(0.5)
            self.writer.transport.abort()

    async def read(self, size):
        """So many bytes. In a silence PING is sent after one second, and the link ends after three ("Heartbeat")."""
        try:
            return await asyncio.wait_for(self.reader.readexactly(size), SILENCE if self.peer_max else GREETING_WAIT)
        except asyncio.TimeoutError:
            check(self.peer_max, "TIMEOUT", "no HELLO came in time", 0, 1000 * GREETING_WAIT)
            self.send("PING", next(self.requests))
            return await asyncio.wait_for(self.reader.readexactly(size), LOST - SILENCE)

    async def receive(self):
        """A frame, checked in "The order of checks", to whoever handles its message."""
        head = await self.read(24)
        magic, number, flags, request, size, payload_crc, head_crc = struct.unpack(HEADER + "I", head)
        check(magic == MAGIC and head_crc == zlib.crc32(head[:-4]), "HEADER_CHECKSUM", "this is no header of version 1")
        check(size <= PAYLOAD_MAX, "FRAME_TOO_LARGE", "the payload is too long", size, PAYLOAD_MAX)
        payload = bytearray()
        while len(payload) < size:  # memory grows with what has come
            payload += await self.read(min(LIFE, size - len(payload)))
        check(payload_crc == zlib.crc32(payload), "PAYLOAD_CHECKSUM", "the payload's checksum is wrong")
        if number >= 0x80:
            return  # optional
        check(number in NAMES and flags == 0, "MALFORMED", f"type {number:#04x} with flags {flags} is not known here")
        try:
            self.handle(request, NAMES[number], payload)
        except Fault as fault:
            if request == 0 or ERRORS[fault.args[0]] < ERRORS["CANCELLED"]:
                raise
            self.refuse(request, NAMES[number], *fault.args)

    def handle(self, request, name, payload):
        """Does what a message wants ("To write a node"). CANCEL of what is answered and PONG want nothing."""
        check((name == "HELLO") == (self.peer_max == 0), "UNEXPECTED", f"{name} is not expected here")
        running, waiting = min(len(self.tasks), 1), max(len(self.tasks) - 1, 0)
        match name, *decode(MESSAGES[name][1], payload):
            case "HELLO", low, high, role, peer_max, *_:
                check(low == 1, "VERSION", "this node speaks version 1", low + 256 * high, 257)
                check(role == COORDINATOR, "UNEXPECTED", "a node works for coordinators")
                told = struct.pack("<HHHHH", 0x0002, 2, ARITHMETIC, 0x8002, len(self.options.name)) + self.options.name
                self.send("WELCOME", 0, 1, NODE, PAYLOAD_MAX, NODE_ID, os.urandom(32), rest=told)
                self.peer_max = min(peer_max, PAYLOAD_MAX)
            case "PING", *_:
                self.send("PONG", request, running, waiting, 0)
            case "DATA" | "ERROR", *answer if request:
                self.fetched.put_nowait(answer)
            case "ERROR" | "GOODBYE", *_, text:
                raise EOFError(name, text)
            case "HAVE", count, digests:
                held = [len(self.objects.get(d) or self.parts.get(d, b"")) for d, in struct.iter_unpack("32s", digests)]
                self.send("HELD", request, count, rest=struct.pack(f"<{count}Q", *held))
            case "PUT", *piece:
                self.send("HELD", request, 1, rest=struct.pack("<Q", self.append(*piece)))
            case "FETCH", digest, offset, most, _:
                check(digest in self.objects, "UNKNOWN_OBJECT", "no object of this digest is held here")
                piece = self.objects[digest][offset:offset + min(most, self.peer_max - 48)]
                self.send("DATA", request, digest, len(self.objects[digest]), offset, rest=piece)
            case "TRAIN", name, may_reject, source, base, data:
                epoch, count, data = decode("<QI", data) if source == BLOCKS else (0, 1, bytes(12) + data)
                ranges, _, fields = decode(f"<{44 * count}sI", data)
                recipe = self.recipe(name[:16], fields)
                if may_reject and (running or random.random() < self.options.reject):
                    return self.send("REJECTED", request, name, 2 if running else 1, running, waiting, 0)
                task = self.tasks[self, request] = Task(name, recipe, epoch, [*struct.iter_unpack("<III32s", ranges)])
                task.job = asyncio.create_task(self.train(request, task, base))
            case "POLL", name, _:
                known = (task.progress for task in self.tasks.values() if task.name == name)
                self.send("POLLED", request, name, *next(known, (UNKNOWN, 0, 0)))
            case "RESULTS", *_:
                self.send("HOLDING", request, 0)  # it forgets the results of a link that has ended
            case "CANCEL", wanted, _ if (self, wanted) in self.tasks:
                self.tasks.pop((self, wanted)).stop.set()
                self.refuse(wanted, "TRAIN", "CANCELLED", "the task was cancelled")

    def recipe(self, job, fields):
        """What a task is trained by, which need not be said anew ("The specification of a task")."""
        if fields:
            recipe = {field: default for field, _, default in RECIPE.values()}
            while fields:
                tag, size, fields = decode("<HI", fields)
                value, fields = decode(f"<{size}s", fields)
                if tag < 0xC000:  # others may be skipped
                    check(tag in RECIPE, "UNKNOWN_FIELD", f"field {tag:#06x} is not known here", tag)
                    field, layout, _ = RECIPE[tag]
                    recipe[field] = decode(layout, value)[0]
            self.last = job, recipe
        check(self.last[0] == job, "SPECIFICATION", "the last specification was of another job, if any came", 0, 1)
        return self.last[1]

    def send(self, name, request, *values, rest=b""):
        number, layout = MESSAGES[name]
        payload = struct.pack(layout, *values) + rest
        head = struct.pack(HEADER, MAGIC, number, 0, request, len(payload), zlib.crc32(payload))
        self.writer.write(head + struct.pack("<I", zlib.crc32(head)) + payload)

    def refuse(self, request, about, code, text, got=0, allowed=0):
        logging.info(f"request {request} is refused: {code}: {text}")
        retry = code in RETRYABLE and (about == "TRAIN" or code == "OBJECT_HASH")
        about, text = MESSAGES[about][0] if about else 0, text.encode("ascii", "replace")[:500]
        self.send("ERROR", request, ERRORS[code], about, retry, got, allowed, len(text), rest=text)

    def append(self, digest, size, offset, piece):
        """Takes a piece of an object ("How objects travel"); returns how much of it is held then."""
        if digest in self.objects:
            return len(self.objects[digest])
        part = self.parts.setdefault(digest, bytearray())
        check(size <= OBJECTS_MAX, "OBJECT_TOO_LARGE", "the object is too large", size, OBJECTS_MAX)
        check(offset == len(part) < offset + len(piece) <= size, "OBJECT_RANGE", "it does not fit", offset, len(part))
        part += piece
        if len(part) == size:
            del self.parts[digest]
            check(hashlib.sha256(part).digest() == digest, "OBJECT_HASH", "its bytes do not have this digest")
            self.objects[digest] = bytes(part)
        return len(part)

    async def fetch(self, digest):
        """An object, from the coordinator where it is not held."""
        while digest not in self.objects:
            self.send("FETCH", next(self.requests), digest, len(self.parts.get(digest, b"")), PIECE)
            answer = await self.fetched.get()
            check(answer and answer[0] == digest, "UNKNOWN_OBJECT", "the coordinator does not give it")
            self.append(*answer)
        return self.objects[digest]

    async def train(self, request, task, base):
        """From TRAIN to its final answer. There is nothing to say once the task was cancelled or the link has ended."""
        try:
            async with self.trainer:
                while sum(map(len, self.objects.values())) > OBJECTS_MAX:
                    del self.objects[next(iter(self.objects))]  # the oldest
                check(not task.stop.is_set(), "CANCELLED", "the task was cancelled, or its link has ended")
                objects = await self.fetch(base), [await self.fetch(shard) for *_, shard in task.ranges]
                epochs, loss, us, update = await asyncio.to_thread(task.train, *objects, self.options.delay)
            logging.info(f"step {task.step} shard {task.shard} is trained: loss {loss:.6g}, {us / 1e6:.3f} s")
            digest, size = hashlib.sha256(update).digest(), len(update)
            self.objects[digest] = update  # the coordinator fetches what is not inside
            inside = update if size <= min(INLINE_MAX, self.peer_max - 108) else b""
            if not task.stop.is_set():
                self.send("TRAINED", request, task.name, epochs, loss, us, digest, size, len(inside), rest=inside)
        except Exception as error:  # whatever it is, the coordinator waits for an answer
            if not task.stop.is_set():
                self.refuse(request, "TRAIN", *(error.args if isinstance(error, Fault) else ("INTERNAL", repr(error))))
        self.tasks.pop((self, request), None)


async def main():
    parser = argparse.ArgumentParser(description="A gradwire compute node in Python.")
    parser.add_argument("port", type=int, help="0 takes any free one")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument("--name", default=b"python", type=str.encode, help="what people call it")
    parser.add_argument("--reject", type=float, default=0, metavar="P", help="how likely it turns a task down")
    parser.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="what each task takes besides")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(lambda *streams: Link(options, *streams).run(), options.listen, options.port)
    logging.info("listening at %s:%d", *server.sockets[0].getsockname()[:2])
    await stop.wait()
    server.close()


asyncio.run(main())  # at the end it cancels what still runs, which is the links
