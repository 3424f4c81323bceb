//! One HTTP request as data: built by a verb, sent by [`super::client`] or printed as a curl line.
//!
//! Pure, so that what `--curl` prints and what is sent cannot differ.
//!
//! # Not here
//! Sending ([`super::client`]).

use std::path::PathBuf;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::types::{Key, NodeUrl};

/// RFC 3986's unreserved characters stay as they are.
const EVERYTHING_RESERVED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, for a path whose slashes part its segments.
const ALL_BUT_SLASH: AsciiSet = EVERYTHING_RESERVED.remove(b'/');

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Sets one key.
    Put,
    /// Appends to the log.
    Post,
    /// Removes one key.
    Delete,
}

impl Method {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it may change something: then it is sent once, and its loss has an unknown outcome.
    pub const fn is_write(self) -> bool {
        !matches!(self, Self::Get)
    }
}

/// Where a request's body comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Empty,
    /// From the command line.
    Inline(Bytes),
    /// From a file.
    File(PathBuf),
    /// From stdin.
    Stdin,
}

/// One request, without the node it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Path, already percent-encoded, with its leading slash.
    pub path: String,
    /// Query parameters in their order, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// Headers beyond those HTTP needs.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Request {
    /// A request without parameters, headers or body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: Body::Empty }
    }

    /// Adds a query parameter if it has a value.
    #[must_use]
    pub fn query<T: ToString>(mut self, name: &'static str, value: Option<T>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Adds a header if it has a value.
    #[must_use]
    pub fn header<T: ToString>(mut self, name: &'static str, value: Option<T>) -> Self {
        self.headers.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Path and query, as they stand on the wire.
    pub fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            target.extend(utf8_percent_encode(value, &EVERYTHING_RESERVED));
        }
        target
    }

    /// The same request on one node.
    pub fn url(&self, node: &NodeUrl) -> String {
        format!("{node}{}", self.target())
    }

    /// The equivalent curl line. `stream`: the answer has no end (curl must not buffer it).
    pub fn curl(&self, node: &NodeUrl, stream: bool) -> String {
        let mut words = vec!["curl".to_owned()];
        if stream {
            words.push("-N".to_owned());
        }
        if self.method != Method::Get {
            words.push(format!("-X {}", self.method.as_str()));
        }
        for (name, value) in &self.headers {
            words.push(format!("-H {}", quoted(&format!("{name}: {value}"))));
        }
        match &self.body {
            Body::Empty => {}
            Body::Inline(bytes) => {
                words.push(format!("--data-raw {}", quoted(&String::from_utf8_lossy(bytes))));
            }
            Body::File(path) => {
                words.push(format!("--data-binary {}", quoted(&format!("@{}", path.display()))));
            }
            Body::Stdin => words.push("--data-binary @-".to_owned()),
        }
        words.push(quoted(&self.url(node)));
        words.join(" ")
    }
}

/// The path of a key's resource. `None` for `.` and `..`, which every HTTP client takes for
/// directories; `POST /write` can set them.
pub fn key_path(key: &Key) -> Option<String> {
    let text = key.as_str();
    if matches!(text, "." | "..") {
        return None;
    }
    // Slashes stay readable unless a client or router could fold the segments beside them.
    let foldable = text.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    let set = if foldable { &EVERYTHING_RESERVED } else { &ALL_BUT_SLASH };
    Some(format!("/v1/kv/{}", utf8_percent_encode(text, set)))
}

/// One word for a POSIX shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeUrl {
        "http://127.0.0.1:5000".parse().unwrap()
    }

    fn path(key: &str) -> Option<String> {
        key_path(&key.parse().unwrap())
    }

    #[test]
    fn a_key_is_encoded_but_its_slashes_stay_readable() {
        assert_eq!(path("app/colour").as_deref(), Some("/v1/kv/app/colour"));
        assert_eq!(path("a b?c#d%e+ñ").as_deref(), Some("/v1/kv/a%20b%3Fc%23d%25e%2B%C3%B1"));
    }

    #[test]
    fn a_key_that_a_client_would_fold_has_its_slashes_encoded() {
        assert_eq!(path("../x").as_deref(), Some("/v1/kv/..%2Fx"));
        assert_eq!(path("/a//b").as_deref(), Some("/v1/kv/%2Fa%2F%2Fb"));
        assert_eq!(path(".."), None);
    }

    #[test]
    fn the_curl_line_is_the_request_that_would_be_sent() {
        let put = Request::new(Method::Put, "/v1/kv/colour")
            .query("acks", Some("all"))
            .query("timeout", None::<&str>)
            .header("If-None-Match", Some("*"))
            .body(Body::Inline(Bytes::from_static(b"it's @blue")));
        assert_eq!(
            put.curl(&node(), false),
            "curl -X PUT -H 'If-None-Match: *' --data-raw 'it'\\''s @blue' \
             'http://127.0.0.1:5000/v1/kv/colour?acks=all'"
        );
    }

    #[test]
    fn the_curl_line_of_a_tail_does_not_buffer() {
        let tail = Request::new(Method::Get, "/v1/log").query("follow", Some(true));
        let expected = "curl -N 'http://127.0.0.1:5000/v1/log?follow=true'";
        assert_eq!(tail.curl(&node(), true), expected);
    }

    #[test]
    fn a_body_from_a_file_or_stdin_is_not_read_to_print_it() {
        let file = Request::new(Method::Put, "/v1/kv/k").body(Body::File("a b".into()));
        assert!(file.curl(&node(), false).contains("--data-binary '@a b'"));
        let stdin = Request::new(Method::Post, "/write").body(Body::Stdin);
        assert!(stdin.curl(&node(), false).contains("--data-binary @-"));
    }

    #[test]
    fn query_values_are_encoded() {
        let list = Request::new(Method::Get, "/v1/kv").query("prefix", Some("a/b&c=d"));
        assert_eq!(list.target(), "/v1/kv?prefix=a%2Fb%26c%3Dd");
    }
}
