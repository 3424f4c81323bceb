//! `POST /write` and `/v1/kv`: the writes and reads of keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::MapAccess;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use super::abandoned::OnDrop;
use super::error::ApiError;
use super::forward::{self, Routed};
use super::params::{self, Params};
use super::{App, body, receipt, trace_of};
use crate::command::Command;
use crate::store::{
    Acks, Consistency, Entry, ErrorCode, How, ListPage, ListQuery, Read, Receipt, StoreError,
    WriteOutcome,
};
use crate::telemetry::TraceContext;
use crate::telemetry::metrics::{ReadConsistency, ReadResult, WriteOp, WriteResult};
use crate::types::{Key, Value};

/// Where keys live.
pub(super) const PREFIX: &str = "/v1/kv/";
const WRITE_PARAMS: &str = "acks, timeout and forward";
const LIST_LIMIT_DEFAULT: u64 = 100;
const LIST_LIMIT_MAX: u64 = 1000;
/// A page with more bytes of values is encoded on another thread.
const ENCODE_HERE_MAX_BYTES: usize = 64 << 10;

/// `POST /write`: every member of a JSON object becomes a key, all in one entry.
pub(super) async fn write(State(app): State<App>, request: Request) -> Response {
    let build = |head: &Parts, body: Bytes| {
        params::no_precondition(&head.headers)?;
        pairs(&body).map(|pairs| Command::Write { pairs })
    };
    respond_to_write(&app, WriteOp::Write, request, build).await
}

/// `PUT /v1/kv/{key}`.
pub(super) async fn put(State(app): State<App>, request: Request) -> Response {
    let build = |head: &Parts, body: Bytes| {
        let key = params::key(&head.uri, PREFIX)?;
        let precondition = params::precondition(&head.headers)?;
        Ok(Command::Put { key, value: Value::new(body)?, precondition })
    };
    respond_to_write(&app, WriteOp::Put, request, build).await
}

/// `DELETE /v1/kv/{key}`.
pub(super) async fn delete(State(app): State<App>, request: Request) -> Response {
    let build = |head: &Parts, _: Bytes| {
        let key = params::key(&head.uri, PREFIX)?;
        let precondition = params::precondition(&head.headers)?;
        Ok(Command::Delete { key, precondition })
    };
    respond_to_write(&app, WriteOp::Delete, request, build).await
}

async fn respond_to_write(
    app: &App,
    op: WriteOp,
    request: Request,
    build: impl FnOnce(&Parts, Bytes) -> Result<Command, ApiError>,
) -> Response {
    let minimal = params::prefers_minimal(request.headers());
    match perform_write(app, op, request, Overrides::default(), build).await {
        Ok(Done::Here(receipt)) => receipt::response(&receipt, minimal),
        Ok(Done::Elsewhere(response)) => response,
        Err(error) => error.of_write().into_response(),
    }
}

/// A write that happened.
pub(super) enum Done {
    /// Through this node.
    Here(Receipt),
    /// Through the leader, which answered.
    Elsewhere(Response),
}

/// What another voice decides instead of the query.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Overrides {
    /// `acks=`.
    pub acks: Option<Acks>,
    /// `forward=`.
    pub may_forward: Option<bool>,
}

/// Reads, checks, routes and performs a write.
pub(super) async fn perform_write(
    app: &App,
    op: WriteOp,
    request: Request,
    overrides: Overrides,
    build: impl FnOnce(&Parts, Bytes) -> Result<Command, ApiError>,
) -> Result<Done, ApiError> {
    let started = Instant::now();
    let trace = request.extensions().get().copied();
    // To a client that has gone the outcome is unknown.
    let abandoned = OnDrop::new(|| {
        app.metrics.writes.increment(op, WriteResult::Unknown);
        app.metrics.write_duration.observe(op, started.elapsed());
    });
    let done = write_inner(app, request, overrides, build).await;
    abandoned.disarm();
    let result = match &done {
        // The leader counts it.
        Ok(Done::Elsewhere(_)) => return done,
        Ok(Done::Here(_)) => WriteResult::Ok,
        Err(error) => write_result(error),
    };
    app.metrics.writes.increment(op, result);
    let exemplar = app.traces.exemplar(trace);
    app.metrics.write_duration.observe_in(op, started.elapsed(), exemplar);
    done
}

