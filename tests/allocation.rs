//! What training takes from the system: as much as it says, once.
//!
//! One test alone, because the counters are the process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use gradwire::job::Training;
use gradwire::model::train::{Unwatched, working_bytes};
use gradwire::model::{
    ARITHMETIC, BatchSize, Initialisation, Kernel, Network, Optimiser, Recipe, Rows, Trainer, initialise,
};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);
static HELD_MOST: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let held = HELD.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        HELD_MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_trainer_takes_what_it_says_once_and_then_only_room_for_each_update() {
    let batch = |rows| BatchSize::Rows(NonZeroU32::new(rows).unwrap());
    let tasks: [(&[u32], u32, BatchSize, Optimiser); 5] = [
        (&[16, 20, 26], 1500, BatchSize::Full, Optimiser::Sgd),
        (&[16, 128, 26], 700, batch(32), Optimiser::Adam),
        (&[100, 70, 90, 10], 900, batch(600), Optimiser::Adam),
        (&[5, 3000, 2], 3, batch(9), Optimiser::Sgd),
        (&[2000, 2], 300, BatchSize::Full, Optimiser::Sgd),
    ];
    for (sizes, count, batch, optimiser) in tasks {
        let (features, classes) = (sizes[0], sizes[sizes.len() - 1]);
        let network = Network::new(features, &sizes[1..sizes.len() - 1], classes).unwrap();
        let recipe = Recipe { batch, optimiser, epochs: 2, ..Recipe::DEFAULT };
        let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: 1 };
        let base = initialise(&training.network, Initialisation::He, 1);
        let rows =
            Rows::new(features, vec![0.5; (features * count) as usize], vec![1; count as usize], classes).unwrap();
        let mut trainer = Trainer::new(Kernel::best());
        let held = HELD.load(Ordering::Relaxed);
        HELD_MOST.store(held, Ordering::Relaxed);
        let first = trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).unwrap();
        let taken = HELD_MOST.load(Ordering::Relaxed) - held;
        let said = working_bytes(&training, count);
        // Lists of lists cost a few bytes beside.
        assert!(taken <= said + 2048 && taken + 2048 >= said, "{sizes:?}: took {taken} bytes, said {said}");
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let second = trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).unwrap();
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1, "{sizes:?}");
        assert_eq!(first, second);
    }
}
