"""How fast `client predict` is, on one core, and in how much memory: beside scikit-learn and onnxruntime, and beside the reader.

    speed.py CLIENT [--rows 1000000] [--repeat 3] [--core 0]

CLIENT is the client's program. Needs numpy and scikit-learn, and onnxruntime for its line. A network 16-64-26 is trained on the
built-in data; rows are drawn, and stand in an array of float32 and in a CSV file with names. Each line is the best of its runs, which
take turns, in seconds of the processor on one core: of gradwire those of the whole process, which loads the model, reads the file and
writes a line for each row; of the others those of `predict` alone, with the array in memory and one thread. Ends with 1 where a bound
is missed: 2,000,000 rows a second from an array, 60 % of the speed at which `client schema` reads the CSV file, 64 MiB of memory.
"""

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS_MIN, OF_READER_MIN, MIB_MAX = 2_000_000, 0.6, 64
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# Not here: what a child may have had in memory counts what its parent had.
ROWS = """
import sys, numpy as np
folder, rows, names = sys.argv[1:]
x = np.random.default_rng(1).integers(0, 16, (int(rows), 16)).astype("f4")
np.save(folder + "/x.npy", x)
np.savetxt(folder + "/x.csv", x, fmt="%d", delimiter=",", header=names, comments="")
"""
# Each prints the seconds of `predict`, of an array of float32.
SKLEARN = """
import sys, time, warnings, numpy as np
from sklearn.neural_network import MLPClassifier
warnings.simplefilter("ignore")
x = np.load(sys.argv[1])
model = MLPClassifier((64,), max_iter=1).fit(x[:20_000], np.arange(20_000) % 26)
begun = time.process_time()
model.predict(x)
print(time.process_time() - begun)
"""
ONNX = """
import sys, time, numpy as np, onnxruntime
x = np.load(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
columns = {of.name: np.ascontiguousarray(x[:, at : at + 1], "f8") for at, of in enumerate(session.get_inputs())}
begun = time.process_time()
session.run([session.get_outputs()[0].name], columns)
print(time.process_time() - begun)
"""


def processor():
    named = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return named.group(1) if named else platform.machine()


def run(core, command):
    """A child on one core: the processor's seconds, what it prints where that is short, and the most memory it had, in MiB."""
    child = subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, env={**os.environ, **THREADS})
    said = b""
    while part := child.stdout.read(1 << 20):
        said = (said + part)[-100:]
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return usage.ru_utime + usage.ru_stime, said, usage.ru_maxrss / 1024


def main():
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("client", type=Path)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--core", type=int, default=0)
    asked = asked.parse_args()
    client = asked.client.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model, onnx = folder / "m.safetensors", folder / "m.onnx"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
        subprocess.run([client, "--local", "1", "--hidden", "64", "--rounds", "3", "--out", model], **quiet)
        subprocess.run([client, "export", model, "--format", "onnx", "--out", onnx], **quiet)
        inspected = subprocess.run([client, "inspect", model, "--json"], capture_output=True, text=True, check=True).stdout
        names = [feature["name"] for feature in json.loads(inspected)["features"]]
        subprocess.run([sys.executable, "-c", ROWS, folder, str(asked.rows), ",".join(names)], check=True)
        mib = (folder / "x.csv").stat().st_size / 2**20
        cases = {
            "gradwire, from an array": [client, "predict", model, folder / "x.npy"],
            "gradwire, from CSV": [client, "predict", model, folder / "x.csv"],
            "client schema, CSV": [client, "schema", "--json", folder / "x.csv"],
            "scikit-learn": [sys.executable, "-c", SKLEARN, folder / "x.npy"],
            "onnxruntime": [sys.executable, "-c", ONNX, folder / "x.npy", onnx],
        }
        if importlib.util.find_spec("onnxruntime") is None:
            del cases["onnxruntime"]
        best = {}
        for _ in range(asked.repeat):
            for name, command in cases.items():
                seconds, said, memory = run(asked.core, command)
                if name in ("scikit-learn", "onnxruntime"):
                    seconds = float(said)
                before = best.get(name, (seconds, memory))
                best[name] = (min(seconds, before[0]), max(memory, before[1]))
    print(f"on {processor()}, one core; 16-64-26, {asked.rows:,} rows, {mib:.0f} MiB of CSV")
    print(f"{'':<24} {'SECONDS':>8} {'ROWS/S':>12} {'MIB/S':>6} {'MEMORY MIB':>11}")
    for name, (seconds, memory) in best.items():
        speed = f"{mib / seconds:6.0f}" if "CSV" in name else f"{'':6}"
        print(f"{name:<24} {seconds:8.3f} {asked.rows / seconds:12,.0f} {speed} {memory:11.0f}")
    rows_s = asked.rows / best["gradwire, from an array"][0]
    of_reader = best["client schema, CSV"][0] / best["gradwire, from CSV"][0]
    memory = max(best[name][1] for name in list(best)[:2])
    print(f"rows a second from an array {rows_s:,.0f} (at least {ROWS_MIN:,}); of the reader's speed {of_reader:.0%} "
          f"(at least {OF_READER_MIN:.0%}); memory {memory:.0f} MiB (under {MIB_MAX})")
    return int(rows_s < ROWS_MIN or of_reader < OF_READER_MIN or memory >= MIB_MAX)


if __name__ == "__main__":
    sys.exit(main())
