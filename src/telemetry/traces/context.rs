//! W3C trace context: which trace a request belongs to, and which span of it caused it.
//!
//! Format: <https://www.w3.org/TR/trace-context/#traceparent-header>. `tracestate` is not read and
//! not passed on: it belongs to tracing systems, and ours needs none.
//!
//! # Not here
//! Who begins a trace and whether it is recorded ([`super::Traces`]).

use std::fmt;

/// A place in a trace: what a `traceparent` header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace: TraceId,
    /// The span; never zero.
    pub span: u64,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

/// A trace's id: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";
/// Bit of the flags that says that the caller records.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// Reads a `traceparent` header; `None` if it is not one. A later version than 00 may have more
    /// fields, which are ignored.
    pub fn parse(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace = hex(fields.next()?, 32)?;
        let span = u64::try_from(hex(fields.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(fields.next()?, 2)?).ok()?;
        let is_known = version == 0 && fields.next().is_none();
        let is_later = (1..0xff).contains(&version);
        if trace == 0 || span == 0 || !(is_known || is_later) {
            return None;
        }
        Some(Self { trace: TraceId(trace), span, is_sampled: flags & SAMPLED != 0 })
    }

    /// As a `traceparent` header.
    pub fn header(self) -> String {
        format!("00-{}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// A number of exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_hex = text.len() == digits && text.bytes().all(is_digit);
    if is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read_and_written_as_it_was() {
        let context = TraceContext::parse(SAMPLED).unwrap();
        assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span, 0x00f0_67aa_0ba9_02b7);
        assert!(context.is_sampled);
        assert_eq!(context.header(), SAMPLED);
        let unsampled = SAMPLED.replace("-01", "-00");
        assert_eq!(TraceContext::parse(&unsampled).unwrap().header(), unsampled);
    }

    #[test]
    fn other_flags_and_later_versions_are_understood_as_far_as_they_go() {
        let parse = |text: &str| TraceContext::parse(text).unwrap();
        assert!(parse(&SAMPLED.replace("-01", "-03")).is_sampled);
        assert!(!parse(&SAMPLED.replace("-01", "-02")).is_sampled);
        assert!(parse(&format!("cc{}-what-comes", &SAMPLED[2..])).is_sampled);
    }

    #[test]
    fn what_is_no_header_is_none() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }
}
