//! bitacora: a replicated logbook and key-value store that shows what happened to every write.
//!
//! ```text
//!  client ── HTTP ──►  api ──►  store ──►  consensus ──►  peer ── HTTP ──► other nodes
//!                       ▲         ▲          │      │       (peer ► consensus ► wal ► state)
//!                       │         │          ▼      ▼
//!                       │         │         wal    state
//!                       └─ response ◄── outcome ◄───┘
//! ```
//! `ARCHITECTURE.md` walks one write through it.

// In the order in which a request flows, what everything stands on last.
pub mod api;
pub mod cli;
pub mod command;
pub mod config;
pub mod consensus;
pub mod node;
pub mod os;
pub mod peer;
pub mod state;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod types;
pub mod wal;
