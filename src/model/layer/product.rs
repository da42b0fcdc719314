//! Products of a block with a layer's weights: forward sums, and gradients carried back. Owns tile sizes and the order of
//! reading; does not know losses or gradients of weights.
//!
//! Each value is one chain of fused multiply-adds in increasing index (arithmetic 2). Tiles of some outputs by some
//! panels share what they read; a chain that is cut into depth blocks is carried through the result. Neither changes a
//! bit.

use super::super::kernel::compiled_for_each_kernel;
use super::super::lanes::Lanes;
use super::super::thresholds::VALUE_LEAST;
use super::super::vector::{Elements as _, Vector, Wide as _, written_out};
use super::operations::{Direction, Epilogue, Product};
use super::packing::{
    BackTiles, CopiedTiles, ForwardTiles, LyingTiles, PackedTiles, Room, TILE_DEPTHS_MAX, TILE_RESULTS_MAX, Tiles,
    TilesRoom, WIDE_TILE_RESULTS_MAX, WeightTile, WeightTiles, groups_of, part,
};
use super::unfused;

/// Weights forward that are read where they lie, at most: beyond, tiles are copied together first, because rows a power of
/// two apart fall on the same few cache sets.
const DIRECT_WEIGHTS_MAX: usize = 4096;
/// Results of tiles whose weights are read where they lie, however many those are: so few rows find room in any cache.
const DIRECT_RESULTS_MAX: usize = 3;

