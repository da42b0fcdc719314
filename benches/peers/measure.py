#!/usr/bin/env python3
"""Measures gradwire beside its peers: scikit-learn, numpy, Flower and, with --torch, PyTorch; the same work, in one run,
on one core. README.md beside this file says how each line is measured."""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time

# The sources stay as they are.
sys.dont_write_bytecode = True

import flower
import gradwire
import machine
from processes import Failed, end_children_on_signals, run

FLOWER, NUMPY, SKLEARN, TORCH = "Flower", "numpy", "scikit-learn", "PyTorch"
FLUSHING = "PyTorch that flushes"
NODES = 4


class Line:
    """One line of the table: what gradwire takes, what each peer takes, and what is aimed at."""

    def __init__(self, work, unit, ratios=None, bound=None, is_speed=False):
        self.work, self.unit, self.is_speed = work, unit, is_speed
        # Aims: gradwire/peer by peer, or a value of gradwire alone.
        self.ratios, self.bound = ratios or {}, bound
        self.samples = {}
        self.reasons = {}

    def measure(self, who, ask):
        """Adds what `ask` measures for `who`; why not, if it cannot be measured."""
        if who in self.reasons:
            return
        try:
            self.samples.setdefault(who, []).append(ask())
        except (Failed, OSError, ValueError, LookupError, StopIteration) as error:
            self.reasons[who] = str(error) or type(error).__name__

    def value(self, who):
        """The best speed, the median of anything else."""
        samples = self.samples.get(who)
        if not samples:
            return None
        return max(samples) if self.is_speed else statistics.median(samples)

    def rows(self, notes):
        """The rows of the table; why something is not measured is added to `notes`."""
        ours = self.value("gradwire")
        shown = self._shown("gradwire", notes)
        peers = [who for who in {**self.ratios, **self.samples, **self.reasons} if who != "gradwire"]
        for peer in peers or [None]:
            theirs = self.value(peer) if peer else None
            ratio = ours / theirs if ours is not None and theirs else None
            aim = self.ratios.get(peer)
            goal = f"{aim:.3g}" if aim else f"{self.bound:g} {self.unit}" if self.bound else ""
            if aim and ratio is not None:
                share = ratio / aim if self.is_speed else aim / ratio
            else:
                share = self.bound / ours if self.bound and ours is not None else None
            word = "" if share is None else "ok" if share >= 1 else "within 10 %" if share >= 1 / 1.1 else "MISSED"
            name = f"{peer} {self._shown(peer, notes)}" if peer else ""
            yield self.work, shown, name, f"{ratio:.3g}" if ratio is not None else "", goal, word

    def _shown(self, who, notes):
        value = self.value(who)
        if value is None:
            note = f"{who}: {self.reasons.get(who, 'left out')}"
            if note not in notes:
                notes.append(note)
            return f"not measured [{notes.index(note) + 1}]"
        return f"{value:.3g} {self.unit}" if value < 1000 else f"{value:,.0f} {self.unit}"

    def as_json(self):
        values = {who: self.value(who) for who in self.samples}
        aims = {"ratios": self.ratios, "bound": self.bound}
        rest = {"values": values, "samples": self.samples, "reasons": self.reasons, "aims": aims}
        return {"work": self.work, "unit": self.unit, **rest}


class Session:
    """What the groups of lines share."""

    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.lines = []
        self.peak = None
        self.torch = None

    def line(self, *words, **aims):
        line = Line(*words, **aims)
        self.lines.append(line)
        return line

    def fleet(self, stack, line, count=NODES):
        """gradwire's fleet; none, and the reason in the line, if it does not start."""
        return self._started(stack, [(line, "gradwire")], lambda: gradwire.Fleet(count, self.directory))

    def flower(self, stack, line, count=NODES, shards=()):
        """Flower's fleet; none, and the reason in the line, if it does not start."""
        start = lambda: flower.Fleet(machine.PYTHON, count, machine.FLOWER_HOME, shards)
        return self._started(stack, [(line, FLOWER)], start)

    @staticmethod
    def _started(stack, wanted_by, start):
        try:
            return stack.enter_context(start())
        except (Failed, OSError) as error:
            for line, who in wanted_by:
                line.reasons[who] = str(error)
            return None


