//! The clients of a bench: each sends its next request when the last one was answered.
//!
//! # Not here
//! The bytes of a request ([`super::load`]), the report ([`super::tally`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::cli::answers::Problem;
use crate::cli::failure::Failure;
use crate::os::clock::{Clock, SystemClock};
use crate::os::random::Random;
use crate::os::signal::stop_requested;
use crate::types::NodeUrl;

use super::connection::{Connection, ConnectionError, Reply, authority};
use super::load::{Load, id_of, key_name, value_id};
use super::record::{Line, Recorder};
use super::route::{Route, Target};
use super::tally::Tally;

/// Wait after an answer that says "not now": a closed loop without it would only hammer.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How often a line tells how it goes.
const PROGRESS: Duration = Duration::from_secs(1);

/// How a run goes on in time.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Clients at once.
    pub clients: usize,
    /// Not measured.
    pub warmup: Duration,
    /// Measured.
    pub duration: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What all clients share.
struct Shared {
    load: Load,
    route: Route,
    random: Random,
    tally: Mutex<Tally>,
    recorder: Mutex<Option<Recorder>>,
    start: Instant,
    start_unix_us: u64,
    measured_from: Instant,
    end: Instant,
    timeout: Duration,
    stopped: AtomicBool,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unix_us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_micros();
        self.start_unix_us.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || Instant::now() >= self.end
    }
}

/// Runs the load; answers what was counted and for how long it was measured.
pub async fn run(
    load: Load,
    schedule: Schedule,
    route: Route,
    recorder: Option<Recorder>,
    progress: impl Fn(&str),
) -> Result<(Tally, Duration), Failure> {
    let start = Instant::now();
    let measured_from = start + schedule.warmup;
    let shared = Arc::new(Shared {
        load,
        route,
        random: Random::from_system(),
        tally: Mutex::default(),
        recorder: Mutex::new(recorder),
        start,
        start_unix_us: SystemClock::new().wall_unix_ms().saturating_mul(1_000),
        measured_from,
        end: measured_from + schedule.duration,
        timeout: schedule.timeout,
        stopped: AtomicBool::new(false),
    });
    let mut clients = JoinSet::new();
    for number in 0..schedule.clients {
        clients.spawn(client(Arc::clone(&shared), number));
    }
    watch(&shared, &mut clients, progress).await?;
    let measured_to = Instant::now().min(shared.end);
    let recorder = shared.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(recorder) = recorder {
        recorder.finish().map_err(|error| Failure::machine("cannot write the record", error))?;
    }
    let tally = std::mem::take(&mut *shared.tally());
    Ok((tally, measured_to.saturating_duration_since(measured_from)))
}

/// Waits for all clients and tells how it goes. Ctrl-C ends the run early but not its report; a
/// second one does not wait for answers under way.
async fn watch(
    shared: &Shared,
    clients: &mut JoinSet<Result<(), Failure>>,
    progress: impl Fn(&str),
) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval_at(shared.start + PROGRESS, PROGRESS);
    let mut stop = Box::pin(stop_requested());
    let mut last = shared.start;
    loop {
        // Every branch is cancel-safe: a client's end, a tick and a signal are not lost.
        tokio::select! {
            ended = clients.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(outcome)) => outcome?,
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => return Err(Failure::Failed(format!("a client ended: {error}"))),
            },
            now = ticks.tick() => {
                let line = shared.tally().progress(now - shared.start, now - last);
                last = now;
                progress(&line);
            }
            _ = stop.as_mut() => {
                if shared.stopped.swap(true, Ordering::Relaxed) {
                    clients.abort_all();
                }
                stop = Box::pin(stop_requested());
            }
        }
    }
}

/// A client's connection and where it goes.
struct Link {
    target: Target,
    connection: Option<Connection>,
}

async fn client(shared: Arc<Shared>, number: usize) -> Result<(), Failure> {
    let mut link = Link { target: shared.route.first(number).await, connection: None };
    let mut request = String::new();
    let mut seq = 0_u64;
    while !shared.is_over() {
        connect(&shared, number, &mut link).await?;
        let Some(connection) = link.connection.as_mut() else {
            continue;
        };
        let key = shared.random.next_u64() % shared.load.keys.max(1);
        let id = value_id(number, seq);
        shared.load.request(&mut request, authority(&link.target.url), key, &id);
        let sent = Instant::now();
        let answer = timeout(shared.timeout, connection.exchange(request.as_bytes())).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer_in_time()));
        let asked = Asked { client: number, seq, key, id: &id, sent, answered: Instant::now() };
        let verdict = count(&shared, &asked, answer)?;
        seq = seq.saturating_add(1);
        match verdict {
            Verdict::GoOn => {}
            Verdict::Reconnect => link.connection = None,
            Verdict::Lost => lose(&shared, number, &mut link).await,
            Verdict::Busy => {
                tokio::time::sleep(BUSY_PAUSE).await;
                // Spread out, a client stays: which node is busy is part of what is measured.
                look_again(&shared, number, &mut link).await;
            }
        }
    }
    Ok(())
}

