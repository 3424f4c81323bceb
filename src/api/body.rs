//! Bodies within their limits of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::Instant;

use super::error::ApiError;
use crate::config::LimitsConfig;
use crate::store::ErrorCode;

/// A client may take this long for its body, whatever its `timeout=` says.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body of up to so many times its limit is read to its end before it is refused.
const DISCARD_FACTOR: u64 = 4;
/// That may take this long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads a client's whole body.
pub(super) async fn read(
    body: Body,
    headers: &HeaderMap,
    limits: &LimitsConfig,
    until: Instant,
) -> Result<Bytes, ApiError> {
    let until = until.min(Instant::now() + BODY_TIMEOUT);
    read_up_to(body, headers, limits.body_max_bytes, until).await
}

/// Reads a whole body of at most `max_bytes`.
pub(super) async fn read_up_to(
    mut body: Body,
    headers: &HeaderMap,
    max_bytes: u64,
    until: Instant,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        let detail = format!("a body may have at most {max_bytes} bytes");
        ApiError::new(ErrorCode::BodyTooLarge, detail)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    if announced > max_bytes {
        if announced <= max_bytes.saturating_mul(DISCARD_FACTOR) {
            discard(&mut body, max_bytes, until).await;
        }
        return Err(too_large());
    }
    let limited = Limited::new(&mut body, usize::try_from(max_bytes).unwrap_or(usize::MAX));
    match tokio::time::timeout_at(until, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(&mut body, max_bytes, until).await;
            Err(too_large())
        }
        Ok(Err(error)) => {
            let detail = format!("the body broke off: {error}");
            Err(ApiError::new(ErrorCode::BadRequest, detail))
        }
        Err(_) => {
            let detail = "the whole body must come within 10 s and within timeout=";
            Err(ApiError::new(ErrorCode::BodyTimeout, detail))
        }
    }
}

/// Reads on what is a little too large, so that the client hears why it is refused: a connection
/// that is closed while the client still sends takes the answer with it.
async fn discard(body: &mut Body, max_bytes: u64, until: Instant) {
    let until = until.min(Instant::now() + DISCARD_TIMEOUT);
    let most = max_bytes.saturating_mul(DISCARD_FACTOR);
    let mut read = 0_u64;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, body.frame()).await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        read = read.saturating_add(bytes);
        if read > most {
            return;
        }
    }
}
