//! `bitacora serve`: one node, until it is asked to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exit::Exit;
use super::failure::Failure;
use super::output;
use crate::config::load::{self, ServeArgs};
use crate::node::{self, NodeError};
use crate::os::{Os, process, signal};
use crate::telemetry::traces::{Guard, Settings};
use crate::telemetry::{Metrics, Traces, diagnostics};
use crate::types::NodeName;

/// How long the last spans may take on their way to the collector.
const TRACES_DEADLINE: Duration = Duration::from_secs(2);

/// `bitacora serve`: the options of a node, and how it ends.
#[derive(Debug, clap::Args)]
pub struct ServeCommand {
    #[command(flatten)]
    options: ServeArgs,
    /// End when the process with this id ends; `bitacora up` starts its nodes so
    #[arg(long, value_name = "PID", hide = true)]
    exit_with_parent: Option<u32>,
}

/// Runs a node in the foreground.
pub async fn serve(command: ServeCommand) -> Result<Exit, Failure> {
    if let Some(parent) = command.exit_with_parent {
        let tied = process::end_with_parent(parent);
        tied.map_err(|error| Failure::machine("cannot tie this node to its parent", error))?;
    }
    let config = match load::load(&command.options, load::environment()) {
        Ok(config) => config,
        Err(wrong) => {
            output::note(&format!("bitacora: {wrong}"));
            return Ok(Exit::Usage);
        }
    };
    // More connections than the default limit of 1024 files allows.
    let _ = process::raise_open_files();
    let metrics = Arc::new(Metrics::new());
    let guard = diagnostics::start(&config.telemetry, Some(&config.node.name), &metrics);
    let _guard = match guard {
        Ok(guard) => guard,
        Err(error) => {
            output::note(&format!("bitacora: {error}"));
            return Ok(Exit::Usage);
        }
    };
    let os = Os::system();
    let (traces, unsent) = trace(&config.node.name, &os, &metrics);
    let stop = async {
        match signal::stop_requested().await {
            Ok(asked) => tracing::info!(event = "signal", ?asked, "asked to stop"),
            Err(error) => {
                // Without signals the node could not be stopped in order; it runs on all the same.
                tracing::error!(event = "signal", %error, "cannot wait for signals");
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = node::run(config, os, (metrics, traces), stop).await;
    // Nothing else runs any more: waiting here holds up nobody.
    unsent.close(TRACES_DEADLINE);
    match ended {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Ok(fail(&error)),
    }
}

/// Traces as the standard variables say; without them, none. They never keep a node from starting.
fn trace(node: &NodeName, os: &Os, metrics: &Metrics) -> (Traces, Guard) {
    let environment: BTreeMap<_, _> = load::environment().into_iter().collect();
    let settings = Settings::read(|name| environment.get(name).cloned());
    for complaint in &settings.complaints {
        tracing::warn!(event = "traces_config", "{complaint}");
    }
    let counters = (metrics.trace_spans_exported.clone(), metrics.trace_spans_dropped.clone());
    let machine = (os.clock.clone(), os.random.clone());
    match Traces::start(&settings, node, machine, counters) {
        Ok(started) => started,
        Err(error) => {
            tracing::warn!(event = "traces_config", %error, "traces are off");
            (Traces::off(), Guard::default())
        }
    }
}

fn fail(error: &NodeError) -> Exit {
    tracing::error!(event = "node_failed", %error, "the node cannot go on");
    if error.is_damage() {
        tracing::error!(
            event = "damaged",
            "this node's copy is damaged; the other nodes have the data. Keep the directory for an \
             examination with `bitacora check`, and do not start this node from it again"
        );
        return Exit::Damaged;
    }
    Exit::Error
}
