"""gradwire's side: its release programs, and the bench of its kernels. Owns building and starting them; knows no peer."""

import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
from pathlib import Path

from processes import Child, Failed, run

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
RELEASE = TARGET / "release"
SMALLEST = TARGET / "peers-smallest"

# Widths of the networks of jobs that train nothing: 876 weights and biases, and 9,998,146.
SMALL, LARGE = (16, 46, 2), (16, 3152, 3152, 2)


def cargo(*words):
    """Runs cargo; what it printed on stdout."""
    program = os.environ.get("CARGO") or shutil.which("cargo")
    if program is None:
        raise Failed("cargo is not installed")
    done = subprocess.run([program, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"cargo {' '.join(words)} ends with {done.returncode}")
    return done.stdout


def build():
    """Builds the three programs."""
    cargo("build", "--release", "--quiet", "--target-dir", str(TARGET))


def build_smallest():
    """Builds a node without the default features: the file."""
    features = ["--locked", "--no-default-features", "--bin", "compute_node"]
    cargo("build", "--release", "--quiet", "--target-dir", str(SMALLEST), *features)
    return SMALLEST / "release/compute_node"


def build_bench(name):
    """Builds a bench: the program."""
    words = ["bench", "--bench", name, "--no-run", "--quiet", "--target-dir", str(TARGET)]
    for line in cargo(*words, "--message-format", "json").splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return message["executable"]
    raise Failed(f"cargo does not say where the bench {name} is")


def late_samples_per_second(program, sizes, rows, batch, optimiser):
    """Samples a second late in training, by the bench of late tasks."""
    shape = f"{'-'.join(map(str, sizes))} {rows} rows by {batch} {optimiser}"
    for line in run([program, "--bench", shape], 120)[1]:
        if line.startswith(shape):
            return 1e3 * float(line.split()[-1])
    raise Failed(f"the bench of late tasks has no shape {shape}")


LETTERS = ROOT / "data" / "letter-recognition.csv"


def version():
    """The version of the programs."""
    return run([RELEASE / "client", "--version"])[1][0].split()[-1]


def free_port():
    """A port that was free a moment ago, for a server that has to be told its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_node(number, port=0):
    """A node, which may not listen yet."""
    return Child([RELEASE / "compute_node", port, "0", "--name", f"node-{number}"])


def start_coordinator(ports, directory):
    """A coordinator of the nodes at these ports, which may not listen yet."""
    listed = Path(directory) / f"nodes-{ports[0]}-{len(ports)}.txt"
    listed.write_text("".join(f"127.0.0.1,{port}\n" for port in ports), encoding="ascii")
    return Child([RELEASE / "coordinator_node", "0", "2", "--nodes", listed])


def port_of(child):
    """The port that a program says it listens at."""
    _, line, _ = child.wait_line("listening at ")
    return int(re.search(r"listening at [0-9.]+:(\d+)", line).group(1))


class Fleet(contextlib.ExitStack):
    """Nodes and their coordinator, all linked."""

    def __init__(self, count, directory):
        super().__init__()
        try:
            self.nodes = [self.enter_context(start_node(number)) for number in range(1, count + 1)]
            ports = [port_of(node) for node in self.nodes]
            self.coordinator = self.enter_context(start_coordinator(ports, directory))
            self.port = port_of(self.coordinator)
            for port in ports:
                self.coordinator.wait_line(f"is active at 127.0.0.1:{port}")
        except BaseException:
            self.close()
            raise

    def job(self, options, patience_s=120.0):
        """Runs a client to its end: its seconds from start to end, and its events."""
        seconds, lines = run([RELEASE / "client", "127.0.0.1", self.port, "--json", *options], patience_s)
        return seconds, [json.loads(line) for line in lines if line.startswith("{")]


def round_seconds(events):
    """The median of a job's rounds, without the first, which sends the data too."""
    return statistics.median(event["seconds"] for event in events if event["event"] == "round" and event["round"] > 1)


def seconds_to_accuracy(percent):
    """How long the rounds of the default recipe in one process take until so many of the last 3,500 rows are right."""
    options = ["--validate-split", "last:3500", "--no-early-stopping"]
    _, lines = run([RELEASE / "client", "--local", "1", *options, "--json"], 120)
    events = [json.loads(line) for line in lines if line.startswith("{")]
    seconds = 0.0
    for event in events:
        if event["event"] == "round":
            seconds += event["seconds"]
            if 100 * (1 - event["validation_error"]) >= percent:
                return seconds
    raise Failed(f"no round reached {percent} %")


def idle_job(directory, shards, rounds, widths):
    """The options of a job that trains next to nothing: one row a shard, one step of gradient descent on it."""
    inputs, *hidden, classes = widths
    validating = 4
    table = Path(directory) / f"idle-{shards}.csv"
    row = lambda number: [*((number * 7 + column) % 16 for column in range(inputs)), f"class-{number % classes}"]
    lines = [",".join(map(str, row(number))) + "\n" for number in range(shards + validating)]
    table.write_text("".join(lines), encoding="ascii")
    data = ["--data", table, "--validate-split", f"last:{validating}", "--shards", shards]
    layers = ",".join(map(str, hidden))
    return [*data, "--recipe", "classic", "--epochs", 1, "--rounds", rounds, "--hidden", layers]


class Kernels:
    """The bench of the kernels: a row for each shape and kernel and for each kernel's peak, its rates below it."""

    ROW = re.compile(r"[│ ]*[├╰]─ (\S.*?)(?:  |$)")
    # The first column: the fastest run's.
    RATE = re.compile(r"[│ ]+ ([\d.]+) ([KMGT]?)(item/s|Hz) ")
    SCALES = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

    def __init__(self, program):
        self._program = program
        self.peak = None

    def samples_per_second(self, sizes, batch, optimiser, patience_s=300.0):
        """The fastest kernel's samples a second for this shape."""
        shape = "-".join(map(str, sizes))
        of = f"{shape} {f'by {batch}' if batch else r'all [0-9]+'} {optimiser} "
        _, lines = run([self._program, "--bench", f"train::{of}", "peak"], patience_s)
        row, rates = None, {}
        for line in lines:
            if found := self.ROW.match(line):
                row = found[1]
            elif found := self.RATE.match(line):
                rates[row, found[3]] = float(found[1]) * self.SCALES[found[2]]
        speeds = [(rate, row.split()[-1]) for (row, unit), rate in rates.items() if unit == "item/s"]
        if not speeds:
            raise Failed(f"the bench has no line for {shape} {batch or 'full batch'} {optimiser}")
        fastest, kernel = max(speeds)
        peak = rates.get((kernel, "Hz"))
        self.peak = peak and f"{peak / 1e9:.0f} GFLOP/s ({kernel})"
        return fastest
