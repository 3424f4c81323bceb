//! The command line's HTTP client. The only file of it that uses `reqwest`.
//!
//! Tries the given URLs in order until one can be connected to. Once a request may have left this
//! machine it is not sent again: a write sent twice may happen twice.
//!
//! # Not here
//! What is asked ([`super::request`]), what is printed.

use std::io::IsTerminal;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;

use crate::types::NodeUrl;

use super::answers::{Cluster, Heartbeat, Problem};
use super::failure::Failure;
use super::request::{Body, Method, Request};

/// What the server's own timeout may be exceeded by before the client gives up on it: the server
/// knows more about the outcome, so it gets to say it.
const GRACE: Duration = Duration::from_secs(1);
/// The longest wait for a connection before the next URL is tried.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Talks to the nodes at some URLs.
pub struct Client {
    http: reqwest::Client,
    urls: Vec<NodeUrl>,
    timeout: Duration,
}

/// A successful answer.
pub struct Answer {
    /// Who answered.
    pub url: NodeUrl,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as a document of the contract.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::BadAnswer { url: self.url.clone(), why: error.to_string() })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client for `urls`; no request takes longer than `timeout` and a little.
    pub fn new(urls: Vec<NodeUrl>, timeout: Duration) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout.min(CONNECT_MAX))
            .tcp_keepalive(Duration::from_secs(5))
            .user_agent(concat!("bitacora/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::Failed(format!("no HTTP client: {}", root(&error))))?;
        Ok(Self { http, urls, timeout })
    }

    /// Where requests go.
    pub fn urls(&self) -> &[NodeUrl] {
        &self.urls
    }

    /// Sends a request to the first URL that can be connected to. An answer that is not a success
    /// is a failure.
    pub async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let body = read_body(&request.body)?;
        let timeout = Some(self.timeout.saturating_add(GRACE));
        let (url, response) = self.open(request, body, timeout).await?;
        let lost = |error: &reqwest::Error| Failure::Lost {
            url: url.clone(),
            why: root(error),
            write: request.method.is_write(),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| lost(&error))?;
        if status.is_success() {
            return Ok(Answer { url, body });
        }
        Err(refused(status.as_u16(), &headers, &body, request.method.is_write()))
    }

    /// Opens an endless answer, read line by line.
    pub async fn lines(&self, request: &Request) -> Result<Lines, Failure> {
        let (url, response) = self.open(request, Bytes::new(), None).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Ok(Lines { url, response, buffer: BytesMut::new() });
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(refused(status.as_u16(), &headers, &body, false))
    }

    /// What the node at `url` says about itself, or why it does not, within `timeout`.
    pub async fn heartbeat(&self, url: &NodeUrl, timeout: Duration) -> Result<Heartbeat, Silence> {
        let request = self.http.get(format!("{url}/heartbeat")).timeout(timeout);
        let response = request.send().await.map_err(|error| Silence::of(&error))?;
        let body = response.bytes().await.map_err(|error| Silence::of(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| Silence { refused: false, why: format!("not a heartbeat: {error}") })
    }

    /// The cluster as the first URL that can be connected to sees it.
    pub async fn cluster(&self) -> Result<Cluster, Failure> {
        self.send(&Request::new(Method::Get, "/v1/cluster")).await?.json()
    }

    async fn open(
        &self,
        request: &Request,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<(NodeUrl, reqwest::Response), Failure> {
        let write = request.method.is_write();
        let mut tries = Vec::new();
        for url in &self.urls {
            match self.attempt(request, url, body.clone(), timeout).await {
                Ok(response) => return Ok((url.clone(), response)),
                Err(error) if error.is_connect() => tries.push((url.clone(), root(&error))),
                Err(error) => {
                    return Err(Failure::Lost { url: url.clone(), why: root(&error), write });
                }
            }
        }
        Err(Failure::Unreachable { tries, write })
    }

    async fn attempt(
        &self,
        request: &Request,
        url: &NodeUrl,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.http.request(method, request.url(url));
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if request.body != Body::Empty {
            builder = builder.body(body);
        }
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        builder.send().await
    }
}

/// Why a node gave no heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Nobody listens there: not merely slow.
    pub refused: bool,
    /// In words.
    pub why: String,
}

