//! The standard `OTEL_*` variables that say whether and how much is traced.
//!
//! Meaning: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>. As
//! there, a value that makes no sense is told and passed over: traces never keep a node from
//! starting. The collector's address, headers and timeouts are read by the exporter's library.

use std::time::Duration;

use opentelemetry::TraceId as OtelTraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};

use super::context::{TraceContext, TraceId};

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const PROTOCOL: &str = "http/protobuf";
/// Spans that may wait for the exporter: least, default, most. The library takes their memory when
/// it starts.
const QUEUE_SPANS: (u64, u64, u64) = (1, 8192, 65_536);
/// Spans of one export.
const BATCH_SPANS: (u64, u64, u64) = (1, 512, 8192);
/// Milliseconds between two exports: short enough that a trace is there when a person looks for it,
/// and never none.
const DELAY_MS: (u64, u64, u64) = (10, 1000, 3_600_000);

/// What the environment says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether spans are made: a collector is named, and nothing forbids it.
    pub is_on: bool,
    /// Which requests are recorded.
    pub sampler: Sampler,
    /// Spans that may wait for the exporter.
    pub queue_spans: usize,
    /// Spans of one export.
    pub batch_spans: usize,
    /// Time between two exports.
    pub delay: Duration,
    /// What was passed over, to be told.
    pub complaints: Vec<String>,
}

/// Decides whether a trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether the sender's decision counts.
    follows_parent: bool,
    root: Root,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Root {
    Always,
    Never,
    Ratio(f64),
}

impl Default for Sampler {
    fn default() -> Self {
        Self { follows_parent: true, root: Root::Always }
    }
}

impl Settings {
    /// Reads the variables through `lookup`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let mut complaints = Vec::new();
        let sampler = sampler(
            get("OTEL_TRACES_SAMPLER").as_deref(),
            get("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            &mut complaints,
        );
        let mut number = |name: &str, (least, default, most): (u64, u64, u64)| {
            let Some(text) = get(name) else { return default };
            match text.trim().parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => number,
                _ => {
                    let wrong = format!("{name} is {text:?}, not {least} to {most}");
                    complaints.push(format!("{wrong}; {default} is taken"));
                    default
                }
            }
        };
        let queue_spans = number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS);
        let batch_spans = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SPANS).min(queue_spans);
        let delay_ms = number("OTEL_BSP_SCHEDULE_DELAY", DELAY_MS);
        let endpoint = ENDPOINTS.iter().find_map(|name| get(name));
        let protocol = PROTOCOLS.iter().find_map(|name| get(name));
        let is_disabled = get("OTEL_SDK_DISABLED")
            .is_some_and(|it| it.eq_ignore_ascii_case("true"))
            || get("OTEL_TRACES_EXPORTER").is_some_and(|it| it == "none");
        // Also what other nodes record is not recorded here then.
        let is_off = sampler == Sampler { follows_parent: false, root: Root::Never };
        let mut is_on = endpoint.is_some() && !is_disabled && !is_off;
        if let Some(protocol) = protocol.filter(|protocol| is_on && protocol != PROTOCOL) {
            complaints.push(format!(
                "traces are off: OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and this program \
                 speaks {PROTOCOL} only; set it to that, and the endpoint to the collector's \
                 HTTP port (4318 by default)"
            ));
            is_on = false;
        }
        if endpoint.is_some_and(|it| is_on && !it.to_ascii_lowercase().starts_with("http://")) {
            complaints.push(
                "traces are off: the collector's address must begin with http://; for https run a \
                 collector beside this node"
                    .to_owned(),
            );
            is_on = false;
        }
        Self {
            is_on,
            sampler,
            queue_spans: usize::try_from(queue_spans).unwrap_or(usize::MAX),
            batch_spans: usize::try_from(batch_spans).unwrap_or(usize::MAX),
            delay: Duration::from_millis(delay_ms),
            complaints,
        }
    }
}

fn sampler(name: Option<&str>, arg: Option<&str>, complaints: &mut Vec<String>) -> Sampler {
    let mut ratio = || match arg.unwrap_or("1").parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Root::Ratio(ratio),
        _ => {
            let arg = arg.unwrap_or_default();
            complaints.push(format!(
                "OTEL_TRACES_SAMPLER_ARG is {arg:?}, which is no number from 0 to 1; every trace \
                 is recorded"
            ));
            Root::Always
        }
    };
    let (follows_parent, root) = match name {
        None | Some("parentbased_always_on") => (true, Root::Always),
        Some("always_on") => (false, Root::Always),
        Some("always_off") => (false, Root::Never),
        Some("traceidratio") => (false, ratio()),
        Some("parentbased_always_off") => (true, Root::Never),
        Some("parentbased_traceidratio") => (true, ratio()),
        Some(other) => {
            complaints.push(format!(
                "OTEL_TRACES_SAMPLER is {other:?}, which is not known here; there are always_on, \
                 always_off, traceidratio, and each with parentbased_ before it. \
                 parentbased_always_on is taken"
            ));
            (true, Root::Always)
        }
    };
    Sampler { follows_parent, root }
}

