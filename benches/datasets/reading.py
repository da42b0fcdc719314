#!/usr/bin/env python3
"""How fast large files of several kinds are read, beside pandas and polars, each on one core and with one thread, and in how much
memory a job is made of one.

    python3 benches/datasets/reading.py [--megabytes 100] [--repeat 3] [--only mixed,decimals] [--memory 1024]

`client ADDRESS --data FILE`, where nothing listens at the address, reads the file, learns its columns and prepares a job of its
rows: all but to send it. pandas.read_csv and
polars.read_csv (POLARS_MAX_THREADS=1) make a table of it, of which a program would still have to learn. The three take turns; each
figure is the best of its runs, in seconds of the processor: of the whole process for the client, without imports for the others.

Memory is the most that `client ADDRESS --data FILE` had, whose job a coordinator and a node take for one round, beyond 64 MiB. The
encoded matrix is what the node holds of the rows that train, as it tells, and as much for each that validates.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy

from sources import FOLDER, ROOT

PANDAS = "import sys, time, pandas; t = time.process_time(); pandas.read_csv(sys.argv[1]); print(time.process_time() - t)"
POLARS = "import sys, time, polars; t = time.process_time(); polars.read_csv(sys.argv[1]); print(time.process_time() - t)"
# Lines that are drawn at a time.
BLOCK = 20_000


def mixed(rng, rows):
    """Numbers of several kinds, names, some missing, a date, and a label."""
    floats = [[f"{value:.6g}" for value in rng.normal(0, 100, rows)] for _ in range(16)]
    for column in floats:
        for row in rng.integers(0, rows, rows // 100):
            column[row] = ""
    whole = [map(str, rng.integers(0, 10 ** (1 + at % 5), rows)) for at in range(8)]
    cities = [f"city {number}" for number in rng.integers(0, 12, rows)]
    colours = rng.choice(["red", "green", "blue"], rows)
    dates = zip(rng.integers(10, 24, rows), rng.integers(1, 13, rows), rng.integers(1, 29, rows))
    days = [f"20{year}-{month:02}-{day:02}" for year, month, day in dates]
    return [*floats, *whole, cities, colours, days]


def decimals(rng, rows):
    """Fifty columns of numbers with four decimals."""
    return [[f"{value:.4f}" for value in rng.normal(0, 10, rows)] for _ in range(50)]


def digits(rng, rows):
    """Fifty columns of numbers with all the digits that f64 has."""
    return [map(repr, rng.normal(0, 1, rows).tolist()) for _ in range(50)]


def quoted(rng, rows):
    """Eight columns of names and eight of numbers, all in quotes, some of which hold quotes."""
    names = [f'"{a} {b}"' for a in ["alpha", "beta", "gamma"] for b in ["north", "south", "east", '""west"", far away']]
    texts = [rng.choice(names, rows) for _ in range(8)]
    return [*texts, *[[f'"{value:.3f}"' for value in rng.normal(0, 10, rows)] for _ in range(8)]]


def distinct(rng, rows):
    """Columns of which nearly every value is another one."""
    whole = [map(str, rng.integers(0, 10**9, rows)) for _ in range(8)]
    names = [[f"user{number}" for number in rng.integers(0, 10**6, rows)] for _ in range(4)]
    return [*whole, *names, *[[f"{value:.9f}" for value in rng.random(rows)] for _ in range(8)]]


KINDS = {kind.__name__: kind for kind in [mixed, decimals, digits, quoted, distinct]}


def file_of(kind, megabytes):
    """A file of a kind, of so many MiB; written once."""
    path = FOLDER / f"reading-{kind}-{megabytes}.csv"
    if path.exists():
        return path
    rng = numpy.random.default_rng(1)
    partly = path.with_suffix(".part")
    with open(partly, "w") as out:
        while out.tell() < megabytes << 20:
            columns = [*KINDS[kind](rng, BLOCK), rng.choice(["a", "b"], BLOCK)]
            if out.tell() == 0:
                out.write(",".join([*[f"x{at}" for at in range(len(columns) - 1)], "label"]) + "\n")
            out.write("\n".join(map(",".join, zip(*columns))) + "\n")
    partly.rename(path)
    return path


# How a client ends that finds no coordinator.
NO_COORDINATOR = 3


def timed(command, core, environment=None, ends=0):
    """The processor's seconds of a child on one core, what it prints, and the most memory it had, in MiB."""
    command = ["taskset", "-c", str(core), *map(str, command)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) != ends:
        raise SystemExit(f"{command} ended with {status}")
    return usage.ru_utime + usage.ru_stime, said, usage.ru_maxrss / 1024


