//! Other processes, this process's limits, and what it uses. The door to `rustix` and `/proc`.
//!
//! Used by the command line: `up` stops the nodes it started, `serve` ends with the process that
//! started it, `bench` opens many connections; and by `node` for the metrics of the process.
//!
//! # Not here
//! Starting processes (`tokio::process`), signals that come in ([`super::signal`]).

use std::io;
use std::time::Duration;

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

/// What this process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_files: u64,
    /// Most that it may have open.
    pub open_files_max: u64,
    /// Bytes in RAM.
    pub resident: u64,
    /// Bytes of address space.
    pub address_space: u64,
    /// Threads.
    pub threads: u64,
    /// When it began, in milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// What this process uses now. Linux only: elsewhere it fails. Reads some small files of the
/// kernel's, which takes longer the more files are open.
pub fn usage() -> io::Result<Usage> {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let open_files = std::fs::read_dir("/proc/self/fd")?.count() as u64;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let whole = std::fs::read_to_string("/proc/stat")?;
    let usage = from_stat(&stat, &whole).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Usage {
        cpu: Duration::try_from(cpu).unwrap_or_default(),
        // Reading the folder took one of them.
        open_files: open_files.saturating_sub(1),
        open_files_max: limit.current.unwrap_or(u64::MAX),
        ..usage
    })
}

/// What `/proc/self/stat` tells, with the machine's start from `/proc/stat`.
fn from_stat(stat: &str, whole: &str) -> Option<Usage> {
    // The name of the program stands in brackets and may have any letter in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(17).map(str::parse::<u64>);
    let mut next = || fields.next()?.ok();
    let (threads, _, ticks, address_space, pages) = (next()?, next()?, next()?, next()?, next()?);
    let booted = whole.lines().find_map(|line| line.strip_prefix("btime "))?;
    let booted: u64 = booted.trim().parse().ok()?;
    let since_boot_ms =
        ticks.saturating_mul(1000).checked_div(rustix::param::clock_ticks_per_second())?;
    Some(Usage {
        resident: pages.saturating_mul(rustix::param::page_size() as u64),
        address_space,
        threads,
        started_unix_ms: booted.saturating_mul(1000).saturating_add(since_boot_ms),
        ..Usage::default()
    })
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

    #[test]
    fn a_process_knows_what_it_uses() {
        let usage = usage().unwrap();
        assert!(usage.threads >= 1 && usage.resident > 100_000, "{usage:?}");
        assert!(usage.address_space > usage.resident, "{usage:?}");
        assert!((3..usage.open_files_max).contains(&usage.open_files), "{usage:?}");
        assert!(usage.started_unix_ms > 1_600_000_000_000, "{usage:?}");
    }

    #[test]
    fn a_programs_name_may_look_like_anything() {
        let stat = "7 (a) 1 (b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 5 0 250 4096000 3 0";
        let usage = from_stat(stat, "cpu 1\nbtime 1000\n").unwrap();
        assert_eq!((usage.threads, usage.address_space), (5, 4_096_000));
        assert_eq!(usage.resident, 3 * rustix::param::page_size() as u64);
        assert!(usage.started_unix_ms >= 1_000_000, "{usage:?}");
    }
}
