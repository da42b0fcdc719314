"""By what rows that trained a model are known later: the smallest hashes of them (docs/model-file.md, section 6). Owns how a row is
hashed; does not know where rows come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .objects import Layout, RowsObject

KEY = "training_sample"
HASHES_MAX = 64
# Numbers at a time: what is computed of them takes some ten megabytes.
NUMBERS_AT_ONCE = 1 << 20
ONE = np.uint64(0x3F800000)


def spread(bits: np.ndarray) -> np.ndarray:
    """The end of MurmurHash3, of u64."""
    shift = np.uint64(33)
    bits = (bits ^ bits >> shift) * np.uint64(0xFF51AFD7ED558CCD)
    bits = (bits ^ bits >> shift) * np.uint64(0xC4CEB9FE1A85EC53)
    return bits ^ bits >> shift


def sample_of(shards: Sequence[RowsObject], layout: Layout) -> str:
    """The sample of all rows of these shards: 16 hexadecimal digits a hash, with commas between."""
    smallest = np.empty(0, np.uint64)
    is_plain = np.ones(layout.inputs, bool)
    firsts, levels, at = [], [], 0
    for before, count in layout.columns:
        firsts.append(at + before)
        levels.append(count)
        at += before + count
        is_plain[firsts[-1] : at] = False
    for shard in shards:
        targets = shard.targets if shard.targets.ndim == 2 else shard.targets[:, None]
        factors = spread(np.arange(1, layout.inputs + targets.shape[1] + 1, dtype=np.uint64))
        of_plain = factors[: layout.inputs][is_plain]
        # Where an index says that no input is 1, nothing is added.
        of_indices = np.append(factors[: layout.inputs] * ONE, np.uint64(0))
        rows_at_once = max(1, NUMBERS_AT_ONCE // len(factors))
        for start in range(0, shard.rows, rows_at_once):
            rows = slice(start, start + rows_at_once)
            sums = (_bits(shard.features[rows]) * of_plain).sum(axis=1, dtype=np.uint64)
            sums += (_bits(targets[rows]) * factors[layout.inputs :]).sum(axis=1, dtype=np.uint64)
            if layout.columns:
                indices = shard.indices[rows].astype(np.int64)
                places = np.where(indices < levels, indices + firsts, layout.inputs)
                sums += of_indices[places].sum(axis=1, dtype=np.uint64)
            smallest = np.unique(np.concatenate([smallest, spread(sums)]))[:HASHES_MAX]
    return ",".join(f"{value:016x}" for value in smallest.tolist())


def _bits(values: np.ndarray) -> np.ndarray:
    """Of f32, in which both zeros are one, or of labels."""
    if values.dtype.kind == "f":
        values = (values + np.float32(0.0)).view(np.uint32)
    return values.astype(np.uint64)
