//! Steps of merged gradients as docs/arithmetic.md, section 16, defines them: with integers of 128 bits, and no thought of speed.

use super::inputs::inputs_of;
use super::{Definition, Meter, VALUE, Way, cut};
use gradwire::digest::Digest;
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::{LossReduction, Network, Rows, Training};

/// Rows of a block.
pub fn block_rows(network: &Network, batch: u32) -> u32 {
    let least = match network.layers().map(|layer| (layer.inputs + 1) * layer.outputs).sum::<usize>() {
        0..4_096 => 8,
        4_096..16_384 => 16,
        16_384..131_072 => 32,
        _ => 128,
    };
    let wanted = (batch / 128).clamp(least, 128);
    let power = (0..).map(|power| 1 << power).take_while(|power| *power <= wanted).last().unwrap();
    batch.min(power)
}

/// The blocks of a step, (shard, block), in the order of their numbers in it; and the step's epoch.
pub fn blocks_of_step(network: &Network, batch: u32, shards: &[&Rows], step: u64) -> (u64, Vec<(u32, u32)>) {
    let rows = block_rows(network, batch);
    let counts: Vec<u32> = shards.iter().map(|shard| shard.rows().div_ceil(rows)).collect();
    let mut all = Vec::new();
    for block in 0..*counts.iter().max().unwrap() {
        all.extend((0..).zip(&counts).filter(|(_, count)| block < **count).map(|(shard, _)| (shard, block)));
    }
    let steps = (all.len() as u64).div_ceil(u64::from(batch / rows));
    let (epoch, place) = (step / steps, step % steps);
    let bound = |place| (all.len() as u64 * place / steps) as usize;
    let mut blocks = all[bound(place)..bound(place + 1)].to_vec();
    blocks.sort_unstable();
    (epoch, blocks)
}

/// What blocks come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    pub gradient: Vec<i128>,
    pub loss: i128,
    pub rows: u64,
}

/// The whole number nearest to a number times 2^places; of two, the even one.
fn nearest(value: f64, places: i32) -> i128 {
    let scaled = value * 2f64.powi(places);
    let below = scaled.floor();
    let rest = scaled - below;
    let below = below as i128;
    below + i128::from(rest > 0.5 || rest == 0.5 && below % 2 != 0)
}

impl<M: Meter> Definition<M> {
    /// Of these blocks, (shard, block), of an epoch.
    pub fn sum_gradients(
        &mut self,
        training: &Training,
        batch: u32,
        epoch: u64,
        blocks: &[(u32, u32)],
        shards: &[&Rows],
        base: &[f32],
    ) -> Sum {
        let size = block_rows(&training.network, batch) as usize;
        let mut sum = Sum { gradient: vec![0; base.len()], loss: 0, rows: 0 };
        for &(shard, block) in blocks {
            let rows = shards[shard as usize];
            let mut order: Vec<usize> = (0..rows.rows() as usize).collect();
            Stream::new(Purpose::ShuffleEpoch, training.seed, [epoch, shard.into(), 0]).shuffle(&mut order);
            let order = order.chunks(size).nth(block as usize).unwrap();
            let (loss, gradient) =
                self.batch(training, base, (&inputs_of(rows), rows.targets()), order, Way { pass: epoch, shard });
            for (sum, value) in sum.gradient.iter_mut().zip(&gradient) {
                *sum += nearest(f64::from(*value), 40);
            }
            sum.loss += nearest(loss, 20);
            sum.rows += order.len() as u64;
        }
        sum
    }
}

impl Sum {
    /// The object that it is.
    pub fn object(&self, network: &Network) -> Vec<u8> {
        let tensors = network.layers().flat_map(|layer| [vec![layer.inputs, layer.outputs], vec![layer.outputs]]);
        let (mut head, mut elements) = (Vec::new(), Vec::new());
        let (mut count, mut rest) = (1, &self.gradient[..]);
        let tensor = |head: &mut Vec<u8>, element: u8, shape: &[usize]| {
            head.extend([element, 0, shape.len() as u8, 0, 0, 0, 0, 0]);
            shape.iter().for_each(|side| head.extend((*side as u64).to_le_bytes()));
        };
        for shape in tensors {
            let (values, others) = rest.split_at(shape.iter().product());
            let is_wide = values.iter().any(|value| *value > i64::MAX.into() || *value < i64::MIN.into());
            tensor(&mut head, if is_wide { 4 } else { 3 }, &shape);
            for value in values {
                elements.extend(&value.to_le_bytes()[..if is_wide { 16 } else { 8 }]);
            }
            (count, rest) = (count + 1, others);
        }
        tensor(&mut head, 4, &[1]);
        elements.extend(self.loss.to_le_bytes());
        [vec![4, count, 0, 0, 0, 0, 0, 0], head, elements].concat()
    }

    pub fn digest(&self, network: &Network) -> Digest {
        Digest::of(&self.object(network))
    }

    pub fn loss(&self) -> f64 {
        self.loss as f64 * 2f64.powi(-20)
    }

    /// What the outer optimiser takes for the gradient where the median of these blocks is taken, of which each is here by itself.
    pub fn step_median(blocks: &[Sum], reduction: LossReduction) -> Vec<f32> {
        let rows: u64 = blocks.iter().map(|block| block.rows).sum();
        let of_blocks: Vec<Vec<f32>> = blocks.iter().map(|block| block.step_gradient(LossReduction::Mean)).collect();
        let of_parameter = |index: usize| {
            let mut values: Vec<f64> = of_blocks.iter().map(|values| f64::from(values[index])).collect();
            values.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let half = values.len() / 2;
            let middle = match values.len() % 2 {
                1 => values[half],
                _ => (values[half - 1] + values[half]) / 2.0,
            };
            let times = match reduction {
                LossReduction::Mean => 1.0,
                LossReduction::Sum => rows as f64,
            };
            cut((middle * times) as f32, VALUE)
        };
        (0..of_blocks[0].len()).map(of_parameter).collect()
    }

    /// What the outer optimiser takes for the gradient.
    pub fn step_gradient(&self, reduction: LossReduction) -> Vec<f32> {
        let of_value = |sum: &i128| {
            let units = *sum as f64 * 2f64.powi(-40);
            cut(
                match reduction {
                    LossReduction::Mean => units / self.rows as f64,
                    LossReduction::Sum => units,
                } as f32,
                VALUE,
            )
        };
        self.gradient.iter().map(of_value).collect()
    }
}