fn write_result(error: &ApiError) -> WriteResult {
    match error.code() {
        ErrorCode::PreconditionFailed => WriteResult::Rejected,
        ErrorCode::NotLeader => WriteResult::NotLeader,
        ErrorCode::NoLeader | ErrorCode::NotReady => WriteResult::NoLeader,
        ErrorCode::NoQuorum => WriteResult::NoQuorum,
        ErrorCode::Overloaded | ErrorCode::ShuttingDown => WriteResult::Overloaded,
        ErrorCode::Internal => WriteResult::Internal,
        ErrorCode::Timeout => match error.write_outcome() {
            Some(WriteOutcome::Applied) => WriteResult::Timeout,
            _ => WriteResult::Unknown,
        },
        _ => WriteResult::Invalid,
    }
}

async fn write_inner(
    app: &App,
    request: Request,
    overrides: Overrides,
    build: impl FnOnce(&Parts, Bytes) -> Result<Command, ApiError>,
) -> Result<Done, ApiError> {
    let mut params = Params::parse(request.uri())?;
    let acks = params.acks()?;
    let acks = overrides.acks.unwrap_or(acks);
    let until = Instant::now() + params.timeout(app.limits.request_timeout)?;
    let may_forward = params.flag("forward", true)?;
    let may_forward = overrides.may_forward.unwrap_or(may_forward);
    params.finish(WRITE_PARAMS)?;
    let (head, incoming) = request.into_parts();
    let body = body::read(incoming, &head.headers, &app.limits, until).await?;
    let command = build(&head, body.clone())?;
    let bytes = body.len();
    let admitted = app.store.admit(bytes)?;
    let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
    let trace = trace_of(&head);
    let routed = forward::Request { method, uri, headers, body, trace, until, may_forward };
    match forward::route(app, &routed).await? {
        Routed::Answered(response) => Ok(Done::Elsewhere(response)),
        Routed::Here => {
            let how = How { acks, trace, until };
            let receipt = app.store.write(&admitted, command, how).await?;
            app.metrics.write_bytes.add(bytes as u64);
            Ok(Done::Here(receipt))
        }
    }
}

/// The pairs of a JSON object: strings as their text, anything else as compact JSON.
pub(super) fn pairs(body: &Bytes) -> Result<Vec<(Key, Value)>, ApiError> {
    let not_json = |error: serde_json::Error| {
        let detail = format!("{error}; send a JSON object like {{\"key\":\"value\"}}");
        ApiError::new(ErrorCode::BadJson, detail)
    };
    // Checks the whole text, nesting and numbers included; what is kept is as the client wrote it.
    let json: Json = serde_json::from_slice(body).map_err(not_json)?;
    if !json.is_object() {
        let detail = "send a JSON object like {\"key\":\"value\"}; each member becomes a key";
        return Err(ApiError::new(ErrorCode::NotAnObject, detail));
    }
    let members: Members = serde_json::from_slice(body).map_err(not_json)?;
    let members = members.0;
    if members.is_empty() {
        let detail = "the object has no members, so there is nothing to write";
        return Err(ApiError::new(ErrorCode::NotAnObject, detail));
    }
    let pair = |(name, member): (String, &RawValue)| {
        let key = Key::new(Bytes::from(name))?;
        let text = match serde_json::from_str::<String>(member.get()) {
            Ok(text) => text,
            Err(_) => compact(member.get()),
        };
        Ok((key, Value::new(Bytes::from(text))?))
    };
    members.into_iter().map(pair).collect()
}

/// The members of an object in their order, their values as they were written. Of equal names the
/// last one stays, in the place of the first.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'a> serde::de::Visitor<'a> for Visitor {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members: Vec<(String, &'a RawValue)> = Vec::new();
                let mut places: BTreeMap<String, usize> = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &'a RawValue>()? {
                    let next = members.len();
                    let place = *places.entry(name.clone()).or_insert(next);
                    match members.get_mut(place) {
                        Some(member) => member.1 = value,
                        None => members.push((name, value)),
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// JSON without the white space between its parts. Numbers keep their digits: reading and printing
/// them again would change them.
fn compact(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    let keep = |c: &char| {
        let keep = in_string || !c.is_ascii_whitespace();
        match *c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keep).collect()
}

/// `GET /v1/kv/{key}`.
pub(super) async fn get(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let started = Instant::now();
    let (head, _) = request.into_parts();
    let key = params::key(&head.uri, PREFIX)?;
    let (routed, consistency) = prepare(&app, &head, |_| Ok(())).await?;
    if let Routed::Answered(response) = routed {
        return Ok(response);
    }
    let read = app.store.get(&key, consistency);
    let Some(entry) = &read.value else {
        count_read(&app, (consistency, ReadResult::NotFound), trace_of(&head), started);
        let mut missing = ApiError::from(StoreError::KeyNotFound).into_response();
        read_headers(&mut missing, &read, consistency);
        return Ok(missing);
    };
    count_read(&app, (consistency, ReadResult::Ok), trace_of(&head), started);
    let mut response = entry.value.to_bytes().into_response();
    let headers = response.headers_mut();
    let binary = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, binary);
    receipt::etag(headers, entry.modify_index.get());
    read_headers(&mut response, &read, consistency);
    Ok(response)
}

