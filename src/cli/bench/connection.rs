//! One keep-alive HTTP/1.1 connection, as cheap as can be: a request is bytes, an answer is its
//! status, a few headers and its body.
//!
//! A general client costs as much as the server that is measured. This one reads only what bitacora
//! sends: answers with a `Content-Length`; anything else is an error that says so.
//!
//! # Not here
//! What is asked ([`super::load`]), where ([`super::route`]), how often ([`super::runner`]).

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::types::NodeUrl;

/// Longest head of an answer.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection failed or ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer is not what this reader understands.
    #[error("the answer is not one the bench reads: {0}")]
    Protocol(&'static str),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Bitacora-Index`.
    pub index: Option<u64>,
    /// The body.
    pub body: Bytes,
    /// The server closes the connection after this.
    pub closes: bool,
}

/// A connection to one node.
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Connects to a node.
    pub async fn open(url: &NodeUrl) -> io::Result<Self> {
        let stream = TcpStream::connect(authority(url)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(4 * 1024) })
    }

    /// Sends a whole request and reads its answer. After an error, or if it is cut short, the
    /// connection cannot be used any more.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Reply, ConnectionError> {
        self.stream.write_all(request).await?;
        let (head, head_bytes) = loop {
            if let Some(parsed) = parse_head(&self.buffer)? {
                break parsed;
            }
            self.read_more().await?;
        };
        self.buffer.advance(head_bytes);
        while self.buffer.len() < head.content_length {
            self.read_more().await?;
        }
        let body = self.buffer.split_to(head.content_length).freeze();
        Ok(Reply { status: head.status, index: head.index, body, closes: head.closes })
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// `host:port` of a node.
pub fn authority(url: &NodeUrl) -> &str {
    url.as_str().strip_prefix("http://").unwrap_or_else(|| url.as_str())
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    status: u16,
    content_length: usize,
    index: Option<u64>,
    closes: bool,
}

/// The head at the beginning of `bytes` and its length, once it is whole.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, ConnectionError> {
    use ConnectionError::Protocol;
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > HEAD_MAX_BYTES {
            return Err(Protocol("its head does not end"));
        }
        return Ok(None);
    };
    let (text, _) = bytes.split_at(end);
    let text = std::str::from_utf8(text).map_err(|_| Protocol("its head is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse::<u16>().ok())
        .ok_or(Protocol("it does not begin with an HTTP/1.1 status"))?;
    let mut content_length = None;
    let (mut index, mut closes) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Protocol("a header has no colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| Protocol("its length is no number"))?;
            content_length = Some(length);
        } else if name.eq_ignore_ascii_case("bitacora-index") {
            index = value.parse().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Protocol("it comes in chunks (Transfer-Encoding), without a length"));
        }
    }
    // These never have a body, with or without a length.
    let bodiless = matches!(status, 100..200 | 204 | 304);
    let content_length = match content_length {
        _ if bodiless => 0,
        Some(length) => length,
        None => return Err(Protocol("it has no Content-Length")),
    };
    Ok(Some((Head { status, content_length, index, closes }, end.saturating_add(4))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes()).unwrap().unwrap().0
    }

    fn refusal(text: &str) -> String {
        parse_head(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_head_is_read_once_it_is_whole_and_not_beyond() {
        let text =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nbitacora-index:42\r\n\r\nokHTTP/1.1 ...";
        let expected = Head { status: 200, content_length: 2, index: Some(42), closes: false };
        for cut in 0..=55 {
            assert!(parse_head(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let (parsed, length) = parse_head(text).unwrap().unwrap();
        assert_eq!(parsed, expected);
        assert_eq!(&text[length..length + 2], b"ok");
    }

    #[test]
    fn an_answer_without_a_body_needs_no_length() {
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").content_length, 0);
        assert_eq!(
            head("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n").content_length,
            0
        );
    }

    #[test]
    fn the_servers_wish_to_close_is_seen() {
        assert!(head("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n").closes);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_guessed() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(refusal(chunked).contains("chunks"));
        assert!(refusal("HTTP/1.1 200 OK\r\n\r\n").contains("no Content-Length"));
        assert!(refusal("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").contains("no number"));
        assert!(refusal("SSH-2.0\r\n\r\n").contains("HTTP/1.1 status"));
        assert!(refusal(&"x".repeat(HEAD_MAX_BYTES + 1)).contains("does not end"));
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_one_connection_and_its_end_is_an_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: NodeUrl = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4];
            for piece in ["HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 404 No\r\nContent-Length: 0"]
            {
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(piece.as_bytes()).await.unwrap();
                let rest = if piece.ends_with("Len") { "gth: 2\r\n\r\nok" } else { "\r\n\r\n" };
                stream.write_all(rest.as_bytes()).await.unwrap();
            }
        };
        let client = async {
            let mut connection = Connection::open(&url).await.unwrap();
            let first = connection.exchange(b"one.").await.unwrap();
            assert_eq!((first.status, &first.body[..]), (200, &b"ok"[..]));
            assert_eq!(connection.exchange(b"two.").await.unwrap().status, 404);
            assert!(matches!(connection.exchange(b"end.").await, Err(ConnectionError::Io(_))));
        };
        tokio::join!(server, client);
    }
}
