//! A sum's integers as objects hold them: read run by run, wherever their parts end, and checked. Does not know where the parts
//! come from, nor what is done with integers.

use super::error::GradientSumError;

/// Eight bytes of an integer as objects hold it: all of a narrow one, or half of a wide one, the lower half first.
pub type LittleEndianWord = [u8; 8];

/// Consecutive integers of one width, as bytes hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerRun {
    /// How many.
    pub count: usize,
    /// Whether each has 128 bits, and not 64.
    pub is_wide: bool,
}

/// Goes through the words of runs of integers, part by part, wherever parts end.
pub(super) struct RunReader<'a> {
    runs: &'a [IntegerRun],
    /// Integers of the first run that have been read.
    done: usize,
    /// The index of the next integer.
    index: usize,
    /// The lower half of an integer whose upper half begins the next part.
    half: Option<LittleEndianWord>,
}

/// Takes in integers.
pub(super) trait TakeIntegers {
    fn narrow(&mut self, start: usize, integers: &[LittleEndianWord]);
    fn wide(&mut self, index: usize, integer: i128) -> Result<(), GradientSumError>;
    fn wide_run_ends(&mut self, next: usize, is_loss: bool) -> Result<(), GradientSumError>;
}

impl<'a> RunReader<'a> {
    pub(super) fn new(runs: &'a [IntegerRun]) -> RunReader<'a> {
        RunReader { runs, done: 0, index: 0, half: None }
    }

    pub(super) fn read(
        &mut self,
        mut words: &[LittleEndianWord],
        take: &mut impl TakeIntegers,
    ) -> Result<(), GradientSumError> {
        while !words.is_empty() {
            let [run, later @ ..] = self.runs else { return Ok(()) };
            let left = run.count - self.done;
            if run.is_wide && left > 0 {
                let [word, rest @ ..] = words else { return Ok(()) };
                words = rest;
                match self.half.take() {
                    None => self.half = Some(*word),
                    Some(low) => {
                        let low = i128::from(u64::from_le_bytes(low));
                        take.wide(self.index, i128::from(i64::from_le_bytes(*word)) << 64 | low)?;
                        (self.done, self.index) = (self.done + 1, self.index + 1);
                    }
                }
            } else {
                let (now, rest) = words.split_at(left.min(words.len()));
                words = rest;
                take.narrow(self.index, now);
                (self.done, self.index) = (self.done + now.len(), self.index + now.len());
            }
            if self.done == run.count {
                if run.is_wide {
                    take.wide_run_ends(self.index, later.is_empty())?;
                }
                (self.runs, self.done) = (later, 0);
            }
        }
        Ok(())
    }
}

/// Whether integers are the sum of some blocks, each in the width that it needs.
pub(super) struct Check {
    /// Where magnitudes begin that the blocks cannot come to.
    limit: u128,
    most: u128,
    /// The same of the wide integers of this run.
    run_most: u128,
    /// Whether no integer of this run has more than 64 bits.
    fits_narrow: bool,
}

impl Check {
    pub(super) fn new(limit: u128) -> Check {
        Check { limit, most: 0, run_most: 0, fits_narrow: true }
    }

    /// No parameter's integer so far is larger in magnitude.
    pub(super) fn most(&self) -> u128 {
        self.most
    }
}

impl TakeIntegers for Check {
    fn narrow(&mut self, _start: usize, integers: &[LittleEndianWord]) {
        // All bits that any has, and a one for two's complement.
        let bits =
            integers.iter().map(|word| i64::from_le_bytes(*word)).fold(0, |all, units| all | units ^ units >> 63);
        self.most = self.most.max(bits as u128 + 1);
    }

    fn wide(&mut self, index: usize, integer: i128) -> Result<(), GradientSumError> {
        let magnitude = integer.unsigned_abs();
        if magnitude >= self.limit {
            return Err(GradientSumError::Magnitude { index });
        }
        self.run_most = self.run_most.max(magnitude);
        self.fits_narrow &= i64::try_from(integer).is_ok();
        Ok(())
    }

    fn wide_run_ends(&mut self, next: usize, is_loss: bool) -> Result<(), GradientSumError> {
        if is_loss {
            return Ok(());
        }
        if std::mem::replace(&mut self.fits_narrow, true) {
            return Err(GradientSumError::Width { before: next });
        }
        self.most = self.most.max(std::mem::take(&mut self.run_most));
        Ok(())
    }
}