/// `GET /v1/kv`.
pub(super) async fn list(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let started = Instant::now();
    let mut query = ListQuery::default();
    let mut keys_only = false;
    let take = |params: &mut Params| {
        query.prefix = params.bytes("prefix").unwrap_or_default();
        query.start = params.bytes("start").unwrap_or_default();
        query.end = params.bytes("end");
        let limit = params.number("limit", 1, LIST_LIMIT_MAX)?.unwrap_or(LIST_LIMIT_DEFAULT);
        query.limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if let Some(cursor) = params.bytes("cursor") {
            query.start = query.start.clone().max(cursor);
        }
        keys_only = params.flag("keys_only", false)?;
        Ok(())
    };
    let (head, _) = request.into_parts();
    let (routed, consistency) = prepare(&app, &head, take).await?;
    if let Routed::Answered(response) = routed {
        return Ok(response);
    }
    let read = app.store.list(&query, consistency);
    count_read(&app, (consistency, ReadResult::Ok), trace_of(&head), started);
    let ndjson = params::accepts(&head.headers, "application/x-ndjson");
    let read = Arc::new(read);
    let encoded = {
        let read = read.clone();
        move || if ndjson { lines(&read, keys_only) } else { document(&read, keys_only) }
    };
    let bytes: usize = read.value.items.iter().map(|(_, entry)| entry.value.as_bytes().len()).sum();
    let encoded = if bytes > ENCODE_HERE_MAX_BYTES {
        let elsewhere = app.tasks.spawn_blocking("list-encode", encoded).await;
        elsewhere.map_err(|failure| ApiError::new(ErrorCode::Internal, failure.to_string()))?
    } else {
        encoded()
    };
    let media = if ndjson { "application/x-ndjson" } else { "application/json" };
    let media = HeaderValue::from_static(media);
    let mut response = ([(header::CONTENT_TYPE, media)], encoded).into_response();
    if let Some(next) = &read.value.next {
        let cursor =
            percent_encoding::percent_encode(next.as_bytes(), percent_encoding::NON_ALPHANUMERIC);
        if let Ok(cursor) = HeaderValue::from_str(&cursor.to_string()) {
            response.headers_mut().insert("bitacora-next-cursor", cursor);
        }
    }
    read_headers(&mut response, &read, consistency);
    Ok(response)
}

fn of_metrics(consistency: Consistency) -> ReadConsistency {
    match consistency {
        Consistency::Linearizable => ReadConsistency::Linearizable,
        Consistency::Stale => ReadConsistency::Stale,
    }
}

fn count_read(
    app: &App,
    (consistency, result): (Consistency, ReadResult),
    trace: Option<TraceContext>,
    started: Instant,
) {
    let consistency = of_metrics(consistency);
    app.metrics.reads.increment(consistency, result);
    let exemplar = app.traces.exemplar(trace);
    app.metrics.read_duration.observe_in(consistency, started.elapsed(), exemplar);
}

fn document(read: &Read<ListPage>, keys_only: bool) -> String {
    let items = read.value.items.iter().map(|(key, entry)| item(key, entry, keys_only));
    json!({
        "items": items.collect::<Vec<_>>(),
        "count": read.value.items.len(),
        "next_cursor": read.value.next.as_ref().map(Key::as_str),
        "index": read.index.map(crate::types::Index::get),
    })
    .to_string()
}

fn lines(read: &Read<ListPage>, keys_only: bool) -> String {
    let mut lines = String::new();
    for (key, entry) in &read.value.items {
        lines.push_str(&item(key, entry, keys_only).to_string());
        lines.push('\n');
    }
    lines
}

