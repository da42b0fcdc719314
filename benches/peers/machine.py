"""What it is measured on and with: the virtual environment of the peers, the processor, the versions."""

import datetime
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from gradwire import TARGET, version
from processes import Failed, environment, run

HERE = Path(__file__).resolve().parent
ENVIRONMENT = TARGET / "peers"
PYTHON = ENVIRONMENT / "bin/python"
# Where Flower may keep files.
FLOWER_HOME = ENVIRONMENT / "flower-home"
# Written once the environment is whole: what it was made from.
STAMP = ENVIRONMENT / "made-from"

# Run inside an environment: versions, the BLAS that numpy runs on, and the size of what Flower needs.
REPORT = """
import importlib.metadata as metadata, json, re, sys
said = {"python": sys.version.split()[0]}
for name in ("flwr", "numpy", "scikit-learn", "torch"):
    try:
        said[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
try:
    import numpy, threadpoolctl
    said["blas"] = [pool["internal_api"] + " " + str(pool["version"]) + " " + str(pool.get("architecture"))
                    for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
except ImportError:
    pass
wanted, sizes = ["flwr"] if "flwr" in said else [], {}
while wanted:
    name = wanted.pop()
    if name in sizes:
        continue
    try:
        files = metadata.files(name) or []
        needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        continue
    sizes[name] = sum(path.stat().st_size for path in (file.locate() for file in files) if path.is_file())
    needs = [need for need in needs if "extra ==" not in need]
    wanted += [re.sub("[-_.]+", "-", re.match("[A-Za-z0-9._-]+", need).group()).lower() for need in needs]
said["flower_bytes"] = sum(sizes.values())
print(json.dumps(said))
"""


def set_up():
    """Makes the environment of the peers, unless it is there."""
    wanted = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted and PYTHON.exists():
        return
    print("peers: installing requirements.txt into target/peers", file=sys.stderr)
    base = base_python()
    try:
        if base == sys.executable:
            venv.create(ENVIRONMENT, with_pip=True, clear=True)
        else:
            subprocess.run([base, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        install = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True, env=environment())
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"the environment of the peers cannot be made: {error}") from error
    FLOWER_HOME.mkdir(exist_ok=True)
    STAMP.write_text(wanted)


def base_python():
    """A Python for which the pinned packages exist in binary form; this one, if there is no better."""
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return sys.executable
    for name in ("python3.12", "python3.11"):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return sys.executable


def report(python):
    """What an environment says about itself."""
    if not Path(python).exists():
        return {}
    return json.loads(run([python, "-c", REPORT])[1][-1])


def flower_bytes():
    """The size of Flower and of what it needs, without Python itself."""
    size = report(PYTHON).get("flower_bytes")
    if not size:
        raise Failed("Flower is not installed")
    return size


def python_with_torch(given):
    """The first Python that has PyTorch: the given one, the peers' own, this one, the system's."""
    candidates = [given] if given else [PYTHON, sys.executable, shutil.which("python3")]
    why = "no Python"
    for python in filter(None, candidates):
        try:
            run([python, "-c", "import torch, numpy"])
            return python
        except (Failed, OSError) as error:
            why = str(error)
    raise Failed(f"no Python with torch and numpy; --python PATH names one ({why[-120:]})")


def processor():
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def family():
    """Family and model, which tell processors apart whose name is the same."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    first = dict(line.split(":", 1) for line in text.split("\n\n", 1)[0].splitlines() if ":" in line)
    told = {name.strip(): value.strip() for name, value in first.items()}
    has_avx512 = ", AVX-512" if "avx512f" in told.get("flags", "") else ""
    return f"family {told.get('cpu family')} model {told.get('model')}{has_avx512}"


class Strangers:
    """How much of the core other programs took while this one and its ended children measured."""

    def __init__(self, core):
        self._core = core
        self._before = self._times()

    def share(self):
        """In words, for the head of the table."""
        busy, all_in_all, ours = (after - before for after, before in zip(self._times(), self._before))
        return f"{100 * max(0.0, busy - ours) / all_in_all:.0f} % of the time" if all_in_all else "unknown"

    def _times(self):
        ticks = os.sysconf("SC_CLK_TCK")
        mine = os.times()
        ours = mine.user + mine.system + mine.children_user + mine.children_system
        try:
            text = Path("/proc/stat").read_text(encoding="ascii")
            line = next(line for line in text.splitlines() if line.split()[0] == f"cpu{self._core}")
        except (OSError, StopIteration):
            return 0.0, 0.0, ours
        user, nice, system, idle, waiting, interrupts, soft, stolen = (int(part) / ticks for part in line.split()[1:9])
        busy = user + nice + system + interrupts + soft + stolen
        return busy, busy + idle + waiting, ours


def describe(core, strangers, peak, torch):
    """What was measured on what, for the head of the table."""
    said = {
        "date": datetime.date.today().isoformat(),
        "processor": f"{processor()} ({family()})",
        "core": f"{core} of {os.cpu_count()}",
        "other programs had it": strangers.share(),
    }
    if peak:
        said["peak"] = peak
    for name, ask in (("gradwire", version), ("peers", lambda: report(PYTHON)), ("torch", lambda: torch and report(torch))):
        try:
            said[name] = ask()
        except (Failed, OSError, ValueError) as error:
            said[name] = f"unknown: {error}"
    return said
