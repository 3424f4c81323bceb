//! The node processes that `up` started: start, notice their end, start again, stop.
//!
//! Each runs in a process group of its own, so that Ctrl-C in the terminal reaches only `up`, and
//! ends with `up` however that ends (`--exit-with-parent`).
//!
//! # Not here
//! What the nodes say ([`super::watch`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::os::disk::{Disk, Open, SystemDisk, open_append, read_exact_at};
use crate::os::process::{Ask, send};

use super::plan::{Plan, is_for_nodes};

/// How long a node may take to end after SIGTERM: its drain, its hand-over and some more.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// A process that lived shorter died quickly.
const QUICK: Duration = Duration::from_secs(10);
/// The first wait before a node is started again; doubles with each quick death.
const RESTART_AFTER: Duration = Duration::from_secs(3);
/// After so many quick deaths in a row a node is left alone.
const QUICK_DEATHS_MAX: u32 = 5;
/// Bytes of a log that are looked at for its last lines.
const TAIL_BYTES: u64 = 8 * 1024;
/// Lines of a log that are shown.
const TAIL_LINES: usize = 10;

/// What is done about a process that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    RestartAfter(Duration),
    /// The user does not want it started again.
    Leave,
    /// It would not help to start it again.
    Hopeless,
}

/// Decides whether a node is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Patience {
    quick_deaths: u32,
}

impl Patience {
    fn after_death(&mut self, lived: Duration, code: Option<i32>, restarts: bool) -> Next {
        self.quick_deaths = if lived < QUICK { self.quick_deaths.saturating_add(1) } else { 0 };
        // Neither a wrong command line nor a damaged directory gets better by itself.
        let hopeless = [Exit::Usage, Exit::Damaged].map(|exit| i32::from(exit.code()));
        if self.quick_deaths >= QUICK_DEATHS_MAX || code.is_some_and(|c| hopeless.contains(&c)) {
            return Next::Hopeless;
        }
        if !restarts {
            return Next::Leave;
        }
        let doubled = self.quick_deaths.saturating_sub(1).min(QUICK_DEATHS_MAX);
        Next::RestartAfter(RESTART_AFTER.saturating_mul(2_u32.saturating_pow(doubled)))
    }
}

/// One node's process, as it stands.
enum Process {
    Running { child: Child, since: Instant },
    Waiting { until: Instant },
    Left,
}

/// One node.
struct Node {
    name: String,
    arguments: Vec<OsString>,
    log: PathBuf,
    process: Process,
    patience: Patience,
}

/// All nodes that `up` is responsible for.
pub struct Children {
    program: PathBuf,
    nodes: Vec<Node>,
    restarts: bool,
}

impl Children {
    /// Starts every node of the plan.
    pub fn start(plan: &Plan, restarts: bool) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::machine("cannot find this program's own file", error))?;
        let parent = std::process::id();
        let mut children = Self { program, nodes: Vec::new(), restarts };
        for planned in &plan.nodes {
            let arguments = plan.arguments(planned, parent);
            let log = plan.log_file(planned);
            let child = spawn(&children.program, &arguments, &log)?;
            children.nodes.push(Node {
                name: planned.name.clone(),
                arguments,
                log,
                process: Process::Running { child, since: Instant::now() },
                patience: Patience::default(),
            });
        }
        Ok(children)
    }

    /// The process of a node, if it runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        let node = self.nodes.iter().find(|node| node.name == name)?;
        match &node.process {
            Process::Running { child, .. } => child.id(),
            Process::Waiting { .. } | Process::Left => None,
        }
    }

    /// Whether any node runs or will run again.
    pub fn any_left(&self) -> bool {
        self.nodes.iter().any(|node| !matches!(node.process, Process::Left))
    }

    /// Notices processes that ended and starts those again whose time has come. Answers what to
    /// tell about it.
    pub fn look_after(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for node in &mut self.nodes {
            told.extend(node.notice_end(self.restarts));
            told.extend(node.start_again(&self.program));
        }
        told
    }

    /// Asks all to end and waits; who takes too long, or when `hurry` comes first, is killed.
    pub async fn stop(&mut self, hurry: impl Future<Output = ()>) -> Vec<String> {
        let mut running: Vec<(&str, &mut Child)> = Vec::new();
        for node in &mut self.nodes {
            if let Process::Running { child, .. } = &mut node.process {
                running.push((&node.name, child));
            }
        }
        for (_, child) in &running {
            // It may have ended meanwhile; then there is nothing to ask.
            let _ = child.id().map(|pid| send(pid, Ask::Terminate));
        }
        let all_ended = join_all(running.iter_mut().map(|(_, child)| child.wait()));
        // Every branch is cancel-safe: `wait` may be called again, the others hold nothing.
        tokio::select! {
            _ = all_ended => return Vec::new(),
            () = tokio::time::sleep(STOP_PATIENCE) => {}
            () = hurry => {}
        }
        let mut told = Vec::new();
        for (name, child) in &mut running {
            if let (Some(pid), Ok(None)) = (child.id(), child.try_wait()) {
                let _ = send(pid, Ask::Kill);
                let _ = child.wait().await;
                told.push(format!("{name} did not end in time and was killed"));
            }
        }
        told
    }
}

