#!/usr/bin/env python3
"""The `classic` recipe in numpy and float32, in one process: what `cargo bench --bench figures -- numpy` compares with.

Self-contained: the recipe is restated here.

    network  16 raw features -> 20 hidden, identity -> 26 classes, softmax
    weights  uniform in -0.01..0.01, biases too
    loss     -sum over rows of log(p[label] + 1e-6)
    epoch    one gradient step on all rows of the shard with eta 1e-4 on the SUM over rows; the gradient does not pass a
             hidden unit whose sum is below zero
    task     15 epochs; stops as soon as an epoch changes the loss by 0.2 or less
    round    11 shards of 1500 rows, in file order; the base moves by the mean of the shards' updates; then the last 3500
             rows validate
    job      25 rounds

Prints the seconds that the rounds took, and the validation error: "SECONDS ERROR".

    python3 benches/classic_numpy.py [SEED]
"""

import sys
import time
from pathlib import Path

import numpy as np

ROUNDS, EPOCHS, SHARDS, SHARD_ROWS = 25, 15, 11, 1500
INPUTS, HIDDEN, CLASSES = 16, 20, 26
ETA, LOG_EPSILON, STOP = np.float32(1e-4), np.float32(1e-6), 0.2


def load():
    data = Path(__file__).resolve().parent / "../data/letter-recognition.csv"
    rows = [line.split(",") for line in data.read_text().split()[1:]]
    features = np.array([[float(value) for value in row[:-1]] for row in rows], dtype=np.float32)
    labels = np.array([ord(row[-1]) - ord("A") for row in rows])
    return features, labels


def forward(x, weights):
    hidden, hidden_bias, output, output_bias = weights
    sums = x @ hidden + hidden_bias
    logits = sums @ output + output_bias
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return sums, exponentials / exponentials.sum(axis=1, keepdims=True)


def loss_of(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels] + LOG_EPSILON).sum()


def train(x, labels, base):
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    hidden, hidden_bias, output, output_bias = (part.copy() for part in base)
    sums, probabilities = forward(x, (hidden, hidden_bias, output, output_bias))
    loss = loss_of(probabilities, labels)
    for _ in range(EPOCHS):
        error = one_hot - probabilities
        hidden_error = (error @ output.T) * (sums >= 0)
        output += ETA * (sums.T @ error)
        output_bias += ETA * error.sum(axis=0)
        hidden += ETA * (x.T @ hidden_error)
        hidden_bias += ETA * hidden_error.sum(axis=0)
        sums, probabilities = forward(x, (hidden, hidden_bias, output, output_bias))
        before, loss = loss, loss_of(probabilities, labels)
        if abs(before - loss) <= STOP:
            break
    return [after - before for after, before in zip((hidden, hidden_bias, output, output_bias), base)]


def main():
    draw = np.random.default_rng(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    weights = [draw.uniform(-0.01, 0.01, shape).astype(np.float32) for shape in shapes]
    features, labels = load()
    rows = SHARDS * SHARD_ROWS
    shards = list(zip(np.split(features[:rows], SHARDS), np.split(labels[:rows], SHARDS)))

    start = time.perf_counter()
    for _ in range(ROUNDS):
        total = [np.zeros_like(part) for part in weights]
        for x, shard_labels in shards:
            for part, update in zip(total, train(x, shard_labels, weights)):
                part += update
        weights = [part + update / np.float32(SHARDS) for part, update in zip(weights, total)]
        _, probabilities = forward(features[rows:], weights)
        errors = int((probabilities.argmax(axis=1) != labels[rows:]).sum())
    print(f"{time.perf_counter() - start:.6f} {errors / (len(labels) - rows):.4f}")


if __name__ == "__main__":
    main()
