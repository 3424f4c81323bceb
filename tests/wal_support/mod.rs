//! A log on a simulated machine, and a naive model of what it must hold.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bitacora::os::fake::{ManualClock, MemDisk};
use bitacora::types::{ClusterId, Index, RaftId};
use bitacora::wal::{
    self, Done, Handle, NoObserver, Options, Presence, Queue, Recovered, Refused, Request, Slot,
    WalError, Writer,
};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub const DIR: &str = "data/log";

pub fn options(segment_size_bytes: u64) -> Options {
    Options {
        segment_size_bytes,
        cache_bytes: 2000,
        cluster: ClusterId::from_bytes([0xC1; 16]),
        node: RaftId::new(3),
        salt_seed: 42,
        presence: Presence::MayBeNew,
    }
}

pub fn segment_path(id: u64) -> PathBuf {
    Path::new(DIR).join(format!("{id:020}.wal"))
}

/// A queue that a test empties itself.
#[derive(Default)]
pub struct ManualQueue(Mutex<Vec<Request>>);

impl Queue for ManualQueue {
    fn submit(&self, request: Request) -> Result<(), Refused> {
        self.0.lock().unwrap().push(request);
        Ok(())
    }
}

/// An open log driven by hand.
pub struct Rig {
    pub handle: Handle,
    pub writer: Writer,
    pub recovered: Recovered,
    queue: Arc<ManualQueue>,
}

impl Rig {
    pub fn open(disk: &MemDisk, options: &Options) -> Result<Self, WalError> {
        let (disk, clock) = (Arc::new(disk.clone()), Arc::new(ManualClock::default()));
        let opened = wal::open(disk, clock, Path::new(DIR), options, Arc::new(NoObserver))?;
        let queue = Arc::new(ManualQueue::default());
        let handle = opened.log.handle(queue.clone());
        Ok(Self { handle, writer: opened.writer, recovered: opened.recovered, queue })
    }

    pub fn process(&mut self) {
        let mut batch = std::mem::take(&mut *self.queue.0.lock().unwrap());
        self.writer.process(&mut batch);
        assert!(batch.is_empty());
    }

    /// Everything that the log holds.
    pub fn state(&self) -> Result<State, WalError> {
        let bounds = self.handle.bounds();
        let mut entries = Vec::new();
        if let (Some(first), Some(last)) = (bounds.first, bounds.last) {
            let mut at = first;
            while at <= last {
                let read = self.handle.read(at, last.next(), 700)?;
                assert!(!read.is_empty(), "nothing at {at} of {bounds:?}");
                at = Index::new(at.get() + read.len() as u64);
                entries.extend(read);
            }
        }
        Ok(State {
            purged: self.handle.purged().map(|(upto, note)| (upto.get(), note)),
            first: bounds.first.map(Index::get),
            entries,
            vote: self.handle.saved(Slot::Vote),
            committed: self.handle.saved(Slot::Committed),
        })
    }
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub purged: Option<(u64, Bytes)>,
    pub first: Option<u64>,
    pub entries: Vec<Bytes>,
    pub vote: Option<Bytes>,
    pub committed: Option<Bytes>,
}

/// One step of a workload.
#[derive(Debug, Clone)]
pub enum Op {
    Append(u64, Vec<Bytes>),
    TruncateAfter(Option<u64>),
    Vote(Bytes),
    Committed(Bytes),
    Purge(u64, Bytes),
    Process,
    Idle,
    Reopen,
}

/// The naive model: a map.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub entries: BTreeMap<u64, Bytes>,
    pub purged: Option<(u64, Bytes)>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
}

impl Model {
    pub fn next(&self) -> Option<u64> {
        let last = self.entries.keys().next_back().copied();
        last.max(self.purged.as_ref().map(|(upto, _)| *upto)).map(|last| last + 1)
    }

    /// Does a step. One state for each record, as a crash may come between the entries of one
    /// append.
    pub fn apply(&mut self, op: &Op) -> Vec<State> {
        let mut states = Vec::new();
        match op {
            Op::Append(first, payloads) => {
                for (index, payload) in (*first..).zip(payloads) {
                    self.entries.insert(index, payload.clone());
                    states.push(self.state());
                }
                return states;
            }
            Op::TruncateAfter(None) => self.entries.clear(),
            Op::TruncateAfter(Some(after)) => self.entries.retain(|index, _| index <= after),
            Op::Vote(bytes) => self.vote = Some(bytes.clone()),
            Op::Committed(bytes) => self.committed = Some(bytes.clone()),
            Op::Purge(upto, note) => {
                if self.purged.as_ref().is_none_or(|(known, _)| known < upto) {
                    self.purged = Some((*upto, note.clone()));
                    self.entries.retain(|index, _| index > upto);
                }
            }
            Op::Process | Op::Idle | Op::Reopen => return states,
        }
        states.push(self.state());
        states
    }

    pub fn state(&self) -> State {
        State {
            purged: self.purged.clone(),
            first: self.entries.keys().next().copied(),
            entries: self.entries.values().cloned().collect(),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
        }
    }
}

/// A workload with all states that it passes through.
pub struct Workload {
    pub options: Options,
    pub ops: Vec<Op>,
    /// `states[0]` is the empty log.
    pub states: Vec<State>,
    /// `after[op]`: number of the state when the op is complete.
    pub after: Vec<usize>,
}

impl Workload {
    pub fn generate(seed: u64, length: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::default();
        let start = [0, 1, 7][random.random_range(0..3)];
        let mut ops = Vec::new();
        let mut states = vec![State::default()];
        let mut after = Vec::new();
        for step in 0..length {
            let op = next_op(&mut random, &model, start, step);
            states.extend(model.apply(&op));
            after.push(states.len() - 1);
            ops.push(op);
        }
        let size = [8, 12, 16][random.random_range(0..3)] * 1024;
        Self { options: options(size), ops, states, after }
    }
}

