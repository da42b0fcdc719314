//! How a product reads a layer's weights: tiles of a few neighbouring results by some depths, where they lie or packed
//! together. Owns their layouts; does not know what is multiplied with them.

use std::marker::PhantomData;

use super::super::kernel::Kernel;
use super::super::lanes::{BLOCK_PANELS, Lanes};
use super::super::vector::{Vector, Wide as _, written_out};

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

    /// The `index`th tile, of so many depths, one or more, where results are neighbours.
    #[inline(always)]
    fn neighbours<const J: usize>(self, index: usize, depths: usize) -> Neighbours<'a, J> {
        let weights = &self.weights[index * self.next..];
        assert!(self.across == 1 && depths > 0 && (depths - 1) * self.down + J <= weights.len());
        Neighbours { weights, down: self.down }
    }
}

/// A tile's weights, depth by depth.
pub(super) trait WeightTile<const J: usize> {
    /// Depths that are written out one after the other, at most 8. Where many follow, what counts them and finds places takes
    /// turns of what multiplies.
    const WRITTEN_OUT: usize;

    /// What there is to do at each depth once its products have been added. Depths come in order, from the first on.
    ///
    /// # Safety
    ///
    /// The tile has this depth.
    #[inline(always)]
    unsafe fn passed(&mut self, _depth: usize) {}

    /// A result's weight at a depth.
    ///
    /// # Safety
    ///
    /// The tile has this depth, and J results. A check for each would cost the kernels more than what it guards.
    unsafe fn at(&self, depth: usize, j: usize) -> f32;
}

/// Tiles by their number.
pub(super) trait Tiles<const J: usize> {
    type Tile<'a>: WeightTile<J>
    where
        Self: 'a;

    /// The `index`th, of so many depths.
    fn tile(&mut self, index: usize, depths: usize) -> Self::Tile<'_>;
}

/// Where they lie, results being neighbours, as they are forward.
pub(super) struct ForwardTiles<'a>(pub WeightTiles<'a>);

impl<const J: usize> Tiles<J> for ForwardTiles<'_> {
    type Tile<'a>
        = Neighbours<'a, J>
    where
        Self: 'a;

    #[inline(always)]
    fn tile(&mut self, index: usize, depths: usize) -> Neighbours<'_, J> {
        self.0.neighbours(index, depths)
    }
}

/// J neighbours at each depth.
pub(super) struct Neighbours<'a, const J: usize> {
    weights: &'a [f32],
    /// Weights from one depth to the next.
    down: usize,
}

impl<const J: usize> Neighbours<'_, J> {
    /// Those of a depth.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    unsafe fn lying_at(&self, depth: usize) -> &[f32; J] {
        // SAFETY: the last depth's weights lie within, as was checked when the tile was made; this depth is no later one.
        unsafe { &*self.weights.as_ptr().add(depth * self.down).cast() }
    }
}

impl<const J: usize> WeightTile<J> for Neighbours<'_, J> {
    const WRITTEN_OUT: usize = 1;

    #[inline(always)]
    unsafe fn at(&self, depth: usize, j: usize) -> f32 {
        // SAFETY: as above.
        unsafe { *self.lying_at(depth).get_unchecked(j) }
    }
}

/// Where they lie, each result's depths being neighbours, as they are back.
pub(super) struct BackTiles<'a>(pub WeightTiles<'a>);

impl<const J: usize> Tiles<J> for BackTiles<'_> {
    type Tile<'a>
        = Rows<'a, J>
    where
        Self: 'a;

    #[inline(always)]
    fn tile(&mut self, index: usize, depths: usize) -> Rows<'_, J> {
        let WeightTiles { weights, next, across, down, .. } = self.0;
        let weights = &weights[index * next..];
        assert!(down == 1 && depths > 0 && (J - 1) * across + depths <= weights.len());
        let mut thirds = [&[][..]; J];
        written_out!(j in 0..J, at most 12 => {
            thirds[j] = &weights[j / 3 * 3 * across..];
        });
        Rows { thirds, across }
    }
}

