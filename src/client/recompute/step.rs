//! What a step starts from and comes to, when it is computed anew. Does not know how.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::client::conversation::Object;
use crate::digest::Digest;
use crate::model::conformance::Difference;
use crate::model::{Network, OuterState, Watch};
use crate::wire::object::{self, ObjectKind};

/// What a line of the ledger must tell of a task, or of a step of merged gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::client) struct Computed {
    /// The digest of the task's update, or of the step's sum, as an object; zeros of a step that merged nothing.
    pub(in crate::client) object: Digest,
    pub(in crate::client) loss: f64,
}

/// What a step starts from.
#[derive(Clone)]
pub(in crate::client) struct Base {
    /// The weights, as an object.
    pub(in crate::client) weights: Object,
    /// What the outer optimiser remembers at them, where that is known.
    pub(in crate::client) outer: Option<Arc<OuterState>>,
}

/// A step, or some tasks of one.
pub(in crate::client) struct Recomputed {
    /// By their places among the step's lines of the ledger, what came of each, or why nothing did.
    pub(in crate::client) lines: Vec<(u32, Result<Computed, String>)>,
    /// What the next step starts from, if that was asked for, the outer optimiser's state is known and every task came to
    /// something.
    pub(in crate::client) merged: Option<Result<Base, String>>,
}

/// Why there is no step.
#[derive(Debug)]
pub(in crate::client) enum Stopped {
    /// From the keyboard.
    Interrupted,
    /// The weights that it starts from are none.
    Base(String),
    /// A thread computes otherwise than the definition says.
    Arithmetic(Difference),
}

/// The weights that a step starts from.
pub(super) fn weights_of<'a>(network: &Network, base: &'a Base) -> Result<Cow<'a, [f32]>, Stopped> {
    let weights = object::decode_parameters(ObjectKind::Weights, network, &base.weights);
    weights.map_err(|error| Stopped::Base(error.to_string()))
}

/// Trains unless somebody has had enough.
pub(super) struct Unless<'a>(pub(super) &'a Receiver<()>);

impl Watch for Unless<'_> {
    fn batch_done(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if self.0.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
