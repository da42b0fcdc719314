"""Child processes: started, heard line by line, ended. Owns the deadlines; does not know what the children do."""

import os
import signal
import subprocess
import threading
import time

# What should happen at once may take so long on a machine that has much else to do.
PATIENCE_S = 60.0
# Between being asked to end and being killed.
GRACE_S = 2.0


class Failed(Exception):
    """A child did not do what was wanted of it; the message says what, and the last that it said."""


def environment():
    """The environment of every child: one thread each, whatever library wants more, and nothing that slows OpenBLAS down."""
    variables = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES", "RUST_LOG"):
        variables.pop(name, None)
    for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR"):
        variables[f"{name}_NUM_THREADS"] = "1"
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return variables


class Child:
    """A running program. `with` it, so that it ends."""

    def __init__(self, command, variables=None):
        self.name = os.path.basename(str(command[0]))
        self._changed = threading.Condition()
        self._lines = []  # (when, is it stdout's, line), in the order of their arrival
        self._open = 2
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            [str(word) for word in command],
            env={**environment(), **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.pid = self._process.pid
        self._listeners = [
            threading.Thread(target=self._listen, args=(source,), daemon=True)
            for source in (self._process.stdout, self._process.stderr)
        ]
        for listener in self._listeners:
            listener.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def _listen(self, source):
        for line in source:
            with self._changed:
                self._lines.append((time.monotonic(), source is self._process.stdout, line.rstrip("\n")))
                self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def wait_line(self, text, patience_s=PATIENCE_S, after=0):
        """The first line from number `after` on that has `text`: when it was heard, the line, and the number behind it."""
        deadline = time.monotonic() + patience_s
        with self._changed:
            while True:
                for number, (heard_at, _, line) in enumerate(self._lines[after:], after):
                    if text in line:
                        return heard_at, line, number + 1
                after = len(self._lines)
                left_s = deadline - time.monotonic()
                if not self._open:
                    raise Failed(f"{self.name} ended before it said {text!r}: {self._last_words()}")
                if left_s <= 0:
                    raise Failed(f"{self.name} did not say {text!r} in {patience_s:.0f} s: {self._last_words()}")
                self._changed.wait(left_s)

    def heard(self):
        """How many lines it has said."""
        with self._changed:
            return len(self._lines)

    def say(self, line):
        """Writes a line to its standard input."""
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(f"{self.name} does not listen ({error}): {self._last_words()}") from error

    def finish(self, patience_s=PATIENCE_S):
        """Waits until it has ended well: the seconds that it ran, and the lines of its standard output."""
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired as error:
            self.end()
            raise Failed(f"{self.name} did not end in {patience_s:.0f} s: {self._last_words()}") from error
        seconds = time.monotonic() - self.started_at
        for listener in self._listeners:
            listener.join(GRACE_S)
        if code != 0:
            raise Failed(f"{self.name} ended with {code}: {self._last_words()}")
        return seconds, [line for _, is_output, line in self._lines if is_output]

    def peak_memory_mb(self):
        """The most memory that it has had so far (VmHWM), in 10^6 bytes."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024 / 1e6
        except OSError:
            pass
        raise Failed(f"the system does not tell {self.name}'s peak memory")

    def end(self):
        """Ends it if it has not ended: asks, then kills."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for listener in self._listeners:
            listener.join(GRACE_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                stream.close()
            except OSError:
                pass

    def _last_words(self):
        words = " / ".join(line for _, _, line in self._lines[-3:] if line.strip())
        return words[-400:] or "it said nothing"


def run(command, patience_s=PATIENCE_S, variables=None):
    """Runs a program to its end: the seconds that it took, and the lines of its standard output."""
    with Child(command, variables) as child:
        return child.finish(patience_s)


def end_children_on_signals():
    """Turns the signals that end this process into exceptions, so that every `with` ends its child."""

    def leave(number, _):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
