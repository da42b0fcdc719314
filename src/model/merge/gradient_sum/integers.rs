//! A sum's integers, each parameter's in as few bits as the largest of all may need: 64, 96 or 128. Owns how they lie in memory
//! and when they are given more; does not know gradients, losses, or how objects hold integers.

use std::ops::Range;

use super::error::GradientSumError;

/// The largest magnitude of 64 bits.
const NARROW_MOST: u128 = i64::MAX as u128;

/// One integer a parameter: below 2^127 in magnitude, which whoever adds sees to.
#[derive(Debug)]
pub(super) struct Integers {
    /// The lowest 64 bits of each, which are all that there is as long as `upper` is empty.
    low: Vec<i64>,
    /// The next 32 bits of each, or nothing.
    upper: Vec<i32>,
    /// The last 32 bits of each, or nothing.
    highest: Vec<i32>,
    /// No integer is larger in magnitude.
    most: u128,
}

impl Integers {
    pub(super) fn new(count: usize) -> Integers {
        Integers { low: vec![0; count], upper: Vec::new(), highest: Vec::new(), most: 0 }
    }

    /// As many zeros as this, of 64 bits again.
    pub(super) fn reset(&mut self, count: usize) {
        self.low.clear();
        self.low.resize(count, 0);
        self.upper.clear();
        self.highest.clear();
        self.most = 0;
    }

    pub(super) fn count(&self) -> usize {
        self.low.len()
    }

    /// No integer is larger in magnitude than this.
    pub(super) fn most(&self) -> u128 {
        self.most
    }

    /// Makes room for numbers of at most this magnitude, one for each integer or for some of them, to be added. Nearly no job needs
    /// more than 64 bits, and so nobody keeps memory for them: it is tried. Where it is not to be had nothing has changed.
    pub(super) fn make_room(&mut self, most: u128) -> Result<(), GradientSumError> {
        if self.upper.is_empty() && self.most.saturating_add(most) > NARROW_MOST {
            // What was added to some has counted for all. Beyond half they would have to be looked at again and again.
            let largest = u128::from(self.low.iter().map(|low| low.unsigned_abs()).max().unwrap_or(0));
            if largest <= NARROW_MOST / 2 {
                self.most = largest;
            }
        }
        let most = self.most.saturating_add(most);
        if most > NARROW_MOST {
            self.widen()?;
        }
        if most >= 1 << 95 {
            self.widen_fully()?;
        }
        self.most = most;
        Ok(())
    }

    /// Gives each integer 96 bits, or leaves it at what it has if that is more.
    pub(super) fn widen(&mut self) -> Result<(), GradientSumError> {
        if self.upper.is_empty() {
            fill(&mut self.upper, self.low.iter().map(|low| (low >> 63) as i32))?;
        }
        Ok(())
    }

    /// Gives each integer 128 bits.
    pub(super) fn widen_fully(&mut self) -> Result<(), GradientSumError> {
        self.widen()?;
        if self.highest.is_empty() {
            fill(&mut self.highest, self.upper.iter().map(|upper| upper >> 31))?;
        }
        Ok(())
    }

    /// These integers, as long as all have 64 bits.
    pub(super) fn narrow(&self, range: Range<usize>) -> Option<&[i64]> {
        self.upper.is_empty().then(|| &self.low[range])
    }

    /// The same, to be added to.
    pub(super) fn narrow_mut(&mut self, range: Range<usize>) -> Option<&mut [i64]> {
        self.upper.is_empty().then(|| &mut self.low[range])
    }

    /// Bits of each in memory.
    #[cfg(test)]
    pub(super) fn bits(&self) -> usize {
        [self.low.len() * 64, self.upper.len() * 32, self.highest.len() * 32].into_iter().sum::<usize>() / self.count()
    }

    pub(super) fn get(&self, index: usize) -> i128 {
        let low = self.low[index];
        match (self.upper.get(index), self.highest.get(index)) {
            (Some(upper), Some(highest)) => {
                i128::from(*highest) << 96 | i128::from(*upper as u32) << 64 | i128::from(low as u64)
            }
            (Some(upper), None) => i128::from(*upper) << 64 | i128::from(low as u64),
            (None, _) => low.into(),
        }
    }

    /// Adds to one of the integers, for which there [is room](Integers::make_room).
    pub(super) fn add(&mut self, index: usize, number: i128) {
        let sum = self.get(index) + number;
        self.low[index] = sum as i64;
        if let Some(upper) = self.upper.get_mut(index) {
            *upper = (sum >> 64) as i32;
        }
        if let Some(highest) = self.highest.get_mut(index) {
            *highest = (sum >> 96) as i32;
        }
    }

    /// Adds others, as many, for which there is room.
    pub(super) fn add_all(&mut self, others: &Integers) {
        match (self.upper.is_empty(), others.upper.is_empty()) {
            (true, true) => self.low.iter_mut().zip(&others.low).for_each(|(sum, number)| *sum += number),
            _ => (0..self.count()).for_each(|index| self.add(index, others.get(index))),
        }
    }
}

/// Fills what is empty.
fn fill(words: &mut Vec<i32>, with: impl ExactSizeIterator<Item = i32>) -> Result<(), GradientSumError> {
    let bytes = size_of::<i32>() * with.len();
    words.try_reserve_exact(with.len()).map_err(|_| GradientSumError::Memory { bytes })?;
    words.extend(with);
    Ok(())
}