def classic(session):
    """The whole job of the classic recipe."""
    line = session.line("letters, classic, 25 x 15, 4 nodes: job", "s", ratios={FLOWER: 0.40 / 4.64, NUMPY: 0.40 / 1.5})
    script = machine.HERE.parent / "classic_numpy.py"
    errors = {}

    def theirs(event):
        errors[FLOWER] = event["error"]
        return event["seconds"]

    def ours(measured):
        seconds, events = measured
        errors["gradwire"] = next(event for event in events if event["event"] == "done")["validation_error"]
        return seconds

    def alone():
        seconds, error = run([machine.PYTHON, script])[1][-1].split()
        errors[NUMPY] = float(error)
        return float(seconds)

    with contextlib.ExitStack() as stack:
        fleet, peers = session.fleet(stack, line), session.flower(stack, line, shards=flower.SHARDS)
        for _ in range(session.options.repeat):
            line.measure("gradwire", lambda: ours(fleet.job(["--recipe", "classic"])))
            line.measure(FLOWER, lambda: theirs(peers.classic(25)))
            line.measure(NUMPY, alone)
    told = ", ".join(f"{who} {error:.3f}" for who, error in errors.items())
    print(f"classic: validation errors after the job: {told}", file=sys.stderr)


# The shapes: widths, rows, batch (0: all rows), optimiser, aims.
SHAPES = [
    ([16, 20, 26], 1500, 0, "sgd", {TORCH: 18 / 3.3, NUMPY: 18 / 4.0}),
    ([16, 64, 26], 1536, 128, "adam", {SKLEARN: 4 / 0.47, TORCH: 4 / 0.35, NUMPY: None}),
    ([784, 128, 10], 1536, 128, "sgd", {TORCH: 240 / 147, NUMPY: None}),
    ([784, 512, 512, 10], 1024, 128, "sgd", {TORCH: 30 / 24.6, NUMPY: None}),
]


def kernels(session):
    """Training steps of one core."""
    bench = None
    with contextlib.suppress(Failed):
        bench = gradwire.Kernels(gradwire.build_bench("kernels"))
    for widths, rows, batch, optimiser, aims in SHAPES:
        shape = "-".join(map(str, widths))
        how = f"batch {batch}" if batch else f"full batch {rows}"
        line = session.line(f"training, {shape}, {optimiser}, {how}", "k samples/s", ratios=aims, is_speed=True)
        peers = [(NUMPY, "numpy", machine.PYTHON), (SKLEARN, "sklearn", machine.PYTHON), (TORCH, "torch", session.torch)]
        for _ in range(session.options.repeat_kernels):
            if bench:
                line.measure("gradwire", lambda: bench.samples_per_second(widths, batch, optimiser) / 1e3)
            else:
                line.reasons["gradwire"] = "the bench of the kernels does not build"
            for peer, word, python in peers:
                if peer not in aims:
                    continue
                if python is None:
                    line.reasons[peer] = session.no_torch
                    continue
                command = [python, machine.HERE / "training_step.py", word, ",".join(map(str, widths))]
                command += [rows, batch, optimiser, 1]
                line.measure(peer, lambda: float(run(command, 120)[1][-1]) / 1e3)
    session.peak = bench and bench.peak


def letters(session):
    """From the start of training until a model of the built-in data is as good as is asked for."""
    peers = [(SKLEARN, "sklearn", machine.PYTHON), (TORCH, "torch", session.torch)]
    for percent in (95, 96):
        line = session.line(f"letters, until {percent} % are right", "s", ratios={SKLEARN: 1, TORCH: 1})
        for _ in range(session.options.repeat):
            line.measure("gradwire", lambda: gradwire.seconds_to_accuracy(percent))
            for peer, word, python in peers:
                if python is None:
                    line.reasons[peer] = session.no_torch
                    continue
                command = [python, machine.HERE / "to_accuracy.py", word, gradwire.LETTERS, percent]
                line.measure(peer, lambda: float(run(command, 240)[1][-1]))