compiled_for_each_kernel! {
    /// Writes the product into `out`, panels of `width` values, as many as `x` has.
    pub(in crate::model) fn multiply = multiply_body(product: &Product<'_>, room: &mut Room, out: &mut [Lanes])
}

#[inline(always)]
fn multiply_body<V: Vector>(product: &Product<'_>, room: &mut Room, out: &mut [Lanes]) {
    if !V::HAS_REGISTERS {
        return unfused::multiply(product, out);
    }
    let Room { tiles: room, pairs } = room;
    let depth_blocks = product.depth.div_ceil(TILE_DEPTHS_MAX);
    let tiles = product.width.div_ceil(if V::HAS_WIDE_REGISTERS { WIDE_TILE_RESULTS_MAX } else { TILE_RESULTS_MAX });
    // Even parts, so that no tile is much narrower than the others: the first are wider by one result.
    let (narrow, wider) = (product.width / tiles, product.width % tiles);
    for depth_block in 0..depth_blocks {
        let (start, depths) = part(product.depth, depth_blocks, depth_block);
        let pairs = if V::HAS_WIDE_REGISTERS && is_large::<2>(product) {
            pairs.pair::<V>(product.x, product.depth, start, depths)
        } else {
            &[]
        };
        for (width, first, count) in [(narrow + 1, 0, wider), (narrow, wider * (narrow + 1), tiles - wider)] {
            let run = Run { start, depths, first, count };
            match width {
                _ if count == 0 => {}
                1 => run_body::<V, 1>(product, run, pairs, room, out),
                2 => run_body::<V, 2>(product, run, pairs, room, out),
                3 => run_body::<V, 3>(product, run, pairs, room, out),
                4 => run_body::<V, 4>(product, run, pairs, room, out),
                5 => run_body::<V, 5>(product, run, pairs, room, out),
                7 if V::HAS_WIDE_REGISTERS => run_body::<V, 7>(product, run, pairs, room, out),
                8 if V::HAS_WIDE_REGISTERS => run_body::<V, 8>(product, run, pairs, room, out),
                9 if V::HAS_WIDE_REGISTERS => run_body::<V, 9>(product, run, pairs, room, out),
                10 if V::HAS_WIDE_REGISTERS => run_body::<V, 10>(product, run, pairs, room, out),
                11 if V::HAS_WIDE_REGISTERS => run_body::<V, 11>(product, run, pairs, room, out),
                12 if V::HAS_WIDE_REGISTERS => run_body::<V, WIDE_TILE_RESULTS_MAX>(product, run, pairs, room, out),
                _ => run_body::<V, TILE_RESULTS_MAX>(product, run, pairs, room, out),
            }
        }
    }
}

/// Weight tiles of the same width, and their depths.
#[derive(Clone, Copy)]
struct Run {
    /// First depth.
    start: usize,
    depths: usize,
    /// First result.
    first: usize,
    count: usize,
}

/// Weight tiles of J results, group by group: all panels go over a group's weights while a cache holds them.
#[inline(always)]
fn run_body<V: Vector, const J: usize>(
    product: &Product<'_>,
    run: Run,
    pairs: &[[Lanes; 2]],
    room: &mut TilesRoom,
    out: &mut [Lanes],
) {
    let Product { depth, weights, width, .. } = *product;
    let Run { start, depths, count, .. } = run;
    let is_forward = matches!(product.direction, Direction::Forward { .. });
    let (first, next, across, down) = match product.direction {
        Direction::Forward { .. } => (start * width + run.first, J, 1, width),
        Direction::Back => (run.first * depth + start, J * depth, depth, 1),
    };
    let tiles = WeightTiles { weights: &weights[first..], count, next, across, down };
    let groups = groups_of::<J>(count, depths);
    for index in 0..groups {
        let (before, group) = tiles.group(groups, index);
        let run = Run { first: run.first + before * J, count: group.count, ..run };
        let lying = Lying { x: product.x, depth: product.depth, start, depths };
        if V::HAS_WIDE_REGISTERS {
            let paired = Paired { pairs, depths };
            // A second vector would be computed for nothing.
            let is_narrow = product.panels() <= 2;
            match (is_forward, J > TILE_RESULTS_MAX && !pairs.is_empty()) {
                (true, true) => packed_body::<V, _, J, 2>(product, run, paired, group, room, out),
                (false, true) => group_body::<V, _, _, J, 2>(product, run, paired, BackTiles(group), out),
                (true, false) if is_narrow => {
                    group_body::<V, _, _, J, 1>(product, run, lying, ForwardTiles(group), out)
                }
                (false, false) if is_narrow => group_body::<V, _, _, J, 1>(product, run, lying, BackTiles(group), out),
                (true, false) => group_body::<V, _, _, J, 2>(product, run, lying, ForwardTiles(group), out),
                (false, false) => group_body::<V, _, _, J, 2>(product, run, lying, BackTiles(group), out),
            }
        } else {
            match (is_forward, J > DIRECT_RESULTS_MAX && is_large::<1>(product)) {
                (true, true) => packed_body::<V, _, J, 1>(product, run, lying, group, room, out),
                _ => group_body::<V, _, _, J, 1>(product, run, lying, LyingTiles(group), out),
            }
        }
    }
}

/// Whether it pays to copy what is read, P wide vectors of panels at a time, and read the copies.
#[inline(always)]
fn is_large<const P: usize>(product: &Product<'_>) -> bool {
    product.weights.len() > DIRECT_WEIGHTS_MAX && product.panels() > 2 * P
}

/// Where the depths of a run are read, two panels at a time.
trait Panels<V: Vector>: Copy {
    /// The depths of two panels.
    type Pair: Copy;

    /// The panels `first` and `second`, which are neighbours or the same.
    fn pair(self, first: usize, second: usize) -> Self::Pair;

    /// What a pair has at a depth.
    ///
    /// # Safety
    ///
    /// The run has this depth.
    unsafe fn at(pair: Self::Pair, depth: usize) -> V::Wide;
}

/// Where they lie, panel by panel.
#[derive(Clone, Copy)]
struct Lying<'a> {
    x: &'a [Lanes],
    /// Values of a panel.
    depth: usize,
    start: usize,
    depths: usize,
}

