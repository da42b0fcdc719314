#!/usr/bin/env python3
"""Trains real files with gradwire and with scikit-learn, the same rows, the same hidden layers, and prints how they compare.

    python3 benches/datasets/versus.py [--seeds N] [--only NAME,...] [--extra "--rounds 60"] [--minutes M] [--csv FILE]

Each file goes in as it is: for each seed a fifth of its lines, of each class where there are some, is kept aside and judges. One
command trains and is judged: `client --local 1 --data TRAIN --label L --test TEST`; those of its rows that stop the training are drawn
from TRAIN. Beside it stands scikit-learn's MLPClassifier or MLPRegressor in its usual pipeline (peers.py), and for orientation
LightGBM's defaults and, where it is asked for and there, RealMLP's. All sets are trained with the first seed, then with the next, so that a
run that is cut short (--minutes) has said something of all.

Scores are points of accuracy, or R². A set is `worse` if the mean of the paired differences is below -1 point (-0.02 R²) and below
minus twice its standard error; and `below` if gradwire is more than 0.5 point (0.005 R²) below what a guess without features comes
to. Time is that of the whole command, pinned to one core, against reading, training and predicting there, without imports: the
seconds, their ratio, and the ratio of processor time, by which a set is `slow`: other programs on that core lengthen the seconds of many short
steps more than those of one long one.

--extra gives the client more options, so that recipes can be tried; what the peers come to is kept under target/datasets and not
computed again (--fresh does). --csv adds one line for each run to a file.
"""

import argparse
import collections
import csv
import gzip
import io
import json
import os
import random
import re
import resource
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
PEERS = ["network", "trees", "realmlp"]


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

    def run(self, command, environment=None):
        return subprocess.run(self.pinned(command), capture_output=True, text=True, timeout=3600, env=environment)

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


def processor_seconds():
    """What the children that have ended have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_event(event, task, prefix):
    return 100 * event[prefix + "accuracy"] if task == "classify" else event[prefix + "r2"]


def train(worker, asked, of, task, sides, seed, folder):
    """What one command comes to."""
    model = folder / "model.safetensors"
    command = [asked.client, "--local", "1", "--json", "--data", sides[0], "--label", of.label, "--test", sides[1],
               "--seed", seed, "--out", model, *shlex.split(asked.extra)]
    started, used = time.perf_counter(), processor_seconds()
    said = events(worker.run(command), command)
    seconds, processor = time.perf_counter() - started, processor_seconds() - used
    done = next(event for event in said if event["event"] == "done")
    inspect = [asked.client, "inspect", "--json", model]
    network = events(worker.run(inspect), inspect)[0]["network"]
    return {"score": of_event(done, task, "test_"), "baseline": of_event(done["test_baseline"], task, "test_"),
            "seconds": seconds, "processor": processor, "layers": network, "rounds": done["rounds_done"],
            "best_round": done["best_round"] or done["rounds_done"]}


class Peers:
    """What the peers come to, kept from run to run."""

    def __init__(self, fresh):
        self.path = FOLDER / "peers.jsonl"
        self.known = {}
        if not fresh and self.path.exists():
            for line in self.path.read_text().splitlines():
                entry = json.loads(line)
                self.known[tuple(entry["key"])] = entry["answer"]

    def of(self, worker, model, job):
        hidden = job["hidden"] if model == "network" else []
        key = (model, job["set"], job["seed"], str(hidden), job["task"])
        if key not in self.known:
            self.known[key] = worker.ask({**job, "model": model})
            with open(self.path, "a") as out:
                out.write(json.dumps({"key": key, "answer": self.known[key]}) + "\n")
        return self.known[key]


def hidden_of(network):
    return [int(width) for width in re.findall(r"\d+", network)[1:-1]]


def task_of(worker, client, of):
    """Whether classes are told apart or numbers fitted, as the client has it."""
    schema = [client, "schema", "--json", of.path, "--label", of.label]
    columns = events(worker.run(schema), schema)[0]["columns"]
    label = next(column for column in columns if column["kind"] == "label")
    return "classify" if "class" in label["becomes"] else "regress"


def compare(asked, of, seed, worker, peers, folder):
    """A set with one seed."""
    task = task_of(worker, asked.client, of)
    lines = Lines(of, task)
    sides = lines.split(seed, folder)
    run = train(worker, asked, of, task, sides, seed, folder)
    job = {"set": of.name, "seed": seed, "task": task, "label": of.label, "pandas": of.pandas, "train": str(sides[0]),
           "test": str(sides[1]), "hidden": hidden_of(run["layers"]) or [1]}
    run = {"set": of.name, "task": task, "rows": len(lines.rows), "seed": seed, "extra": asked.extra, **run}
    for model in PEERS:
        is_asked = model in asked.peers.split(",")
        answer = peers.of(worker, model, job) if is_asked else {}
        run |= {model: answer.get("score"), f"{model}_seconds": answer.get("seconds"),
                f"{model}_processor": answer.get("processor"), f"{model}_said": answer.get("error", "")}
    return run


def mean(values):
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else float("nan")


def summary(runs):
    """A set's line of the table, and what it says of it."""
    task, rows = runs[0]["task"], runs[0]["rows"]
    differences = [run["score"] - run["network"] for run in runs if run["network"] is not None]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    difference = mean(differences)
    ratios = [mean([run[mine] / run[others] for run in runs if run[others]])
              for mine, others in [("seconds", "network_seconds"), ("processor", "network_processor")]]
    above = mean([run["score"] - run["baseline"] for run in runs])
    said = []
    if differences and difference < -max(WORST[task], 2 * error):
        said.append("WORSE")
    if above < -BELOW[task]:
        said.append("BELOW")
    if rows > LONG and ratios[1] > 1:
        said.append("SLOW")
    digits = 2 if task == "classify" else 4
    figures = [mean([run[name] for run in runs]) for name in ("score", "network")]
    text = (f"{runs[0]['set']:<14}{'accuracy' if task == 'classify' else 'r2':<9}{rows:>6}{len(runs):>4}"
            + "".join(f"{figure:>9.{digits}f}" for figure in [*figures, difference, error])
            + "".join(f"{mean([run[name] for run in runs]):>9.{digits}f}" for name in ("baseline", "trees", "realmlp"))
            + f"{mean([run['best_round'] for run in runs]):>6.0f}/{mean([run['rounds'] for run in runs]):<4.0f}"
            + f"{mean([run['seconds'] for run in runs]):>8.2f}"
            + f"{ratios[0]:>7.2f}{ratios[1]:>7.2f}  {' '.join(said)}")
    return text, said, difference, task


