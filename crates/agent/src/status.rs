use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

/// What the agent tells of itself: `/metrics`, `/healthz` and `/readyz`.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    page: Mutex<String>,
    is_ready: AtomicBool,
}

impl Status {
    /// Shows this page from now on.
    pub fn show(&self, page: Page) {
        let mut shown = self.0.page.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = page.0;
    }

    /// Says whether policies and sources are there.
    pub fn set_ready(&self, is_ready: bool) {
        self.0.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// Answers for as long as it is polled.
    ///
    /// # Errors
    /// If it cannot listen any more.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let page = self.0.clone();
        let ready = self.0;
        let metrics = move || async move {
            let page = page.page.lock().unwrap_or_else(PoisonError::into_inner);
            ([(header::CONTENT_TYPE, TEXT)], page.clone())
        };
        let readyz = move || async move {
            match ready.is_ready.load(Ordering::Relaxed) {
                true => (StatusCode::OK, "ready\n"),
                false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            }
        };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(readyz));
        axum::serve(listener, router).await
    }
}

/// The text format of Prometheus, version 0.0.4.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text.
#[derive(Clone, Debug, Default)]
pub struct Page(String);

impl Page {
    /// A counter: a series for each set of labels.
    pub fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        series: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
    ) {
        self.family(name, "counter", help, labels, series);
    }

    /// A value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help, &[], [(Vec::new(), value)]);
    }

    /// Always 1: its labels tell.
    pub fn info(&mut self, name: &str, help: &str, labels: &[&str], values: Vec<&str>) {
        self.family(name, "gauge", help, labels, [(values, 1)]);
    }

    fn family<'a, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        labels: &[&str],
        series: impl IntoIterator<Item = (Vec<&'a str>, V)>,
    ) {
        // A string takes all that is written to it.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (values, value) in series {
            let pairs = labels.iter().zip(values);
            let pairs: Vec<_> = pairs
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = match pairs.is_empty() {
                true => writeln!(self.0, "{name} {value}"),
                false => writeln!(self.0, "{name}{{{}}} {value}", pairs.join(",")),
            };
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.gauge("a", "One.", 1.5);
        page.counter(
            "b_total",
            "Two.",
            &["of"],
            [(vec!["x\"y\\\n"], 3), (vec!["z"], 4)],
        );
        assert_eq!(
            page.0,
            "# HELP a One.\n# TYPE a gauge\na 1.5\n# HELP b_total Two.\n# TYPE b_total counter\n\
             b_total{of=\"x\\\"y\\\\\\n\"} 3\nb_total{of=\"z\"} 4\n"
        );
    }
}