fn payload(random: &mut StdRng, step: usize, index: u64) -> Bytes {
    let length = match random.random_range(0..10) {
        0 => 0,
        1..=6 => random.random_range(8..120),
        7..=8 => random.random_range(120..600),
        _ => random.random_range(600..2000),
    };
    let mut bytes = format!("{step}/{index} ").into_bytes();
    bytes.resize(length, u8::try_from(step % 251).unwrap());
    Bytes::from(bytes)
}

fn next_op(random: &mut StdRng, model: &Model, start: u64, step: usize) -> Op {
    let last = model.entries.keys().next_back().copied();
    let text = |what: &str| Bytes::from(format!("{what} {step}"));
    match random.random_range(0..100) {
        0..=36 => {
            let first = model.next().unwrap_or(start);
            let count = random.random_range(1..6);
            let payloads = (first..first + count).map(|at| payload(random, step, at)).collect();
            Op::Append(first, payloads)
        }
        37..=41 => match last {
            Some(last) => {
                let back = random.random_range(0..6);
                let purged = model.purged.as_ref().map(|(upto, _)| *upto);
                Op::TruncateAfter(last.checked_sub(back).max(purged))
            }
            None => Op::TruncateAfter(None),
        },
        42 => Op::TruncateAfter(None),
        43..=49 => Op::Vote(text("vote")),
        50..=57 => Op::Committed(text("committed")),
        58..=62 => match (model.entries.keys().next(), last) {
            (Some(first), Some(last)) => {
                Op::Purge(random.random_range(*first..=last), text("purge"))
            }
            _ => Op::Vote(text("vote")),
        },
        63 => Op::Purge(last.unwrap_or(start) + random.random_range(0..4), text("far purge")),
        64..=93 => Op::Process,
        94..=97 => Op::Idle,
        _ => Op::Reopen,
    }
}

/// How a run of a workload ended.
pub struct Run {
    /// Number of the newest state that was acknowledged as durable.
    pub acknowledged: usize,
    /// Number of the newest state that was asked for.
    pub submitted: usize,
    /// Whether it came to its end.
    pub is_complete: bool,
    /// Requests that were never answered, or more than once.
    pub unanswered: usize,
}

/// Runs a workload until it ends or the disk fails.
pub fn run(disk: &MemDisk, workload: &Workload) -> Run {
    let answers: Arc<Mutex<BTreeMap<usize, Vec<bool>>>> = Arc::default();
    let mut submitted = 0;
    let mut asked = 0_usize;
    let is_complete = drive(disk, workload, |op| {
        submitted = workload.after[op];
        asked += 1;
        let answers = answers.clone();
        Box::new(move |result| {
            answers.lock().unwrap().entry(op).or_default().push(result.is_ok());
        })
    });
    let answers = answers.lock().unwrap();
    let durable = |op: &usize| !matches!(workload.ops[*op], Op::Committed(_));
    let good = answers.iter().filter(|(op, heard)| durable(op) && **heard == [true]);
    let acknowledged = good.map(|(op, _)| workload.after[*op]).max().unwrap_or(0);
    let once = answers.values().filter(|heard| heard.len() == 1).count();
    Run { acknowledged, submitted, is_complete, unanswered: asked - once }
}

fn drive(disk: &MemDisk, workload: &Workload, mut done: impl FnMut(usize) -> Done) -> bool {
    let Ok(mut rig) = Rig::open(disk, &workload.options) else {
        return false;
    };
    for (number, op) in workload.ops.iter().enumerate() {
        let handle = &rig.handle;
        let result = match op {
            Op::Append(first, payloads) => {
                handle.append(Index::new(*first), payloads.clone(), done(number))
            }
            Op::TruncateAfter(after) => handle.truncate_after(after.map(Index::new), done(number)),
            Op::Vote(bytes) => handle.save(Slot::Vote, bytes.clone(), done(number)),
            Op::Committed(bytes) => handle.save(Slot::Committed, bytes.clone(), done(number)),
            Op::Purge(upto, note) => handle.purge(Index::new(*upto), note.clone(), done(number)),
            Op::Process => {
                rig.process();
                Ok(())
            }
            Op::Idle => {
                rig.process();
                rig.writer.idle();
                Ok(())
            }
            Op::Reopen => {
                rig.process();
                let closed = rig.writer.close();
                let Ok(next) = closed.and_then(|()| Rig::open(disk, &workload.options)) else {
                    return false;
                };
                rig = next;
                Ok(())
            }
        };
        if result.is_err() {
            return false;
        }
    }
    rig.process();
    rig.writer.close().is_ok()
}

/// Whether what survived is one of the states that may have.
pub fn check_allowed(state: &State, workload: &Workload, run: &Run) -> Result<(), String> {
    if workload.states[run.acknowledged..=run.submitted].contains(state) {
        return Ok(());
    }
    let known = workload.states.iter().position(|known| known == state);
    let (from, to) = (run.acknowledged, run.submitted);
    Err(format!("states {from}..={to} are allowed, found number {known:?}: {state:?}"))
}

/// A callback that notes the answer.
pub fn note(heard: &Arc<Mutex<Vec<Result<(), WalError>>>>) -> Done {
    let heard = heard.clone();
    Box::new(move |result| heard.lock().unwrap().push(result))
}

/// A callback for tests that look elsewhere.
pub fn ignore() -> Done {
    Box::new(|_| ())
}
