//! The requests of a bench: what each client asks, as bytes ready to be sent.
//!
//! Every written value is unique: it begins with its client and its number there, so that a read
//! says whose write it saw.
//!
//! # Not here
//! Sending, time, randomness: [`super::runner`] chooses the key.

use std::fmt::Write;

use crate::cli::kv::Consistency;

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Op {
    /// `PUT /v1/kv/{key}`.
    Put,
    /// `GET /v1/kv/{key}`.
    Get,
    /// `POST /write`.
    Write,
}

impl Op {
    /// As it is spelled in options and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Write => "write",
        }
    }

    /// Whether it changes anything.
    pub const fn is_write(self) -> bool {
        !matches!(self, Self::Get)
    }
}

/// What all requests of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// What is asked.
    pub op: Op,
    /// How many keys there are.
    pub keys: u64,
    /// Bytes of a value, at least as many as make it unique.
    pub value_size: usize,
    /// Keys that one `write` sets.
    pub pairs: u32,
    /// `acks=` on writes.
    pub acks: Option<String>,
    /// `consistency=` on reads.
    pub consistency: Option<Consistency>,
    /// `Prefer: return=minimal` on writes.
    pub minimal: bool,
}

/// The name of the `n`th key.
pub fn key_name(n: u64) -> String {
    format!("bench-{n:08}")
}

/// The part of a value that makes it unique.
pub fn value_id(client: usize, seq: u64) -> String {
    format!("{client}-{seq}")
}

/// The unique part of a value that was read.
pub fn id_of(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    text.split_once(':').map(|(id, _)| id)
}

/// A value: its unique part, a colon, and x up to its size.
pub fn value(id: &str, size: usize) -> String {
    let fill = size.saturating_sub(id.len()).saturating_sub(1);
    format!("{id}:{}", "x".repeat(fill))
}

impl Load {
    /// Writes one request into `out`, replacing what was there. `first_key` is what it is about;
    /// a `write` sets the following keys too.
    pub fn request(&self, out: &mut String, host: &str, first_key: u64, id: &str) {
        out.clear();
        let key = key_name(first_key);
        // Writing to a String cannot fail.
        let _ = match self.op {
            Op::Get => write!(out, "GET /v1/kv/{key}{} HTTP/1.1\r\nHost: {host}\r\n", self.query()),
            Op::Put => write!(out, "PUT /v1/kv/{key}{} HTTP/1.1\r\nHost: {host}\r\n", self.query()),
            Op::Write => write!(
                out,
                "POST /write{} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n",
                self.query()
            ),
        };
        if self.minimal && self.op.is_write() {
            out.push_str("Prefer: return=minimal\r\n");
        }
        let body = match self.op {
            Op::Get => String::new(),
            Op::Put => value(id, self.value_size),
            Op::Write => self.object(first_key, id),
        };
        if self.op.is_write() {
            let _ = write!(out, "Content-Length: {}\r\n", body.len());
        }
        out.push_str("\r\n");
        out.push_str(&body);
    }

    /// A JSON object of `pairs` keys; neither keys nor values need escaping.
    fn object(&self, first_key: u64, id: &str) -> String {
        let pair = |n: u32| {
            let key = key_name(first_key.wrapping_add(u64::from(n)) % self.keys.max(1));
            format!("\"{key}\":\"{}\"", value(id, self.value_size))
        };
        format!("{{{}}}", (0..self.pairs).map(pair).collect::<Vec<_>>().join(","))
    }

    fn query(&self) -> String {
        let (name, value) = if self.op.is_write() {
            ("acks", self.acks.as_deref())
        } else {
            ("consistency", self.consistency.map(Consistency::as_str))
        };
        value.map_or_else(String::new, |value| format!("?{name}={value}"))
    }

    /// The bodies of the writes that set every key once, so that reads find something.
    pub fn fills(&self) -> impl Iterator<Item = String> + '_ {
        // Far below the server's limit on a body.
        let batch = (256 * 1024 / (self.value_size + 64)).clamp(1, 500) as u64;
        (0..self.keys.div_ceil(batch)).map(move |at| {
            let keys = at * batch..((at + 1) * batch).min(self.keys);
            let pair = |n| format!("\"{}\":\"{}\"", key_name(n), value("fill", self.value_size));
            format!("{{{}}}", keys.map(pair).collect::<Vec<_>>().join(","))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(op: Op) -> Load {
        Load {
            op,
            keys: 10,
            value_size: 8,
            pairs: 2,
            acks: Some("all".into()),
            consistency: Some(Consistency::Stale),
            minimal: true,
        }
    }

    fn request(op: Op) -> String {
        let mut out = "left over".to_owned();
        load(op).request(&mut out, "h:1", 9, &value_id(3, 17));
        out
    }

    #[test]
    fn each_operation_is_the_request_of_the_contract() {
        assert_eq!(
            request(Op::Put),
            "PUT /v1/kv/bench-00000009?acks=all HTTP/1.1\r\nHost: h:1\r\n\
             Prefer: return=minimal\r\nContent-Length: 8\r\n\r\n3-17:xxx"
        );
        assert_eq!(
            request(Op::Get),
            "GET /v1/kv/bench-00000009?consistency=stale HTTP/1.1\r\nHost: h:1\r\n\r\n"
        );
        let write = request(Op::Write);
        let (head, body) = write.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /write?acks=all HTTP/1.1\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        let object: serde_json::Value = serde_json::from_str(body).unwrap();
        let expected =
            serde_json::json!({"bench-00000009": "3-17:xxx", "bench-00000000": "3-17:xxx"});
        assert_eq!(object, expected);
    }

    #[test]
    fn a_value_says_whose_it_is_even_if_it_was_to_be_shorter() {
        assert_eq!(value("3-17", 0), "3-17:");
        assert_eq!(id_of(value(&value_id(3, 17), 256).as_bytes()), Some("3-17"));
        assert_eq!(id_of(b"somebody else's"), None);
    }

    #[test]
    fn a_fill_sets_every_key_once() {
        let big = Load { keys: 1_234, value_size: 256, ..load(Op::Get) };
        let mut keys = Vec::new();
        for body in big.fills() {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&body).unwrap();
            keys.extend(object.into_iter().map(|(key, _)| key));
        }
        keys.sort();
        assert_eq!(keys, (0..1_234).map(key_name).collect::<Vec<_>>());
    }
}
