use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::{self, StreamExt as _};
use netverdict_query::Plan;
use netverdict_types::{Connection, Counts};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use crate::app::Scoped;
use crate::live::{Live, Waiter};
use crate::metrics::Metrics;
use crate::params::Params;
use crate::problem::{Problem, Problems};

/// Updates that are taken out of the ring at once.
const CHUNK: usize = 256;
/// Something is sent at least so often, so that both sides see that the other is there.
const PULSE: Duration = Duration::from_secs(15);

/// Which updates.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Watch {
    /// A query; see docs/query-language.md.
    #[param(max_length = 65536)]
    q: Option<String>,
    /// As the header `Last-Event-ID`, which wins.
    after: Option<String>,
}

/// Connections as they come
///
/// Server-sent events. `connection`: what became known of a connection (an update: fold those of one `id`). A filter is asked of the connection as it stands
/// with the update, what was counted before included. `lost`: JSON with `updates`, how many could
/// not be sent because this reader was too slow or away too long, null where the server was started anew in between. Give the last id as `Last-Event-ID`
/// to go on where a stream ended.
#[utoipa::path(
    get, path = "/live", tag = "connections",
    params(Watch, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "The stream, without end"), Problems)
)]
pub(crate) async fn live(
    app: Scoped,
    headers: HeaderMap,
    Params(watch): Params<Watch>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let query = netverdict_query::parse(watch.q.as_deref().unwrap_or_default())?;
    let header = headers.get("last-event-id");
    let after = match header.map(|value| value.to_str()) {
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return Err(wrong_id()),
        None => watch.after.as_deref(),
    };
    let live = app.live().clone();
    let (next, restarted) = match after {
        None => (live.next(), false),
        Some(text) => match Id::parse(text).ok_or_else(wrong_id)? {
            Id { run, number } if run == live.run() => (number.saturating_add(1), false),
            _ => (live.next(), true),
        },
    };
    let reader = Reader {
        plan: query.plan(app.clock().now()),
        waiter: live.waiter(),
        next,
        live,
        metrics: app.metrics().clone(),
        _turn: app.stream()?,
        app,
    };
    let gap = restarted.then(|| lost(None));
    let events = stream::iter(gap)
        .chain(stream::unfold(reader, Reader::events).flat_map(stream::iter))
        .map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(PULSE)))
}

/// One client of the stream; what it does not take waits in the ring, and is lost there.
struct Reader {
    live: Arc<Live>,
    waiter: Waiter,
    next: u64,
    plan: Plan,
    metrics: Arc<Metrics>,
    app: Scoped,
    _turn: OwnedSemaphorePermit,
}

impl Reader {
    /// The next events, at least one; `None` when the server ends, or they may not see it any more.
    async fn events(mut self) -> Option<(Vec<Event>, Self)> {
        loop {
            if !self.waiter.wait(self.next).await {
                return None;
            }
            self.app.renew().await.ok()?;
            let read = self.live.read(self.next, CHUNK);
            self.next = read.next;
            let mut events = Vec::new();
            if read.lost > 0 {
                self.metrics.live_lost(read.lost);
                events.push(lost(Some(read.lost)));
            }
            let run = self.live.run();
            let mut last = None;
            for (number, update) in read.updates {
                let id = Id { run, number };
                last = Some(id);
                // The filter is asked of what is shown, or it would tell of what is not.
                if let Some(shown) = self.app.update(update.connection)
                    && self.matches(&shown, update.counted)
                    && let Ok(json) = serde_json::to_string(&*shown)
                {
                    last = None;
                    events.push(
                        Event::default()
                            .event("connection")
                            .id(id.text())
                            .data(json),
                    );
                }
            }
            // An id alone is no event, and moves on the place where to resume.
            if let Some(id) = last {
                events.push(Event::default().id(id.text()));
            }
            if !events.is_empty() {
                return Some((events, self));
            }
        }
    }
}

impl Reader {
    /// True where the filter lets through the connection as it stands with this update: all but
    /// its counts stands in the update.
    fn matches(&self, update: &Connection, counted: Option<Vec<Counts>>) -> bool {
        match counted {
            None => self.plan.matches(update),
            Some(counts) => self.plan.matches(&Connection {
                counts,
                ..update.clone()
            }),
        }
    }
}

fn lost(updates: Option<u64>) -> Event {
    let updates = updates.map_or_else(|| "null".to_owned(), |count| count.to_string());
    Event::default()
        .event("lost")
        .data(format!("{{\"updates\":{updates}}}"))
}

/// The id of an event: which run of the server, and which update in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Id {
    run: u64,
    number: u64,
}

impl Id {
    fn text(self) -> String {
        format!("{:x}-{}", self.run, self.number)
    }

    fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        Some(Self {
            run: u64::from_str_radix(run, 16).ok()?,
            number: number.parse().ok()?,
        })
    }
}

fn wrong_id() -> Problem {
    Problem::parameter("Last-Event-ID", "is not an id of this stream's events")
}
