//! HTTP/1.1 over a plain socket: what is sent is exactly what the test says, and what cannot have
//! been sent is told apart from what may have been.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// How long an answer may take that the test says nothing about.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub within: Duration,
}

impl Request {
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            within: PATIENCE,
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (method, target) = (&self.method, &self.target);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

pub fn get(target: impl Into<String>) -> Request {
    Request::new("GET", target)
}

pub fn put(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    Request::new("PUT", target).body(body)
}

pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", target).body(body)
}

pub fn delete(target: impl Into<String>) -> Request {
    Request::new("DELETE", target)
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name).map(|value| value.parse().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// A member of the answer's JSON object.
    pub fn member(&self, name: &str) -> Json {
        self.json().get(name).cloned().unwrap_or(Json::Null)
    }

    pub fn code(&self) -> String {
        self.member("code").as_str().unwrap_or_default().to_owned()
    }

    pub fn outcome(&self) -> String {
        self.member("outcome").as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(2000).collect();
        write!(f, "{} {:?} {text}", self.status, self.headers)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// No connection: nobody has seen the request.
    NotSent(io::Error),
    /// The request may have been seen.
    Lost(io::Error),
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    until: Instant,
}

impl Connection {
    pub fn open(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), until: Instant::now() + PATIENCE })
    }

    /// Whether the other side has closed it already, as any HTTP client looks before it sends on a
    /// connection that it has kept.
    pub fn is_gone(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// From now on reads give up at this time.
    pub fn patience(&mut self, within: Duration) {
        self.until = Instant::now() + within;
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.write_all(bytes)
    }

    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.patience(request.within);
        self.send(&request.bytes())?;
        self.read_response(&request.method)
    }

    /// More bytes; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut part = [0; 64 << 10];
        let count = match self.stream.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            other => other?,
        };
        self.unread.extend_from_slice(&part[..count]);
        Ok(count > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.unread.split_off(end + 2);
                let line = std::mem::replace(&mut self.unread, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.unread.split_off(count);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    /// Status and headers, the body empty.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, first.clone()))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new() })
    }

    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.read_head()?;
        if response.status == 204 || response.status == 304 || method == "HEAD" {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else {
            let length = response.number("content-length").unwrap_or(0);
            response.body = self.exactly(usize::try_from(length).unwrap())?;
        }
        Ok(response)
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(size.trim(), 16)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, size))?;
        let chunk = self.exactly(size)?;
        self.exactly(2)?;
        Ok((size > 0).then_some(chunk))
    }

    /// Reads until the other side closes; whether it did before the patience ended.
    pub fn is_closed_within(&mut self, within: Duration) -> bool {
        self.patience(within);
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => return error.kind() != ErrorKind::TimedOut,
            }
        }
    }
}

/// One request on a connection of its own.
pub fn ask(port: u16, request: &Request) -> Result<Response, NoAnswer> {
    let mut connection = Connection::open(port).map_err(NoAnswer::NotSent)?;
    connection.exchange(request).map_err(NoAnswer::Lost)
}

/// Entries of the log as they come.
pub struct Tail {
    connection: Connection,
    text: String,
    events: bool,
}

/// What a tail got.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Entry(Json),
    /// The connection has ended.
    End,
}

impl Tail {
    /// Opens `GET /v1/log?follow=true&from=`.
    pub fn open(port: u16, from: u64, events: bool) -> io::Result<Self> {
        let mut connection = Connection::open(port)?;
        let mut request = get(format!("/v1/log?follow=true&from={from}"));
        if events {
            request = request.header("Accept", "text/event-stream");
        }
        connection.send(&request.bytes())?;
        let head = connection.read_head()?;
        let media = if events { "text/event-stream" } else { "application/x-ndjson" };
        assert_eq!((head.status, head.header("content-type")), (200, Some(media)));
        Ok(Self { connection, text: String::new(), events })
    }

    pub fn next(&mut self, within: Duration) -> io::Result<Next> {
        self.connection.patience(within);
        let mark = if self.events { "\n\n" } else { "\n" };
        loop {
            if let Some((one, rest)) = self.text.split_once(mark) {
                let (one, rest) = (one.to_owned(), rest.to_owned());
                self.text = rest;
                match self.entry(&one) {
                    Some(entry) => return Ok(Next::Entry(entry)),
                    None => continue,
                }
            }
            match self.connection.chunk() {
                Ok(Some(chunk)) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => return Ok(Next::End),
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(error),
                Err(_) => return Ok(Next::End),
            }
        }
    }

    fn entry(&self, text: &str) -> Option<Json> {
        if !self.events {
            return Some(serde_json::from_str(text).unwrap());
        }
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let entry: Json = serde_json::from_str(&field("data: ")?).unwrap();
        assert_eq!(field("id: ").unwrap(), entry["index"].to_string(), "{text}");
        Some(entry)
    }
}
