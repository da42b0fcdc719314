#!/usr/bin/env python3
"""Trains real files with gradwire and with scikit-learn, the same rows, the same hidden layers, and prints how they compare.

    python3 benches/datasets/versus.py [--seeds N] [--only NAME,...] [--extra "--rounds 60"] [--jobs N] [--csv FILE]

Each file goes in as it is: for each seed a fifth of its lines, of each class where there are some, is kept aside and judges. One
command trains: `client --local 1 --data TRAIN --label L --validate TEST`. With --judge evaluate, TEST is kept from it until the
model is saved, as it must be where training looks at the rows that validate: `client evaluate` then tells the score. Beside it
stands scikit-learn's MLPClassifier or MLPRegressor in its usual pipeline (peers.py), and LightGBM's defaults for orientation.

Scores are points of accuracy, or R². A set is `worse` if the mean of the paired differences is below -1 point (-0.02 R²) and below
minus twice its standard error; and `below` if gradwire is more than 0.5 point (0.005 R²) below what a guess without features comes
to. Time is that of the whole command, pinned to one core, against reading, training and predicting there, without imports.

--extra gives the client more options, so that recipes can be tried; what the peers come to is kept under target/datasets and not
computed again (--fresh does). --csv adds one line for each run to a file.
"""

import argparse
import collections
import concurrent.futures
import csv
import gzip
import io
import json
import os
import queue
import random
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sets import all_sets
from sources import FOLDER, ROOT

HERE = Path(__file__).resolve().parent
WORST = {"classify": 1.0, "regress": 0.02}
BELOW = {"classify": 0.5, "regress": 0.005}
ONE_THREAD = {name: "1" for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]}
LONG = 1_000


def records(path):
    """A file's lines, of which a quoted field may have several."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found, held = [], b""
    for line in data.splitlines(keepends=True):
        held += line if line.endswith((b"\n", b"\r")) else line + b"\n"
        if held.count(b'"') % 2 == 0:
            if held.strip():
                found.append(held)
            held = b""
    return found


class Lines:
    """A set's lines, and the class of each."""

    def __init__(self, of, task):
        found = records(of.path)
        has_header = of.pandas.get("header", 0) is not None
        self.head, self.rows = (found[0], found[1:]) if has_header else (b"", found)
        separator = of.pandas.get("sep", ",")
        fields = list(csv.reader(io.StringIO(b"".join(found).decode()), delimiter=separator))
        names = fields[0] if has_header else []
        place = names.index(of.label) if of.label in names else int(of.label) - 1
        labels = [row[place] for row in fields[len(fields) - len(self.rows):]]
        self.classes = labels if task == "classify" else [""] * len(labels)

    def split(self, seed, into):
        """Writes the lines that train and those that judge."""
        rng = random.Random(seed)
        by_class = collections.defaultdict(list)
        for row, label in enumerate(self.classes):
            by_class[label].append(row)
        judges = set()
        for label in sorted(by_class):
            rows = by_class[label]
            rng.shuffle(rows)
            judges.update(rows[: min(round(len(rows) / 5), len(rows) - 1)])
        sides = [into / "train.csv", into / "test.csv"]
        for path, wanted in zip(sides, [False, True]):
            chosen = [line for row, line in enumerate(self.rows) if (row in judges) == wanted]
            path.write_bytes(self.head + b"".join(chosen))
        return sides


class Worker:
    """A core, and a process on it that trains what the peers train."""

    def __init__(self, core):
        self.core, self.peer = core, None

    def pinned(self, command):
        return ["taskset", "-c", str(self.core), *map(str, command)]

    def run(self, command):
        return subprocess.run(self.pinned(command), capture_output=True, text=True, timeout=3600)

    def ask(self, job):
        if self.peer is None:
            environment = {**os.environ, **ONE_THREAD}
            command = self.pinned([sys.executable, HERE / "peers.py"])
            self.peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.peer.stdin.write(json.dumps(job) + "\n")
        self.peer.stdin.flush()
        return json.loads(self.peer.stdout.readline())

    def close(self):
        if self.peer is not None:
            self.peer.stdin.close()
            self.peer.wait()


