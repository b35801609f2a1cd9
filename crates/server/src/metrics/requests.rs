//! Requests and how long they take.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::app::App;

/// Requests by route: there are as many series as paths, methods and states of answers.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) answers: Family<Answered, Counter>,
    pub(super) durations: Family<Route, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct Answered {
    method: &'static str,
    path: String,
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct Route {
    path: String,
}

impl Default for Requests {
    fn default() -> Self {
        // 1 ms to 33 s.
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        Self {
            answers: Family::default(),
            durations: Family::new_with_constructor(histogram),
        }
    }
}

/// Counts a request, and the time until its answer begins.
pub(crate) async fn timed(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("other", MatchedPath::as_str).to_owned();
    let method = word(request.method());
    let response = next.run(request).await;
    let requests = &app.metrics().requests;
    let durations = requests
        .durations
        .get_or_create(&Route { path: path.clone() });
    durations.observe(began.elapsed().as_secs_f64());
    drop(durations);
    let code = response.status().as_u16();
    let answers = requests
        .answers
        .get_or_create(&Answered { method, path, code });
    answers.inc();
    drop(answers);
    response
}

/// Anybody may invent methods.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
