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
use super::packing::{Room, TILE_DEPTHS_MAX, TILE_RESULTS_MAX, WIDE_TILE_RESULTS_MAX, WeightTiles, groups_of, part};
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
    let depth_blocks = product.depth.div_ceil(TILE_DEPTHS_MAX);
    let tiles = product.width.div_ceil(if V::HAS_WIDE_REGISTERS { WIDE_TILE_RESULTS_MAX } else { TILE_RESULTS_MAX });
    // Even parts, so that no tile is much narrower than the others: the first are wider by one result.
    let (narrow, wider) = (product.width / tiles, product.width % tiles);
    for depth_block in 0..depth_blocks {
        let (start, depths) = part(product.depth, depth_blocks, depth_block);
        for (width, first, count) in [(narrow + 1, 0, wider), (narrow, wider * (narrow + 1), tiles - wider)] {
            let run = Run { start, depths, first, count };
            match width {
                _ if count == 0 => {}
                1 => run_body::<V, 1>(product, run, room, out),
                2 => run_body::<V, 2>(product, run, room, out),
                3 => run_body::<V, 3>(product, run, room, out),
                4 => run_body::<V, 4>(product, run, room, out),
                5 => run_body::<V, 5>(product, run, room, out),
                7 if V::HAS_WIDE_REGISTERS => run_body::<V, 7>(product, run, room, out),
                8 if V::HAS_WIDE_REGISTERS => run_body::<V, 8>(product, run, room, out),
                9 if V::HAS_WIDE_REGISTERS => run_body::<V, 9>(product, run, room, out),
                10 if V::HAS_WIDE_REGISTERS => run_body::<V, 10>(product, run, room, out),
                11 if V::HAS_WIDE_REGISTERS => run_body::<V, 11>(product, run, room, out),
                12 if V::HAS_WIDE_REGISTERS => run_body::<V, WIDE_TILE_RESULTS_MAX>(product, run, room, out),
                _ => run_body::<V, TILE_RESULTS_MAX>(product, run, room, out),
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
fn run_body<V: Vector, const J: usize>(product: &Product<'_>, run: Run, room: &mut Room, out: &mut [Lanes]) {
    let Product { depth, weights, width, .. } = *product;
    let Run { start, depths, count, .. } = run;
    let is_packed = matches!(product.direction, Direction::Forward { .. })
        && J > DIRECT_RESULTS_MAX
        && weights.len() > DIRECT_WEIGHTS_MAX;
    let (first, next, across, down) = match product.direction {
        Direction::Forward { .. } => (start * width + run.first, J, 1, width),
        Direction::Back => (run.first * depth + start, J * depth, depth, 1),
    };
    let tiles = WeightTiles { weights: &weights[first..], count, next, across, down };
    let groups = groups_of::<J>(count, depths);
    for index in 0..groups {
        let (before, group) = tiles.group(groups, index);
        let run = Run { first: run.first + before * J, count: group.count, ..run };
        if V::HAS_WIDE_REGISTERS {
            group_body::<V, J, 2>(product, run, group, is_packed.then_some(&mut *room), out);
        } else {
            group_body::<V, J, 1>(product, run, group, is_packed.then_some(&mut *room), out);
        }
    }
}

/// All panels of a group of tiles, P wide vectors at a time. Where there is room, the first of them copy the weights that the
/// others read: beside products the copies cost next to nothing.
#[inline(always)]
fn group_body<V: Vector, const J: usize, const P: usize>(
    product: &Product<'_>,
    run: Run,
    group: WeightTiles<'_>,
    room: Option<&mut Room>,
    out: &mut [Lanes],
) {
    let panels = product.panels();
    let mut room = room.filter(|_| panels > 2 * P);
    for panel in (0..panels).step_by(2 * P) {
        match room.as_deref_mut() {
            Some(room) if panel == 0 => panels_body::<V, _, J, P>(product, run, panel, &mut Copied(group, room), out),
            Some(room) if V::HAS_WIDE_REGISTERS => {
                panels_body::<V, _, J, P>(product, run, panel, &mut Packed(room), out);
            }
            room => {
                let tiles = room.map_or(group, |room| room.copied::<J>(group, run.depths));
                panels_body::<V, _, J, P>(product, run, panel, &mut Direct(tiles), out);
            }
        }
    }
}

/// Where a group's weights are read. Each has code of its own: in one loop for all, registers are short.
trait Weights<V: Vector, const J: usize> {
    /// Adds the products of a tile with P wide vectors of panels, all depths of the run.
    ///
    /// # Safety
    ///
    /// Each of `x` has so many depths.
    unsafe fn add_products<const P: usize>(
        &mut self,
        tile: usize,
        depths: usize,
        x: &[[&[Lanes]; 2]; P],
        sums: &mut [[V::Wide; P]; J],
    );
}

/// Where they lie.
struct Direct<'a>(WeightTiles<'a>);

impl<V: Vector, const J: usize> Weights<V, J> for Direct<'_> {
    #[inline(always)]
    unsafe fn add_products<const P: usize>(
        &mut self,
        tile: usize,
        depths: usize,
        x: &[[&[Lanes]; 2]; P],
        sums: &mut [[V::Wide; P]; J],
    ) {
        let tile = self.0.tile::<J>(tile, depths);
        for depth in 0..depths {
            // SAFETY: the tile has so many depths, and as above.
            unsafe { add_products_of_depth::<V, J, P>(x, &tile.at(depth), depth, sums) };
        }
    }
}

/// Where they lie, results being neighbours; they are copied on the way.
struct Copied<'a, 'b>(WeightTiles<'a>, &'b mut Room);

impl<V: Vector, const J: usize> Weights<V, J> for Copied<'_, '_> {
    #[inline(always)]
    unsafe fn add_products<const P: usize>(
        &mut self,
        tile: usize,
        depths: usize,
        x: &[[&[Lanes]; 2]; P],
        sums: &mut [[V::Wide; P]; J],
    ) {
        let (weights, room) = (self.0.tile::<J>(tile, depths), self.1.place::<J>(tile, depths));
        for (depth, place) in room.iter_mut().enumerate() {
            // The next tile's last, which begin a line more often than not: rows that far apart no processor foresees.
            weights.prefetch::<V>(depth, 2 * J - 1);
            // SAFETY: the tile has so many depths, and its results are neighbours.
            let weights = unsafe { weights.neighbours_at(depth) };
            // SAFETY: as above.
            unsafe { add_products_of_depth::<V, J, P>(x, weights, depth, sums) };
            place.copy_from_slice(weights);
        }
    }
}

/// Where they have been copied to: the same as `Direct` of the copies, with less to compute of where they lie. It pays where a tile
/// is large.
struct Packed<'a>(&'a Room);

