//! What a node says about itself: metrics and diagnostics.
//!
//! Used by every module that has something to report; handles are passed down, never global, so
//! that two nodes can live in one process.
//!
//! # Not here
//! Routes that serve any of this (`api`), what a dashboard shows (`grafana/`).

pub mod diagnostics;
pub mod endpoints;
pub mod exemplars;
mod groups;
pub mod handles;
mod labels;
pub mod metrics;
mod peers;
mod recorder;
pub mod traces;

pub use handles::{Metrics, PeerMetrics};
pub use traces::{Span, TraceContext, Traces};