def late(session):
    """Training steps of one core late in training, when the model fits its rows."""
    program = None
    with contextlib.suppress(Failed):
        program = gradwire.build_bench("late")
    for widths, rows, batch in [([16, 64, 26], 1536, 128), ([16, 192, 26], 1536, 32)]:
        shape = "-".join(map(str, widths))
        aims = {SKLEARN: 20, TORCH: 20, FLUSHING: 20}
        line = session.line(f"late in training, {shape}, adam, batch {batch}", "k samples/s", ratios=aims, is_speed=True)
        peers = [
            (SKLEARN, "sklearn", machine.PYTHON),
            (TORCH, "torch", session.torch),
            (FLUSHING, "torch-flush", session.torch),
        ]
        for _ in range(session.options.repeat_kernels):
            if program:
                speed = lambda: gradwire.late_samples_per_second(program, widths, rows, batch, "adam") / 1e3
                line.measure("gradwire", speed)
            else:
                line.reasons["gradwire"] = "the bench of late tasks does not build"
            for peer, word, python in peers:
                if python is None:
                    line.reasons[peer] = session.no_torch
                    continue
                command = [python, machine.HERE / "training_step.py", word, ",".join(map(str, widths))]
                command += [rows, batch, "adam", 1, "late"]
                line.measure(peer, lambda: float(run(command, 120)[1][-1]) / 1e3)


def rounds(session):
    """A round that trains nothing, of a small network."""
    _rounds(session, "a round that trains nothing, 876 weights", gradwire.SMALL, 40, session.options.repeat, 0.5 / 5.6)


def large(session):
    """A round that trains nothing, of a large network."""
    repeat = (session.options.repeat + 1) // 2
    _rounds(session, "the same, 9,998,146 weights", gradwire.LARGE, 6, repeat, 0.45 / 3.38)


def _rounds(session, work, widths, count, repeat, aim):
    line = session.line(work, "ms", ratios={FLOWER: aim})
    job = gradwire.idle_job(session.directory, NODES, count, widths)
    with contextlib.ExitStack() as stack:
        fleet, peers = session.fleet(stack, line), session.flower(stack, line)
        for _ in range(repeat):
            line.measure("gradwire", lambda: 1e3 * gradwire.round_seconds(fleet.job(job)[1]))
            line.measure(FLOWER, lambda: 1e3 * flower.round_seconds(peers.idle(count, widths)))


def memory(session):
    """Peak memory: the coordinator with the large network, a node with the small one."""
    counts = [2, 4, 16] + ([64] if session.options.thorough else [])
    for count in counts:
        work = f"coordinator's peak memory, 9,998,146 weights, {count} nodes"
        line = session.line(work, "MB", ratios={FLOWER: None} if count == NODES else None, bound=250)
        with contextlib.ExitStack() as stack:
            fleet = session.fleet(stack, line, count)
            job = gradwire.idle_job(session.directory, count, 3, gradwire.LARGE)
            patience_s = 60 + 8 * count
            line.measure("gradwire", lambda: (fleet.job(job, patience_s), fleet.coordinator.peak_memory_mb())[1])
        if count == NODES:
            with contextlib.ExitStack() as stack:
                peers = session.flower(stack, line)
                line.measure(FLOWER, lambda: (peers.idle(3, gradwire.LARGE), peers.server.peak_memory_mb())[1])
    line = session.line("a node's peak memory, 876 weights", "MB", ratios={FLOWER: None}, bound=4)
    with contextlib.ExitStack() as stack:
        fleet, peers = session.fleet(stack, line), session.flower(stack, line)
        job = gradwire.idle_job(session.directory, NODES, 10, gradwire.SMALL)
        most = lambda nodes: max(node.peak_memory_mb() for node in nodes)
        line.measure("gradwire", lambda: (fleet.job(job), most(fleet.nodes))[1])
        line.measure(FLOWER, lambda: (peers.idle(10, gradwire.SMALL), most(peers.nodes))[1])


