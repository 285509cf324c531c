//! Logs, metrics, traces and the record of a panic: set up once per process, before anything else runs.

pub mod catalogue;
pub mod levels;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::EitherWriter;

use self::catalogue::Kind;
use self::levels::Levels;
use crate::config::{LogFormat, Switch, TelemetryConfig};
use crate::traces::Traces;

/// How often the recorder folds its samples. Without it they would pile up between scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// A panic message may quote a value of any length; a record keeps this many characters of it.
const PANIC_TEXT_MAX: usize = 300;

/// Where log records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// For the service: whoever runs it collects its standard output.
    Stdout,
    /// For commands, whose standard output is their result.
    Stderr,
}

/// Asked for with each record, so it allocates nothing.
impl MakeWriter<'_> for LogTarget {
    type Writer = EitherWriter<io::Stdout, io::Stderr>;

    fn make_writer(&self) -> Self::Writer {
        match self {
            Self::Stdout => EitherWriter::A(io::stdout()),
            Self::Stderr => EitherWriter::B(io::stderr()),
        }
    }
}

/// The telemetry of a running service; dropping it ends the upkeep of its metrics, and exports the last traces.
pub struct Telemetry {
    /// Renders `/metrics`.
    pub prometheus: PrometheusHandle,
    /// What is logged.
    pub levels: Levels,
    _upkeep: Upkeep,
    _traces: Option<Traces>,
}

impl Telemetry {
    /// Starts logs on standard output, the panic record, the metrics and the traces of this process.
    ///
    /// # Errors
    /// When any of them is installed already, or a thread of theirs cannot start.
    pub fn start(config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
        let levels = start_logs(config, LogTarget::Stdout)?;
        let recorder = builder()?.build_recorder();
        let prometheus = recorder.handle();
        if config.metrics == Switch::On {
            metrics::set_global_recorder(recorder)
                .map_err(|_| anyhow::anyhow!("a metrics recorder is installed already"))?;
            catalogue::describe();
        }
        let _upkeep = Upkeep::start(prometheus.clone())?;
        Ok(Telemetry { prometheus, levels, _upkeep, _traces: Traces::start(config)? })
    }
}

/// Starts logs and the panic record only; for commands, which have no metrics. Answers with what changes
/// what is logged.
///
/// # Errors
/// When the filter cannot be read or a subscriber is installed already.
pub fn start_logs(config: &TelemetryConfig, target: LogTarget) -> anyhow::Result<Levels> {
    let filter = levels::filter(&config.log).context("telemetry.log is no filter")?;
    let terminal = match target {
        LogTarget::Stdout => io::stdout().is_terminal(),
        LogTarget::Stderr => io::stderr().is_terminal(),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(target);
    let (installed, reload): (_, levels::Reload) = match config.format {
        LogFormat::Text => {
            let logs = logs.with_ansi(terminal).with_filter_reloading();
            let filter = logs.reload_handle();
            (logs.try_init(), Box::new(move |other| filter.reload(other).is_ok()))
        }
        LogFormat::Json => {
            let logs = logs.json().flatten_event(true).with_current_span(true);
            let logs = logs.with_span_list(false).with_filter_reloading();
            let filter = logs.reload_handle();
            (logs.try_init(), Box::new(move |other| filter.reload(other).is_ok()))
        }
    };
    installed.map_err(|error| anyhow::anyhow!("logs cannot be started: {error}"))?;
    std::panic::set_hook(Box::new(record_panic));
    Ok(Levels::new(&config.log, reload))
}

fn builder() -> anyhow::Result<PrometheusBuilder> {
    catalogue::all().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram(bounds) => builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
            .context("the buckets of the metrics are refused"),
        Kind::Counter | Kind::Gauge => Ok(builder),
    })
}

/// Logs a panic, once, where it happens: whoever catches it later knows its consequence only and
/// need not repeat it.
fn record_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    // `panic!` carries one of these two; any other payload may be a value of ours and stays unseen
    let text = match payload.downcast_ref::<&'static str>() {
        Some(text) => Some(*text),
        None => payload.downcast_ref::<String>().map(String::as_str),
    };
    let message = short(text.unwrap_or("(a panic without a text)"));
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("(unnamed)");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(
            panic.message = message,
            panic.location = location,
            panic.backtrace = %backtrace,
            thread,
            "a thread panicked"
        );
    } else {
        tracing::error!(
            panic.message = message,
            panic.location = location,
            thread,
            "a thread panicked"
        );
    }
}

/// The beginning of `text`, cut between characters.
fn short(text: &str) -> &str {
    text.char_indices().nth(PANIC_TEXT_MAX).map_or(text, |(end, _)| &text[..end])
}

/// A thread that folds the samples of the metrics now and then, until it is dropped.
struct Upkeep {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    fn start(prometheus: PrometheusHandle) -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("metrics-upkeep".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(UPKEEP_EVERY) == Err(RecvTimeoutError::Timeout) {
                    prometheus.run_upkeep();
                }
            })
            .context("the upkeep thread of the metrics cannot be started")?;
        Ok(Upkeep { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        // closing the channel is the signal
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic of that thread has been recorded by the hook
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn durations_and_sizes_are_histograms_with_buckets() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("http_server_request_duration_seconds").record(0.03);
            metrics::histogram!("actor_batch_size").record(200.0);
        });
        handle.run_upkeep();
        let text = handle.render();
        for line in [
            "http_server_request_duration_seconds_bucket{le=\"0.025\"} 0",
            "http_server_request_duration_seconds_bucket{le=\"0.05\"} 1",
            "actor_batch_size_bucket{le=\"128\"} 0",
            "actor_batch_size_bucket{le=\"256\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn upkeep_ends_at_once_when_dropped() {
        let upkeep = Upkeep::start(builder().unwrap().build_recorder().handle()).unwrap();
        let begun = std::time::Instant::now();
        drop(upkeep);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_panic_is_one_record_with_message_and_place() {
        let written = Written::default();
        let copy = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || copy.clone())
            .finish();
        // the hook is the process's; on this thread it is ours while the subscriber is
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(record_panic));
        tracing::subscriber::with_default(subscriber, || {
            let caught = std::panic::catch_unwind(|| panic!("the batch of shard {} broke", 3));
            assert!(caught.is_err());
        });
        std::panic::set_hook(before);
        let bytes = written.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let record: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(record["level"], "ERROR");
        assert_eq!(record["panic.message"], "the batch of shard 3 broke");
        assert!(record["panic.location"].as_str().unwrap().contains("telemetry.rs:"));
    }

    #[test]
    fn long_panic_messages_are_cut_between_characters() {
        let long = "ế".repeat(PANIC_TEXT_MAX + 1);
        assert_eq!(short(&long).chars().count(), PANIC_TEXT_MAX);
        assert_eq!(short("ế"), "ế");
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
