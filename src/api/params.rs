//! What a request says in its query and headers, checked. What is not known is an error: a typo in
//! `acks=` must not pass for the default.

use std::time::Duration;

use axum::http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::command::Precondition;
use crate::store::{Acks, Consistency, ErrorCode};
use crate::types::{Index, Key, parse_duration};

/// The longest `timeout=`.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// The parameters of a query, each to be taken once.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, Vec<u8>)>);

fn bad(name: &str, detail: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::BadParameter, format!("{name}: {detail}"))
}

impl Params {
    /// Splits a query; refuses a name that is given twice.
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let mut params: Vec<(String, Vec<u8>)> = Vec::new();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
            if params.iter().any(|(other, _)| *other == name) {
                return Err(bad(&name, "given more than once"));
            }
            let value = value.replace('+', " ");
            params.push((name, percent_decode_str(&value).collect()));
        }
        Ok(Self(params))
    }

    /// The bytes of a parameter.
    pub(super) fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let place = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// The text of a parameter.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let text = self.bytes(name).map(String::from_utf8);
        text.transpose().map_err(|_| bad(name, "must be UTF-8"))
    }

    /// `true` or `false`; named without a value it is true.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.text(name)?.as_deref() {
            None => Ok(default),
            Some("true" | "") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(bad(name, format!("must be true or false, found {other:?}"))),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &mut self,
        name: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.parse::<u64>().ok().filter(|number| (min..=max).contains(number));
        let expected = || format!("must be a whole number from {min} to {max}, found {text:?}");
        number.map(Some).ok_or_else(|| bad(name, expected()))
    }

    /// `timeout=`.
    pub(super) fn timeout(&mut self, default: Duration) -> Result<Duration, ApiError> {
        let Some(text) = self.text("timeout")? else { return Ok(default) };
        let timeout = parse_duration(&text).map_err(|error| bad("timeout", error))?;
        if timeout < Duration::from_millis(1) || timeout > TIMEOUT_MAX {
            return Err(bad("timeout", format!("must be from 1ms to 60s, found {text:?}")));
        }
        Ok(timeout)
    }

    /// `acks=`.
    pub(super) fn acks(&mut self) -> Result<Acks, ApiError> {
        match self.text("acks")?.as_deref() {
            None | Some("quorum") => Ok(Acks::Quorum),
            Some("all") => Ok(Acks::All),
            Some(number) => number.parse().map(Acks::Exactly).map_err(|_| {
                let detail = format!("acks must be quorum, all or a number, found {number:?}");
                ApiError::new(ErrorCode::BadAcks, detail)
            }),
        }
    }

    /// `consistency=`.
    pub(super) fn consistency(&mut self) -> Result<Consistency, ApiError> {
        match self.text("consistency")?.as_deref() {
            None | Some("linearizable") => Ok(Consistency::Linearizable),
            Some("stale") => Ok(Consistency::Stale),
            Some(other) => {
                Err(bad("consistency", format!("must be linearizable or stale, found {other:?}")))
            }
        }
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self, known: &str) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(bad(name, format!("not known here; known are {known}"))),
        }
    }
}

/// The key in a path, after `prefix`.
pub(super) fn key(uri: &Uri, prefix: &str) -> Result<Key, ApiError> {
    let encoded = uri.path().strip_prefix(prefix).unwrap_or_default();
    let bytes: Vec<u8> = percent_decode_str(encoded).collect();
    let bad = |detail: &str| Err(ApiError::new(ErrorCode::BadKey, detail));
    if encoded.split('%').skip(1).any(|rest| !begins_with_hex(rest)) {
        return bad("a % in a path is followed by two hexadecimal digits; % itself is %25");
    }
    if matches!(bytes.as_slice(), b"." | b"..") {
        return bad("HTTP takes . and .. in a path for directories; POST /write can set such keys");
    }
    Ok(Key::new(bytes.into())?)
}

fn begins_with_hex(text: &str) -> bool {
    let digits = text.bytes().take(2).filter(u8::is_ascii_hexdigit);
    digits.count() == 2
}