impl<'a, V: Vector> Panels<V> for Lying<'a> {
    type Pair = [&'a [Lanes]; 2];

    #[inline(always)]
    fn pair(self, first: usize, second: usize) -> [&'a [Lanes]; 2] {
        [first, second].map(|panel| &self.x[panel * self.depth + self.start..][..self.depths])
    }

    #[inline(always)]
    unsafe fn at([first, second]: [&'a [Lanes]; 2], depth: usize) -> V::Wide {
        // SAFETY: as above.
        unsafe { V::Wide::load(first.get_unchecked(depth), second.get_unchecked(depth)) }
    }
}

/// Copied together in pairs.
#[derive(Clone, Copy)]
struct Paired<'a> {
    pairs: &'a [[Lanes; 2]],
    depths: usize,
}

impl<'a, V: Vector> Panels<V> for Paired<'a> {
    type Pair = &'a [[Lanes; 2]];

    #[inline(always)]
    fn pair(self, first: usize, _second: usize) -> &'a [[Lanes; 2]] {
        &self.pairs[first / 2 * self.depths..][..self.depths]
    }

    #[inline(always)]
    unsafe fn at(pair: &'a [[Lanes; 2]], depth: usize) -> V::Wide {
        // SAFETY: as above.
        unsafe { V::Wide::load_pair(pair.get_unchecked(depth)) }
    }
}

/// All panels of a group of tiles, P wide vectors at a time. The first of them copy the weights that the others read: beside
/// products the copies cost next to nothing.
#[inline(always)]
fn packed_body<V: Vector, X: Panels<V>, const J: usize, const P: usize>(
    product: &Product<'_>,
    run: Run,
    x: X,
    group: WeightTiles<'_>,
    room: &mut TilesRoom,
    out: &mut [Lanes],
) {
    panels_body::<V, X, _, J, P>(product, run, x, 0, &mut CopiedTiles::<V>::new(group, room), out);
    for panel in (0..product.panels()).step_by(2 * P).skip(1) {
        if V::HAS_WIDE_REGISTERS {
            panels_body::<V, X, _, J, P>(product, run, x, panel, &mut PackedTiles(room), out);
        } else {
            let copies = room.copied::<J>(group, run.depths);
            panels_body::<V, X, _, J, P>(product, run, x, panel, &mut LyingTiles(copies), out);
        }
    }
}

/// The same with weights where they lie.
#[inline(always)]
fn group_body<V: Vector, X: Panels<V>, W: Tiles<J>, const J: usize, const P: usize>(
    product: &Product<'_>,
    run: Run,
    x: X,
    mut weights: W,
    out: &mut [Lanes],
) {
    for panel in (0..product.panels()).step_by(2 * P) {
        panels_body::<V, X, W, J, P>(product, run, x, panel, &mut weights, out);
    }
}

/// Adds the products of a tile with P wide vectors of panels.
///
/// # Safety
///
/// The tile and the panels have so many depths.
#[inline(always)]
unsafe fn add_products<V: Vector, X: Panels<V>, T: WeightTile<J>, const J: usize, const P: usize>(
    mut tile: T,
    x: &[X::Pair; P],
    depths: usize,
    sums: &mut [[V::Wide; P]; J],
) {
    // No loop for one at a time: compilers then find places by a multiplication for each depth.
    let whole = if T::WRITTEN_OUT > 1 { depths / T::WRITTEN_OUT * T::WRITTEN_OUT } else { 0 };
    for depth in (0..whole).step_by(T::WRITTEN_OUT) {
        written_out!(step in 0..T::WRITTEN_OUT, at most 8 => {
            // SAFETY: as above.
            unsafe { add_products_of_depth::<V, X, T, J, P>(x, &mut tile, depth + step, sums) };
        });
    }
    for depth in whole..depths {
        // SAFETY: as above.
        unsafe { add_products_of_depth::<V, X, T, J, P>(x, &mut tile, depth, sums) };
    }
}

