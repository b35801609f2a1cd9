use std::net::IpAddr;

use netverdict_types::{
    App, Direction, EndpointKind, Evidence, Origin, Pipeline, Unresolved, Verdict,
};

use crate::v1;

/// A word that stands for a value.
pub(crate) trait Word: Copy + Sized {
    fn word(self) -> &'static str;
    fn of(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($($kind:ty),*) => {$(
        impl Word for $kind {
            fn word(self) -> &'static str {
                self.as_str()
            }

            fn of(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|it| it.as_str() == word)
            }
        }
    )*};
}

words!(
    App,
    Direction,
    EndpointKind,
    Evidence,
    Origin,
    Pipeline,
    Unresolved
);

pub(crate) fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allowed => v1::Verdict::Allowed,
        Verdict::Delegated => v1::Verdict::Delegated,
        Verdict::Dropped => v1::Verdict::Dropped,
        Verdict::Rejected => v1::Verdict::Rejected,
        Verdict::Unknown => v1::Verdict::Unknown,
    }
}

pub(crate) fn verdict_of(verdict: v1::Verdict) -> Verdict {
    match verdict {
        v1::Verdict::Allowed => Verdict::Allowed,
        v1::Verdict::Delegated => Verdict::Delegated,
        v1::Verdict::Dropped => Verdict::Dropped,
        v1::Verdict::Rejected => Verdict::Rejected,
        v1::Verdict::Unknown => Verdict::Unknown,
    }
}

pub(crate) fn ip(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The outer `None` for what is no address, the inner one for none.
pub(crate) fn ip_of(bytes: &[u8]) -> Option<Option<IpAddr>> {
    match bytes.len() {
        0 => Some(None),
        4 => Some(Some(<[u8; 4]>::try_from(bytes).ok()?.into())),
        16 => Some(Some(<[u8; 16]>::try_from(bytes).ok()?.into())),
        _ => None,
    }
}
