//! Validated names and numbers: parse at the edge, trust inside.
//!
//! Used everywhere; uses nothing of this crate. A value of one of these types is valid by
//! construction, so the code behind the edge never checks again.
//!
//! # Not here
//! Serialisation formats of other layers, HTTP, the time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

/// Longest key in bytes.
pub const KEY_MAX_BYTES: usize = 1024;
/// Longest value in bytes.
pub const VALUE_MAX_BYTES: usize = 512 * 1024;
/// Longest node name in bytes: a DNS label.
pub const NODE_NAME_MAX_BYTES: usize = 63;

/// Why a name or number was refused; the text says what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A key may not be empty.
    #[error("a key must have at least one byte")]
    KeyEmpty,
    /// A key is limited to [`KEY_MAX_BYTES`].
    #[error("a key may have at most {KEY_MAX_BYTES} bytes, this one has {0}")]
    KeyTooLong(usize),
    /// A key is text.
    #[error("a key must be valid UTF-8")]
    KeyNotUtf8,
    /// A value is limited to [`VALUE_MAX_BYTES`].
    #[error("a value may have at most {VALUE_MAX_BYTES} bytes, this one has {0}")]
    ValueTooLong(usize),
    /// A node name is a DNS label with dots and underscores allowed inside.
    #[error(
        "a node name has 1 to {NODE_NAME_MAX_BYTES} characters of a-z A-Z 0-9 . _ -, found {0:?}"
    )]
    NodeName(String),
    /// A cluster id is 32 hexadecimal digits.
    #[error("a cluster id is 32 hexadecimal digits, found {0:?}")]
    ClusterId(String),
    /// A node is addressed by the root of its HTTP server.
    #[error("a node URL looks like http://host:port, found {0:?}: {1}")]
    NodeUrl(String, &'static str),
    /// A duration is a whole number and its unit.
    #[error("a duration looks like 500ms, 2s or 1m, found {0:?}")]
    Duration(String),
}

/// Reads a duration as people write it: `500ms`, `2s` or `1m`. The unit is required.
pub fn parse_duration(text: &str) -> Result<Duration, Invalid> {
    let invalid = || Invalid::Duration(text.to_owned());
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(invalid()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(invalid)
}

/// A node's name as people know it, unique among the members of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let valid = (1..=NODE_NAME_MAX_BYTES).contains(&text.len()) && text.chars().all(allowed);
        if !valid {
            return Err(Invalid::NodeName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node's number inside the consensus algorithm. Never reused: an empty disk gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(u64);

impl RaftId {
    /// Wraps the number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The identity of one cluster: 128 random bits drawn when it is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// Wraps the 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as they stand in files and peer messages.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl FromStr for ClusterId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::ClusterId(text.to_owned());
        if text.len() != 32 || !text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| invalid())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A period of leadership; grows with every election.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// Wraps the number.
    pub const fn new(term: u64) -> Self {
        Self(term)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in the replicated log. Indexes are consecutive; the first is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(u64);

impl Index {
    /// Wraps the number.
    pub const fn new(index: u64) -> Self {
        Self(index)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The index after this one. Saturates: 2^64 entries are out of reach.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The index before this one, if there is one.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(previous) => Some(Self(previous)),
            None => None,
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where an entry stands in the log, and in whose term it was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Term of the leader that appended the entry.
    pub term: Term,
    /// Place in the log.
    pub index: Index,
}

/// A key: 1 to [`KEY_MAX_BYTES`] bytes of UTF-8. Ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Checks length and encoding. Keeps the given buffer: see [`Key::detached`].
    pub fn new(bytes: Bytes) -> Result<Self, Invalid> {
        if bytes.is_empty() {
            return Err(Invalid::KeyEmpty);
        }
        if bytes.len() > KEY_MAX_BYTES {
            return Err(Invalid::KeyTooLong(bytes.len()));
        }
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Invalid::KeyNotUtf8);
        }
        Ok(Self(bytes))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        // Valid by construction; an empty text is never a key, so it cannot be mistaken for one.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A copy with a buffer of its own, so that it does not keep a whole request alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl FromStr for Key {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// A value: up to [`VALUE_MAX_BYTES`] bytes of anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Value(Bytes);

impl Value {
    /// Checks the length. Keeps the given buffer: see [`Value::detached`].
    pub fn new(bytes: Bytes) -> Result<Self, Invalid> {
        if bytes.len() > VALUE_MAX_BYTES {
            return Err(Invalid::ValueTooLong(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The value's bytes, sharing the buffer.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A copy with a buffer of its own, so that it does not keep a whole request alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// The root of a node's HTTP server: `http://host:port`, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeUrl(String);

impl NodeUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |why| Invalid::NodeUrl(text.to_owned(), why);
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let Some(authority) = trimmed.strip_prefix("http://") else {
            return Err(invalid("it must begin with http://"));
        };
        let Some((host, port)) = authority.rsplit_once(':') else {
            return Err(invalid("the port is missing"));
        };
        let bare_ipv6 = host.contains(':') && !host.starts_with('[');
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
        if host.is_empty() || bare_ipv6 || host.chars().any(forbidden) {
            return Err(invalid("the host is not a name or address"));
        }
        if port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(invalid("the port is not a number from 1 to 65535"));
        }
        Ok(Self(trimmed.to_owned()))
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_to_1024_bytes_of_utf8() {
        assert_eq!(Key::new(Bytes::new()), Err(Invalid::KeyEmpty));
        assert!(Key::new(Bytes::from(vec![b'k'; KEY_MAX_BYTES])).is_ok());
        let long = Bytes::from(vec![b'k'; KEY_MAX_BYTES + 1]);
        assert_eq!(Key::new(long), Err(Invalid::KeyTooLong(KEY_MAX_BYTES + 1)));
        assert_eq!(Key::new(Bytes::from_static(b"a\xff")), Err(Invalid::KeyNotUtf8));
    }

    #[test]
    fn a_value_may_be_empty_but_not_over_the_limit() {
        assert!(Value::new(Bytes::new()).is_ok());
        assert!(Value::new(Bytes::from(vec![0; VALUE_MAX_BYTES])).is_ok());
        assert!(Value::new(Bytes::from(vec![0; VALUE_MAX_BYTES + 1])).is_err());
    }

    #[test]
    fn a_node_name_is_a_label_and_the_seeds_names_are_valid() {
        assert!("node_1".parse::<NodeName>().is_ok());
        for wrong in ["", "a b", "ñ", "a/b", &"x".repeat(64)] {
            assert!(wrong.parse::<NodeName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_node_url_has_a_host_and_a_port_and_loses_its_trailing_slash() {
        let url: NodeUrl = "http://localhost:5001/".parse().unwrap();
        assert_eq!(url.as_str(), "http://localhost:5001");
        assert!("http://[::1]:5000".parse::<NodeUrl>().is_ok());
        for wrong in
            ["localhost:5000", "https://a:1", "http://a", "http://:1", "http://a:0", "http://a:1/x"]
        {
            assert!(wrong.parse::<NodeUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_a_number_with_its_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_mins(1)));
        let wrong =
            ["", "5", "s", "-1s", "+1s", "1.5s", "1 s", "1h", "1S", "18446744073709551615m"];
        for wrong in wrong {
            assert_eq!(parse_duration(wrong), Err(Invalid::Duration(wrong.to_owned())));
        }
    }

    #[test]
    fn a_cluster_id_survives_its_text() {
        let id = ClusterId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse::<ClusterId>(), Ok(id));
        assert!("+0000000000000000000000000000000".parse::<ClusterId>().is_err());
    }
}
