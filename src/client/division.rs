//! Which rows validate and test, and how numbers become inputs, as asked for or as the recipe has it. Owns what a recipe means
//! for a data set's rows; does not know what is trained on them.

use super::options::{Options, RecipeName, TestRows};
use crate::cli::{Exit, Failure};
use crate::dataset::{Dataset, DatasetError, Fault, ReadOptions, Scaling, Task, ValidationSplit};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division<'a> {
    pub(super) recipe: RecipeName,
    pub(super) validate_split: Option<ValidationSplit>,
    pub(super) test: Option<&'a TestRows>,
    pub(super) scale: Option<Scaling>,
}

impl<'a> Division<'a> {
    /// What is asked for of a job.
    pub(super) fn of(options: &'a Options) -> Division<'a> {
        let Options { recipe, validate_split, scale, .. } = *options;
        Division { recipe, validate_split, test: options.test.as_ref(), scale }
    }

    /// How files are read, with the file whose rows test.
    pub(super) fn reading(&self, read: &ReadOptions) -> ReadOptions {
        let mut read = read.clone();
        if let Some(TestRows::File(path)) = self.test {
            read.test = Some(path.clone());
        }
        read
    }

    /// That the data are for this recipe, and say nothing else of which rows validate.
    pub(super) fn check(&self, data: &Dataset) -> Result<(), Failure> {
        if self.validate_split.is_some() && data.says_which_validate() {
            let error = DatasetError { file: data.name().to_owned(), fault: Fault::TwoSplits };
            return Err(Failure::new(Exit::Usage, error));
        }
        if (data.task(), self.recipe) == (Task::Regress, RecipeName::Classic) {
            let text = "the recipe classic tells classes apart: leave out --recipe classic, or --task regress";
            return Err(Failure::new(Exit::Usage, text));
        }
        Ok(())
    }

    /// Which rows validate.
    pub(super) fn validation(&self, data: &Dataset) -> ValidationSplit {
        self.validate_split.unwrap_or_else(|| match self.recipe {
            RecipeName::Default => data.default_split(),
            RecipeName::Classic => data.classic_split(),
        })
    }

    /// Which of the data's own rows test.
    pub(super) fn testing(&self, data: &Dataset) -> Option<ValidationSplit> {
        match (self.test, self.recipe) {
            (Some(TestRows::None | TestRows::File(_)), _) | (None, RecipeName::Classic) => None,
            (Some(TestRows::Split(split)), _) => Some(*split),
            (None, RecipeName::Default) => data.default_test(self.validate_split.is_some()),
        }
    }

    /// How numbers become inputs.
    pub(super) fn scaling(&self) -> Scaling {
        self.scale.unwrap_or(match self.recipe {
            RecipeName::Default => Scaling::Usual,
            RecipeName::Classic => Scaling::None,
        })
    }

    /// Where rows are divided in another way than usual, in sentences.
    pub(super) fn remarks(&self, data: &Dataset) -> Vec<String> {
        let is_divided = self.validate_split.is_some();
        let is_usual = self.test.is_none() && self.recipe == RecipeName::Default;
        let no_test = if is_usual { data.no_usual_test(is_divided) } else { None };
        let more = if is_divided { None } else { data.more_than_usual_validate() };
        no_test.into_iter().chain(more).chain(data.groups_without_a_value()).collect()
    }
}
