//! The seed's words: `/escribir` and `/replicar`. The same handlers as the English ones with
//! another voice; the only file of the API that knows the Spanish.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error::ApiError;
use super::kv::{self, Done, Overrides};
use super::{App, error, peers};
use crate::command::Command;
use crate::peer::Rpc;
use crate::store::{Acks, ErrorCode, Role};
use crate::telemetry::metrics::WriteOp;

const WRITTEN: &str = "Datos escritos y replicados exitosamente.";
const NOT_A_LEADER: &str = "Este nodo no es un líder.";
const NOT_ENOUGH: &str = "No hay suficientes confirmaciones de seguidores.";
const A_LEADER: &str = "Este nodo es el líder y no puede replicarse.";

fn say(status: StatusCode, name: &str, text: &str) -> Response {
    (status, axum::Json(json!({ name: text }))).into_response()
}

/// `POST /escribir`: as the seed's leader and followers answered.
pub(super) async fn write(State(app): State<App>, request: Request) -> Response {
    // A node that cannot find a leader keeps the seed's other promise: not enough confirmations.
    let status = app.store.status();
    if status.role != Role::Leader && status.leader.is_some() {
        return say(StatusCode::FORBIDDEN, "error", NOT_A_LEADER);
    }
    let confirmations = app.seed_confirmations;
    let acks = confirmations.map(|followers| Acks::Followers(u64::from(followers)));
    let overrides = Overrides { acks, may_forward: Some(false) };
    let build = |_: &axum::http::request::Parts, body| {
        kv::pairs(&body).map(|pairs| Command::Write { pairs })
    };
    match kv::perform_write(&app, WriteOp::Write, request, overrides, build).await {
        Ok(Done::Here(_)) => say(StatusCode::OK, "success", WRITTEN),
        Ok(Done::Elsewhere(response)) => response,
        Err(error) => complain(&error.of_write()),
    }
}

/// What the seed had words for, in its words; anything else as the English route says it.
fn complain(error: &ApiError) -> Response {
    match error.code() {
        ErrorCode::Timeout
        | ErrorCode::NoLeader
        | ErrorCode::NoQuorum
        | ErrorCode::BadAcks
        | ErrorCode::Overloaded => say(StatusCode::INTERNAL_SERVER_ERROR, "error", NOT_ENOUGH),
        ErrorCode::NotLeader => say(StatusCode::FORBIDDEN, "error", NOT_A_LEADER),
        code => {
            let detail = error.detail().to_owned();
            (error::status(code), axum::Json(json!({ "error": detail }))).into_response()
        }
    }
}

/// `POST /replicar`: a message between nodes; to anyone else a leader says what the seed said.
pub(super) async fn replicate(State(app): State<App>, request: Request) -> Response {
    match peers::answer(app.door(), Rpc::Replicate, request).await {
        Ok(response) => response,
        Err(_) if app.store.status().role == Role::Leader => {
            say(StatusCode::FORBIDDEN, "error", A_LEADER)
        }
        Err(error) => complain(&error),
    }
}
