use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use netverdict_query::ask::{Ask, Cursor, Want};
use netverdict_query::{Query, moment, parse};
use netverdict_types::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::app::Scoped;
use crate::problem::Problem;

/// Parameters behind `?`, with our kind of error.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Query(read) =
            axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(read))
    }
}

/// A JSON body, with our kind of error.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Json(read) = axum::Json::from_request(request, state).await?;
        Ok(Self(read))
    }
}

/// Which connections.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// A query, as in `namespace=blue and not verdict=allowed`; see docs/query-language.md.
    #[param(max_length = 65536)]
    pub(crate) q: Option<String>,
    /// Connections that went on at that time or later: RFC 3339, `now`, or an age such as `-5m`; an hour ago if it is not given.
    #[param(example = "-1h")]
    pub(crate) since: Option<String>,
    /// Connections that began before that time; now if it is not given.
    #[param(example = "now")]
    pub(crate) until: Option<String>,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// At most so many; if it is not given, 100 connections, or of another list as many as may be.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` of the page before said; `since`, `until` and relative times in `q` then mean what they meant on the first page.
    pub(crate) after: Option<String>,
}

impl Paging {
    pub(crate) fn limit(&self, app: &Scoped, default: usize) -> Result<usize, Problem> {
        let most = app.limits().page;
        match self.limit {
            None => Ok(default.min(most)),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(Problem::parameter(
                "limit",
                format_args!("is from 1 to {most}"),
            )),
        }
    }
}

/// Time that is asked about where nobody says so.
const HOUR: i64 = 3_600 * 1_000_000_000;

/// When, in absolute times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Range {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) now: Timestamp,
}

impl Which {
    /// The query.
    pub(crate) fn query(&self) -> Result<Query, Problem> {
        Ok(parse(self.q.as_deref().unwrap_or_default())?)
    }

    /// The time, as of now.
    pub(crate) fn range(&self, app: &Scoped) -> Result<Range, Problem> {
        let now = app.clock().now();
        let read = |name: &str, text: &Option<String>, default: Timestamp| match text {
            None => Ok(default),
            Some(text) => moment(text, now).ok_or_else(|| {
                Problem::parameter(
                    name,
                    format_args!("{text:?} is no time, such as 2026-11-23T08:15:30Z, -5m or now"),
                )
            }),
        };
        // What ends this very moment is asked about too.
        let until = read("until", &self.until, now.after(1))?;
        let since = read("since", &self.since, until.before(HOUR))?;
        Range { since, until, now }.checked(app)
    }
}

impl Range {
    /// The letters of its text.
    pub(crate) const TEXT: usize = 48;

    /// It, if so much time may be asked about.
    pub(crate) fn checked(self, app: &Scoped) -> Result<Self, Problem> {
        if self.since >= self.until {
            return Err(Problem::parameter("since", "is not before until"));
        }
        let limit = app.limits().range;
        if self.until.0.saturating_sub(self.since.0) > limit {
            return Err(Problem::parameter(
                "since",
                format_args!("at most {} hours may be asked about at once", limit / HOUR),
            ));
        }
        Ok(self)
    }

    pub(crate) fn text(self) -> String {
        let Self { since, until, now } = self;
        format!("{:016x}{:016x}{:016x}", since.0, until.0, now.0)
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_hex = text.len() == Self::TEXT && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let time = |from: usize| {
            let digits = text.get(from..from + 16).filter(|_| is_hex)?;
            let bits = u64::from_str_radix(digits, 16).ok()?;
            Some(Timestamp(bits.cast_signed()))
        };
        Some(Self {
            since: time(0)?,
            until: time(16)?,
            now: time(32)?,
        })
    }

    /// A question about this time.
    pub(crate) fn ask(&self, query: &Query, want: Want) -> Ask {
        Ask {
            since: self.since,
            until: self.until,
            filter: query.plan(self.now),
            want,
        }
    }
}

/// A place between two pages: where in the order, and all that was relative to the first page's time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) cursor: Cursor,
    pub(crate) range: Range,
}

impl Place {
    pub(crate) fn text(&self) -> String {
        let Cursor { end, id } = self.cursor;
        format!("{:016x}{id:032x}{}", end.0, self.range.text())
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text).ok_or_else(Problem::wrong_after)
    }

    fn read(text: &str) -> Option<Self> {
        let (cursor, range) = text.split_at_checked(48)?;
        if !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (end, id) = cursor.split_at_checked(16)?;
        Some(Self {
            cursor: Cursor {
                end: Timestamp(u64::from_str_radix(end, 16).ok()?.cast_signed()),
                id: u128::from_str_radix(id, 16).ok()?,
            },
            range: Range::read(range)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_its_text() {
        let place = Place {
            cursor: Cursor {
                end: Timestamp(-5),
                id: u128::MAX - 77,
            },
            range: Range {
                since: Timestamp::MIN,
                until: Timestamp::MAX,
                now: Timestamp(3),
            },
        };
        assert_eq!(Place::parse(&place.text()).ok(), Some(place));
        for text in ["", "0", &"g".repeat(96), &"+".repeat(96), &"ä".repeat(48)] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
