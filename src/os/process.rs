//! Other processes and this process's limits. The door to `rustix`.
//!
//! Used by the command line: `up` stops the nodes it started, `serve` ends with the process that
//! started it, `bench` opens many connections.
//!
//! # Not here
//! Starting processes (`tokio::process`), signals that come in ([`super::signal`]).

use std::io;

use rustix::process::{Pid, Resource, Signal};

/// What a process is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// SIGTERM: hand over, drain, end.
    Terminate,
    /// SIGKILL: end at once.
    Kill,
}

/// Sends a signal to one process.
pub fn send(pid: u32, ask: Ask) -> io::Result<()> {
    let signal = match ask {
        Ask::Terminate => Signal::TERM,
        Ask::Kill => Signal::KILL,
    };
    Ok(rustix::process::kill_process(pid_of(pid)?, signal)?)
}

/// From now on this process gets SIGTERM when its parent ends, however that ends.
///
/// `parent` is the process that asked for it; an error if it is gone already, because then no
/// signal will come. Call it before any other work, on any thread.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if rustix::process::getppid() == Some(pid_of(parent)?) {
        return Ok(());
    }
    let why = format!("process {parent}, which this node was to end with, is not its parent");
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}

/// Allows this process as many open files as the system lets it have; answers how many.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        rustix::process::setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

fn pid_of(pid: u32) -> io::Result<Pid> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no process id"));
    // 0 and 1 would mean "my group" and "init": never what is meant here.
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_never_sent_to_a_group_or_to_init() {
        for pid in [0, 1, u32::MAX] {
            let refused = send(pid, Ask::Terminate).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn the_limit_of_open_files_is_at_least_what_a_bench_needs_to_say_so() {
        assert!(raise_open_files().unwrap() >= 16);
    }
}
