"""How long scikit-learn or PyTorch takes, with one thread, until it is right about so many of the letters: prints seconds.

    to_accuracy.py sklearn|torch DATA PERCENT

The last 3,500 rows judge, the others train, scaled to mean 0 and deviation 1; a hidden layer of 192. Adam with batches of 512,
a learning rate of 0.04 that falls along a cosine over 30 epochs: gradwire's own defaults for these data. Imports, reading and
scaling do not count; neither does judging, which happens after each epoch. Whoever does not get there prints nothing.
"""

import math
import sys
import time
import warnings

import numpy as np

JUDGING, HIDDEN, BATCH, ETA, EPOCHS = 3500, 192, 512, 0.04, 30


def rate(step, steps):
    return ETA * 0.5 * (1 + math.cos(math.pi * step / steps))


def sklearn_epochs(x, labels):
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    model = MLPClassifier((HIDDEN,), solver="adam", batch_size=BATCH, learning_rate_init=ETA, alpha=0.0, random_state=1)
    classes = np.unique(labels)

    def epochs():
        for epoch in range(EPOCHS):
            # A rate for each epoch: within one, partial_fit has but one.
            if epoch:
                model._optimizer.learning_rate_init = rate(epoch, EPOCHS)
            model.partial_fit(x, labels, classes=classes)
            yield model.predict

    return epochs()


def torch_epochs(x, labels):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    classes, targets = np.unique(labels, return_inverse=True)
    model = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, len(classes))
    )
    loss, stepper = torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=ETA)
    rows, targets = torch.from_numpy(x), torch.from_numpy(targets)
    steps, done = EPOCHS * math.ceil(len(x) / BATCH), 0

    def predict(judged):
        with torch.no_grad():
            return classes[model(torch.from_numpy(judged)).argmax(1).numpy()]

    def epochs():
        nonlocal done
        for _ in range(EPOCHS):
            order = torch.randperm(len(rows))
            for start in range(0, len(rows), BATCH):
                chosen = order[start : start + BATCH]
                stepper.param_groups[0]["lr"] = rate(done, steps)
                stepper.zero_grad()
                loss(model(rows[chosen]), targets[chosen]).backward()
                stepper.step()
                done += 1
            yield predict

    return epochs()


def main():
    peer, data, percent = sys.argv[1:]
    table = np.loadtxt(data, delimiter=",", dtype=str, skiprows=1)
    x, labels = table[:, :-1].astype(float), table[:, -1]
    training, judging = slice(None, -JUDGING), slice(-JUDGING, None)
    x = ((x - x[training].mean(axis=0)) / x[training].std(axis=0)).astype("f")
    epochs = {"sklearn": sklearn_epochs, "torch": torch_epochs}[peer](x[training], labels[training])
    seconds, began = 0.0, time.perf_counter()
    for predict in epochs:
        seconds += time.perf_counter() - began
        if 100 * np.mean(predict(x[judging]) == labels[judging]) >= float(percent):
            print(f"{seconds:.4f}")
            return
        began = time.perf_counter()


if __name__ == "__main__":
    main()
