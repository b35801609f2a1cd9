use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::Cache;
use crate::subject::Namespaces;
use crate::who::Who;

/// A Kubernetes API server, asked whose a token is (TokenReview) and what they may see
/// (SubjectAccessReview): `get` on `connections` of `netverdict.io`, in a namespace or in all.
pub struct Kubernetes {
    client: Client,
    audiences: Vec<String>,
    tokens: Cache<[u8; 32], Option<Arc<Who>>>,
    rights: Cache<Arc<Who>, Option<Namespaces>>,
    turns: Semaphore,
    failed: AtomicBool,
    pub(crate) counts: Counts,
}

/// What was asked of the API server.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) reviews: Family<Review, Counter>,
    /// Namespaces that were not looked at because there are too many.
    pub(crate) beyond: Counter,
}

impl Default for Counts {
    /// Nothing yet, and all that may come.
    fn default() -> Self {
        let reviews = Family::<Review, Counter>::default();
        for review in ["token", "access", "namespaces"] {
            for outcome in ["yes", "no", "failed"] {
                drop(reviews.get_or_create(&Review { review, outcome }));
            }
        }
        Self {
            reviews,
            beyond: Counter::default(),
        }
    }
}

/// A question to the API server.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct Review {
    review: &'static str,
    outcome: &'static str,
}

/// The API server did not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Away;

/// Tokens, and people, whose answers are kept.
const MOST: usize = 10_000;
/// The longest token that is asked about, in bytes.
const LONGEST: usize = 16_384;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to find out all that somebody may see.
const ALL: Duration = Duration::from_secs(30);
/// Questions that are asked at the same time, for one and for all.
const TURNS: [usize; 2] = [16, 48];
/// Namespaces that are asked about for one.
const NAMESPACES: usize = 5_000;
/// Namespaces in a page.
const PAGE: u32 = 500;

impl Kubernetes {
    /// Asks through `client`, whose account must be allowed to (deploy/kubernetes/access.yaml).
    /// Tokens must be for one of `audiences`, or for the API server itself where that is empty.
    pub fn new(client: Client, audiences: Vec<String>) -> Self {
        Self {
            client,
            audiences,
            tokens: Cache::new(MOST),
            rights: Cache::new(MOST),
            turns: Semaphore::new(TURNS[1]),
            failed: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// True where it is known whose a token is, and nobody is asked.
    pub(crate) fn knows(&self, token: &str) -> bool {
        !is_token(token) || self.tokens.has(&hash(token), Instant::now())
    }

    /// Whose a token is; `None` where it is nobody's.
    pub(crate) async fn who(&self, token: &str) -> Result<Option<Arc<Who>>, Away> {
        if !is_token(token) {
            return Ok(None);
        }
        let ask = async || self.review(token).await;
        self.tokens.answer(hash(token), Instant::now(), ask).await
    }

    /// What somebody may see; `None` where that is nothing.
    pub(crate) async fn namespaces(&self, who: &Arc<Who>) -> Result<Option<Namespaces>, Away> {
        let ask = async || match timeout(ALL, self.rights(who)).await {
            Ok(rights) => rights,
            Err(late) => Err(self.away("namespaces", &late)),
        };
        self.rights.answer(who.clone(), Instant::now(), ask).await
    }

    async fn review(&self, token: &str) -> Result<Option<Arc<Who>>, Away> {
        let audiences = (!self.audiences.is_empty()).then(|| self.audiences.clone());
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences,
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let review = self.asked("token", api.create(&params, &review));
        let status = review.await?.status.unwrap_or_default();
        // A server that knows nothing of audiences leaves them out, and the token is for itself.
        let for_us = self.audiences.is_empty()
            || status
                .audiences
                .iter()
                .flatten()
                .any(|audience| self.audiences.contains(audience));
        let user = status.user.unwrap_or_default();
        let name = user.username.unwrap_or_default();
        let is_known = status.authenticated == Some(true) && for_us && !name.is_empty();
        self.count("token", if is_known { "yes" } else { "no" });
        Ok(is_known.then(|| {
            Arc::new(Who {
                name,
                groups: user.groups.unwrap_or_default(),
                uid: user.uid,
                extra: user.extra.unwrap_or_default(),
            })
        }))
    }

    async fn rights(&self, who: &Who) -> Result<Option<Namespaces>, Away> {
        if self.may(who, None).await? {
            return Ok(Some(Namespaces::All));
        }
        let asked = stream::iter(self.all().await?).map(async |namespace| {
            let may = self.may(who, Some(&namespace)).await?;
            Ok(may.then_some(namespace))
        });
        let own = asked.buffer_unordered(TURNS[0]);
        let own: BTreeSet<String> = own.try_filter_map(async |it| Ok(it)).try_collect().await?;
        Ok((!own.is_empty()).then(|| Namespaces::Only(Arc::new(own))))
    }

    /// Whether somebody may see a namespace, or all.
    async fn may(&self, who: &Who, namespace: Option<&str>) -> Result<bool, Away> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(who.name.clone()),
                groups: Some(who.groups.clone()),
                uid: who.uid.clone(),
                // Tokens may be for less than their owner may do, and say so there.
                extra: Some(who.extra.clone()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("netverdict.io".to_owned()),
                    resource: Some("connections".to_owned()),
                    verb: Some("get".to_owned()),
                    version: Some("*".to_owned()),
                    // The empty one stands for all.
                    namespace: Some(namespace.unwrap_or_default().to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let review = self.asked("access", api.create(&params, &review));
        let status = review.await?.status.unwrap_or_default();
        let may = status.allowed && status.denied != Some(true);
        self.count("access", if may { "yes" } else { "no" });
        Ok(may)
    }

    /// All namespaces, as many as are looked at.
    async fn all(&self) -> Result<Vec<String>, Away> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let mut names = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = self.asked("namespaces", api.list_metadata(&params)).await?;
            self.count("namespaces", "yes");
            let rest = page.metadata.continue_.filter(|rest| !rest.is_empty());
            let left = page.metadata.remaining_item_count.unwrap_or(0);
            names.extend(page.items.iter().map(|it| it.name_any()));
            match rest {
                Some(rest) if names.len() < NAMESPACES => {
                    params = params.continue_token(&rest);
                }
                None if names.len() <= NAMESPACES => return Ok(names),
                _ => {
                    let beyond = (names.len() - NAMESPACES) as u64 + left.unsigned_abs();
                    self.counts.beyond.inc_by(beyond.max(1));
                    tracing::warn!(
                        "there are more than {NAMESPACES} namespaces: nobody but those who may see all is shown the others"
                    );
                    names.truncate(NAMESPACES);
                    return Ok(names);
                }
            }
        }
    }

    /// An answer of the API server, in time.
    async fn asked<T>(
        &self,
        review: &'static str,
        asking: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Away> {
        let asking = async {
            let _turn = self.turns.acquire().await;
            asking.await
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => {
                self.failed.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.away(review, &error)),
            Err(late) => Err(self.away(review, &late)),
        }
    }

    /// The log says once that answers fail.
    fn away(&self, review: &'static str, error: &dyn Error) -> Away {
        self.count(review, "failed");
        if !self.failed.swap(true, Ordering::Relaxed) {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            tracing::error!(
                "the Kubernetes API server does not tell who may ask (docs/security.md), and who is not known gets no answer: {text}"
            );
        }
        Away
    }

    fn count(&self, review: &'static str, outcome: &'static str) {
        let labels = Review { review, outcome };
        self.counts.reviews.get_or_create(&labels).inc();
    }
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && token.len() <= LONGEST
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
