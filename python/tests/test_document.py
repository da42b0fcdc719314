"""docs/python.md: its sessions, in their order and in one interpreter, with the files that it names."""

import doctest
import importlib.util
import os
import re
import shutil
import tempfile
import unittest

from . import book

TEXT = (book.ROOT / "docs" / "python.md").read_text()
NEEDED = [name for name in ("pandas", "sklearn") if importlib.util.find_spec(name) is None]


class Distribution(unittest.TestCase):
    def test_the_packages_license_is_gradwires(self):
        self.assertEqual(*((directory / "LICENSE").read_text() for directory in (book.ROOT, book.ROOT / "python")))


@unittest.skipUnless(os.environ.get("GRADWIRE_ADDRESS"), "GRADWIRE_ADDRESS names no coordinator")
class Sessions(unittest.TestCase):
    @unittest.skipIf(NEEDED, f"there is no {' and no '.join(NEEDED)}")
    def test_every_session_comes_out_as_it_is_written(self):
        sessions = re.findall(r"^```pycon\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
        self.assertGreater(len(sessions), 5)
        self.assertEqual(sum(session.count(">>> ") for session in sessions), TEXT.count(">>> "))
        test = doctest.DocTestParser().get_doctest("\n\n".join(sessions), {}, "docs/python.md", "docs/python.md", 0)
        said = []
        here = os.getcwd()
        with tempfile.TemporaryDirectory() as directory:
            for name in ("trees.csv", "felled.csv"):
                shutil.copy(book.ROOT / "tests" / "data" / name, directory)
            os.chdir(directory)
            try:
                runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
                runner.run(test, out=said.append)
            finally:
                os.chdir(here)
        self.assertEqual(runner.failures, 0, "".join(said))
        self.assertGreater(runner.tries, 15)
