//! Background tasks: the only place that spawns them, with a name, a policy and an end.
//!
//! Used by whoever runs something beside a request. A [`Tasks`] value belongs to one node and is
//! passed down; `node` awaits [`Tasks::failed`] and calls [`Tasks::shutdown`] at the end.
//!
//! # Invariants
//! - K1 A task that fails or panics is logged once, with its name, wherever it ran.
//! - K2 Under [`OnError::StopNode`] the first failure reaches [`Tasks::failed`] and stays there.
//! - K3 After [`Tasks::shutdown`] no spawned future runs any more: it ended or was aborted. A
//!   blocking closure cannot be aborted; it is waited for until the deadline and then left.
//!
//! # Not here
//! What a task does, what the node does about a failure.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// How long aborted tasks may take to be dropped.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// What a task's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It is logged; the node goes on.
    Log,
    /// The node cannot go on without this task and stops.
    StopNode,
}

/// Which task failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task}: {cause}")]
pub struct TaskFailure {
    /// The task's name.
    pub task: &'static str,
    /// Its error or what it said in its panic.
    pub cause: String,
}

/// The tasks of one node. Clones are the same tasks.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    stop: watch::Sender<bool>,
    failed: watch::Sender<Option<TaskFailure>>,
    /// Number of running tasks, to wait for.
    count: watch::Sender<usize>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    next_id: u64,
    tasks: BTreeMap<u64, (&'static str, Option<AbortHandle>)>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        let shared = Shared {
            stop: watch::Sender::new(false),
            failed: watch::Sender::new(None),
            count: watch::Sender::new(0),
            running: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Tells a task when to end.
    pub fn stop(&self) -> Stop {
        Stop(self.shared.stop.subscribe())
    }

    /// Starts a task on the runtime. It should end soon after [`Stop::requested`]; ending without
    /// an error is never a failure.
    #[expect(clippy::disallowed_methods, reason = "this file is where tasks start")]
    pub fn spawn<F, E>(&self, name: &'static str, on_error: OnError, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send,
    {
        let entered = self.enter(name);
        let id = entered.id;
        let tasks = self.clone();
        let run = async move {
            // Dropped last and also when the task is aborted: then it counts as ended.
            let _entered = entered;
            let cause = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_text(&*panic),
            };
            tasks.report(TaskFailure { task: name, cause }, on_error);
        };
        let handle = tokio::spawn(run).abort_handle();
        // The task may have ended before this line; then there is nothing to abort.
        if let Some((_, abort)) = self.shared.lock().tasks.get_mut(&id) {
            *abort = Some(handle);
        }
    }

    /// Runs a closure that blocks or computes for long on a thread of its own. The answer can be
    /// awaited or dropped; the closure runs to its end in any case.
    #[expect(clippy::disallowed_methods, reason = "this file is where tasks start")]
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Blocking<T> {
        let entered = self.enter(name);
        let tasks = self.clone();
        let (sender, receiver) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _entered = entered;
            let result = std::panic::catch_unwind(AssertUnwindSafe(closure)).map_err(|panic| {
                let failure = TaskFailure { task: name, cause: panic_text(&*panic) };
                tasks.report(failure.clone(), OnError::Log);
                failure
            });
            // Nobody waits if the answer was dropped.
            let _ = sender.send(result);
        });
        Blocking { name, receiver }
    }

    /// Waits for the first failure of a task without which the node cannot go on (K2).
    pub fn failed(&self) -> impl Future<Output = TaskFailure> + Send + 'static {
        let mut failed = self.shared.failed.subscribe();
        // Keeps the sender alive: without a failure this waits for ever.
        let shared = Arc::clone(&self.shared);
        async move {
            loop {
                if let Some(failure) = failed.borrow_and_update().clone() {
                    drop(shared);
                    return failure;
                }
                if failed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Asks all tasks to end, waits for them up to the deadline, then aborts the rest (K3). Gives
    /// the names of those that did not end by themselves.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<&'static str> {
        self.shared.stop.send_replace(true);
        if tokio::time::timeout(deadline, self.all_ended()).await.is_ok() {
            return Vec::new();
        }
        let mut late = Vec::new();
        for (name, abort) in self.shared.lock().tasks.values() {
            late.push(*name);
            if let Some(abort) = abort {
                abort.abort();
            }
        }
        // A closure that blocks is still counted and may outlast this too.
        let _ = tokio::time::timeout(ABORT_GRACE, self.all_ended()).await;
        late
    }

    async fn all_ended(&self) {
        let mut count = self.shared.count.subscribe();
        // The sender lives in `self`, so waiting does not fail.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn enter(&self, name: &'static str) -> Entered {
        let mut running = self.shared.lock();
        let id = running.next_id;
        running.next_id = id.wrapping_add(1);
        running.tasks.insert(id, (name, None));
        self.shared.count.send_replace(running.tasks.len());
        drop(running);
        Entered { id, shared: Arc::clone(&self.shared) }
    }

    fn report(&self, failure: TaskFailure, on_error: OnError) {
        match on_error {
            OnError::Log => {
                tracing::warn!(task = failure.task, error = failure.cause, "a task failed");
            }
            OnError::StopNode => {
                let TaskFailure { task, cause } = &failure;
                tracing::error!(task, error = cause, "a task failed, the node stops");
                self.shared.failed.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(failure);
                    is_first
                });
            }
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that counts as running while this lives.
struct Entered {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut running = self.shared.lock();
        running.tasks.remove(&self.id);
        self.shared.count.send_replace(running.tasks.len());
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a text"))
}

/// When a task should end. Clones are the same moment.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the task should end; at once if that is already so. Cancel-safe.
    pub async fn requested(&mut self) {
        // An error means that the tasks are gone altogether, which is a reason to end as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the task should end.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// The answer of a blocking closure. Dropping it does not stop the closure.
#[must_use = "a closure whose answer nobody wants should say so with `drop`"]
pub struct Blocking<T> {
    name: &'static str,
    receiver: oneshot::Receiver<Result<T, TaskFailure>>,
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, TaskFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        self.receiver.poll_unpin(context).map(|answer| {
            let lost = || TaskFailure { task: name, cause: "the runtime ended".to_owned() };
            answer.unwrap_or_else(|_| Err(lost()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hears_the_stop_ends_and_nothing_is_aborted() {
        let tasks = Tasks::new();
        let ended = Arc::new(AtomicBool::new(false));
        let (mut stop, flag) = (tasks.stop(), Arc::clone(&ended));
        tasks.spawn("listener", OnError::StopNode, async move {
            stop.requested().await;
            tokio::time::sleep(MINUTE / 2).await;
            flag.store(true, Ordering::SeqCst);
            Ok::<(), Infallible>(())
        });
        assert!(!tasks.stop().is_requested());
        assert_eq!(tasks.shutdown(MINUTE).await, Vec::<&str>::new());
        assert!(ended.load(Ordering::SeqCst));
        assert!(tasks.stop().is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_in_time_is_aborted_and_named_k3() {
        let tasks = Tasks::new();
        let (alive, dropped) = oneshot::channel::<()>();
        tasks.spawn("deaf", OnError::Log, async move {
            let _alive = alive;
            std::future::pending::<Result<(), Infallible>>().await
        });
        let before = tokio::time::Instant::now();
        assert_eq!(tasks.shutdown(MINUTE).await, ["deaf"]);
        assert_eq!(before.elapsed(), MINUTE);
        assert!(dropped.await.is_err(), "the future was dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_under_stop_node_is_reported_with_its_name_k2() {
        let tasks = Tasks::new();
        tasks.spawn("harmless", OnError::Log, async { Err("not so bad") });
        let early = tasks.failed();
        tasks.spawn("vital", OnError::StopNode, async {
            tokio::time::sleep(MINUTE).await;
            Err("disk is gone")
        });
        let expected = TaskFailure { task: "vital", cause: "disk is gone".to_owned() };
        assert_eq!(early.await, expected);
        tasks.spawn("second", OnError::StopNode, async { Err("too late") });
        assert_eq!(tasks.shutdown(MINUTE).await, Vec::<&str>::new());
        assert_eq!(tasks.failed().await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_with_its_text_k1() {
        let tasks = Tasks::new();
        tasks.spawn("vital", OnError::StopNode, async {
            "not a number, by design".parse::<u8>().expect("by design");
            Ok::<(), Infallible>(())
        });
        let failure = tasks.failed().await;
        assert_eq!(failure.task, "vital");
        assert!(failure.cause.contains("by design"), "{failure}");
    }

    #[tokio::test]
    async fn a_blocking_closure_answers_or_says_why_not() {
        let tasks = Tasks::new();
        assert_eq!(tasks.spawn_blocking("sum", || 1 + 1).await, Ok(2));
        let failure = tasks.spawn_blocking("broken", || -> u8 { panic!("by design") }).await;
        assert_eq!(failure.unwrap_err().task, "broken");
        assert_eq!(tasks.shutdown(MINUTE).await, Vec::<&str>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_failure_failed_waits() {
        let tasks = Tasks::new();
        tasks.spawn("fine", OnError::StopNode, async { Ok::<(), Infallible>(()) });
        assert!(tokio::time::timeout(MINUTE, tasks.failed()).await.is_err());
    }
}
