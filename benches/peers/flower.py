"""Flower's side, as processes: one server and its clients over gRPC. Owns starting and asking them; its programs are
flower_server.py and flower_node.py."""

import contextlib
import json
import statistics
from pathlib import Path

from gradwire import free_port
from processes import Child, Failed

HERE = Path(__file__).resolve().parent
# Eleven shards of the classic recipe over four clients.
SHARDS = ("0,1,2", "3,4,5", "6,7,8", "9,10")


def start_server(python, port, home):
    return Child([python, HERE / "flower_server.py", f"127.0.0.1:{port}"], _variables(home))


def start_node(python, port, home, shards=""):
    return Child([python, HERE / "flower_node.py", f"127.0.0.1:{port}", shards], _variables(home))


def _variables(home):
    return {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_HOME": str(home), "PYTHONUNBUFFERED": "1"}


class Fleet(contextlib.ExitStack):
    """A server and its clients, all linked."""

    def __init__(self, python, count, home, shards=()):
        super().__init__()
        try:
            port = free_port()
            self.server = self.enter_context(start_server(python, port, home))
            _, _, behind = self.server.wait_line('"listening"')
            given = [*shards, *[""] * (count - len(shards))]
            self.nodes = [self.enter_context(start_node(python, port, home, part)) for part in given]
            for _ in self.nodes:
                _, _, behind = self.server.wait_line('"linked"', after=behind)
        except BaseException:
            self.close()
            raise

    def classic(self, rounds):
        """Runs the classic recipe: its event."""
        return self._fit(f"classic {rounds}")

    def idle(self, rounds, widths):
        """Runs a job that trains nothing: its event."""
        return self._fit(f"idle {rounds} {len(self.nodes)} {','.join(map(str, widths))}")

    def _fit(self, command, patience_s=180.0):
        behind = self.server.heard()
        self.server.say(command)
        _, line, _ = self.server.wait_line('"fitted"', patience_s, behind)
        event = json.loads(line)
        if not event["rounds"]:
            raise Failed("Flower's server ran no round")
        return event


def round_seconds(event):
    """The median of a job's rounds, without the first."""
    return statistics.median(event["rounds"][1:])