impl Sampler {
    /// Whether the trace of a request is recorded that came in with `incoming`.
    pub(super) fn is_sampled(self, incoming: Option<TraceContext>, trace: TraceId) -> bool {
        if let (true, Some(incoming)) = (self.follows_parent, incoming) {
            return incoming.is_sampled;
        }
        match self.root {
            Root::Always => true,
            Root::Never => false,
            // As all other nodes and programs decide of the same trace.
            Root::Ratio(ratio) => {
                let trace = OtelTraceId::from_bytes(trace.0.to_be_bytes());
                let sampler = SdkSampler::TraceIdRatioBased(ratio);
                let result = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn traces_are_on_when_a_collector_is_named_and_nothing_forbids_it() {
        assert!(!read(&[]).is_on);
        assert!(read(&[ON]).is_on);
        assert!(read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")]).is_on);
        assert!(!read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "  ")]).is_on);
        assert!(!read(&[ON, ("OTEL_SDK_DISABLED", "TRUE")]).is_on);
        assert!(!read(&[ON, ("OTEL_TRACES_EXPORTER", "none")]).is_on);
        assert!(
            read(&[ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).complaints.is_empty()
        );
    }

    #[test]
    fn what_cannot_be_done_is_told_and_does_not_stop_the_node() {
        for variables in [
            vec![ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318")],
        ] {
            let settings = read(&variables);
            assert!(!settings.is_on);
            assert!(settings.complaints[0].starts_with("traces are off"), "{settings:?}");
        }
        for (name, arg) in [("traceidratio", "2"), ("traceidratio", "x"), ("jaeger_remote", "1")] {
            let variables = [ON, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)];
            let settings = read(&variables);
            assert!(settings.is_on && settings.complaints.len() == 1, "{settings:?}");
            assert!(settings.sampler.is_sampled(None, TraceId(1)));
        }
    }

    #[test]
    fn what_would_harm_the_node_is_told_and_not_done() {
        for (name, value) in [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ] {
            let settings = read(&[ON, (name, value)]);
            assert_eq!(settings.complaints.len(), 1, "{settings:?}");
            assert_eq!((settings.queue_spans, settings.batch_spans), (8192, 512));
            assert_eq!(settings.delay, Duration::from_secs(1));
        }
        let settings = read(&[ON, ("OTEL_BSP_MAX_QUEUE_SIZE", "100")]);
        assert_eq!((settings.queue_spans, settings.batch_spans), (100, 100));
        assert!(!read(&[ON, ("OTEL_TRACES_SAMPLER", "always_off")]).is_on);
    }

    #[test]
    fn the_standard_samplers_decide_as_they_are_named() {
        let parent = |is_sampled| Some(TraceContext { trace: TraceId(1), span: 1, is_sampled });
        for (name, arg, alone, sampled, unsampled) in [
            ("always_on", "", true, true, true),
            ("always_off", "", false, false, false),
            ("parentbased_always_on", "", true, true, false),
            ("parentbased_always_off", "", false, true, false),
            ("traceidratio", "0", false, false, false),
            ("traceidratio", "1", true, true, true),
            ("parentbased_traceidratio", "0", false, true, false),
        ] {
            let sampler =
                read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler;
            let decisions = [None, parent(true), parent(false)];
            let decisions = decisions.map(|incoming| sampler.is_sampled(incoming, TraceId(1)));
            assert_eq!(decisions, [alone, sampled, unsampled], "{name} {arg}");
        }
    }

    #[test]
    fn a_ratio_records_about_that_share_of_traces() {
        let sampler = Sampler { follows_parent: true, root: Root::Ratio(0.01) };
        let random = crate::os::random::Random::from_seed(3);
        let trace = || TraceId(u128::from_be_bytes(random.next_bytes16()));
        let recorded = (0..100_000).filter(|_| sampler.is_sampled(None, trace())).count();
        assert!((800..1200).contains(&recorded), "{recorded}");
    }
}
