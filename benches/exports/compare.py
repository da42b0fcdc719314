"""Whether exported models tell what `client predict` tells, on ten data sets of both tasks.

    compare.py CLIENT [DIRECTORY]

CLIENT is the client's program; DIRECTORY keeps data, models and exports, and is made and removed where none is named. Needs
numpy, scikit-learn, onnxruntime and a C compiler. Prints a row for each data set: of ONNX in onnxruntime, of the C header and
of docs/model-file.md's program in numpy, how many rows are told another class although the two most probable ones differ by
more than 2e-5, and the largest difference, of a probability or of a number in its target's deviations. Ends with 1 where a
bound is broken: 1e-5, and in C not a bit.
"""

import csv
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import sets

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXPORTING = ROOT / "tests" / "exporting"
sys.path.insert(0, str(EXPORTING))
import rows as onnx_rows

TIE_MAX = 2e-5
OFF_MAX = 1e-5
COMPILE = "cc -std=c99 -O2 -ffp-contract=off -Wall -Wextra -Werror -pedantic rows.c -o rows -lm".split()


def program():
    """The functions of docs/model-file.md's program."""
    text = (ROOT / "docs" / "model-file.md").read_text()
    text = text.split("\n## 5 A program")[1].split("\n```python\n")[1].split("\nabout, layers = load(")[0]
    functions = {}
    exec(compile(text, "docs/model-file.md", "exec"), functions)
    return functions


NUMPY = program()


def values_of(schema, records):
    """What an exported model takes of the fields of rows, as texts."""
    values = []
    for record in records:
        for column, text in zip(schema["columns"], record):
            text = text.strip()
            missing = NUMPY["is_missing"](schema, text)
            if column["becomes"] == "number":
                values.append("" if missing else repr(NUMPY["number"](column, text)))
            elif column["becomes"] == "categories":
                values.append("" if missing else text)
            elif column["becomes"] == "date":
                when = None if missing else NUMPY["datetime"].fromisoformat(text)
                offset = 0 if missing or when.utcoffset() is None else when.utcoffset().total_seconds()
                if when is not None:
                    when = when.replace(tzinfo=when.tzinfo or NUMPY["timezone"].utc)
                values.append("" if missing else repr((when - NUMPY["EPOCH"]).total_seconds()))
                if "hour_mean" in column:
                    values.append(repr(offset))
    return values


class Told:
    """What rows are told: a class each and probabilities, or numbers."""

    def __init__(self, classes, numbers):
        self.classes = classes
        self.numbers = np.array(numbers, "f8")


def by_predict(run, data, is_class):
    printed = run("predict", "model.safetensors", data, *["--proba"] * is_class)
    rows = list(csv.reader(io.StringIO(printed, newline="")))[1:]
    if is_class:
        return Told([row[0] for row in rows], [row[1:] for row in rows])
    return Told(None, rows)


def by_onnx(directory, values, is_class):
    told = list(onnx_rows.tell(str(directory / "model.onnx"), values))
    if is_class:
        return Told([row["prediction"] for row in told], [row["probabilities"] for row in told])
    return Told(None, [row["prediction"] for row in told])


def by_c(directory, values, classes):
    (directory / "rows.c").write_text((EXPORTING / "rows.c").read_text())
    subprocess.run(COMPILE, cwd=directory, check=True)
    told = "".join(value + "\0" for value in values).encode()
    printed = subprocess.run([directory / "rows"], input=told, capture_output=True, check=True).stdout.decode()
    rows = [line.split() for line in printed.splitlines()]
    assert all(row[0] == "0" for row in rows), "a row was refused"
    if classes:
        bits = np.array([[int(part, 16) for part in row[2:]] for row in rows], "<u4")
        return Told([classes[int(row[1])] for row in rows], bits.view("<f4"))
    return Told(None, np.array([[int(part, 16) for part in row[1:]] for row in rows], "<u8").view("<f8"))


def by_numpy(directory, records, document):
    about, layers = NUMPY["load"](directory / "model.safetensors")
    outputs = NUMPY["outputs"](about, layers, records).astype("f8")
    if "classes" in document:
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        classes = [document["classes"][place] for place in outputs.argmax(axis=1)]
        return Told(classes, powers / powers.sum(axis=1, keepdims=True))
    targets = document["targets"]
    return Told(None, outputs * [target["deviation"] for target in targets] + [target["mean"] for target in targets])


def compare(told, wanted, unit):
    """Rows of another class that are no ties, rows of a larger difference than is allowed, and the largest difference."""
    off = np.abs(told.numbers - wanted.numbers) / unit
    others = 0
    if wanted.classes is not None:
        ordered = np.sort(wanted.numbers, axis=1)
        are_apart = ordered[:, -1] - ordered[:, -2] > TIE_MAX
        others = sum(a != b for a, b, apart in zip(told.classes, wanted.classes, are_apart) if apart)
    return others, int((off.max(axis=1) > OFF_MAX).sum()), float(off.max())


def examine(client, directory, table):
    """A line of what came of a data set, and whether all bounds hold."""
    directory.mkdir()
    data = directory / "data.csv"
    with open(data, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([table.names, *table.rows])

    def run(*words):
        done = subprocess.run([client, *words], cwd=directory, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    run("--local", "1", "--quiet", "--header", "yes", "--data", data, "--out", "model.safetensors", *table.options)
    for form, name in ("onnx", "model.onnx"), ("c", "model.h"), ("json", "model.json"):
        run("export", "model.safetensors", "--format", form, "--out", name)
    document = json.loads((directory / "model.json").read_text())
    classes = document.get("classes")
    records = [[str(field) for field in row] for row in table.rows]
    values = values_of(document["schema"], records)
    wanted = by_predict(run, data, bool(classes))
    unit = 1.0 if classes else np.array([target["deviation"] for target in document["targets"]])

    onnx = compare(by_onnx(directory, values, bool(classes)), wanted, unit)
    with_numpy = compare(by_numpy(directory, records, document), wanted, unit)
    in_c = by_c(directory, values, classes)
    # What predict prints of a float has the digits that give it back; so has what it prints of a double.
    to = np.float32 if classes else np.float64
    other_bits = int((in_c.numbers.astype(to) != wanted.numbers.astype(to)).any(axis=1).sum())
    other_bits += sum(a != b for a, b in zip(in_c.classes or [], wanted.classes or []))

    told = f"{len(classes)} classes" if classes else f"{len(document['targets'])} targets"
    about = f"{table.title:<22} {told:>12} {len(records):>6} {document['network']:>14} {document['activation']:<9}"
    shown = "".join(f" {others:>6} {beyond:>6} {worst:>9.1e}" for others, beyond, worst in (onnx, with_numpy))
    holds = other_bits == 0 and not any(onnx[:2]) and not any(with_numpy[:2])
    print(f"{about}{shown} {other_bits:>6}", flush=True)
    return holds


def main():
    client = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as made:
        directory = Path(sys.argv[2] if len(sys.argv) > 2 else made).resolve()
        directory.mkdir(exist_ok=True)
        print(f"{'':<67} {'ONNX':^23} {'NUMPY':^23} {'C':>6}")
        print(
            f"{'DATA':<22} {'TELLS':>12} {'ROWS':>6} {'NETWORK':>14} {'HIDDEN':<9}"
            + f" {'OTHER':>6} {'BEYOND':>6} {'LARGEST':>9}" * 2
            + f" {'OTHER':>6}"
        )
        hold = [examine(client, directory / f"set-{place}", table) for place, table in enumerate(sets.tables())]
    sys.exit(0 if all(hold) else 1)


if __name__ == "__main__":
    main()
