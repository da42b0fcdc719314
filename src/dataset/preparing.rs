//! From a data set to a job's data: which rows train, what is learned of them, and the rows as inputs and targets. Owns the order
//! of these; does not know how any of them is done.

use std::borrow::Cow;

use super::split::Split;
use super::target::TargetColumn;
use super::{Block, Dataset, DatasetError, Preparation, Prepared, Scaling, Schema, Target, ValidationSplit, split};

/// What is known before any row becomes inputs.
struct Learned {
    split: Split,
    target: Target,
    schema: Schema,
}

impl Dataset {
    /// What training makes of each column, and sentences for the person, by what `asked` says of rows and numbers; no row becomes
    /// inputs.
    pub fn schema(
        &self,
        split: &ValidationSplit,
        test: Option<&ValidationSplit>,
        scaling: Scaling,
        seed: u64,
    ) -> Result<(Schema, Vec<String>), DatasetError> {
        let Learned { split, schema, .. } = self.learned(split, test, scaling, seed)?;
        let warnings = self.warnings(&split)?;
        Ok((schema, warnings))
    }

    /// A job's data: splits, learns by the training rows, deals out.
    pub fn prepare(&self, asked: &Preparation) -> Result<Prepared, DatasetError> {
        let Learned { split, target, schema } =
            self.learned(&asked.split, asked.test.as_ref(), asked.scaling, asked.seed)?;
        let layout = schema.input_layout();
        let strata = self.strata();
        let dealt = asked.sharding.deal(&split.training, &strata, (asked.shards, layout.row_bytes()), asked.seed);
        let dealt = dealt.map_err(|fault| self.error(fault, None))?;
        let rows: Vec<&[u32]> = dealt.iter().map(Vec::as_slice).chain([&*split.validation, &*split.test]).collect();
        let mut inputs = self.inputs(&rows, &schema, &layout)?.into_iter();
        let mut block = |rows: &[u32]| {
            let written = inputs.next().unwrap_or_default();
            let (values, indices) = (written.values, written.indices);
            Ok(Block { layout: layout.clone(), values, indices, targets: self.targets(rows, &target)? })
        };
        let shards = dealt.iter().map(|rows| block(rows)).collect::<Result<_, _>>()?;
        let validation = block(&split.validation)?;
        let test = if split.test.is_empty() { None } else { Some(block(&split.test)?) };
        let (features, feature_names, scaling) = (schema.width(), schema.input_names(), schema.scales());
        let warnings = self.warnings(&split)?;
        Ok(Prepared { features, target, feature_names, scaling, schema, shards, validation, test, warnings })
    }

    fn learned(
        &self,
        split: &ValidationSplit,
        test: Option<&ValidationSplit>,
        scaling: Scaling,
        seed: u64,
    ) -> Result<Learned, DatasetError> {
        let error = |fault| self.error(fault, None);
        if self.table.features.is_empty() {
            return Err(error(self.no_features()));
        }
        let classes = match &self.table.target {
            TargetColumn::Classes(classes) => classes.names.len(),
            TargetColumn::Values { .. } => 1,
        };
        let strata = self.strata();
        let (validates, groups) = (self.table.validates.as_deref(), self.table.groups.as_deref());
        let rows = split::Rows { strata: &strata, classes, validates, tests_from: self.table.tests_from, groups };
        let split = rows.divide(split, test, seed).map_err(error)?;
        self.check_groups(&split)?;
        let target = self.target(&split)?;
        let schema = self.learn(&split.training, scaling).map_err(error)?;
        let features = schema.width();
        if features > self.limits.features {
            return Err(error(self.too_wide(&schema, features)));
        }
        Ok(Learned { split, target, schema })
    }

    /// What rows are dealt out by: each one's class, where there are some.
    fn strata(&self) -> Cow<'_, [u32]> {
        match &self.table.target {
            TargetColumn::Classes(classes) => Cow::Borrowed(&classes.labels),
            TargetColumn::Values { .. } => Cow::Owned(vec![0; self.rows()]),
        }
    }
}