/// The depths of J results. Every third begins a slice, from which the next two are counted: so many addresses as there are results
/// would not find registers.
pub(super) struct Rows<'a, const J: usize> {
    thirds: [&'a [f32]; J],
    /// Weights from one result to the next.
    across: usize,
}

impl<const J: usize> WeightTile<J> for Rows<'_, J> {
    const WRITTEN_OUT: usize = 1;

    #[inline(always)]
    unsafe fn at(&self, depth: usize, j: usize) -> f32 {
        // SAFETY: as above: the last depth of the last result lies within, as was checked when the tile was made.
        unsafe { *self.thirds.get_unchecked(j).as_ptr().add(depth).add(j % 3 * self.across) }
    }
}

/// Where they lie, whichever way. One code for both is less, and no slower where a tile is small.
pub(super) struct LyingTiles<'a>(pub WeightTiles<'a>);

impl<const J: usize> Tiles<J> for LyingTiles<'_> {
    type Tile<'a>
        = Lying<'a, J>
    where
        Self: 'a;

    #[inline(always)]
    fn tile(&mut self, index: usize, depths: usize) -> Lying<'_, J> {
        let WeightTiles { weights, next, across, down, .. } = self.0;
        let mut results = [&[][..]; J];
        written_out!(j in 0..J, at most 12 => {
            results[j] = &weights[index * next + j * across..];
        });
        // The last result's weights are the fewest.
        assert!(depths > 0 && (depths - 1) * down < results[J - 1].len());
        Lying { results, down, place: 0 }
    }
}

/// The weights of J results, from each one's first on.
pub(super) struct Lying<'a, const J: usize> {
    results: [&'a [f32]; J],
    /// Weights from one depth to the next.
    down: usize,
    /// Where the depth in hand lies. Compilers that are left to find it multiply for each depth.
    place: usize,
}

impl<const J: usize> WeightTile<J> for Lying<'_, J> {
    const WRITTEN_OUT: usize = 1;

    #[inline(always)]
    unsafe fn passed(&mut self, _depth: usize) {
        self.place += self.down;
    }

    #[inline(always)]
    unsafe fn at(&self, _depth: usize, j: usize) -> f32 {
        // SAFETY: the last depth lies within the last result's weights, as was checked when the tile was made, and so within the
        // others', which are more; the depth in hand, to which `passed` has led, is no later one.
        unsafe { *self.results.get_unchecked(j).get_unchecked(self.place) }
    }
}

/// Where they lie, results being neighbours; they are copied on the way.
pub(super) struct CopiedTiles<'a, 'b, V>(WeightTiles<'a>, &'b mut TilesRoom, PhantomData<V>);

impl<'a, 'b, V: Vector> CopiedTiles<'a, 'b, V> {
    #[inline(always)]
    pub fn new(tiles: WeightTiles<'a>, room: &'b mut TilesRoom) -> CopiedTiles<'a, 'b, V> {
        CopiedTiles(tiles, room, PhantomData)
    }
}

impl<V: Vector, const J: usize> Tiles<J> for CopiedTiles<'_, '_, V> {
    type Tile<'a>
        = Copied<'a, V, J>
    where
        Self: 'a;

    #[inline(always)]
    fn tile(&mut self, index: usize, depths: usize) -> Copied<'_, V, J> {
        Copied(self.0.neighbours(index, depths), self.1.place(index, depths), PhantomData)
    }
}

/// A tile, and where it is copied to, as many depths.
pub(super) struct Copied<'a, V, const J: usize>(Neighbours<'a, J>, &'a mut [[f32; J]], PhantomData<V>);

impl<V: Vector, const J: usize> WeightTile<J> for Copied<'_, V, J> {
    const WRITTEN_OUT: usize = 4;

    #[inline(always)]
    unsafe fn passed(&mut self, depth: usize) {
        let Copied(Neighbours { weights, down }, place, _) = self;
        // The next tile's last, which begin a line more often than not: rows that far apart no processor foresees.
        V::prefetch(weights.as_ptr().wrapping_add(depth * *down + 2 * J - 1));
        // SAFETY: as above; the place has as many depths.
        unsafe { *place.get_unchecked_mut(depth) = *self.0.lying_at(depth) };
    }

    #[inline(always)]
    unsafe fn at(&self, depth: usize, j: usize) -> f32 {
        // SAFETY: as above.
        unsafe { self.0.at(depth, j) }
    }
}

