use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use netverdict_query::ask::Ask;
use netverdict_types::{Connection, Owner};

/// Who asks, and what they may see.
///
/// A layer in front of the router puts it into the request's extensions; without one everybody is
/// [`Subject::everyone`]. All rows on their way out pass [`Subject::restrict`] and
/// [`Subject::shows`], whichever way they take.
#[derive(Clone, Debug)]
pub struct Subject {
    name: Arc<str>,
}

impl Subject {
    /// Somebody without a name, who sees everything.
    pub fn everyone() -> Self {
        Self { name: "".into() }
    }

    /// What the audit calls them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of a question that they may have answered.
    pub(crate) fn restrict(&self, ask: Ask) -> Ask {
        ask
    }

    /// True where they may know of a policy.
    pub(crate) fn shows_owner(&self, _owner: &Owner) -> bool {
        true
    }

    /// True where they may know of a namespace; of what has none where that is `None`.
    pub(crate) fn shows_namespace(&self, _namespace: Option<&str>) -> bool {
        true
    }

    /// A connection as they may see it, if at all.
    pub(crate) fn shows(&self, connection: Arc<Connection>) -> Option<Arc<Connection>> {
        Some(connection)
    }
}

impl<S: Sync> FromRequestParts<S> for Subject {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(Self::everyone))
    }
}
