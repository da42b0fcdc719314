"""Random choices (docs/arithmetic.md, section 4). Owns the stream and what is drawn from it, many numbers at a time; does
not know what is chosen."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

SPLIT, SHARD = 3, 4  # purposes
BLOCK_WORDS = 16
BLOCKS_MOST = 4096  # that are made at a time
STREAM_WORD = 1 << 32
COLUMNS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
DIAGONALS = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]


class Stream:
    """The words of ChaCha8 under a key of a purpose, the job's seed and three indices."""

    def __init__(self, purpose: int, seed: int, indices: tuple[int, int, int] = (0, 0, 0)):
        named = b"gradwire stream" + struct.pack("<B4Q", purpose, seed, *indices)
        self.key = np.frombuffer(hashlib.sha256(named).digest(), "<u4")
        self.block = 0
        self.left = np.empty(0, np.uint32)

    def words(self, count: int) -> np.ndarray:
        """The next words: uint32 `[count]`."""
        parts, have = [self.left], len(self.left)
        while have < count:
            parts.append(self._blocks(min(-(-(count - have) // BLOCK_WORDS), BLOCKS_MOST)))
            have += len(parts[-1])
        words = np.concatenate(parts)
        self.left = words[count:]
        return words[:count]

    def _blocks(self, count: int) -> np.ndarray:
        numbers = np.arange(self.block, self.block + count, dtype=np.uint64)
        self.block += count
        first = np.empty((BLOCK_WORDS, count), np.uint32)
        first[:4] = np.frombuffer(b"expand 32-byte k", "<u4")[:, None]
        first[4:12] = self.key[:, None]
        first[12], first[13], first[14:] = numbers & np.uint64(0xFFFFFFFF), numbers >> np.uint64(32), 0
        x = first.copy()
        for _ in range(4):
            for a, b, c, d in COLUMNS + DIAGONALS:
                for to, other, into, by in (a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7):
                    x[to] += x[other]
                    word = x[into] ^ x[to]
                    x[into] = (word << np.uint32(by)) | (word >> np.uint32(32 - by))
        return (x + first).T.ravel()

    def below(self, bounds: np.ndarray) -> np.ndarray:
        """One number below each of these bounds, in their order: uint64 `[n]`."""
        bounds = bounds.astype(np.uint64)
        drawn = np.empty(len(bounds), np.uint64)
        at, words = 0, np.empty(0, np.uint32)
        while at < len(bounds):
            if len(words) == 0:
                words = self.words(min(len(bounds) - at, 1 << 16))
            here = bounds[at : at + len(words)]
            products = words[: len(here)].astype(np.uint64) * here
            # Only words that would make some numbers more likely than others are drawn again.
            is_refused = (products & np.uint64(STREAM_WORD - 1)) < (np.uint64(STREAM_WORD) - here) % here
            taken = int(is_refused.argmax()) if is_refused.any() else len(here)
            drawn[at : at + taken] = products[:taken] >> np.uint64(32)
            at += taken
            words = words[taken + (taken < len(here)) :]
        self.left = np.concatenate([words, self.left])
        return drawn

    def shuffled(self, count: int) -> np.ndarray:
        """0, 1, 2, ... below `count` as `shuffle` leaves them: int64 `[count]`.

        The swaps are those of one loop from the last place to the first. Here all that touch no place which an earlier
        one still waits for are done at once (Shun and others, 2015): some dozens of times over what is left."""
        items = np.arange(count)
        places = np.arange(1, count)
        others = np.zeros(count, np.int64)
        others[1:] = self.below(np.arange(count, 1, -1)).astype(np.int64)[::-1]
        first = np.empty(count, np.int64)
        while len(places):
            partners = others[places]
            # The swap of the greatest place comes first, and of equal indices the last is kept.
            first[places] = places
            first[partners] = places
            is_free = (first[places] == places) & (first[partners] == places)
            one, other = places[is_free], partners[is_free]
            items[one], items[other] = items[other], items[one]
            places = places[~is_free]
        return items
