"""journal.py DIR: checks every digest of a journal that no coordinator uses; prints its jobs and their ledgers.

Written from docs/journal.md and protocol.md alone, whose sections stand in quotes; needs Python 3.8. Exits with 1 and a
sentence if anything is wrong, even if a coordinator could do without it."""
import hashlib, math, re, struct, sys
from pathlib import Path

STATES = {1: "collecting", 2: "queued", 3: "running", 4: "done", 5: "failed", 6: "cancelled", 7: "paused"}  # "JOB"
SHARDS, VALIDATION, INITIAL, TEST = 0x21, 0x22, 0x23, 0x30  # "The specification": the fields that name objects
LOCAL_STEPS, ROUND_STEPS, PATIENCE = 0x16, 0x2E, 0x2F  # those that say what steps and rounds are, and when to stop


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


def worth(told):
    """What a ROUND's weights are worth, less being better: errors, where there are some to count, and loss."""
    metrics = {tag: value for tag, value in struct.iter_unpack("<Hd", told[52:])}
    return metrics.get(2, 0.0), math.inf if math.isnan(metrics[1]) else metrics[1]


class Job:
    """A state ("A state"), with its part of the ledger's file."""
    def __init__(self, data, folder):
        check(data[:8] == b"GWSTATE7" and len(data) >= 44, "it is no state")
        size = int.from_bytes(data[8:12], "little")
        check(12 <= size <= len(data) - 32, "it ends too early")
        check(digest(data[:size]) == data[-32:], "its head does not have the digest at its end")
        head, behind = Bytes(data[:size]), data[size:-32]
        _, _, self.sequence, self.submitted_as, self.lived_ms = head.numbers("8sI3Q")
        self.specification(Bytes(head.part()))
        job, state, self.rounds_done, self.rounds = Bytes(head.part()).numbers("16sB3xII")
        self.id, self.state = folder.name, STATES.get(state)
        check(self.state and job[::-1].hex() == self.submitted == self.id, "JOB and SUBMIT are not of this job")
        has_ended = self.state in ("done", "failed", "cancelled")
        check((self.lived_ms > 0) == has_ended, "the time lived through goes with an end, and only with one")
        done = head.part() if head.numbers("B")[0] else None
        nothing = (0, b"", [0] * 5, None, b"", None)
        self.steps, last, so_far, base, best, best_weights = self.progress(head) if head.numbers("B")[0] else nothing
        length, seal = head.numbers("Q32s")
        tail = head.part()
        size, updates, outer_size, outer = head.numbers("3Q32s")
        best_size, = head.numbers("Q")
        head.end()
        at, named, told_size = 204 + 10 * int.from_bytes((done or bytes(204))[200:204], "little"), bytes(32), 0
        if done:  # "DONE": behind both lists of metrics
            metrics = int.from_bytes(done[at + 8:at + 12], "little")
            named, told_size = struct.unpack_from("<32sQ", done, at + 12 + 10 * metrics)
        ends = [size, size + outer_size, size + outer_size + best_size]
        check(ends[2] + told_size == len(behind), "its weights are not all there")
        weights, remembered, kept, told = (behind[start:end] for start, end in zip([0, *ends], [*ends, None]))
        check((digest(told) if told else bytes(32)) == named, "what its rows were taken for does not have its digest")
        check((digest(kept) if kept else base) == (best_weights or base), "its best weights do not have their digest")
        check(not kept or best_weights != base, "its best weights are there twice")
        check((digest(remembered) if updates else bytes(32)) == outer, "its optimiser's state does not have its digest")
        check((digest(weights) if weights else None) == base, "its weights do not have their digest")
        check((done is not None) == (self.state == "done"), "DONE goes with a done job, and only with one")
        check(done is None or done[32:64] == (best_weights or base), "its model is not that of DONE")
        filed = (folder / "ledger").read_bytes()[:length] if length else b""
        check(len(filed) == length, f"its ledger has {len(filed)} bytes, and {length} are due")
        # The ledger as far as it is read: its lines, and the ROUNDs that it tells; of the round behind those the loss,
        # the rows, how many tasks or blocks are merged and skipped, and the nodes.
        self.lines, self.told, self.done, self.nodes = [], [b""], [0.0, 0, 0, 0], set()
        check(self.blocks(filed, bytes(32)) == seal, "its ledger is another than it was written with")
        self.blocks(tail, seal)
        check(len(self.lines) == self.steps * self.of_step, "its ledger has other steps than are done")
        check((base is not None) == (self.steps > 0), "it has progress without steps, or steps without")
        check(len(self.told) - 1 == self.rounds_done and self.told[-1] == last, "its ledger ends with another round")
        check(best == self.best(), "its best round is not that of its ledger")
        check(self.agrees(*so_far), "what is done of its next round is not what its ledger says")

    def specification(self, submit):
        job, _ = submit.numbers("16sI")
        self.submitted, fields, self.objects, given = job[::-1].hex(), Bytes(submit.part()), set(), {}
        submit.end()
        while fields.more():
            tag, value = fields.numbers("H")[0], fields.part()
            if tag in (SHARDS, VALIDATION, INITIAL, TEST):
                self.objects |= {value[end - 32:end].hex() for end in range(len(value), 0, -36)}
            if tag == SHARDS:
                self.rows = [rows for rows, _ in struct.iter_unpack("<I32s", value)]
            elif tag in (LOCAL_STEPS, ROUND_STEPS, PATIENCE):
                given[tag], = struct.unpack("<I", value)
        self.keeps_best = PATIENCE in given
        self.merges_gradients = given.get(LOCAL_STEPS) == 1
        self.of_step = 1 if self.merges_gradients else len(self.rows)
        # None: as many as go once through the rows. The ledger's first round shows how many those are.
        self.round_steps = given.get(ROUND_STEPS) if LOCAL_STEPS in given else 1

    def progress(self, head):  # "The progress of a job"
        steps, last = head.numbers("Q")[0], head.part()
        *so_far, us, count = head.numbers("d5Q")
        nodes = [head.take(*head.numbers("H")).decode() for _ in range(count)]
        check(nodes == sorted(set(nodes)), "the nodes of its next round are not in order, or one comes twice")
        check(any(so_far) or not (us or nodes), "nothing is done of its next round, but has taken time or nodes")
        head.numbers("14Q")
        base, nodes_in_all = head.numbers("32sI")
        for _ in range(nodes_in_all):
            head.take(*head.numbers("H"))
            head.numbers("Q")
        best = head.part()
        return steps, last, [*so_far, count], base, best, head.take(32) if best else None

    def best(self):  # "When training stops"
        rounds = self.told[1:] if self.keeps_best else []
        return min(rounds, key=worth) if rounds else b""

    def agrees(self, loss, rows, merged, skipped, nodes):
        """Whether the ledger says so of the round behind the last that it tells. It does not name who had blocks."""
        is_same = math.isclose(loss, self.done[0]) and [rows, merged, skipped] == self.done[1:]
        return is_same and (self.merges_gradients or nodes == len(self.nodes))

    def blocks(self, data, seal):  # "A block of the ledger"
        data = Bytes(data)
        while data.more():
            start = data.at
            block = Bytes(data.part())
            sealed = data.data[start:data.at]
            seal, before = data.take(32), seal
            check(digest(before + sealed) == seal, f"the seal of the block at byte {start} of its ledger is wrong")
            told, totals = block.part(), set()
            while block.more():
                totals.add(self.entries(Bytes(block.part())))
            steps, rest = divmod(len(self.lines), self.of_step)
            is_whole = totals == {len(self.lines)} and rest == 0
            check(is_whole, f"the block at byte {start} of its ledger is not of whole steps")
            if told and not self.round_steps:
                self.round_steps = steps
            number = len(self.told)
            is_end = steps >= number * (self.round_steps or steps + 1)
            check(is_end == bool(told), f"round {number} does not end where it should")
            if told:
                self.round(told, number, steps)
        return seal

    def round(self, told, number, steps):  # "ROUND"
        got, of, loss, _, nodes, merged, skipped = struct.unpack_from("<IIdQ3I", told)
        is_next = (got, of) == (number, self.rounds) and steps == number * self.round_steps
        check(is_next, f"round {number} is not in its place")
        rows = self.done[1]
        is_same = rows > 0 and self.agrees(loss * rows, rows, merged, skipped, nodes)
        check(is_same, f"round {number} is not what its entries come to")
        self.told.append(told)
        self.done, self.nodes = [0.0, 0, 0, 0], set()

    def entries(self, page):  # "ENTRIES", "An entry of the ledger"
        total, first, shards, count = page.numbers("2Q2I")
        fits = first == len(self.lines) and first + count <= total and 0 < count <= 4096
        check(shards == self.of_step and fits, f"the entries from {first} on are not in their place")
        for place in range(first, first + count):
            self.entry(page, place // shards + 1, place % shards)
        page.end()
        return total

    def entry(self, page, step, shard):
        result, attempt, rows, skipped, loss, _, update, size = page.numbers("B3x3Id32s32sH")
        node, outer = page.take(size).decode(), page.take(32 if result == 3 else 0).hex()
        blocks = page.numbers(f"{skipped}I")
        name, results = f"step {step}, shard {shard}", [3] if self.merges_gradients else [1, 2]
        check(math.isfinite(loss) and result in results, f"{name}: no entry of this job")
        shown = f"{loss:.6f}" if abs(loss) < 1e7 else re.sub(r"e\+?(-?)0*", r"e\1", f"{loss:.6e}")
        if result == 3:
            check(not node and list(blocks) == sorted(set(blocks)), f"{name}: its skipped blocks are not in order")
            check(attempt <= rows and (attempt or not rows), f"{name}: its blocks have other rows")
            cells = [shown, update.hex(), outer] if attempt else ["-", "-", "-"]
            line = "{:>7}  {:>6}  {:>7}  {:>9}  {:>14}  {}  {}".format(step, attempt, skipped, rows, *cells)
            done = loss, rows, attempt, skipped
        else:
            check(rows == self.rows[shard] and not skipped, f"{name}: rows of another shard, or blocks")
            cells = ["SKIPPED", "-", "-", rows, "-", "-"]
            if result == 1:
                cells = ["MERGED", node, attempt, rows, shown, update.hex()]
                self.nodes.add(node)
            line = "{:>7}  {:>5}  {:<7}  {:<16}  {:>7}  {:>9}  {:>14}  {}".format(step, shard, *cells)
            done = (loss, rows, 1, 0) if result == 1 else (0.0, 0, 0, 1)
        self.done = [before + more for before, more in zip(self.done, done)]
        self.lines.append(line)


def named(folder):
    """The digests that files in a folder are named by ("The directory")."""
    paths = [path for path in folder.glob("*") if path.suffix != ".part"]
    for path in paths:
        check(digest(path.read_bytes()).hex() == path.name, f"{path} does not have the digest in its name")
    return {path.name for path in paths}


def read(root):
    text = (root / "FORMAT").read_bytes()
    check(text == b"gradwire journal 8\n", f"{root / 'FORMAT'} is of another version: {text[:80]!r}")
    lived = (root / "lived").read_bytes() if (root / "lived").exists() else bytes(16) + digest(bytes(16))
    is_whole = len(lived) == 48 and digest(lived[:16]) == lived[16:]
    check(is_whole, f"{root / 'lived'} does not have the digest at its end")
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
