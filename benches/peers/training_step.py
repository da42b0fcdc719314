"""Training steps of a small network in numpy, scikit-learn or PyTorch, one thread: prints samples a second.

    training_step.py numpy|sklearn|torch|torch-flush 16,20,26 ROWS BATCH sgd|adam SECONDS [late]     (BATCH 0: all rows)

`late`: rows that a network can fit perfectly, and the measuring begins after 90 epochs. `torch-flush` has PyTorch take subnormal
numbers for 0 (`set_flush_denormal`).

Rectified hidden layers, softmax, the mean cross-entropy, f32 throughout. The data lies in memory; the best of many short
runs counts, because other work on the machine only ever makes a run longer. No peer computes the loss itself unless its
own way of training does.
"""

import math
import sys
import time
import warnings

import numpy as np

# About how long one run takes.
RUN_S = 0.004


def numpy_trainer(widths, x, labels, batch, optimiser):
    draw = np.random.default_rng(1)
    weights = []
    for before, behind in zip(widths, widths[1:]):
        limit = math.sqrt(6 / before)
        weights += [draw.uniform(-limit, limit, (before, behind)).astype("f"), np.zeros(behind, "f")]
    targets = np.eye(widths[-1], dtype="f")[labels]
    layers = len(widths) - 1
    moments = [(np.zeros_like(part), np.zeros_like(part)) for part in weights]
    eta, steps = np.float32(0.01), 0

    def step(x, targets):
        nonlocal steps
        steps += 1
        values = [x]
        for layer in range(layers):
            sums = values[-1] @ weights[2 * layer]
            sums += weights[2 * layer + 1]
            if layer + 1 < layers:
                np.maximum(sums, 0, out=sums)
            values.append(sums)
        error = values.pop()
        error -= error.max(axis=1, keepdims=True)
        np.exp(error, out=error)
        error /= error.sum(axis=1, keepdims=True)
        error -= targets
        error *= np.float32(1 / len(x))
        gradients = [None] * len(weights)
        for layer in reversed(range(layers)):
            gradients[2 * layer] = values[layer].T @ error
            gradients[2 * layer + 1] = error.sum(axis=0)
            if layer:
                error = error @ weights[2 * layer].T
                error *= values[layer] > 0
        if optimiser == "sgd":
            for part, gradient in zip(weights, gradients):
                gradient *= eta
                part -= gradient
            return
        first, second = np.float32(1 - 0.9**steps), np.float32(math.sqrt(1 - 0.999**steps))
        for part, gradient, (mean, square) in zip(weights, gradients, moments):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            part -= eta / first * mean / (np.sqrt(square) / second + np.float32(1e-8))

    def epochs(count):
        for _ in range(count):
            for start in range(0, len(x), batch):
                step(x[start : start + batch], targets[start : start + batch])

    return epochs


def sklearn_trainer(widths, x, labels, batch, optimiser, late):
    from sklearn.neural_network import MLPClassifier

    # Its way to train is fit: a run is so long that what fit does once weighs nothing.
    warnings.simplefilter("ignore")
    fixed = {"batch_size": batch, "solver": optimiser, "tol": 0.0, "n_iter_no_change": 10**9, "momentum": 0.0}

    make = lambda: MLPClassifier(tuple(widths[1:-1]), learning_rate_init=0.01, random_state=1, **fixed)
    going_on = make().set_params(warm_start=True)

    def epochs(count):
        model = going_on if late else make()
        model.set_params(max_iter=count).fit(x, labels)

    return epochs


def torch_trainer(widths, x, labels, batch, optimiser):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    modules = []
    for before, behind in zip(widths, widths[1:]):
        modules += [torch.nn.Linear(before, behind), torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
    loss = torch.nn.CrossEntropyLoss()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser]
    stepper = kind(model.parameters(), lr=0.01)
    rows, classes = torch.from_numpy(x), torch.from_numpy(labels)

    def epochs(count):
        for _ in range(count):
            for start in range(0, len(rows), batch):
                stepper.zero_grad()
                loss(model(rows[start : start + batch]), classes[start : start + batch]).backward()
                stepper.step()

    return epochs


def flushing_torch_trainer(*words):
    import torch

    if not torch.set_flush_denormal(True):
        raise SystemExit("this PyTorch cannot flush subnormal numbers here")
    return torch_trainer(*words)


def main():
    peer, widths, rows, batch, optimiser, seconds, *late = sys.argv[1:]
    widths, rows, seconds = [int(width) for width in widths.split(",")], int(rows), float(seconds)
    batch = int(batch) or rows
    x = np.sin(np.arange(rows * widths[0]) * 0.7).astype("f").reshape(rows, widths[0])
    labels = np.arange(rows) * 7 % widths[-1]
    if late:
        # Each class around a place of its own, far from the others.
        labels = np.arange(rows) % widths[-1]
        places = np.where((labels[:, None] + np.arange(widths[0])) % min(widths[-1], 7) == 0, 4, -1)
        x = (places + np.random.default_rng(1).uniform(-1, 1, x.shape)).astype("f")
    make, run_s = {
        "numpy": (numpy_trainer, RUN_S),
        "sklearn": (lambda *words: sklearn_trainer(*words, late), 25 * RUN_S),
        "torch": (torch_trainer, RUN_S),
        "torch-flush": (flushing_torch_trainer, RUN_S),
    }[peer]
    train = make(widths, x, labels, batch, optimiser)
    if late:
        train(90)

    def timed(epochs):
        start = time.perf_counter()
        train(epochs)
        return time.perf_counter() - start

    timed(1)
    epochs = max(1, min(2000, int(run_s / timed(2) * 2)))
    end = time.perf_counter() + seconds
    best = timed(epochs)
    while time.perf_counter() < end:
        best = min(best, timed(epochs))
    print(f"{rows * epochs / best:.0f}")


if __name__ == "__main__":
    main()