def gap(runs, task, model):
    """By how much a peer is better than gradwire over the sets that it has, and over how many."""
    by_set = collections.defaultdict(list)
    for run in runs:
        if run["task"] == task and run[model] is not None:
            by_set[run["set"]].append(run[model] - run["score"])
    gaps = [mean(gaps) for gaps in by_set.values()]
    return statistics.fmean(gaps) if gaps else float("nan"), statistics.median(gaps) if gaps else float("nan"), len(gaps)


def report(sets, runs, failed):
    print(f"{'set':<14}{'':<9}{'rows':>6}{'runs':>4}{'gradwire':>9}{'sklearn':>9}{'differ':>9}{'error':>9}{'baseline':>9}"
          f"{'lightgbm':>9}{'realmlp':>9}{'round':>7}    {'seconds':>8}{'ratio':>7}{'cpu':>7}")
    verdicts, parts = collections.Counter(), collections.defaultdict(list)
    for of in sets:
        own = [run for run in runs if run["set"] == of.name]
        if own:
            text, said, difference, task = summary(own)
            print(text)
            verdicts.update(said)
            parts[task].append(difference)
    print()
    for task, differences in sorted(parts.items()):
        unit = "points of accuracy" if task == "classify" else "of R²"
        print(f"mean difference over {len(differences)} sets: {mean(differences):+.4f} {unit}")
        for model in ("trees", "realmlp"):
            by, median, count = gap(runs, task, model)
            if count:
                name = "LightGBM" if model == "trees" else "RealMLP"
                print(f"{name} is better by {by:+.4f} {unit} on average over {count} sets, median {median:+.4f}")
    for name, error in failed.items():
        print(f"{name}: {error[-300:]}")
    print(f"{verdicts['WORSE']} worse, {verdicts['BELOW']} below the baseline, {verdicts['SLOW']} of more than {LONG} rows slower, "
          f"{len(failed)} failed", flush=True)
    return verdicts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="names of sets, or the beginnings of such")
    parser.add_argument("--rows-max", type=int, default=10**9, help="leave out sets of more rows")
    parser.add_argument("--extra", default="", help="more options for the client")
    parser.add_argument("--peers", default="network,trees", help=f"of {', '.join(PEERS)}; network is scikit-learn's")
    parser.add_argument("--fresh", action="store_true", help="train the peers again")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later than so long after the start")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = [word for word in asked.only.split(",") if word]
    sets = [of for of in all_sets() if not wanted or any(of.name.startswith(word) for word in wanted)]
    sets = [of for of in sets if len(records(of.path)) <= asked.rows_max + 1]
    worker, peers = Worker(max(os.sched_getaffinity(0))), Peers(asked.fresh)
    failed, runs = {}, []
    started = time.monotonic()
    print(f"{len(sets)} sets, {asked.seeds} seeds{', ' + asked.extra if asked.extra else ''}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        for seed in range(1, asked.seeds + 1):
            for of in sets:
                if time.monotonic() - started > 60 * asked.minutes:
                    break
                try:
                    runs.append(compare(asked, of, seed, worker, peers, Path(folder)))
                except RuntimeError as error:
                    failed[of.name] = str(error)
                    continue
                if asked.csv:
                    is_new = not asked.csv.exists()
                    with open(asked.csv, "a", newline="") as out:
                        writer = csv.DictWriter(out, runs[-1])
                        if is_new:
                            writer.writeheader()
                        writer.writerow(runs[-1])
    worker.close()
    verdicts = report(sets, runs, failed)
    return 1 if failed or verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