def events(ran, command):
    if ran.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))}: {(ran.stderr.strip().splitlines() or ['?'])[-1]}")
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def of_event(event, task, prefix="validation_"):
    return 100 * event[prefix + "accuracy"] if task == "classify" else event[prefix + "r2"]


def train(worker, asked, of, task, sides, seed, folder):
    """What one command comes to."""
    model = folder / "model.safetensors"
    command = [asked.client, "--local", "1", "--json", "--data", sides[0], "--label", of.label, "--seed", seed, "--out", model]
    command += shlex.split(asked.extra) + (["--validate", sides[1]] if asked.judge == "validate" else [])
    started = time.perf_counter()
    said = events(worker.run(command), command)
    seconds = time.perf_counter() - started
    by_name = {event["event"]: event for event in said}
    rounds = [of_event(event, task) for event in said if event["event"] == "round"]
    if asked.judge == "validate":
        done = by_name["done"]
        score, baseline = of_event(done, task), of_event(done["baseline"], task)
    else:
        evaluate = [asked.client, "evaluate", "--json", model, sides[1]]
        started = time.perf_counter()
        told = events(worker.run(evaluate), evaluate)[-1]
        seconds += time.perf_counter() - started
        told = told["targets"][0] if task == "regress" else told
        score, baseline = of_event(told, task, ""), of_event(told["baseline"], task, "")
    inspect = [asked.client, "inspect", "--json", model]
    network = events(worker.run(inspect), inspect)[0]["network"]
    best = max(range(len(rounds)), key=lambda at: rounds[at])
    return {"score": score, "baseline": baseline, "seconds": seconds, "network": network, "rounds": len(rounds),
            "best": rounds[best], "best_round": best + 1}


class Peers:
    """What the peers come to, kept from run to run."""

    def __init__(self, fresh):
        self.path = FOLDER / "peers.jsonl"
        self.known = {}
        if not fresh and self.path.exists():
            for line in self.path.read_text().splitlines():
                entry = json.loads(line)
                self.known[self.key(entry["job"])] = entry["answer"]

    @staticmethod
    def key(job):
        return (job["set"], job["seed"], tuple(job["hidden"]), job["task"])

    def of(self, worker, job):
        key = self.key(job)
        if key not in self.known:
            self.known[key] = worker.ask(job)
            with open(self.path, "a") as out:
                out.write(json.dumps({"job": job, "answer": self.known[key]}) + "\n")
        return self.known[key]


def hidden_of(network):
    return [int(width) for width in re.findall(r"\d+", network)[1:-1]]


def compare(asked, of, workers, peers):
    """All seeds of a set."""
    folder = Path(tempfile.mkdtemp(prefix=f"{of.name}-", dir=FOLDER))
    worker = workers.get()
    try:
        schema = [asked.client, "schema", "--json", of.path, "--label", of.label]
        columns = events(worker.run(schema), schema)[0]["columns"]
        label = next(column for column in columns if column["kind"] == "label")
        task = "classify" if "class" in label["becomes"] else "regress"
        lines = Lines(of, task)
        runs = []
        for seed in range(1, asked.seeds + 1):
            sides = lines.split(seed, folder)
            run = train(worker, asked, of, task, sides, seed, folder)
            job = {"set": of.name, "seed": seed, "task": task, "label": of.label, "pandas": of.pandas,
                   "train": str(sides[0]), "test": str(sides[1]), "hidden": hidden_of(run["network"]) or [1],
                   "models": ["network", "trees"]}
            answer = peers.of(worker, job) if asked.peers else {}
            runs.append({"set": of.name, "task": task, "rows": len(lines.rows), "seed": seed, "extra": asked.extra, **run,
                         "peer": answer.get("network", {}).get("score"), "peer_seconds": answer.get("network", {}).get("seconds"),
                         "trees": answer.get("trees", {}).get("score"), "said": answer.get("network", {}).get("error", "")})
        return runs
    finally:
        workers.put(worker)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def mean(values):
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else float("nan")


