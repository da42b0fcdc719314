//! How a product reads a layer's weights: tiles of a few neighbouring results by some depths, where they lie or packed
//! together. Owns their layouts; does not know what is multiplied with them.

use super::super::vector::{Vector, written_out};

/// Results of a tile, at most: with two vectors of rows, 12 of 16 registers hold sums.
pub(super) const TILE_RESULTS_MAX: usize = 6;
/// The same with 32 registers, of which 24 hold sums.
pub(super) const WIDE_TILE_RESULTS_MAX: usize = 12;
/// Depths of a tile, at most.
pub(super) const TILE_DEPTHS_MAX: usize = 256;
/// Room for the tiles of a group, in weights: 64 KiB, which stay in the second cache.
const GROUP_MAX: usize = 1 << 14;
/// f32 of a cache line.
const LINE: usize = 16;

/// Neighbouring tiles of J results each, over the same depths.
#[derive(Clone, Copy)]
pub(super) struct WeightTiles<'a> {
    /// The weights from the first tile's first on.
    pub weights: &'a [f32],
    pub count: usize,
    /// Weights from one tile to the next.
    pub next: usize,
    /// Weights from one result to the next.
    pub across: usize,
    /// Weights from one depth to the next.
    pub down: usize,
}

impl<'a> WeightTiles<'a> {
    /// The `index`th of `groups` even parts, and how many tiles come before it.
    #[inline(always)]
    pub fn group(self, groups: usize, index: usize) -> (usize, WeightTiles<'a>) {
        let (before, count) = part(self.count, groups, index);
        (before, WeightTiles { weights: &self.weights[before * self.next..], count, ..self })
    }

    /// The `index`th tile, of so many depths, one or more.
    #[inline(always)]
    pub fn tile<const J: usize>(self, index: usize, depths: usize) -> WeightTile<'a, J> {
        let mut results = [&[][..]; J];
        written_out!(j in 0..J, at most 12 => {
            results[j] = &self.weights[index * self.next + j * self.across..];
        });
        // The last result's weights are the fewest.
        assert!(depths > 0 && (depths - 1) * self.down < results[J - 1].len());
        WeightTile { results, down: self.down }
    }
}

/// The weights of J results.
#[derive(Clone, Copy)]
pub(super) struct WeightTile<'a, const J: usize> {
    /// Those of each result, from its first on.
    results: [&'a [f32]; J],
    down: usize,
}

impl<'a, const J: usize> WeightTile<'a, J> {
    /// The weights at a depth.
    ///
    /// # Safety
    ///
    /// The tile has this depth. A check for each would cost the kernels more than what it guards.
    #[inline(always)]
    pub unsafe fn at(self, depth: usize) -> [f32; J] {
        let mut weights = [0.0; J];
        written_out!(j in 0..J, at most 12 => {
            // SAFETY: the last depth lies within the last result's weights, as was checked when the tile was made, and so
            // within the others', which are more; the depth is no later one.
            weights[j] = unsafe { *self.results[j].get_unchecked(depth * self.down) };
        });
        weights
    }

    /// The same where the results are neighbours, as they lie.
    ///
    /// # Safety
    ///
    /// The tile has this depth, and its tiles' `across` is 1.
    #[inline(always)]
    pub unsafe fn neighbours_at(self, depth: usize) -> &'a [f32; J] {
        // SAFETY: the last of the J is the last result's weight at this depth: see `at`.
        unsafe { &*self.results[0].as_ptr().add(depth * self.down).cast() }
    }

    /// Asks, without waiting for it, for the weight at a depth of the `next`th result from the tile's first, where results are
    /// neighbours and there is one.
    #[inline(always)]
    pub fn prefetch<V: Vector>(self, depth: usize, next: usize) {
        V::prefetch(self.results[0], depth * self.down + next);
    }
}

/// Start and length of the `index`th of `parts` even parts of `total`.
#[inline(always)]
pub(super) fn part(total: usize, parts: usize, index: usize) -> (usize, usize) {
    let (each, rest) = (total / parts, total % parts);
    (index * each + index.min(rest), each + usize::from(index < rest))
}

/// Into how many groups to part so many tiles of J results.
#[inline(always)]
pub(super) fn groups_of<const J: usize>(tiles: usize, depths: usize) -> usize {
    (tiles * room_of::<J>(depths)).div_ceil(GROUP_MAX)
}

/// Weights from one packed tile to the next: an odd number of cache lines, so that tiles do not all fall on the same few
/// cache sets.
#[inline(always)]
const fn room_of<const J: usize>(depths: usize) -> usize {
    ((depths * J).div_ceil(LINE) | 1) * LINE
}

/// Where a group of tiles is copied to.
pub(in crate::model) struct Room(Vec<f32>);

impl Room {
    pub fn new() -> Room {
        // Even parts are less than one tile too large.
        Room(vec![0.0; GROUP_MAX + room_of::<WIDE_TILE_RESULTS_MAX>(TILE_DEPTHS_MAX)])
    }

    /// Where the `index`th tile of a group is copied to, depth by depth.
    #[inline(always)]
    pub fn place<const J: usize>(&mut self, index: usize, depths: usize) -> &mut [[f32; J]] {
        let (place, _) = self.0[index * room_of::<J>(depths)..].as_chunks_mut();
        &mut place[..depths]
    }

    /// The tiles of a group that have been copied.
    #[inline(always)]
    pub(super) fn copied<const J: usize>(&self, group: WeightTiles<'_>, depths: usize) -> WeightTiles<'_> {
        WeightTiles { weights: &self.0, next: room_of::<J>(depths), across: 1, down: J, ..group }
    }

    /// The `index`th of them, as it lies.
    #[inline(always)]
    pub fn tile<const J: usize>(&self, index: usize, depths: usize) -> &[[f32; J]] {
        let (tile, _) = self.0[index * room_of::<J>(depths)..].as_chunks();
        &tile[..depths]
    }
}