/// Takes a read's parameters and brings it to where it may be answered.
async fn prepare(
    app: &App,
    head: &Parts,
    take: impl FnOnce(&mut Params) -> Result<(), ApiError>,
) -> Result<(Routed, Consistency), ApiError> {
    let mut params = Params::parse(&head.uri)?;
    let consistency = params.consistency()?;
    let until = Instant::now() + params.timeout(app.limits.request_timeout)?;
    let may_forward = params.flag("forward", true)?;
    take(&mut params)?;
    params.finish("consistency, timeout, forward and those in docs/api.md")?;
    if consistency == Consistency::Stale {
        return Ok((Routed::Here, consistency));
    }
    let (method, uri, headers) = (&Method::GET, &head.uri, &head.headers);
    let body = Bytes::new();
    let trace = trace_of(head);
    let routed = forward::Request { method, uri, headers, body, trace, until, may_forward };
    loop {
        let abandoned =
            OnDrop::new(|| app.metrics.reads.increment(of_metrics(consistency), ReadResult::Error));
        let route = forward::route(app, &routed).await;
        abandoned.disarm();
        match route {
            Ok(Routed::Here) => {}
            Ok(answered @ Routed::Answered(_)) => return Ok((answered, consistency)),
            Err(error) => {
                app.metrics.reads.increment(of_metrics(consistency), ReadResult::Error);
                return Err(error);
            }
        }
        match app.store.prepare(consistency, trace, until).await {
            Ok(()) => return Ok((Routed::Here, consistency)),
            // Leadership moved between the two steps; nothing was read yet.
            Err(StoreError::NotLeader | StoreError::NoQuorum) if Instant::now() < until => {
                tokio::time::sleep(forward::RETRY).await;
            }
            Err(error) => {
                app.metrics.reads.increment(of_metrics(consistency), ReadResult::Error);
                return Err(error.into());
            }
        }
    }
}

fn item(key: &Key, entry: &Entry, keys_only: bool) -> Json {
    let mut item = Map::new();
    item.insert("key".to_owned(), json!(key.as_str()));
    if !keys_only {
        put_value(&mut item, &entry.value);
    }
    item.insert("create_index".to_owned(), json!(entry.create_index.get()));
    item.insert("modify_index".to_owned(), json!(entry.modify_index.get()));
    item.insert("version".to_owned(), json!(entry.version));
    Json::Object(item)
}

/// `value` when it is text, else `value_base64`.
pub(super) fn put_value(item: &mut Map<String, Json>, value: &Value) {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => item.insert("value".to_owned(), json!(text)),
        Err(_) => item.insert("value_base64".to_owned(), json!(BASE64.encode(value.as_bytes()))),
    };
}

fn read_headers<T>(response: &mut Response, read: &Read<T>, consistency: Consistency) {
    let headers = response.headers_mut();
    if let Some(index) = read.index {
        headers.insert("bitacora-index", index.get().into());
    }
    let name = match consistency {
        Consistency::Linearizable => "linearizable",
        Consistency::Stale => "stale",
    };
    headers.insert("bitacora-consistency", HeaderValue::from_static(name));
    if let Some(staleness) = read.staleness {
        let ms = u64::try_from(staleness.as_millis()).unwrap_or(u64::MAX);
        headers.insert("bitacora-staleness-ms", ms.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &'static str) -> Vec<(String, String)> {
        let pairs = pairs(&Bytes::from_static(body.as_bytes())).unwrap();
        let text = |v: &Value| String::from_utf8(v.as_bytes().to_vec()).unwrap();
        pairs.iter().map(|(key, value)| (key.as_str().to_owned(), text(value))).collect()
    }

    #[test]
    fn members_become_pairs_strings_as_text_and_the_rest_as_compact_json() {
        let pairs = texts(r#"{"clave":"valor","n": 1, "list": [1, {"a": null}]}"#);
        let expected = [("clave", "valor"), ("n", "1"), ("list", r#"[1,{"a":null}]"#)];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn numbers_keep_their_digits_and_strings_their_spaces() {
        let pairs = texts(r#"{"n":12345678901234567890123,"d": 1.10,"l":[ "a \" b" , 1e15 ]}"#);
        let values: Vec<_> = pairs.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["12345678901234567890123", "1.10", r#"["a \" b",1e15]"#]);
    }

    #[test]
    fn of_equal_names_the_last_one_stays() {
        let pairs = texts(r#"{"a":"1","b":"2","a":"3"}"#);
        assert_eq!(pairs, [("a".into(), "3".into()), ("b".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn what_is_not_an_object_of_valid_keys_is_refused_with_its_code() {
        let code = |body: &str| pairs(&Bytes::from(body.to_owned())).unwrap_err().code();
        assert_eq!(code("clave=valor"), ErrorCode::BadJson);
        assert_eq!(code("[1]"), ErrorCode::NotAnObject);
        assert_eq!(code("{}"), ErrorCode::NotAnObject);
        assert_eq!(code(r#"{"":"x"}"#), ErrorCode::BadKey);
        assert_eq!(code(&format!("{{\"{}\":1}}", "k".repeat(1025))), ErrorCode::KeyTooLarge);
        assert_eq!(
            code(&format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200))),
            ErrorCode::BadJson
        );
    }
}