impl Node {
    fn notice_end(&mut self, restarts: bool) -> Option<String> {
        let Process::Running { child, since } = &mut self.process else {
            return None;
        };
        let pid = child.id();
        let status = child.try_wait().ok().flatten()?;
        let next = self.patience.after_death(since.elapsed(), status.code(), restarts);
        let who = format!("{} (pid {}) {}", self.name, pid.unwrap_or(0), end_text(status));
        match next {
            Next::RestartAfter(pause) => {
                self.process = Process::Waiting { until: Instant::now() + pause };
                Some(format!("{who}; starting it again in {} s", pause.as_secs()))
            }
            Next::Leave => {
                self.process = Process::Left;
                Some(format!("{who}; it is left so"))
            }
            Next::Hopeless => {
                self.process = Process::Left;
                let log = self.log.display();
                Some(format!("{who}; it is left so, {log} ends with:\n{}", tail(&self.log)))
            }
        }
    }

    fn start_again(&mut self, program: &Path) -> Option<String> {
        let Process::Waiting { until } = self.process else {
            return None;
        };
        if Instant::now() < until {
            return None;
        }
        match spawn(program, &self.arguments, &self.log) {
            Ok(child) => {
                self.process = Process::Running { child, since: Instant::now() };
                None
            }
            Err(failure) => {
                self.process = Process::Left;
                Some(format!("{} cannot be started again: {failure}", self.name))
            }
        }
    }
}

fn spawn(program: &Path, arguments: &[OsString], log: &Path) -> Result<Child, Failure> {
    let open = || {
        open_append(log)
            .map_err(|error| Failure::machine(format!("cannot write {}", log.display()), error))
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(open()?).stderr(open()?);
    command.process_group(0).kill_on_drop(true);
    for (variable, _) in std::env::vars_os() {
        if is_for_nodes(&variable) {
            command.env_remove(variable);
        }
    }
    command
        .spawn()
        .map_err(|error| Failure::machine(format!("cannot start {}", program.display()), error))
}

fn end_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) | (None, None) => "ended".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
    }
}

/// The last lines of a log, indented.
fn tail(path: &Path) -> String {
    let read = || {
        let file = SystemDisk.open(path, Open::Read)?;
        let length = file.len()?;
        let start = length.saturating_sub(TAIL_BYTES);
        let wanted = usize::try_from(length.saturating_sub(start)).unwrap_or(0);
        read_exact_at(&*file, start, wanted)
    };
    match read() {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("    (cannot read it: {error})"),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    let shown: Vec<String> = lines.iter().skip(skipped).map(|line| format!("    {line}")).collect();
    if shown.is_empty() { "    (nothing)".to_owned() } else { shown.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_secs(1);

    fn after(seconds: u64) -> Next {
        Next::RestartAfter(Duration::from_secs(seconds))
    }

    #[test]
    fn a_killed_node_is_started_again_after_3_seconds_and_always_so_if_it_lives() {
        let mut patience = Patience::default();
        for _ in 0..20 {
            assert_eq!(patience.after_death(LONG, None, true), after(3));
        }
    }

    #[test]
    fn a_node_that_dies_quickly_waits_longer_each_time_and_is_left_after_the_fifth() {
        let mut patience = Patience::default();
        for seconds in [3, 6, 12, 24] {
            assert_eq!(patience.after_death(SHORT, Some(1), true), after(seconds));
        }
        assert_eq!(patience.after_death(SHORT, Some(1), true), Next::Hopeless);
    }

    #[test]
    fn a_life_long_enough_forgives_the_quick_deaths_before() {
        let mut patience = Patience::default();
        patience.after_death(SHORT, None, true);
        patience.after_death(SHORT, None, true);
        assert_eq!(patience.after_death(LONG, None, true), after(3));
        assert_eq!(patience.after_death(SHORT, None, true), after(3));
    }

    #[test]
    fn a_damaged_directory_and_a_wrong_command_line_are_not_tried_again() {
        for code in [64, 74] {
            assert_eq!(Patience::default().after_death(LONG, Some(code), true), Next::Hopeless);
        }
    }

    #[test]
    fn with_no_restart_a_dead_node_is_left() {
        assert_eq!(Patience::default().after_death(LONG, None, false), Next::Leave);
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let text = (1..=30).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let shown = last_lines(&text);
        assert!(shown.starts_with("    line 21\n") && shown.ends_with("    line 30"));
        assert_eq!(last_lines(""), "    (nothing)");
    }
}
