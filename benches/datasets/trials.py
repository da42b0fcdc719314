#!/usr/bin/env python3
"""Tries options of the client against each other over the sets of sets.py, so that defaults are chosen by measurement.

    python3 benches/datasets/trials.py --try "" --try "--scale robust" [--seeds 5] [--first-seed 1] [--only NAME,...] [--rows-max N] [--kept FILE]

A fifth of each file is kept aside and judges: `client --local 1 --data TRAIN --label L --test TEST OPTIONS`, the same lines for all
options of a seed. All sets are trained with the first seed, then with the next: a run that is cut short has said something of
all. What has been trained is kept in FILE (target/datasets/trials.jsonl) by the digest of the program, and not trained again.

For each set the table has the first options' mean score, in points of accuracy or R², and how far the others are from that, with
the standard error of the paired differences; then the means over the sets, and the error of these. A word NAME=VALUE before
the options is put into the environment, for trials of rules that are no option yet.
"""

import argparse
import collections
import hashlib
import json
import os
import queue
import re
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sets import all_sets
from sources import FOLDER, ROOT
from versus import Lines, Worker, events, of_event, records, task_of

MINUTES_MAX = 10


def environment_and_options(tried):
    words = shlex.split(tried)
    count = next((at for at, word in enumerate(words) if not re.fullmatch(r"[A-Z_]+=.*", word)), len(words))
    return dict(word.split("=", 1) for word in words[:count]), words[count:]


def score(worker, client, of, task, sides, seed, tried):
    environment, options = environment_and_options(tried)
    command = [client, "--local", "1", "--json", "--data", sides[0], "--label", of.label, "--test", sides[1],
               "--seed", seed, *options]
    started = time.perf_counter()
    said = events(worker.run(command, {**os.environ, **environment}), command)
    done = next(event for event in said if event["event"] == "done")
    return of_event(done, task, "test_"), time.perf_counter() - started, of_event(done["test_baseline"], task, "test_")


def paired(scores, of, tried, first):
    """The differences of a set's seeds that both have."""
    mine, others = scores[of, tried], scores[of, first]
    return [mine[seed] - others[seed] for seed in mine if seed in others]


def error_of(values):
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def table(sets, tasks, scores, tries):
    for task in ("classify", "regress"):
        names = [of.name for of in sets if tasks.get(of.name) == task]
        names = [name for name in names if all(paired(scores, name, tried, tries[0]) for tried in tries)]
        if not names:
            continue
        digits = 2 if task == "classify" else 4
        print(f"\n{'points of accuracy' if task == 'classify' else 'R²':<20}{tries[0] or 'no option':>12}"
              + "".join(f"  {tried[-20:]:>20}" for tried in tries[1:]))
        means = collections.defaultdict(list)
        for name in names:
            line = f"{name:<20}{statistics.fmean(scores[name, tries[0]].values()):>12.{digits}f}"
            for tried in tries[1:]:
                differences = paired(scores, name, tried, tries[0])
                means[tried].append(statistics.fmean(differences))
                line += f"  {means[tried][-1]:>+10.{digits}f} ± {error_of(differences):<7.{digits}f}"
            print(line)
        line = f"{f'mean of {len(names)} sets':<20}{'':>12}"
        for tried in tries[1:]:
            line += f"  {statistics.fmean(means[tried]):>+10.{digits}f} ± {error_of(means[tried]):<7.{digits}f}"
        print(line)
        wins = [f"{sum(d > 0 for d in means[tried])} better, {sum(d < 0 for d in means[tried])} worse" for tried in tries[1:]]
        print(f"{'':<32}" + "".join(f"  {win:>20}" for win in wins))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client", type=Path)
    parser.add_argument("--try", dest="tries", action="append", required=True, metavar="OPTIONS")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1, help="those behind what a choice was made by test it")
    parser.add_argument("--only", default="", help="names of sets, or the beginnings of such")
    parser.add_argument("--rows-max", type=int, default=10**9)
    parser.add_argument("--minutes", type=float, default=10**6, help="begin nothing later than so long after the start")
    parser.add_argument("--kept", type=Path, default=FOLDER / "trials.jsonl")
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = hashlib.sha256(asked.client.read_bytes()).hexdigest()[:12]
    kept = {}
    if asked.kept.exists():
        for line in asked.kept.read_text().splitlines():
            entry = json.loads(line)
            kept[tuple(entry["key"])] = entry
    wanted = [word for word in asked.only.split(",") if word]
    sets = [of for of in all_sets() if not wanted or any(of.name.startswith(word) for word in wanted)]
    sets = [of for of in sets if len(records(of.path)) <= asked.rows_max + 1]
    worker = Worker(sorted(os.sched_getaffinity(0))[-1])
    tasks, scores, failed = {}, collections.defaultdict(dict), {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            for of in sets:
                if time.monotonic() - started > 60 * asked.minutes:
                    break
                try:
                    if of.name not in tasks:
                        tasks[of.name] = task_of(worker, asked.client, of)
                    sides = None
                    for tried in asked.tries:
                        key = (program, of.name, seed, tried)
                        if key not in kept:
                            sides = sides or Lines(of, tasks[of.name]).split(seed, Path(folder))
                            told, seconds, baseline = score(worker, asked.client, of, tasks[of.name], sides, seed, tried)
                            kept[key] = {"key": key, "score": told, "seconds": seconds, "baseline": baseline}
                            with open(asked.kept, "a") as out:
                                out.write(json.dumps(kept[key]) + "\n")
                        scores[of.name, tried][seed] = kept[key]["score"]
                except RuntimeError as error:
                    failed[of.name] = str(error)
    table(sets, tasks, scores, asked.tries)
    for name, text in failed.items():
        print(f"{name}: {text[-200:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
