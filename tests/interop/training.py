"""What a task computes ("A task" in protocol.md), with numpy. Knows no bytes and no connection.

The mathematics is that of protocol.md. Order and rounding of its operations are numpy's, and the random order
of rows is another. `recipe` has the fields of TRAIN as attributes; `params` are weights and bias of each
layer, from the input on.
"""
import math

import numpy as np

from wire import ADAM, IDENTITY, MASKED_IDENTITY, MEAN, RELU

BLOCK_ROWS = 512  # rows that go through the network together: memory does not grow with the batch
UPDATE_MAX = 2.0**14  # what is this large cannot be merged


def gradients(recipe, params, x, labels, scale):
    """Loss of some rows, summed, and its derivatives by `params` ("Forward" to "Gradients")."""
    inputs = [x]  # of each layer
    for weights, bias in zip(params[:-2:2], params[1:-2:2]):
        z = inputs[-1] @ weights + bias
        inputs.append(np.maximum(z, 0) if recipe.activation == RELU else z)
    z = inputs[-1] @ params[-2] + params[-1]
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    s = e.sum(axis=1)
    row = np.arange(len(x))
    if recipe.log_epsilon == 0:
        losses = np.log(s) - z[row, labels]
    else:
        losses = -np.log(e[row, labels] / s + np.float32(recipe.log_epsilon))
    d = e * (scale / s)[:, None]
    d[row, labels] -= scale
    found = [inputs[-1].T @ d, d.sum(axis=0)]
    for layer in reversed(range(len(inputs) - 1)):
        out = inputs[layer + 1]
        passes = {RELU: out > 0, IDENTITY: True, MASKED_IDENTITY: out >= 0}[recipe.activation]
        d = (d @ params[2 * layer + 2].T) * passes
        found = [inputs[layer].T @ d, d.sum(axis=0), *found]
    return float(losses.sum(dtype=np.float64)), found


def batch_gradients(recipe, params, x, labels):
    """The same of a whole batch."""
    scale = np.float32(1 / len(x) if recipe.reduction == MEAN else 1)
    loss, sums = 0.0, [np.zeros_like(values) for values in params]
    for at in range(0, len(x), BLOCK_ROWS):
        block = slice(at, at + BLOCK_ROWS)
        block_loss, found = gradients(recipe, params, x[block], labels[block], scale)
        loss += block_loss
        for total, part in zip(sums, found):
            total += part
    return loss, sums


def update_weights(recipe, params, found, moments, eta, t):
    """The task's t-th update ("Updates of the weights"), in place."""
    c1, c2 = np.float32(1 / (1 - 0.9**t)), np.float32(1 / (1 - 0.999**t))
    for w, g, m, v in zip(params, found, *moments):
        if recipe.optimiser == ADAM:
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            g = m * c1 / (np.sqrt(v * c2) + np.float32(1e-8))
        w -= eta * g


def batches(recipe, rows):
    """Batches of a task on so many rows, at most."""
    return recipe.epochs * math.ceil(rows / (recipe.batch or rows))


def train(recipe, start, x, labels, step, shard, before_batch):
    """Epochs run, loss, and trained minus base weights. Calls `before_batch()` for each, which may raise."""
    np.seterr(all="ignore")  # for this thread: what overflows has diverged, and is found at the end
    rows, size = len(x), recipe.batch or len(x)
    eta = np.float32(recipe.eta * recipe.eta_decay**step)
    shuffler = np.random.default_rng([recipe.seed, step, shard])
    params = [values.copy() for values in start]
    moments = [[np.zeros_like(values) for values in start] for _ in "mv"]
    t = 0
    for epoch in range(1, recipe.epochs + 1):
        order, loss = shuffler.permutation(rows), 0.0
        for at in range(0, rows, size):
            before_batch()
            batch = order[at:at + size] if recipe.batch else slice(None)
            batch_loss, found = batch_gradients(recipe, params, x[batch], labels[batch])
            loss += batch_loss
            t += 1
            update_weights(recipe, params, found, moments, eta, t)
        if recipe.stop_loss_change is not None:
            before = loss
            loss, _ = batch_gradients(recipe, params, x, labels)
            if abs(before - loss) <= recipe.stop_loss_change:
                break
    return epoch, loss, [after - before for after, before in zip(params, start)]


def has_diverged(loss, changes):
    return not (math.isfinite(loss) and all((abs(change) < UPDATE_MAX).all() for change in changes))