/// Refuses preconditions where there is no single key that they could be about.
pub(super) fn no_precondition(headers: &HeaderMap) -> Result<(), ApiError> {
    match precondition(headers)? {
        Precondition::None => Ok(()),
        _ => Err(bad("if-match, if-none-match", "only with a single key, as in PUT /v1/kv/KEY")),
    }
}

/// `If-Match` and `If-None-Match`.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    let text = |name: header::HeaderName| {
        if headers.get_all(&name).iter().count() > 1 {
            return Err(bad(name.as_str(), "given more than once"));
        }
        let value = headers.get(&name).map(|value| value.to_str().map(str::trim));
        value.transpose().map_err(|_| bad(name.as_str(), "must be text"))
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(bad("if-none-match", "only * is known here")),
        (Some("*"), None) => Ok(Precondition::Present),
        (Some(tag), None) => {
            let index = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let digits = |index: &&str| index.bytes().all(|byte| byte.is_ascii_digit());
            let index = index.filter(digits).and_then(|index| index.parse().ok());
            let wrong =
                || bad("if-match", format!("must be * or an ETag like \"42\", found {tag}"));
            index.map(|index| Precondition::ModifiedAt(Index::new(index))).ok_or_else(wrong)
        }
        (Some(_), Some(_)) => Err(bad("if-match", "not together with if-none-match")),
    }
}

/// `Prefer: return=minimal`.
pub(super) fn prefers_minimal(headers: &HeaderMap) -> bool {
    let all = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|w| w.trim().eq_ignore_ascii_case("return=minimal"))
}

/// Whether `Accept` names a media type.
pub(super) fn accepts(headers: &HeaderMap, media: &str) -> bool {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let name = |range: &str| range.split(';').next().map(str::trim) == Some(media);
    all.flat_map(|value| value.split(',')).any(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::parse(&format!("/write?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn parameters_are_taken_once_and_what_is_left_is_refused() {
        let mut some = params("acks=2&timeout=250ms&typo=1");
        assert_eq!(some.acks().unwrap(), Acks::Exactly(2));
        assert_eq!(some.timeout(TIMEOUT_MAX).unwrap(), Duration::from_millis(250));
        assert_eq!(some.finish("acks, timeout").unwrap_err().code(), ErrorCode::BadParameter);
        assert!(Params::parse(&"/write?acks=1&acks=2".parse().unwrap()).is_err());
    }

    #[test]
    fn values_outside_their_bounds_are_refused() {
        for wrong in ["timeout=0ms", "timeout=61s", "timeout=soon", "timeout="] {
            assert!(params(wrong).timeout(TIMEOUT_MAX).is_err(), "{wrong}");
        }
        for wrong in ["acks=", "acks=-1", "acks=some"] {
            assert_eq!(params(wrong).acks().unwrap_err().code(), ErrorCode::BadAcks, "{wrong}");
        }
        assert!(params("limit=0").number("limit", 1, 1000).is_err());
        assert!(params("limit=1001").number("limit", 1, 1000).is_err());
        assert!(params("consistency=eventual").consistency().is_err());
        assert!(params("follow=yes").flag("follow", false).is_err());
    }

    #[test]
    fn a_key_is_decoded_from_the_path_and_may_hold_slashes() {
        let uri = "/v1/kv/a/b%20c%2Fd".parse().unwrap();
        assert_eq!(key(&uri, "/v1/kv/").unwrap().as_str(), "a/b c/d");
        assert!(key(&"/v1/kv/%ff".parse().unwrap(), "/v1/kv/").is_err());
        assert!(key(&"/v1/kv/".parse().unwrap(), "/v1/kv/").is_err());
    }

    #[test]
    fn preconditions_come_from_their_headers() {
        let of = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            precondition(&headers)
        };
        assert_eq!(of("if-none-match", "*").unwrap(), Precondition::Absent);
        assert_eq!(of("if-match", "*").unwrap(), Precondition::Present);
        assert_eq!(of("if-match", "\"42\"").unwrap(), Precondition::ModifiedAt(Index::new(42)));
        assert!(of("if-match", "42").is_err());
        assert!(of("if-none-match", "\"42\"").is_err());
    }
}
