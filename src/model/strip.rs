//! How a product reads a layer's weights: strips of a few neighbouring results, where they lie or copied together. Owns
//! their layouts; does not know what is multiplied with them.

#![expect(clippy::needless_range_loop, reason = "a strip's results are numbered; nested iterators would hide them")]

use super::lanes::LANES;
use super::vector::Vector;

/// Results of a strip, at most.
pub(super) const STRIP_MAX: usize = 6;
/// Depths of a strip, at most.
pub(super) const DEPTH_MAX: usize = 256;
/// Room for the strips of a group, in weights: 64 KiB, which stay in the second cache.
const GROUP_MAX: usize = 1 << 14;
/// f32 of a cache line.
const LINE: usize = 16;

/// Neighbouring strips of J results each, over the same depths.
#[derive(Clone, Copy)]
pub(super) struct Strips<'a> {
    /// The weights from the first strip's first on.
    pub weights: &'a [f32],
    pub count: usize,
    /// Weights from one strip to the next.
    pub next: usize,
    /// Weights from one result to the next.
    pub across: usize,
    /// Weights from one depth to the next.
    pub down: usize,
}

impl<'a> Strips<'a> {
    /// The `index`th of `groups` even parts, and how many strips come before it.
    #[inline(always)]
    pub fn group(self, groups: usize, index: usize) -> (usize, Strips<'a>) {
        let (before, count) = part(self.count, groups, index);
        (before, Strips { weights: &self.weights[before * self.next..], count, ..self })
    }

    /// The `index`th strip, of so many depths, one or more.
    #[inline(always)]
    pub fn strip<const J: usize>(self, index: usize, depths: usize) -> Strip<'a, J> {
        let mut results = [&[][..]; J];
        for j in 0..J {
            results[j] = &self.weights[index * self.next + j * self.across..];
        }
        // The last result's weights are the fewest.
        assert!(depths > 0 && (depths - 1) * self.down < results[J - 1].len());
        Strip { results, down: self.down }
    }
}

/// The weights of J results.
#[derive(Clone, Copy)]
pub(super) struct Strip<'a, const J: usize> {
    /// Those of each result, from its first on.
    results: [&'a [f32]; J],
    down: usize,
}

impl<const J: usize> Strip<'_, J> {
    /// The weights at a depth.
    ///
    /// # Safety
    ///
    /// The strip has this depth. A check for each would cost the kernels more than what it guards.
    #[inline(always)]
    pub unsafe fn at(self, depth: usize) -> [f32; J] {
        let mut weights = [0.0; J];
        for j in 0..J {
            // SAFETY: the last depth lies within the last result's weights, as was checked when the strip was made, and so
            // within the others', which are more; the depth is no later one.
            weights[j] = unsafe { *self.results[j].get_unchecked(depth * self.down) };
        }
        weights
    }
}

/// Start and length of the `index`th of `parts` even parts of `total`.
#[inline(always)]
pub(super) fn part(total: usize, parts: usize, index: usize) -> (usize, usize) {
    let (each, rest) = (total / parts, total % parts);
    (index * each + index.min(rest), each + usize::from(index < rest))
}

/// Into how many groups to part so many strips of J results.
#[inline(always)]
pub(super) fn groups_of<const J: usize>(strips: usize, depths: usize) -> usize {
    (strips * room_of::<J>(depths)).div_ceil(GROUP_MAX)
}

/// Weights from one copied strip to the next: an odd number of cache lines, so that strips do not all fall on the same few
/// cache sets. There is room for what is copied too much behind the last depth.
#[inline(always)]
const fn room_of<const J: usize>(depths: usize) -> usize {
    ((depths * J + LANES - J).div_ceil(LINE) | 1) * LINE
}

/// Where a group of strips is copied to.
pub(super) struct Room(Vec<f32>);

impl Room {
    pub fn new() -> Room {
        // Even parts are less than one strip too large, and the last depth's places end a strip later.
        Room(vec![0.0; GROUP_MAX + 2 * room_of::<STRIP_MAX>(DEPTH_MAX)])
    }

    /// A group's strips, whose results are neighbours, copied together strip by strip.
    #[inline(always)]
    pub fn pack<V: Vector, const J: usize>(&mut self, group: Strips<'_>, depths: usize) -> Strips<'_> {
        let next = room_of::<J>(depths);
        for (depth, row) in group.weights.chunks(group.down).take(depths).enumerate() {
            // Eight at a time: those that are not the strip's own give way to the next depth's, or nobody reads them.
            let places = self.0[depth * J..].chunks_exact_mut(next).take(group.count);
            for (from, place) in row.windows(LANES).step_by(J).zip(places) {
                let (from, to) = (from.as_chunks().0, place.as_chunks_mut().0);
                V::load_anywhere(&from[0]).store_anywhere(&mut to[0]);
            }
            // Behind the last of all weights there are not always so many.
            for strip in (row.len() + J).saturating_sub(LANES) / J..group.count {
                self.0[strip * next + depth * J..][..J].copy_from_slice(&row[strip * J..][..J]);
            }
        }
        Strips { weights: &self.0, next, down: J, ..group }
    }
}
