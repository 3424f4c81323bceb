//! Every value that a label may have, but for the endpoints of the HTTP server (`endpoints`).
//!
//! Used by `handles` and its neighbours to make every series at the start, and by whoever counts.
//!
//! # Invariants
//! - T3 Label values are closed enums, never keys, ids or texts of errors.
//!
//! # Not here
//! Which metric has which label (`metrics`).

/// A label whose values are known when the program is written.
pub trait Label: Copy + Send + Sync + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::ordinal`].
    const ALL: &'static [Self];
    /// The value as it is written.
    fn as_str(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn ordinal(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $label:literal $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn ordinal(self) -> usize {
                self as usize
            }
        }
    };
}

label! { /// What a write asked for.
"op" WriteOp { Write = "write", Put = "put", Delete = "delete", } }
label! { /// How a write ended.
"result" WriteResult {
    Ok = "ok", Rejected = "rejected", Invalid = "invalid", NotLeader = "not_leader",
    NoLeader = "no_leader", NoQuorum = "no_quorum", Overloaded = "overloaded",
    Timeout = "timeout", Unknown = "unknown", Internal = "internal",
} }
label! { /// A stretch of a write's way; one follows the other, and their sum is the write.
"phase" WritePhase {
    Queue = "queue", Log = "log", Replicate = "replicate", Apply = "apply", Respond = "respond",
} }
label! { /// What a node does in its cluster.
"state" RaftState {
    Leader = "leader", Follower = "follower", Candidate = "candidate", Learner = "learner",
} }
label! { /// How a candidacy ended.
"result" ElectionResult { Won = "won", Lost = "lost", } }
label! { /// What a candidate asked for.
"kind" VoteKind { PreVote = "pre_vote", Vote = "vote", } }
label! { /// How a candidate was answered.
"result" VoteResult { Granted = "granted", Rejected = "rejected", } }
label! { /// How this follower answered its leader's entries.
"result" AppendResult {
    Success = "success", Conflict = "conflict", HigherVote = "higher_vote", Error = "error",
} }
label! { /// How a member takes part.
"role" MemberRole { Voter = "voter", Learner = "learner", } }
label! { /// What takes place on the disk.
"component" StorageComponent { Log = "log", Snapshots = "snapshots", } }
label! { /// How grave an event is.
"level" EventLevel { Error = "error", Warn = "warn", Info = "info", } }
label! { /// How a follower answered a replication.
"result" AckResult {
    Success = "success", Conflict = "conflict", HigherVote = "higher_vote", Timeout = "timeout",
    Error = "error",
} }
label! { /// Why a heartbeat had no good answer.
"reason" MissReason {
    Timeout = "timeout", Connect = "connect", Http = "http", HigherVote = "higher_vote",
} }
label! { /// What was done with a snapshot.
"op" SnapshotOp { Create = "create", Send = "send", Install = "install", } }
label! { /// How something ended that either works or does not.
"result" OkOrError { Ok = "ok", Error = "error", } }
label! { /// What a read asked for.
"consistency" ReadConsistency { Linearizable = "linearizable", Stale = "stale", } }
label! { /// How a read ended.
"result" ReadResult { Ok = "ok", NotFound = "not_found", Error = "error", } }
label! { /// Why a peer's message was refused.
"reason" RefusedReason {
    WrongCluster = "wrong_cluster", WrongNode = "wrong_node", Malformed = "malformed",
} }

impl OkOrError {
    /// How this one ended.
    pub fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Error }
    }
}
