"""A Flower client in numpy, run by the environment's Python: trains the classic recipe's shards, or nothing.

    flower_node.py ADDRESS SHARD,...

A job names itself in its configuration. `classic`: each of this client's shards is trained from the round's weights as
benches/classic_numpy.py does; the client returns the mean of what comes out, and its rows. Weighted by rows, the mean over
clients is the mean over the eleven shards, which is what the recipe wants. `idle`: the parameters go back as they came.
"""

import sys
from pathlib import Path

import flwr
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import classic_numpy as classic


class Node(flwr.client.NumPyClient):
    def __init__(self, shards):
        self.shards = []
        if shards:
            features, labels = classic.load()
            for shard in shards:
                rows = slice(shard * classic.SHARD_ROWS, (shard + 1) * classic.SHARD_ROWS)
                self.shards.append((features[rows].copy(), labels[rows].copy()))

    def fit(self, parameters, config):
        if config["job"] == "idle":
            return parameters, 1, {}
        total = [np.zeros_like(part) for part in parameters]
        for x, labels in self.shards:
            for part, update in zip(total, classic.train(x, labels, parameters)):
                part += update
        count = np.float32(len(self.shards))
        trained = [base + update / count for base, update in zip(parameters, total)]
        return trained, sum(len(labels) for _, labels in self.shards), {}


def main():
    shards = [int(shard) for shard in sys.argv[2].split(",") if shard]
    flwr.client.start_client(server_address=sys.argv[1], client=Node(shards).to_client())


if __name__ == "__main__":
    main()
