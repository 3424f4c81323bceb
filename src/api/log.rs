//! `GET /v1/log`: the committed entries, a page or for ever, as NDJSON or as server-sent events.

use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value as Json, json};
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::error::ApiError;
use super::kv::put_value;
use super::params::{self, Params};
use crate::command::{Command, Precondition};
use crate::store::{EntryKind, ErrorCode, LogEntry, LogPage, Store, StoreError};
use crate::tasks::Stop;
use crate::telemetry::handles::Held;
use crate::types::{Index, Key, Value};

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
/// Entries read at a time by a follower of the log.
const FOLLOW_PAGE: u64 = 256;
/// A silent event stream says this often that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How entries are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Ndjson,
    Events,
}

/// `GET /v1/log`.
pub(super) async fn log(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let mut params = Params::parse(request.uri())?;
    let from = params.number("from", 0, u64::MAX)?.map(Index::new);
    let limit = params.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let follow = params.flag("follow", false)?;
    params.finish("from, limit and follow")?;
    let framing = if params::accepts(request.headers(), "text/event-stream") {
        Framing::Events
    } else {
        Framing::Ndjson
    };
    let from = resume_after(request.headers())?.or(from);
    let place = if follow { Some(take_place(&app)?) } else { None };
    let page = app.store.log(from, if follow { FOLLOW_PAGE } else { limit }).await?;
    let body = if follow {
        let tail = follow_from(app.store.clone(), app.stop.clone(), page, framing);
        Body::from_stream(tail.map(move |page| {
            // Held as long as somebody reads.
            let _place = &place;
            page
        }))
    } else {
        Body::from(frame(&page, framing))
    };
    let media = match framing {
        Framing::Ndjson => "application/x-ndjson",
        Framing::Events => "text/event-stream",
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A place among those who follow the log.
fn take_place(app: &App) -> Result<(OwnedSemaphorePermit, Held), ApiError> {
    let place = app.tails.clone().try_acquire_owned().map_err(|_| {
        let detail = "too many clients follow the log of this node; ask another one";
        ApiError::new(ErrorCode::Overloaded, detail).retry_after(Duration::from_secs(1))
    })?;
    Ok((place, app.metrics.log_tails.hold()))
}

/// An event stream that reconnects says which event it saw last.
fn resume_after(headers: &HeaderMap) -> Result<Option<Index>, ApiError> {
    let Some(last) = headers.get("last-event-id") else { return Ok(None) };
    let index = last.to_str().ok().and_then(|last| last.parse().ok());
    let wrong = || ApiError::new(ErrorCode::BadParameter, "Last-Event-ID must be an index");
    index.map(|index| Some(Index::new(index).next())).ok_or_else(wrong)
}

/// Why a follower of the log went on.
enum Woken {
    News,
    Silence,
    End,
}

/// The first page, then what comes, until the client goes or the node stops. Pulled by the client:
/// one that reads slowly holds nothing but its place.
fn follow_from(
    store: Store,
    stop: Stop,
    first: LogPage,
    framing: Framing,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let applied = store.applied();
    let state = Some((store, stop, applied, Some(first), Index::default()));
    stream::unfold(state, move |state| async move {
        let (store, mut stop, mut applied, page, next) = state?;
        if let Some(page) = page {
            let next = page.next;
            let bytes = Bytes::from(frame(&page, framing));
            return Some((Ok(bytes), Some((store, stop, applied, None, next))));
        }
        // All branches are cancel-safe: nothing is taken until the page is read.
        let woken = tokio::select! {
            grown = applied.wait_for(|applied| *applied >= Some(next)) => match grown {
                Ok(_) => Woken::News,
                Err(_) => Woken::End,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => Woken::Silence,
            () = stop.requested() => Woken::End,
        };
        match woken {
            Woken::News => {}
            Woken::End => return None,
            Woken::Silence => {
                let alive = match framing {
                    Framing::Events => ": alive\n\n",
                    Framing::Ndjson => "",
                };
                let bytes = Bytes::from_static(alive.as_bytes());
                return Some((Ok(bytes), Some((store, stop, applied, None, next))));
            }
        }
        match store.log(Some(next), FOLLOW_PAGE).await {
            Ok(page) => {
                let next = page.next;
                let bytes = Bytes::from(frame(&page, framing));
                Some((Ok(bytes), Some((store, stop, applied, None, next))))
            }
            Err(error) => Some((Ok(Bytes::from(last_words(&error, framing))), None)),
        }
    })
}

/// A stream that must end says why: silence would look like "nothing happened".
fn last_words(error: &StoreError, framing: Framing) -> String {
    let words = json!({"error": error.code().as_str(), "detail": error.to_string()});
    match framing {
        Framing::Ndjson => format!("{words}\n"),
        Framing::Events => format!("event: error\ndata: {words}\n\n"),
    }
}

fn frame(page: &LogPage, framing: Framing) -> String {
    let mut text = String::new();
    for entry in &page.entries {
        let document = document(entry);
        // Writing to a String cannot fail.
        let _ = match framing {
            Framing::Ndjson => writeln!(text, "{document}"),
            Framing::Events => {
                writeln!(text, "id: {}\ndata: {document}\n", entry.position.index)
            }
        };
    }
    text
}

fn document(entry: &LogEntry) -> Json {
    let mut line = Map::new();
    let mut add = |name: &str, value: Json| line.insert(name.to_owned(), value);
    add("index", json!(entry.position.index.get()));
    add("term", json!(entry.position.term.get()));
    match &entry.kind {
        EntryKind::Leader => {
            add("kind", json!("leader"));
        }
        EntryKind::Membership { voters, learners } => {
            let names = |names: &[crate::types::NodeName]| {
                json!(names.iter().map(crate::types::NodeName::as_str).collect::<Vec<_>>())
            };
            add("kind", json!("membership"));
            add("voters", names(voters));
            add("learners", names(learners));
        }
        EntryKind::Proposal(proposal) => {
            add("time_ms", json!(proposal.wall_unix_ms));
            add("node", json!(proposal.origin.as_str()));
            command(&mut line, &proposal.command);
        }
    }
    Json::Object(line)
}

fn command(line: &mut Map<String, Json>, command: &Command) {
    let pair = |key: &Key, value: &Value| {
        let mut pair = Map::new();
        pair.insert("key".to_owned(), json!(key.as_str()));
        put_value(&mut pair, value);
        pair
    };
    match command {
        Command::Write { pairs } => {
            line.insert("kind".to_owned(), json!("write"));
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| pair(key, value)).collect();
            line.insert("pairs".to_owned(), json!(pairs));
        }
        Command::Put { key, value, precondition: only_if } => {
            line.insert("kind".to_owned(), json!("put"));
            line.extend(pair(key, value));
            precondition(line, *only_if);
        }
        Command::Delete { key, precondition: only_if } => {
            line.insert("kind".to_owned(), json!("delete"));
            line.insert("key".to_owned(), json!(key.as_str()));
            precondition(line, *only_if);
        }
    }
}

/// An entry with a precondition may have changed nothing: that was decided when it was applied.
fn precondition(line: &mut Map<String, Json>, precondition: Precondition) {
    let (name, value) = match precondition {
        Precondition::None => return,
        Precondition::Absent => ("if_none_match", json!("*")),
        Precondition::Present => ("if_match", json!("*")),
        Precondition::ModifiedAt(index) => ("if_match", json!(index.get())),
    };
    line.insert(name.to_owned(), value);
}
