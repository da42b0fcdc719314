//! What the tasks of a link are trained by: decoded once, when a TRAIN carries it, and shared by all tasks that it holds for.
//! Owns the one specification that a link remembers, and what is made of it for every task; does not know tasks' lives.

use std::sync::Arc;

use crate::digest::Digest;
use crate::job::JobId;
use crate::model::Training;
use crate::wire::message::{Error, Train};
use crate::wire::{ErrorCode, MessageType, specification};

/// What tasks of a job are trained by.
#[derive(Debug)]
pub(super) struct Specified {
    pub(super) training: Training,
    /// Of its fields as they travel: a part of every task's identity.
    pub(super) digest: Digest,
}

impl Specified {
    pub(super) fn new(training: Training) -> Specified {
        Specified { digest: Digest::of(&specification::encode_training(&training)), training }
    }
}

/// The specification that a link has carried last, and the job that it is of. One, however many jobs a coordinator has: a
/// node's memory is not for coordinators to fill.
#[derive(Debug, Default)]
pub(super) struct LastSpecified(Option<(JobId, Arc<Specified>)>);

/// Why there is nothing to train a task by.
#[derive(Debug, PartialEq)]
pub(super) enum Unspecified {
    /// The request is refused with this.
    Request(Error),
    /// The connection ends with this.
    Connection(Error),
}

impl LastSpecified {
    /// What a task is trained by: what its TRAIN carries, which is remembered whatever becomes of the task, or else what is
    /// remembered of its job.
    pub(super) fn of(&mut self, train: &mut Train) -> Result<Arc<Specified>, Unspecified> {
        let job = train.name.task.job;
        if let Some(training) = train.training.take() {
            let specified = Arc::new(Specified::new(training));
            self.0 = Some((job, specified.clone()));
            return Ok(specified);
        }
        let remembered = match &self.0 {
            Some((of, specified)) if *of == job => specified,
            Some((of, _)) => return Err(missing(format!("the last one on this connection was of job {of}"))),
            None => return Err(missing("none has come on this connection".to_owned())),
        };
        train.check_rows(&remembered.training).map_err(|malformed| {
            Unspecified::Connection(Error::new(ErrorCode::Malformed, MessageType::Train as u8, malformed.to_string()))
        })?;
        Ok(remembered.clone())
    }
}

/// The refusal of a TRAIN without a specification: 0 bytes of it, where 1 is the least.
fn missing(why: String) -> Unspecified {
    let text = format!("the task comes without a specification, and {why}: send it with the job's");
    Unspecified::Request(Error::new(ErrorCode::Specification, MessageType::Train as u8, text).with_numbers(0, 1))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::job::{Attempt, TaskId};
    use crate::model::{ARITHMETIC, BatchSize, BlockRange, Network, Recipe};
    use crate::wire::message::{RowsSource, ShippedRange};

    fn training(seed: u64) -> Training {
        let network = Network::new(1, &[], 2).unwrap();
        Training { arithmetic: ARITHMETIC, network, recipe: Recipe::DEFAULT, seed, class_weights: Vec::new() }
    }

    fn train(job: u128, training: Option<Training>) -> Train {
        let task = TaskId { job: JobId(job), step: 0, shard: 0 };
        let (name, digest) = (Attempt { task, attempt: 1, token: 1 }, Digest([1; 32]));
        Train { name, may_reject: false, base: digest, rows: RowsSource::Shipped(digest), training }
    }

    fn refused(last: &mut LastSpecified, mut train: Train) -> Error {
        match last.of(&mut train) {
            Err(Unspecified::Request(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_specification_holds_for_the_tasks_of_its_job_until_another_comes() {
        let mut last = LastSpecified::default();
        let carried = last.of(&mut train(1, Some(training(5)))).unwrap();
        assert_eq!(carried.training, training(5));
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&last.of(&mut train(1, None)).unwrap(), &carried), "decoded once, and shared");
        }
        last.of(&mut train(2, Some(training(6)))).unwrap();
        assert_eq!(last.of(&mut train(2, None)).unwrap().training, training(6));
        let error = refused(&mut last, train(1, None));
        assert!(error.text.contains(&JobId(2).to_string()), "one is remembered, and no more: {error}");
    }

    #[test]
    fn a_task_without_a_specification_is_refused_where_none_of_its_job_has_come_last() {
        let mut last = LastSpecified::default();
        for _ in 0..2 {
            let error = refused(&mut last, train(1, None));
            assert_eq!((error.code, error.got, error.allowed), (ErrorCode::Specification, 0, 1), "{error}");
            assert!(!error.retry, "{error}");
        }
        // What is refused so takes nothing away.
        last.of(&mut train(1, Some(training(5)))).unwrap();
        refused(&mut last, train(2, None));
        assert_eq!(last.of(&mut train(1, None)).unwrap().training, training(5));
    }

    #[test]
    fn rows_that_do_not_fit_the_remembered_specification_end_the_connection() {
        let range = ShippedRange { blocks: BlockRange { shard: 0, first: 0, count: 1 }, shard: Digest([2; 32]) };
        let blocks = RowsSource::Blocks { epoch: 0, ranges: vec![range] };
        let batch = BatchSize::Rows(NonZeroU32::new(8).unwrap());
        let recipe = Recipe { batch, epochs: 1, local_steps: Some(1), stop_loss_change: None, ..Recipe::DEFAULT };
        let merging = Training { recipe, ..training(5) };
        let of_blocks = |training| Train { rows: blocks.clone(), ..train(1, training) };
        for (carries, wrong) in
            [(train(1, Some(training(5))), of_blocks(None)), (of_blocks(Some(merging)), train(1, None))]
        {
            let mut last = LastSpecified::default();
            last.of(&mut carries.clone()).unwrap();
            match last.of(&mut wrong.clone()) {
                Err(Unspecified::Connection(error)) => assert_eq!(error.code, ErrorCode::Malformed, "{error}"),
                other => panic!("{other:?}"),
            }
            assert!(last.of(&mut Train { training: None, ..carries }).is_ok());
        }
    }
}
