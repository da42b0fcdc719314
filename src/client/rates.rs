//! How a job's learning rates go over its rounds, from what is asked for in rounds to what the specification says in steps. Owns what
//! is usual; does not know how high rates are.

use super::options::{Options, RateOptions, ScheduleName};
use crate::job::Specification;
use crate::model::recipe::RecipeError;
use crate::model::{Outer, OuterOptimiser, Recipe, Schedule, decay_of_step};

/// What is left of a rate that falls exponentially from round to round, where nothing is asked for.
const DECAY: f32 = Recipe::DEFAULT.eta_decay;

/// What a rate does, in steps.
#[derive(Clone, Copy)]
struct Course {
    schedule: Schedule,
    decay: f32,
    warmup: u32,
}

/// The options of a rate, by their names.
struct Names {
    schedule: &'static str,
    decay: &'static str,
    warmup: &'static str,
}

const OF_RECIPE: Names = Names { schedule: "--schedule", decay: "--eta-decay", warmup: "--warmup" };
const OF_OUTER: Names = Names { schedule: "--outer-schedule", decay: "--outer-eta-decay", warmup: "--outer-warmup" };

/// The job whose rates go as they are asked to; as the specification has them where they are not.
pub(super) fn with_rates(specification: Specification, options: &Options) -> Result<Specification, String> {
    let Specification { mut training, mut outer, .. } = specification.clone();
    let recipe = &mut training.recipe;
    if recipe.merges_gradients() {
        refuse_any(&options.outer.rate, |wrong, right| {
            format!("where gradients are merged there is one learning rate: {right} instead of {wrong}")
        })?;
        outer = outer_with(outer, course(&options.rate, of_outer(&outer), &specification, &OF_RECIPE)?);
    } else {
        let usual = Course { schedule: recipe.schedule, decay: recipe.eta_decay, warmup: 0 };
        let asked = course(&options.rate, usual, &specification, &OF_RECIPE)?;
        (recipe.schedule, recipe.eta_decay, recipe.warmup) = (asked.schedule, asked.decay, asked.warmup);
        let falls = asked.schedule != Schedule::Constant;
        let steps = u32::try_from(specification.steps()).unwrap_or(u32::MAX);
        recipe.schedule_steps = if falls { steps } else { Recipe::DEFAULT.schedule_steps };
        if outer.optimiser == OuterOptimiser::Average {
            refuse_any(&options.outer.rate, |wrong, _| {
                format!("{wrong} belongs to an outer optimiser: --outer momentum, nesterov or adam names one")
            })?;
        } else {
            outer = outer_with(outer, course(&options.outer.rate, of_outer(&outer), &specification, &OF_OUTER)?);
        }
    }
    training.recipe.checked().map_err(|error| error.to_string())?;
    let outer = outer.checked().map_err(|error| error.to_string())?;
    Ok(Specification { training, outer, ..specification })
}

fn of_outer(outer: &Outer) -> Course {
    Course { schedule: outer.schedule, decay: outer.eta_decay, warmup: outer.warmup }
}

fn outer_with(outer: Outer, course: Course) -> Outer {
    Outer { schedule: course.schedule, eta_decay: course.decay, warmup: course.warmup, ..outer }
}

/// An error about the first option of the outer rate that is given, beside its kin of the recipe's.
fn refuse_any(asked: &RateOptions, why: impl Fn(&str, &str) -> String) -> Result<(), String> {
    let given = [
        (asked.schedule.is_some(), OF_OUTER.schedule, OF_RECIPE.schedule),
        (asked.decay.is_some(), OF_OUTER.decay, OF_RECIPE.decay),
        (asked.warmup.is_some(), OF_OUTER.warmup, OF_RECIPE.warmup),
    ];
    match given.iter().find(|(is_given, ..)| *is_given) {
        Some((_, wrong, right)) => Err(why(wrong, right)),
        None => Ok(()),
    }
}

fn course(asked: &RateOptions, usual: Course, job: &Specification, names: &Names) -> Result<Course, String> {
    let is_usual_exponential = usual.schedule == Schedule::Constant && usual.decay != 1.0;
    let is_exponential = match asked.schedule {
        Some(schedule) => schedule == ScheduleName::Exponential,
        None => is_usual_exponential,
    };
    if asked.decay.is_some() && !is_exponential {
        return Err(format!("{} belongs to {} exponential", names.decay, names.schedule));
    }
    let of_round = asked.decay.unwrap_or(DECAY);
    if !(of_round > 0.0 && of_round <= 1.0) {
        return Err(RecipeError::EtaDecay { got: of_round }.to_string());
    }
    let decay = if is_exponential { decay_of_step(of_round, job.round_steps()) } else { 1.0 };
    let schedule = match asked.schedule {
        Some(ScheduleName::Of(schedule)) => schedule,
        Some(ScheduleName::Exponential) => Schedule::Constant,
        None => usual.schedule,
    };
    let warmup = asked.warmup.unwrap_or(0);
    if warmup >= job.rounds {
        return Err(format!(
            "{} {warmup} has the learning rate rise in all of the job's {} rounds: give fewer, or more --rounds",
            names.warmup, job.rounds
        ));
    }
    Ok(Course { schedule, decay, warmup: warmup.saturating_mul(job.round_steps()) })
}
