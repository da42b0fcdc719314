//! What the journal warns of, as a test hears it.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What warns, of this thread.
struct Heard;

impl Log for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        SAID.with_borrow_mut(|said| said.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// From now on warnings are remembered, each by its thread; those from before are not.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if log::set_logger(&Heard).is_ok() {
            log::set_max_level(LevelFilter::Warn);
        }
    });
    SAID.take();
}

/// What this thread has warned of since the last time.
pub(super) fn said() -> Vec<String> {
    SAID.take()
}
