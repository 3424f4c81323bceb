//! Real nodes for the tests of this folder: processes, ports, a small HTTP client, a load, and a
//! judge of histories.
//!
//! # Rules
//! - Tests wait for conditions ([`eventually`]), never for time.
//! - Only 127.0.0.1; only processes that the test started, by their id.
//! - Nothing is tried again silently: what a request got is what the test sees.

#![allow(
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::missing_panics_doc,
    unreachable_pub,
    missing_docs,
    reason = "each test binary uses its part; a test stops at the first surprise; real time"
)]

pub mod cluster;
pub mod collector;
pub mod history;
pub mod http;
pub mod load;
pub mod ports;
pub mod process;

use std::time::{Duration, Instant};

/// The program under test.
pub const BITACORA: &str = env!("CARGO_BIN_EXE_bitacora");
/// How long anything may take that should happen soon; generous, for machines that are busy.
pub const SOON: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, and panics when it does not until `within` has passed.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks again and again for `during` and panics as soon as `holds` is false: for what must not
/// happen.
pub fn throughout(what: &str, during: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + during;
    while Instant::now() < until {
        assert!(holds(), "did not hold: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A number from the environment, for suites that have a long version.
pub fn count_from_environment(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