fn no_answer_in_time() -> ConnectionError {
    ConnectionError::Io(std::io::ErrorKind::TimedOut.into())
}

/// Makes the connection anew if need be. If it cannot be made, there is another target next time.
async fn connect(shared: &Shared, number: usize, link: &mut Link) -> Result<(), Failure> {
    if link.connection.is_some() {
        return Ok(());
    }
    match open(&link.target.url, shared.timeout).await {
        Ok(connection) => link.connection = Some(connection),
        Err(error) if error.raw_os_error() == Some(EMFILE) => {
            return Err(Failure::machine("too many clients for this process", error));
        }
        Err(error) => {
            shared.tally().connect_failed(format!("{}: {error}", link.target.url));
            lose(shared, number, link).await;
        }
    }
    Ok(())
}

/// "Too many open files".
const EMFILE: i32 = 24;

async fn open(url: &NodeUrl, limit: Duration) -> std::io::Result<Connection> {
    timeout(limit, Connection::open(url))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// The connection is gone: finds out where to go.
async fn lose(shared: &Shared, number: usize, link: &mut Link) {
    link.connection = None;
    if let Some(target) = shared.route.next(number, &link.target, shared.end).await {
        link.target = target;
    }
}

/// The node says "not now": perhaps another one leads.
async fn look_again(shared: &Shared, number: usize, link: &mut Link) {
    if shared.route.is_spread() {
        return;
    }
    if let Some(target) = shared.route.next(number, &link.target, shared.end).await {
        if target.url != link.target.url {
            link.connection = None;
        }
        link.target = target;
    }
}

/// What was asked, and when.
struct Asked<'a> {
    client: usize,
    seq: u64,
    key: u64,
    id: &'a str,
    sent: Instant,
    answered: Instant,
}

/// What a client does after an answer.
enum Verdict {
    GoOn,
    Reconnect,
    Lost,
    Busy,
}

fn count(
    shared: &Shared,
    asked: &Asked<'_>,
    answer: Result<Reply, ConnectionError>,
) -> Result<Verdict, Failure> {
    let is_measured = asked.sent >= shared.measured_from && asked.answered <= shared.end;
    let is_write = shared.load.op.is_write();
    let reply = match answer {
        Ok(reply) => reply,
        // The bench and the server do not speak the same language: every number would be wrong.
        Err(error @ ConnectionError::Protocol(_)) => {
            return Err(Failure::Failed(error.to_string()));
        }
        Err(ConnectionError::Io(error)) => {
            let mut tally = shared.tally();
            tally.error("no answer", is_measured);
            tally.connection_lost(error.to_string());
            drop(tally);
            record(shared, asked, None, if is_write { "unknown" } else { "failed" });
            return Ok(Verdict::Lost);
        }
    };
    let go_on = if reply.closes { Verdict::Reconnect } else { Verdict::GoOn };
    if (200..300).contains(&reply.status) {
        shared.tally().success(asked.answered - asked.sent, is_measured);
        record(shared, asked, Some(&reply), "ok");
        return Ok(go_on);
    }
    let problem: Problem = serde_json::from_slice(&reply.body).unwrap_or_default();
    shared.tally().error(&format!("{} {}", reply.status, problem.code), is_measured);
    let outcome = match problem.outcome.as_deref() {
        _ if problem.code == "key_not_found" => "not_found",
        Some(outcome) if is_write => outcome,
        None if is_write => "unknown",
        _ => "failed",
    };
    record(shared, asked, Some(&reply), outcome);
    Ok(match reply.status {
        503 if !reply.closes => Verdict::Busy,
        503 => Verdict::Lost,
        _ => go_on,
    })
}

fn record(shared: &Shared, asked: &Asked<'_>, reply: Option<&Reply>, outcome: &str) {
    let mut recorder = shared.recorder.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(recorder) = recorder.as_mut() else {
        return;
    };
    let read = || reply.filter(|_| outcome == "ok").and_then(|reply| id_of(&reply.body));
    recorder.write(&Line {
        client: asked.client,
        seq: asked.seq,
        op: shared.load.op.as_str(),
        key: key_name(asked.key),
        value: if shared.load.op.is_write() { Some(asked.id) } else { read() },
        status: reply.map(|reply| reply.status),
        index: reply.and_then(|reply| reply.index),
        outcome,
        start_us: shared.unix_us(asked.sent),
        end_us: shared.unix_us(asked.answered),
    });
}