/// A group's products with P wide vectors of panels from `panel` on. The last of them stand in for those beyond: their results are
/// computed and written more than once, the same each time, which takes no code of its own.
#[inline(always)]
fn panels_body<V: Vector, X: Panels<V>, W: Tiles<J>, const J: usize, const P: usize>(
    product: &Product<'_>,
    run: Run,
    x: X,
    panel: usize,
    weights: &mut W,
    out: &mut [Lanes],
) {
    let Product { depth, width, .. } = *product;
    let Run { start, depths, first, count } = run;
    let last = product.panels() - 1;
    let mut pairs = [x.pair(panel, (panel + 1).min(last)); P];
    let mut places = [[0; 2]; P];
    written_out!(p in 0..P, at most 2 => {
        let first = (panel + 2 * p).min(last / 2 * 2);
        let second = (first + 1).min(last);
        pairs[p] = x.pair(first, second);
        places[p] = [first, second].map(|panel| panel * width + run.first);
    });
    let finish = if start + depths == depth { product.finish } else { Epilogue::Keep };
    for index in 0..count {
        let mut sums = [[V::Wide::splat(0.0); P]; J];
        if start > 0 {
            written_out!(p in 0..P, at most 2 => {
                let before = wide_vectors_of::<V, J>(out, places[p]);
                written_out!(j in 0..J, at most 12 => {
                    sums[j][p] = before[j];
                });
            });
        } else if let Direction::Forward { bias } = product.direction {
            let bias = &bias[first + index * J..][..J];
            written_out!(j in 0..J, at most 12 => {
                sums[j] = [V::Wide::splat(bias[j]); P];
            });
        }
        // SAFETY: these are the run's.
        unsafe { add_products::<V, X, _, J, P>(weights.tile(index, depths), &pairs, depths, &mut sums) };
        epilogue_body::<V, J, P>(finish, places, &mut sums);
        written_out!(p in 0..P, at most 2 => {
            written_out!(half in 0..2, at most 2 => {
                let out = &mut out[places[p][half]..][..J];
                written_out!(j in 0..J, at most 12 => {
                    sums[j][p].halves()[half].store(&mut out[j]);
                });
                places[p][half] += J;
            });
        });
    }
}

/// One link of a tile's chains.
///
/// # Safety
///
/// The run has this depth.
#[inline(always)]
unsafe fn add_products_of_depth<V: Vector, X: Panels<V>, T: WeightTile<J>, const J: usize, const P: usize>(
    x: &[X::Pair; P],
    tile: &mut T,
    depth: usize,
    sums: &mut [[V::Wide; P]; J],
) {
    let mut values = [V::Wide::splat(0.0); P];
    written_out!(p in 0..P, at most 2 => {
        // SAFETY: as above.
        values[p] = unsafe { X::at(x[p], depth) };
    });
    let mut weights = [0.0; J];
    if !V::HAS_WIDE_REGISTERS {
        written_out!(j in 0..J, at most 12 => {
            // SAFETY: as above.
            weights[j] = unsafe { tile.at(depth, j) };
        });
    }
    written_out!(j in 0..J, at most 12 => {
        // One by one where a tile is large: if all of a depth are loaded first, compilers run out of registers.
        // SAFETY: as above.
        let weight = V::Wide::splat(if V::HAS_WIDE_REGISTERS { unsafe { tile.at(depth, j) } } else { weights[j] });
        written_out!(p in 0..P, at most 2 => {
            sums[j][p] = weight.fma(values[p], sums[j][p]);
        });
    });
    // SAFETY: as above.
    unsafe { tile.passed(depth) };
}

/// What is done to finished sums, whose places these are.
#[inline(always)]
fn epilogue_body<V: Vector, const J: usize, const P: usize>(
    finish: Epilogue<'_>,
    places: [[usize; 2]; P],
    sums: &mut [[V::Wide; P]; J],
) {
    let least = V::Wide::splat(VALUE_LEAST);
    match finish {
        Epilogue::Keep => {}
        Epilogue::Relu => {
            written_out!(j in 0..J, at most 12 => {
                written_out!(p in 0..P, at most 2 => {
                    sums[j][p] = sums[j][p].unless_below(sums[j][p], least);
                });
            });
        }
        Epilogue::Cut => {
            written_out!(j in 0..J, at most 12 => {
                written_out!(p in 0..P, at most 2 => {
                    sums[j][p] = sums[j][p].cut(least);
                });
            });
        }
        Epilogue::CutWhereAbove(mask, limit) => {
            let limit = V::Wide::splat(limit);
            written_out!(p in 0..P, at most 2 => {
                let mask = wide_vectors_of::<V, J>(mask, places[p]);
                written_out!(j in 0..J, at most 12 => {
                    sums[j][p] = sums[j][p].cut(least).where_above(mask[j], limit);
                });
            });
        }
    }
}