impl Silence {
    fn of(error: &reqwest::Error) -> Self {
        let refused = error.is_connect() && !error.is_timeout();
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { root(error) };
        Self { refused, why }
    }
}

/// An endless answer.
pub struct Lines {
    /// Who answers.
    pub url: NodeUrl,
    response: reqwest::Response,
    buffer: BytesMut,
}

impl Lines {
    /// The next whole line without its end; `None` when the answer ended. What came of a line that
    /// was cut off is dropped: it comes again when the reader resumes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return Ok(Some(line));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => {
                    let why = root(&error);
                    return Err(Failure::Lost { url: self.url.clone(), why, write: false });
                }
            }
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<Bytes> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end.saturating_add(1)).freeze();
    Some(line.slice(..end))
}

fn read_body(body: &Body) -> Result<Bytes, Failure> {
    match body {
        Body::Empty => Ok(Bytes::new()),
        Body::Inline(bytes) => Ok(bytes.clone()),
        Body::File(path) => crate::os::disk::read_whole(path)
            .map(Bytes::from)
            .map_err(|error| Failure::machine(format!("cannot read {}", path.display()), error)),
        Body::Stdin => {
            if std::io::stdin().is_terminal() {
                super::output::note("reading stdin; Ctrl-D on an empty line ends it");
            }
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                .map_err(|error| Failure::machine("cannot read stdin", error))?;
            Ok(Bytes::from(bytes))
        }
    }
}

/// Makes a failure of an answer that is no success, whoever wrote it.
fn refused(status: u16, headers: &HeaderMap, body: &Bytes, write: bool) -> Failure {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    let is_problem = content_type.is_some_and(|text| text.starts_with("application/problem+json"));
    let parsed = serde_json::from_slice::<Problem>(body).ok().filter(|_| is_problem);
    let mut problem = parsed.unwrap_or_else(|| Problem {
        title: "The answer is an error, but not one of bitacora's".to_owned(),
        detail: super::output::shown(&String::from_utf8_lossy(body), 200),
        code: "no_problem_document".to_owned(),
        ..Problem::default()
    });
    problem.status = status;
    let body = String::from_utf8_lossy(body).into_owned();
    Failure::Refused { problem: Box::new(problem), body, write }
}

/// The innermost cause: the outer ones say "error sending request" and the URL again.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn lines_are_taken_whole_and_a_cut_one_waits() {
        let mut buffer = BytesMut::from(&b"{\"a\":1}\n{\"b\""[..]);
        assert_eq!(take_line(&mut buffer).as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(take_line(&mut buffer), None);
        buffer.extend_from_slice(b":2}\n");
        assert_eq!(take_line(&mut buffer).as_deref(), Some(&b"{\"b\":2}"[..]));
    }

    #[test]
    fn an_error_that_is_no_problem_document_leaves_a_write_unknown() {
        let body = Bytes::from_static(b"<html>bad gateway</html>");
        let failure = refused(502, &HeaderMap::new(), &body, true);
        assert_eq!(failure.exit(), Exit::Unknown);
        assert!(failure.to_string().contains("bad gateway"));
    }

    #[tokio::test]
    async fn nobody_listening_is_told_for_each_url_and_nothing_was_sent() {
        // Bound and dropped: nobody listens on this port for the time of the test.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url: NodeUrl = format!("http://127.0.0.1:{port}").parse().unwrap();
        let client = Client::new(vec![url.clone(), url], Duration::from_secs(5)).unwrap();
        let put = Request::new(Method::Put, "/v1/kv/k");
        let failure = client.send(&put).await.err().unwrap();
        assert!(matches!(&failure, Failure::Unreachable { tries, .. } if tries.len() == 2));
        assert_eq!(failure.exit(), Exit::Error);
    }
}