def speed(client, kind, megabytes, repeat, core):
    path = file_of(kind, megabytes)
    times = {"gradwire": [], "pandas": [], "polars": []}
    for _ in range(repeat):
        job = [client, "127.0.0.1", free_port(), "--retry-for", "0", "--json", "--data", path]
        seconds, said, _ = timed(job, core, ends=NO_COORDINATOR)
        times["gradwire"].append(seconds)
        for name, program in [("pandas", PANDAS), ("polars", POLARS)]:
            _, told, _ = timed([sys.executable, "-c", program, path], core, {"POLARS_MAX_THREADS": "1"})
            times[name].append(float(told))
    schema = json.loads(said.splitlines()[0])
    size = path.stat().st_size / 2**20
    best = {name: min(taken) for name, taken in times.items()}
    print(f"{kind:<9} {size:5.0f} {len(schema['columns']):7} {size / best['gradwire']:9.0f} {size / best['pandas']:7.0f} "
          f"{size / best['polars']:7.0f} {best['pandas'] / best['gradwire']:10.2f} {best['polars'] / best['gradwire']:10.2f}",
          flush=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def memory(client, kind, megabytes):
    path = file_of(kind, megabytes)
    node_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "compute_nodes.txt").write_text(f"127.0.0.1,{node_port}\n")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        node = subprocess.Popen([client.parent / "compute_node", str(node_port), "0"], **quiet)
        coordinator = subprocess.Popen([client.parent / "coordinator_node", str(port), "2", "--no-state"], **quiet)
        try:
            time.sleep(1)
            command = [client, "127.0.0.1", str(port), "--data", path, "--rounds", "1", "--batch", "65536", "--hidden", "8", "--test", "none"]
            child = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            said = child.stderr.read()
            _, status, usage = os.wait4(child.pid, 0)
            with urllib.request.urlopen(f"http://127.0.0.1:{node_port}/metrics") as answer:
                held = re.search(r"^gradwire_store_bytes (\S+)", answer.read().decode(), re.MULTILINE)
        finally:
            for program in (coordinator, node):
                program.terminate()
                program.wait()
    found = re.search(r"(\d+) rows for training in (\d+) shards, (\d+) for validation.*; (\d+) features", said)
    if status or not found:
        raise SystemExit(f"the client ended with {status}: {said}")
    training, shards, validation, inputs = map(int, found.groups())
    matrix = float(held.group(1)) * (training + validation) / training / 2**20
    peak = usage.ru_maxrss / 1024
    size = path.stat().st_size / 2**20
    print(f"{kind:<9} {size:5.0f} {training + validation:9} {inputs:6} {shards:6} {matrix:10.0f} {peak:10.0f} "
          f"{(peak - 64) / matrix:22.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client", type=Path)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of files, with commas between")
    parser.add_argument("--memory", type=int, help="measure memory, with files of so many MiB")
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    kinds = asked.only.split(",")
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(processor.group(1) if processor else "an unknown processor")
    if asked.memory:
        print("FILE        MIB      ROWS INPUTS SHARDS MATRIX MIB   PEAK MIB (PEAK - 64) / MATRIX (wanted 1.3)")
        for kind in kinds:
            memory(asked.client, kind, asked.memory)
        return
    core = max(os.sched_getaffinity(0))
    print("                        MIB/S OF                    TIMES AS FAST AS")
    print("FILE        MIB COLUMNS  GRADWIRE  PANDAS  POLARS  PANDAS (2) POLARS (.5)")
    for kind in kinds:
        speed(asked.client, kind, asked.megabytes, asked.repeat, core)


if __name__ == "__main__":
    main()