impl<V: Vector, const J: usize> Weights<V, J> for Packed<'_> {
    #[inline(always)]
    unsafe fn add_products<const P: usize>(
        &mut self,
        tile: usize,
        depths: usize,
        x: &[[&[Lanes]; 2]; P],
        sums: &mut [[V::Wide; P]; J],
    ) {
        for (depth, weights) in self.0.tile::<J>(tile, depths).iter().enumerate() {
            // SAFETY: as above.
            unsafe { add_products_of_depth::<V, J, P>(x, weights, depth, sums) };
        }
    }
}

/// A group's products with P wide vectors of panels from `panel` on. The last panel stands in for those beyond it: its results are
/// computed and written more than once, the same each time, which takes no code of its own.
#[inline(always)]
fn panels_body<V: Vector, W: Weights<V, J>, const J: usize, const P: usize>(
    product: &Product<'_>,
    run: Run,
    panel: usize,
    weights: &mut W,
    out: &mut [Lanes],
) {
    let Product { depth, width, .. } = *product;
    let Run { start, depths, first, count } = run;
    let last = product.panels() - 1;
    let mut x: [[&[Lanes]; 2]; P] = [[&[]; 2]; P];
    let mut places = [[0; 2]; P];
    written_out!(p in 0..P, at most 2 => {
        written_out!(half in 0..2, at most 2 => {
            let panel = (panel + 2 * p + half).min(last);
            x[p][half] = &product.x[panel * depth + start..][..depths];
            places[p][half] = panel * width + first;
        });
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
        // SAFETY: each of `x` has them.
        unsafe { weights.add_products::<P>(index, depths, &x, &mut sums) };
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
/// Each of `x` has this depth.
#[inline(always)]
unsafe fn add_products_of_depth<V: Vector, const J: usize, const P: usize>(
    x: &[[&[Lanes]; 2]; P],
    weights: &[f32; J],
    depth: usize,
    sums: &mut [[V::Wide; P]; J],
) {
    let mut values = [V::Wide::splat(0.0); P];
    written_out!(p in 0..P, at most 2 => {
        // SAFETY: as above.
        let (first, second) = unsafe { (x[p][0].get_unchecked(depth), x[p][1].get_unchecked(depth)) };
        values[p] = V::Wide::load(first, second);
    });
    written_out!(j in 0..J, at most 12 => {
        let weight = V::Wide::splat(weights[j]);
        written_out!(p in 0..P, at most 2 => {
            sums[j][p] = weight.fma(values[p], sums[j][p]);
        });
    });
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
                        multiply(kernel, &product, &mut Room::new(), &mut got);
                        assert!(bits(&got) == expected, "{kernel}: {count} panels, {depth} to {width}");
                    }
                }
            }
        }
    }
}