/// J values of each of two panels, from these places on.
#[inline(always)]
fn wide_vectors_of<V: Vector, const J: usize>(values: &[Lanes], places: [usize; 2]) -> [V::Wide; J] {
    let (first, second) = (&values[places[0]..][..J], &values[places[1]..][..J]);
    let mut wide = [V::Wide::splat(0.0); J];
    written_out!(j in 0..J, at most 12 => {
        wide[j] = V::Wide::load(&first[j], &second[j]);
    });
    wide
}

#[cfg(test)]
mod tests {
    use super::super::super::kernel::Kernel;
    use super::super::super::lanes::LANES;
    use super::super::BELOW_ZERO;
    use super::*;

    /// In memory of this length and not more, so that an interpreter sees what is read beyond it.
    fn noise(length: usize, seed: usize) -> Box<[f32]> {
        (0..length).map(|i| ((i * 7 + seed * 131) as f32 * 0.61).sin()).collect()
    }

    fn panels(length: usize, seed: usize) -> Box<[Lanes]> {
        noise(length * LANES, seed).as_chunks().0.iter().map(|&lanes| Lanes(lanes)).collect()
    }

    /// Each value by itself, from its definition.
    fn defined(product: &Product<'_>) -> Vec<Lanes> {
        let Product { x, depth, weights, width, direction, finish } = *product;
        let value = |place: usize| {
            let (x, j) = (&x[place / width * depth..][..depth], place % width);
            Lanes(std::array::from_fn(|lane| {
                let weight = |k: usize| match direction {
                    Direction::Forward { .. } => weights[k * width + j],
                    Direction::Back => weights[j * depth + k],
                };
                let start = if let Direction::Forward { bias } = direction { bias[j] } else { 0.0 };
                let sum = (0..depth).fold(start, |sum, k| x[k].0[lane].mul_add(weight(k), sum));
                finish.of_one(sum, finish.mask(place)[lane])
            }))
        };
        (0..x.len() / depth * width).map(value).collect()
    }

    #[test]
    fn products_of_all_shapes_are_as_defined_to_the_bit_and_read_nothing_else() {
        let bits = |values: &[Lanes]| values.iter().flat_map(|lanes| lanes.0.map(f32::to_bits)).collect::<Vec<_>>();
        // Weight tiles of each width, even and odd depths, one depth block and more, groups of tiles where they lie and copied.
        let mut shapes: Vec<_> = (1..=13).map(|width| (3, 5 + width % 2, width)).collect();
        shapes.extend([(1, 1, 1), (2, 7, 3), (5, 131, 32), (4, 257, 17)]);
        if !cfg!(miri) {
            shapes.extend([(4, 256, 160), (5, 770, 65), (16, 300, 100)]);
        }
        for (count, depth, width) in shapes {
            let (x, mask) = (panels(count * depth, 1), panels(count * width, 2));
            let (weights, bias) = (noise(depth * width, 3), noise(width, 4));
            for finish in [Epilogue::Keep, Epilogue::Relu, Epilogue::Cut, Epilogue::CutWhereAbove(&mask, BELOW_ZERO)] {
                for direction in [Direction::Forward { bias: &bias }, Direction::Back] {
                    let product = Product { x: &x, depth, weights: &weights, width, direction, finish };
                    let expected = bits(&defined(&product));
                    for kernel in Kernel::available() {
                        let mut got = vec![Lanes([f32::NAN; LANES]); count * width].into_boxed_slice();
                        multiply(kernel, &product, &mut Room::new(kernel), &mut got);
                        assert!(bits(&got) == expected, "{kernel}: {count} panels, {depth} to {width}");
                    }
                }
            }
        }
    }
}
