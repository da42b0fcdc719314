#!/usr/bin/env python3
"""How fast a large file is read, and in how much memory, beside pandas and polars, each on one core and with one thread.

    python3 benches/datasets/reading.py [--megabytes 200] [--repeat 3]

`client schema FILE` reads the file twice, learns its columns and prepares the rows as training would. pandas.read_csv and
polars.read_csv (POLARS_MAX_THREADS=1) make a table of it, of which a program would still have to learn. The three take turns; each
figure is the best of its runs, in seconds of the processor: of the whole process for the client, without imports for the others.
Memory is the most that the process had; the encoded matrix has four bytes for each input of each row.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from sources import FOLDER, ROOT

PANDAS = "import sys, time, pandas; t = time.process_time(); pandas.read_csv(sys.argv[1]); print(time.process_time() - t)"
POLARS = "import sys, time, polars; t = time.process_time(); polars.read_csv(sys.argv[1]); print(time.process_time() - t)"


def write(path, megabytes):
    """Numbers of several kinds, names, some missing, a date, and a label."""
    rng = random.Random(1)
    cities = [f"city {number}" for number in range(12)]
    with open(path, "w") as out:
        out.write(",".join([*[f"x{at}" for at in range(16)], *[f"n{at}" for at in range(8)], "city", "colour", "day", "label"]) + "\n")
        lines = []
        for _ in range(2_000):
            floats = [f"{rng.gauss(0, 100):.6g}" if rng.random() > 0.01 else "" for _ in range(16)]
            whole = [str(rng.randrange(10 ** (1 + at % 5))) for at in range(8)]
            day = f"20{rng.randrange(10, 24)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
            lines.append(",".join([*floats, *whole, rng.choice(cities), rng.choice(["red", "green", "blue"]), day, rng.choice("ab")]))
        size = 0
        while size < megabytes << 20:
            rng.shuffle(lines)
            text = "\n".join(lines) + "\n"
            out.write(text)
            size += len(text)


def timed(command, core, environment=None):
    """The processor's seconds of a child on one core, what it prints, and the most memory it had, in MiB."""
    command = ["taskset", "-c", str(core), *map(str, command)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return usage.ru_utime + usage.ru_stime, said, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client", type=Path)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"reading-{asked.megabytes}.csv"
    if not path.exists():
        write(path, asked.megabytes)
    core = max(os.sched_getaffinity(0))
    times = {"gradwire": [], "pandas": [], "polars": []}
    memory = {}
    for _ in range(asked.repeat):
        seconds, said, memory["gradwire"] = timed([asked.client, "schema", "--json", path], core)
        times["gradwire"].append(seconds)
        for name, program in [("pandas", PANDAS), ("polars", POLARS)]:
            _, told, memory[name] = timed([sys.executable, "-c", program, path], core, {"POLARS_MAX_THREADS": "1"})
            times[name].append(float(told))
    schema = json.loads(said.splitlines()[0])
    matrix = 4 * schema["rows"] * schema["inputs"] / 2**20
    size = path.stat().st_size / 2**20
    best = {name: min(taken) for name, taken in times.items()}
    print(f"{size:.0f} MiB, {schema['rows']} rows, {len(schema['columns'])} columns, {schema['inputs']} inputs")
    for name, seconds in best.items():
        print(f"{name:<9}{seconds:8.2f} s {size / seconds:8.0f} MiB/s {memory[name]:8.0f} MiB of memory")
    print(f"pandas/gradwire {best['pandas'] / best['gradwire']:.2f} (wanted 2), polars/gradwire "
          f"{best['polars'] / best['gradwire']:.2f} (wanted 0.5)")
    print(f"memory/matrix {(memory['gradwire'] - 64) / matrix:.2f} above 64 MiB (wanted 1.3), of {matrix:.0f} MiB of encoded matrix")


if __name__ == "__main__":
    main()