def linked(session):
    """From the start of the later program to the link: once the one that is dialled is there first, once last."""
    dialled_first = session.line("start to linked, the dialled one is there", "ms", ratios={FLOWER: None}, bound=20)
    dialled_last = session.line("start to linked, the dialling one waits", "ms", ratios={FLOWER: None}, bound=20)
    directory, home = session.directory, machine.FLOWER_HOME

    def coordinator_second():
        with gradwire.start_node(1) as node:
            port = gradwire.port_of(node)
            with gradwire.start_coordinator([port], directory) as coordinator:
                heard_at, _, _ = coordinator.wait_line(f"is active at 127.0.0.1:{port}")
                return 1e3 * (heard_at - coordinator.started_at)

    def node_second():
        port = gradwire.free_port()
        with gradwire.start_coordinator([port], directory) as coordinator:
            coordinator.wait_line("is inactive")
            # Long enough that every wait between two attempts has grown to its longest.
            time.sleep(3)
            with gradwire.start_node(1, port) as node:
                heard_at, _, _ = coordinator.wait_line(f"is active at 127.0.0.1:{port}")
                return 1e3 * (heard_at - node.started_at)

    def client_second():
        port = gradwire.free_port()
        with flower.start_server(machine.PYTHON, port, home) as server:
            server.wait_line('"listening"')
            with flower.start_node(machine.PYTHON, port, home) as node:
                heard_at, _, _ = server.wait_line('"linked"')
                return 1e3 * (heard_at - node.started_at)

    for _ in range(session.options.repeat):
        dialled_first.measure("gradwire", coordinator_second)
        dialled_first.measure(FLOWER, client_second)
    for _ in range(max(1, session.options.repeat // 2)):
        dialled_last.measure("gradwire", node_second)
    dialled_last.reasons[FLOWER] = "its gRPC client ends at once where no server listens"


def disk(session):
    """What a node takes on disk."""
    line = session.line("a node on disk", "MB", ratios={FLOWER: None}, bound=0.9)
    line.measure("gradwire", lambda: gradwire.build_smallest().stat().st_size / 1e6)
    line.measure(FLOWER, lambda: machine.flower_bytes() / 1e6)


GROUPS = {group.__name__: group for group in (classic, kernels, letters, late, rounds, large, memory, linked, disk)}


def arguments():
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=cores[-1], help="the core that everything shares [%(default)s]")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups of lines: %(default)s")
    parser.add_argument("--json", metavar="FILE", help="writes every sample there too")
    parser.add_argument("--torch", action="store_true", help="PyTorch too, from a Python that has it")
    parser.add_argument("--python", metavar="PATH", help="the Python that has PyTorch")
    parser.add_argument("--repeat", type=int, default=5, help="runs of whole jobs [%(default)s]")
    parser.add_argument("--repeat-kernels", type=int, default=3, help="runs of kernels [%(default)s]")
    parser.add_argument("--thorough", action="store_true", help="the coordinator's memory with 64 nodes too (14 GB)")
    parser.add_argument("--setup", action="store_true", help="builds and installs, and measures nothing")
    options = parser.parse_args()
    options.groups = [name for name in options.only.split(",") if name]
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown or not options.groups:
        parser.error(f"--only {options.only}: there are {', '.join(GROUPS)}")
    if options.repeat < 1 or options.repeat_kernels < 1:
        parser.error("--repeat and --repeat-kernels are at least 1")
    return options


def set_up(groups):
    """Builds and installs what the groups need, on all cores; what is missing is said where it is missed."""
    steps = [machine.set_up, gradwire.build]
    steps += [lambda: gradwire.build_bench("kernels")] if "kernels" in groups else []
    steps += [lambda: gradwire.build_bench("late")] if "late" in groups else []
    steps += [gradwire.build_smallest] if "disk" in groups else []
    for step in steps:
        try:
            step()
        except (Failed, OSError) as error:
            print(f"peers: {error}", file=sys.stderr)


def table(lines, described):
    """The lines of the output."""
    yield ", ".join(f"{name} {value}" for name, value in described.items() if isinstance(value, str))
    for name in ("peers", "torch"):
        if isinstance(described[name], dict):
            told = {key: value for key, value in described[name].items() if key != "flower_bytes"}
            yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in told.items())
    yield ""
    heads = ("work", "gradwire", "peer", "gradwire/peer", "goal", "")
    rows, notes = [heads], []
    for line in lines:
        before = None
        for work, ours, *rest in line.rows(notes):
            rows.append(("", "", *rest) if before == work else (work, ours, *rest))
            before = work
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    for number, note in enumerate(notes, 1):
        yield f"[{number}] {note}"


def main():
    options = arguments()
    end_children_on_signals()
    set_up(options.groups)
    if options.setup:
        return
    # Every child inherits it; this process waits while they work.
    os.sched_setaffinity(0, {options.core})
    strangers = machine.Strangers(options.core)
    with tempfile.TemporaryDirectory() as directory:
        session = Session(options, directory)
        session.no_torch = "only with --torch"
        if options.torch or options.python:
            try:
                session.torch = machine.python_with_torch(options.python)
            except Failed as error:
                session.no_torch = str(error)
        for name in options.groups:
            print(f"peers: measuring {name}", file=sys.stderr)
            GROUPS[name](session)
    described = machine.describe(options.core, strangers, session.peak, session.torch)
    for text in table(session.lines, described):
        print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": described, "lines": [line.as_json() for line in session.lines]}, file, indent=1)


if __name__ == "__main__":
    main()