/// Where they have been copied to.
pub(super) struct PackedTiles<'a>(pub &'a TilesRoom);

impl<const J: usize> Tiles<J> for PackedTiles<'_> {
    type Tile<'a>
        = Packed<'a, J>
    where
        Self: 'a;

    #[inline(always)]
    fn tile(&mut self, index: usize, depths: usize) -> Packed<'_, J> {
        let (tile, _) = self.0.0[index * room_of::<J>(depths)..].as_chunks();
        Packed(&tile[..depths])
    }
}

/// A tile that has been copied, depth by depth.
pub(super) struct Packed<'a, const J: usize>(&'a [[f32; J]]);

impl<const J: usize> WeightTile<J> for Packed<'_, J> {
    const WRITTEN_OUT: usize = 4;

    #[inline(always)]
    unsafe fn at(&self, depth: usize, j: usize) -> f32 {
        // SAFETY: as above.
        unsafe { *self.0.get_unchecked(depth).get_unchecked(j) }
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

/// Where what products read is copied to.
pub(in crate::model) struct Room {
    pub(super) tiles: TilesRoom,
    pub(super) pairs: PairsRoom,
}

impl Room {
    /// For products by this kernel.
    pub fn new(kernel: Kernel) -> Room {
        // Others load as fast where panels lie.
        let has_pairs = Kernel::avx512() == Some(kernel);
        let pairs = if has_pairs { BLOCK_PANELS * TILE_DEPTHS_MAX + 1 } else { 0 };
        Room { tiles: TilesRoom::new(), pairs: PairsRoom(vec![Lanes::ZERO; pairs]) }
    }
}

/// Where panels are copied to, two and two neighbours depth by depth: one of AVX-512's registers is then loaded by one
/// instruction that takes no turn of those that multiply.
pub(super) struct PairsRoom(Vec<Lanes>);

impl PairsRoom {
    /// Some depths of all panels, of which there are [`BLOCK_PANELS`] at most, each of `depth` values: pair after pair. An odd
    /// last panel is paired with itself.
    #[inline(always)]
    pub fn pair<V: Vector>(&mut self, x: &[Lanes], depth: usize, start: usize, depths: usize) -> &[[Lanes; 2]] {
        // From a cache line's start on.
        let skipped = self.0.as_ptr().align_offset(size_of::<[Lanes; 2]>()).min(1);
        let (pairs, _) = self.0[skipped..].as_chunks_mut();
        let panels = x.len() / depth;
        let pairs = &mut pairs[..panels.div_ceil(2) * depths];
        for (pair, out) in pairs.chunks_exact_mut(depths).enumerate() {
            let of = |panel: usize| &x[panel.min(panels - 1) * depth + start..][..depths];
            for (out, (first, second)) in out.iter_mut().zip(of(2 * pair).iter().zip(of(2 * pair + 1))) {
                V::Wide::load(first, second).store_pair(out);
            }
        }
        pairs
    }
}

/// Where a group of tiles is copied to.
pub(super) struct TilesRoom(Vec<f32>);

impl TilesRoom {
    fn new() -> TilesRoom {
        // Even parts are less than one tile too large.
        TilesRoom(vec![0.0; GROUP_MAX + room_of::<WIDE_TILE_RESULTS_MAX>(TILE_DEPTHS_MAX)])
    }

    /// The tiles of a group that have been copied.
    #[inline(always)]
    pub fn copied<const J: usize>(&self, group: WeightTiles<'_>, depths: usize) -> WeightTiles<'_> {
        WeightTiles { weights: &self.0, next: room_of::<J>(depths), across: 1, down: J, ..group }
    }

    /// Where the `index`th tile of a group is copied to, depth by depth.
    #[inline(always)]
    fn place<const J: usize>(&mut self, index: usize, depths: usize) -> &mut [[f32; J]] {
        let (place, _) = self.0[index * room_of::<J>(depths)..].as_chunks_mut();
        &mut place[..depths]
    }
}
