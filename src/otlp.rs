//! Export to an OpenTelemetry collector, over OTLP with protobuf over HTTP: the lines of the log, and a trace for each session.
//!
//! It is configured by the variables of the OpenTelemetry specification (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES` and their like), and off where none of them names an endpoint. What waits for the collector is
//! bounded: a collector that is slow or away costs spans and lines, and delays nothing. Nothing depends on this room; the audit
//! log is for that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;

use crate::events::{Event, Listener, Subject};
use crate::logging::Also;
use crate::request::VerdictWord;

/// What is exported; the last of it is sent when this is dropped.
pub(crate) struct Export {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Of the one process that exports.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

impl Export {
    /// Begins as the environment says; nothing is exported where it names no endpoint. Not within a runtime: the exporters wait on
    /// threads of their own.
    ///
    /// # Errors
    /// If a variable cannot be used.
    pub(crate) fn from_environment() -> Result<Self, ExporterBuildError> {
        let resource = || Resource::builder().with_service_name(service_name()).build();
        let traces = names_endpoint("TRACES").then(|| -> Result<_, ExporterBuildError> {
            let exporter = SpanExporter::builder().with_http().build()?;
            let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
            Ok(provider.with_resource(resource()).build())
        });
        let logs = names_endpoint("LOGS").then(|| -> Result<_, ExporterBuildError> {
            let exporter = LogExporter::builder().with_http().build()?;
            let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter);
            Ok(provider.with_resource(resource()).build())
        });
        let (traces, logs) = (traces.transpose()?, logs.transpose()?);
        if let Some(traces) = &traces {
            let _ = TRACER.set(traces.tracer("portreeve"));
        }
        Ok(Self { traces, logs })
    }

    /// What takes the lines of the log that this program writes; those of the exporter itself would never end.
    pub(crate) fn lines(&self) -> Option<Also> {
        let bridge = OpenTelemetryTracingBridge::new(self.logs.as_ref()?);
        let ours = filter_fn(|line| line.target().starts_with("portreeve") || line.target() == "policy");
        Some(bridge.with_filter(ours).boxed())
    }
}

/// What hears of sessions, and exports a trace of each; none where none is exported.
pub(crate) fn sessions() -> Option<Box<dyn Listener>> {
    let tracer = TRACER.get()?.clone();
    Some(Box::new(Traces {
        tracer,
        open: Mutex::default(),
    }))
}

impl Drop for Export {
    fn drop(&mut self) {
        let traces = self
            .traces
            .take()
            .map(|traces| traces.shutdown_with_timeout(LAST_WORDS));
        let logs = self.logs.take().map(|logs| logs.shutdown_with_timeout(LAST_WORDS));
        for failed in [traces, logs].into_iter().flatten().filter_map(Result::err) {
            tracing::warn!(error = %failed, "the last spans or log lines did not reach the OpenTelemetry collector");
        }
    }
}

/// One trace for each session: its span lasts as long as the session, and decisions, tunnels and failed connections are its
/// children.
struct Traces {
    tracer: SdkTracer,
    /// The spans of open sessions, which end with them.
    open: Mutex<HashMap<String, Context>>,
}

impl Traces {
    fn begin(&self, id: &str, subject: &Subject, method: &str) {
        let attributes = attributes(subject, [("ssh.auth.method", method.to_owned())]);
        let span = self
            .tracer
            .span_builder("ssh.session")
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        let context = Context::new().with_span(self.tracer.build_with_context(span, &Context::new()));
        self.lock().insert(id.to_owned(), context);
    }

    fn end(&self, id: &str, reason: Option<&str>) {
        if let Some(context) = self.lock().remove(id) {
            if let Some(reason) = reason {
                context
                    .span()
                    .set_attribute(KeyValue::new("portreeve.reason", reason.to_owned()));
            }
            context.span().end();
        }
    }

    /// A span that ends now and took so long.
    fn child(&self, id: &str, span: SpanBuilder, took: Duration, failed: Option<String>) {
        let Some(context) = self.lock().get(id).cloned() else {
            return;
        };
        let now = SystemTime::now();
        let span = span.with_start_time(now.checked_sub(took).unwrap_or(now));
        let mut span = self.tracer.build_with_context(span, &context);
        if let Some(words) = failed {
            span.set_status(Status::error(words));
        }
        span.end_with_timestamp(now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Context>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Traces {
    fn hear(&self, subject: &Subject, event: &Event) {
        let Some(id) = subject.session.as_deref() else {
            return;
        };
        match event {
            Event::AuthSucceeded(login) => self.begin(id, subject, &login.method),
            Event::SessionClosed { reason, .. } => self.end(id, reason.as_deref()),
            Event::ForwardDecided(decided) => {
                let said = [
                    ("portreeve.action", decided.action.as_str().to_owned()),
                    ("portreeve.requested", decided.requested.to_string()),
                    ("portreeve.verdict", decided.verdict.as_str().to_owned()),
                    ("portreeve.by", decided.by.as_str().to_owned()),
                    ("portreeve.code", decided.code.clone().unwrap_or_default()),
                    (
                        "portreeve.policy",
                        decided
                            .policy
                            .as_ref()
                            .map(|policy| policy.name.clone())
                            .unwrap_or_default(),
                    ),
                ];
                let span = SpanBuilder::from_name("forward.decide").with_attributes(attributes(subject, said));
                let failed = (decided.verdict == VerdictWord::Failed)
                    .then(|| decided.reason.clone().unwrap_or_else(|| "undecided".to_owned()));
                self.child(id, span, Duration::from_micros(decided.micros), failed);
            }
            Event::ConnectFailed(failed) => {
                let said = [
                    ("portreeve.requested", failed.requested.to_string()),
                    ("portreeve.effective", failed.effective.to_string()),
                ];
                let span = SpanBuilder::from_name("forward.connect").with_attributes(attributes(subject, said));
                let took = Duration::from_millis(failed.millis);
                self.child(id, span, took, Some(failed.reason.clone()));
            }
            Event::TunnelClosed(ended) => {
                let said = [
                    ("portreeve.cause", ended.cause.as_str().to_owned()),
                    (
                        "portreeve.dialled",
                        ended.dialled.as_ref().map(ToString::to_string).unwrap_or_default(),
                    ),
                ];
                let mut attributes = attributes(subject, said);
                let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
                attributes.push(KeyValue::new("portreeve.bytes_up", bytes(ended.bytes_up)));
                attributes.push(KeyValue::new("portreeve.bytes_down", bytes(ended.bytes_down)));
                let span = SpanBuilder::from_name("forward.tunnel")
                    .with_kind(SpanKind::Client)
                    .with_attributes(attributes);
                self.child(id, span, Duration::from_millis(ended.millis), None);
            }
            _ => {}
        }
    }
}

/// Whom it is about, and what is said of it; what is unknown is left out.
fn attributes<const COUNT: usize>(subject: &Subject, said: [(&'static str, String); COUNT]) -> Vec<KeyValue> {
    let about = [
        ("session.id", subject.session.clone()),
        ("user.name", subject.user.clone()),
        ("client.address", subject.client.map(|client| client.ip().to_string())),
        ("portreeve.forward", subject.forward.clone()),
    ];
    let about = about.into_iter().filter_map(|(key, value)| Some((key, value?)));
    about
        .chain(said)
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| KeyValue::new(key, value))
        .collect()
}

fn names_endpoint(signal: &str) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    !disabled && (is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")))
}

fn service_name() -> String {
    std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "portreeve".to_owned())
}

/// How long the end of the program waits for the collector.
const LAST_WORDS: Duration = Duration::from_secs(2);
