"""journal.py DIR: checks every digest of a journal that no coordinator uses; prints its jobs and their ledgers.

Written from docs/journal.md and protocol.md alone, whose sections stand in quotes; needs Python 3.8. Exits with 1 and a
sentence if anything is wrong, even if a coordinator could do without it."""
import hashlib, math, re, struct, sys
from pathlib import Path

STATES = {1: "collecting", 2: "queued", 3: "running", 4: "done", 5: "failed", 6: "cancelled", 7: "paused"}  # "JOB"
SHARDS, VALIDATION, INITIAL = 0x21, 0x22, 0x23  # "The specification": the fields that name objects


class Wrong(Exception):
    pass


def digest(data):
    return hashlib.sha256(data).digest()


def check(fits, words):
    if not fits:
        raise Wrong(words)


class Bytes:
    """Bytes that are taken from the front."""
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        check(0 <= size <= len(self.data) - self.at, f"{size} bytes are due at byte {self.at}, and are not there")
        self.at += size
        return self.data[self.at - size:self.at]

    def numbers(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def part(self):
        """What stands behind its length."""
        return self.take(*self.numbers("I"))

    def more(self):
        return self.at < len(self.data)

    def end(self):
        check(not self.more(), "some bytes are too many")


class Job:
    """A state ("A state"), with its part of the ledger's file."""
    def __init__(self, data, folder):
        check(data[:8] == b"GWSTATE3" and len(data) >= 44, "it is no state")
        size = int.from_bytes(data[8:12], "little")
        check(12 <= size <= len(data) - 32, "it ends too early")
        check(digest(data[:size]) == data[-32:], "its head does not have the digest at its end")
        head, behind = Bytes(data[:size]), data[size:-32]
        _, _, self.sequence, self.submitted_as = head.numbers("8sI2Q")
        self.specification(Bytes(head.part()))
        job, state, self.rounds_done, self.rounds = Bytes(head.part()).numbers("16sB3xII")
        self.id, self.state = folder.name, STATES.get(state)
        check(self.state and job[::-1].hex() == self.submitted == self.id, "JOB and SUBMIT are not of this job")
        done = head.part() if head.numbers("B")[0] else None
        base = self.progress(head) if head.numbers("B")[0] else None
        length, seal = head.numbers("Q32s")
        tail = head.part()
        size, updates, outer_size, outer = head.numbers("3Q32s")
        head.end()
        check(size + outer_size == len(behind), "its weights are not all there")
        weights, remembered = behind[:size], behind[size:]
        check((digest(remembered) if updates else bytes(32)) == outer, "its optimiser's state does not have its digest")
        check((digest(weights) if weights else None) == base, "its weights do not have their digest")
        check((done is not None) == (self.state == "done"), "DONE goes with a done job, and only with one")
        check(done is None or done[32:64] == base, "its model is not that of DONE")
        filed = (folder / "ledger").read_bytes()[:length] if length else b""
        check(len(filed) == length, f"its ledger has {len(filed)} bytes, and {length} are due")
        self.lines = []
        check(self.blocks(filed, bytes(32)) == seal, "its ledger is another than it was written with")
        self.blocks(tail, seal)
        check(len(self.lines) == self.rounds_done * len(self.rows), "its ledger has other rounds than are done")
        check((base is not None) == (self.rounds_done > 0), "it has progress without rounds, or rounds without")

    def specification(self, submit):
        job, _ = submit.numbers("16sI")
        self.submitted, fields, self.objects = job[::-1].hex(), Bytes(submit.part()), set()
        submit.end()
        while fields.more():
            tag, value = fields.numbers("H")[0], fields.part()
            if tag in (SHARDS, VALIDATION, INITIAL):
                self.objects |= {value[end - 32:end].hex() for end in range(len(value), 0, -36)}
            if tag == SHARDS:
                self.rows = [rows for rows, _ in struct.iter_unpack("<I32s", value)]

    def progress(self, head):  # "The progress of a job"
        check(Bytes(head.part()).numbers("I")[0] == self.rounds_done, "its progress is of another round")
        head.numbers("14Q")
        base, nodes = head.numbers("32sI")
        for _ in range(nodes):
            head.take(*head.numbers("H"))
            head.numbers("Q")
        return base

    def blocks(self, data, seal):  # "A block of the ledger"
        data = Bytes(data)
        while data.more():
            start = data.at
            block = Bytes(data.part())
            sealed = data.data[start:data.at]
            seal, before = data.take(32), seal
            check(digest(before + sealed) == seal, f"the seal of the block at byte {start} of its ledger is wrong")
            number, = struct.unpack_from("<I", block.part())
            check((number - 1) * len(self.rows) == len(self.lines), f"round {number} is not in its place")
            while block.more():
                self.entries(Bytes(block.part()), number)
            check(len(self.lines) == number * len(self.rows), f"round {number} has not one entry for each shard")
        return seal

    def entries(self, page, number):  # "ENTRIES", "An entry of the ledger"
        total, first, shards, count = page.numbers("2Q2I")
        check(shards == len(self.rows) and total == number * shards, f"entries of round {number} are of another job")
        check(first == len(self.lines) and count <= 4096, f"entries of round {number} are not in their place")
        for shard in range(first % shards, first % shards + count):
            result, attempt, rows, loss, _, update, size = page.numbers("B3xII4xd32s32sH")
            node = page.take(size).decode()
            check(shard < shards and rows == self.rows[shard], f"round {number}, shard {shard}: rows of another shard")
            check(result in (1, 2) and math.isfinite(loss), f"round {number}, shard {shard}: no entry")
            cells = ["SKIPPED", "-", "-", rows, "-", "-"]
            if result == 1:
                shown = f"{loss:.6f}" if abs(loss) < 1e7 else re.sub(r"e\+?(-?)0*", r"e\1", f"{loss:.6e}")
                cells = ["MERGED", node, attempt, rows, shown, update.hex()]
            self.lines.append("{:>7}  {:>5}  {:<7}  {:<16}  {:>7}  {:>9}  {:>14}  {}".format(number, shard, *cells))
        page.end()


def named(folder):
    """The digests that files in a folder are named by ("The directory")."""
    paths = [path for path in folder.glob("*") if path.suffix != ".part"]
    for path in paths:
        check(digest(path.read_bytes()).hex() == path.name, f"{path} does not have the digest in its name")
    return {path.name for path in paths}


def read(root):
    text = (root / "FORMAT").read_bytes()
    check(text == b"gradwire journal 3\n", f"{root / 'FORMAT'} is of another version: {text[:80]!r}")
    objects, jobs = named(root / "objects"), []
    for folder in (root / "jobs").glob("[0-9a-f]" * 32):
        named(folder / "weights")
        states = []
        for path in folder.glob("state-[01]"):
            try:
                states.append(Job(path.read_bytes(), folder))
            except (Wrong, struct.error, UnicodeDecodeError) as why:
                raise Wrong(f"{path}: {why}")
        jobs += sorted(states, key=lambda state: state.sequence)[-1:]  # none: nothing of it was promised
    for job in sorted(jobs, key=lambda job: job.submitted_as):
        print(f"job {job.id} is {job.state}, {job.rounds_done} of {job.rounds} rounds are done", *job.lines, sep="\n")
        missing = [] if job.state in ("done", "failed", "cancelled") else sorted(job.objects - objects)
        check(not missing, f"job {job.id}: its data {', '.join(missing)} is missing")


if __name__ == "__main__":
    try:
        read(Path(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__))
    except (Wrong, OSError) as why:
        sys.exit(f"journal.py: {why}")
