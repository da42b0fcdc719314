"""A Flower server, run by the environment's Python: says in JSON lines what happens, and runs jobs that it reads.

    flower_server.py ADDRESS
    stdin:   classic ROUNDS | idle ROUNDS CLIENTS WIDTH,...
    stdout:  {"event": "listening"}, {"event": "linked"} for each client, {"event": "fitted", "seconds", "rounds", "error"}

The parts that flwr.server.start_server puts together are put together here, so that one server with its linked clients
runs one job after the other. FedAvg, every client in every round, weighted by rows; no evaluation on clients.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.server import Server, SimpleClientManager
from flwr.server.strategy import FedAvg
from flwr.server.superlink.fleet.grpc_bidi.grpc_server import start_grpc_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import classic_numpy as classic


def say(event, **values):
    # In one piece: clients register on threads of their own.
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class Clients(SimpleClientManager):
    def register(self, client):
        is_new = super().register(client)
        if is_new:
            say("linked")
        return is_new


class TimedServer(Server):
    """Notes when each round starts."""

    def __init__(self, **parts):
        super().__init__(**parts)
        self.starts = []

    def fit_round(self, server_round, timeout):
        self.starts.append(time.perf_counter())
        return super().fit_round(server_round, timeout)


def initial(widths):
    draw = np.random.default_rng(1)
    shapes = [shape for before, behind in zip(widths, widths[1:]) for shape in ((before, behind), (behind,))]
    return [draw.uniform(-0.01, 0.01, shape).astype(np.float32) for shape in shapes]


def strategy(job, clients, weights, evaluate):
    return FedAvg(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        initial_parameters=ndarrays_to_parameters(weights),
        on_fit_config_fn=lambda _: {"job": job},
        evaluate_fn=evaluate,
    )


class Validation:
    """The share of the last 3500 letters that is taken for another letter, after each round."""

    def __init__(self):
        features, labels = classic.load()
        rows = classic.SHARDS * classic.SHARD_ROWS
        self.features, self.labels, self.error = features[rows:], labels[rows:], None

    def __call__(self, server_round, weights, _):
        if server_round == 0:
            return None
        _, probabilities = classic.forward(self.features, weights)
        self.error = float((probabilities.argmax(axis=1) != self.labels).mean())
        return self.error, {}


def main():
    server = TimedServer(client_manager=Clients())
    running = start_grpc_server(client_manager=server.client_manager(), server_address=sys.argv[1])
    say("listening")
    validation = None
    for line in sys.stdin:
        job, rounds, *rest = line.split()
        if job == "classic":
            validation = validation or Validation()
            server.set_strategy(strategy(job, 4, initial([classic.INPUTS, classic.HIDDEN, classic.CLASSES]), validation))
        else:
            widths = [int(width) for width in rest[1].split(",")]
            server.set_strategy(strategy(job, int(rest[0]), initial(widths), None))
        server.starts.clear()
        start = time.perf_counter()
        server.fit(int(rounds), None)
        end = time.perf_counter()
        starts = [*server.starts, end]
        lasted = [after - before for before, after in zip(starts, starts[1:])]
        say("fitted", seconds=end - start, rounds=lasted, error=validation.error if job == "classic" else None)
    running.stop(grace=None)


if __name__ == "__main__":
    main()