def summary(runs):
    """A set's line of the table, and what it says of it."""
    task, rows = runs[0]["task"], runs[0]["rows"]
    differences = [run["score"] - run["peer"] for run in runs if run["peer"] is not None]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    difference = mean(differences)
    ratio = mean([run["seconds"] / run["peer_seconds"] for run in runs if run["peer_seconds"]])
    above = mean([run["score"] - run["baseline"] for run in runs])
    said = []
    if differences and difference < -max(WORST[task], 2 * error):
        said.append("WORSE")
    if above < -BELOW[task]:
        said.append("BELOW")
    if rows > LONG and ratio > 1:
        said.append("SLOW")
    digits = 2 if task == "classify" else 4
    figures = [mean([run[name] for run in runs]) for name in ("score", "peer")]
    text = (f"{runs[0]['set']:<14}{'accuracy' if task == 'classify' else 'r2':<9}{rows:>6}  "
            + "".join(f"{figure:>9.{digits}f}" for figure in [*figures, difference, error])
            + "".join(f"{mean([run[name] for run in runs]):>9.{digits}f}" for name in ("baseline", "trees", "best"))
            + f"{mean([run['best_round'] for run in runs]):>6.0f}/{runs[0]['rounds']:<4}"
            + f"{mean([run['seconds'] for run in runs]):>8.2f}{ratio:>7.2f}  {' '.join(said)}")
    unit = WORST[task]
    return text, said, difference / unit, task


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="names of sets, or the beginnings of such")
    parser.add_argument("--rows-max", type=int, default=10**9, help="leave out sets of more rows")
    parser.add_argument("--extra", default="", help="more options for the client")
    parser.add_argument("--judge", choices=["validate", "evaluate"], default="validate")
    parser.add_argument("--jobs", type=int, default=1, help="sets at a time; with more than one, times mean little")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--fresh", action="store_true", help="train the peers again")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = [word for word in asked.only.split(",") if word]
    sets = [of for of in all_sets() if not wanted or any(of.name.startswith(word) for word in wanted)]
    sets = [of for of in sets if len(records(of.path)) <= asked.rows_max + 1]
    workers = queue.Queue()
    cores = sorted(os.sched_getaffinity(0))
    all_workers = [Worker(core) for core in (cores[::-1] * asked.jobs)[: asked.jobs]]
    for worker in all_workers:
        workers.put(worker)
    peers = Peers(asked.fresh)
    print(f"{len(sets)} sets, {asked.seeds} seeds, judged by {asked.judge}{', ' + asked.extra if asked.extra else ''}\n")
    print(f"{'set':<14}{'':<9}{'rows':>6}  {'gradwire':>9}{'sklearn':>9}{'differ':>9}{'error':>9}{'baseline':>9}{'lightgbm':>9}"
          f"{'best':>9}{'round':>7}    {'seconds':>8}{'ratio':>7}", flush=True)
    failed, verdicts, parts = [], collections.Counter(), collections.defaultdict(list)
    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        results = [(of, pool.submit(compare, asked, of, workers, peers)) for of in sets]
        for of, result in results:
            try:
                runs = result.result()
            except RuntimeError as error:
                failed.append(f"{of.name}: {error}")
                print(f"{of.name:<14}{str(error)[-200:]}", flush=True)
                continue
            text, said, difference, task = summary(runs)
            print(text, flush=True)
            verdicts.update(said)
            parts[task].append(difference * WORST[task])
            if asked.csv:
                is_new = not asked.csv.exists()
                with open(asked.csv, "a", newline="") as out:
                    writer = csv.DictWriter(out, runs[0])
                    if is_new:
                        writer.writeheader()
                    writer.writerows(runs)
    for worker in all_workers:
        worker.close()
    print()
    for task, differences in sorted(parts.items()):
        unit = "points of accuracy" if task == "classify" else "of R²"
        print(f"mean difference over {len(differences)} sets: {mean(differences):+.4f} {unit}")
    print(f"{verdicts['WORSE']} worse, {verdicts['BELOW']} below the baseline, {verdicts['SLOW']} of more than {LONG} rows slower, "
          f"{len(failed)} failed")
    return 1 if failed or verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
