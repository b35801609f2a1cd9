use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use crate::tls::{Current, Tls};
use crate::who::Who;

/// The certificate of one who asks: its common name is the subject, its organisations are the
/// groups, as Kubernetes has it.
#[derive(Clone)]
pub struct Certified(Arc<Peer>);

struct Peer {
    tls: Tls,
    chain: Vec<CertificateDer<'static>>,
    who: Option<Arc<Who>>,
    looked: Mutex<Option<Look>>,
}

/// When a certificate was looked at, and what was in use then.
struct Look {
    at: Instant,
    current: Arc<Current>,
    is_valid: bool,
}

/// Connections outlive certificates: they are looked at again as often.
const AGAIN: Duration = Duration::from_secs(60);

impl Certified {
    pub(crate) fn new(tls: Tls, chain: &[CertificateDer<'_>]) -> Self {
        let chain: Vec<_> = chain.iter().map(|it| it.clone().into_owned()).collect();
        let who = chain.first().and_then(|own| {
            let certificate = EndEntityCert::try_from(own).ok()?;
            subject(certificate.subject()).map(Arc::new)
        });
        let looked = Mutex::default();
        Self(Arc::new(Peer {
            tls,
            chain,
            who,
            looked,
        }))
    }

    /// Whom it names; `None` where there is no common name, or several.
    pub(crate) fn who(&self) -> Option<&Arc<Who>> {
        self.0.who.as_ref()
    }

    /// True while it is of a client CA that is in use now, and has not expired.
    pub(crate) fn is_valid(&self) -> bool {
        let current = self.0.tls.current();
        let mut looked = self.0.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = &*looked
            && Arc::ptr_eq(&look.current, &current)
            && look.at.elapsed() < AGAIN
        {
            return look.is_valid;
        }
        let is_valid = match (&current.clients, self.0.chain.split_first()) {
            (Some(clients), Some((own, others))) => clients
                .verify_client_cert(own, others, UnixTime::now())
                .is_ok(),
            _ => false,
        };
        *looked = Some(Look {
            at: Instant::now(),
            current,
            is_valid,
        });
        is_valid
    }
}

/// Object identifiers of X.520 (2.5.4.3 and 2.5.4.10), in DER.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;

/// Whom a name (RFC 5280, section 4.1.2.4) without its outermost head means.
fn subject(mut name: &[u8]) -> Option<Who> {
    let (mut names, mut groups) = (Vec::new(), Vec::new());
    while !name.is_empty() {
        let mut parts = part(&mut name, SET)?;
        while !parts.is_empty() {
            let mut pair = part(&mut parts, SEQUENCE)?;
            let known = match part(&mut pair, OBJECT)? {
                COMMON_NAME => &mut names,
                ORGANISATION => &mut groups,
                _ => continue,
            };
            let (UTF8 | PRINTABLE | IA5, text) = element(&mut pair)? else {
                return None;
            };
            let text = str::from_utf8(text).ok()?;
            if text.is_empty() || text.contains(char::is_control) || !pair.is_empty() {
                return None;
            }
            known.push(text.to_owned());
        }
    }
    let [name] = <[String; 1]>::try_from(names).ok()?;
    Some(Who {
        name,
        groups,
        ..Who::default()
    })
}

fn part<'a>(from: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    let (kind, content) = element(from)?;
    (kind == wanted).then_some(content)
}

/// The next element of DER (X.690, section 8.1): its tag, and what is in it.
fn element<'a>(from: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&kind, rest) = from.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if !(1..=3).contains(&bytes.len()) {
            return None;
        }
        length = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    *from = after;
    Some((kind, content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(object: &[u8], kind: u8, text: &str) -> Vec<u8> {
        let head = |kind, length: usize| [kind, length as u8];
        let object = [&head(OBJECT, object.len()), object].concat();
        let text = [&head(kind, text.len()), text.as_bytes()].concat();
        let pair = [object, text].concat();
        let pair = [&head(SEQUENCE, pair.len())[..], &pair].concat();
        [&head(SET, pair.len())[..], &pair].concat()
    }

    #[test]
    fn a_name_without_doubt_or_none() {
        let anna = pair(COMMON_NAME, UTF8, "anna");
        let shop = pair(ORGANISATION, PRINTABLE, "shop");
        let who = subject(&[anna.clone(), shop.clone(), pair(ORGANISATION, UTF8, "ops")].concat());
        let who = who.map(|who| (who.name, who.groups));
        let groups = vec!["shop".to_owned(), "ops".to_owned()];
        assert_eq!(who, Some(("anna".to_owned(), groups)));
        for doubtful in [
            Vec::new(),
            shop,
            [anna.clone(), anna.clone()].concat(),
            pair(COMMON_NAME, UTF8, ""),
            pair(COMMON_NAME, UTF8, "anna\0bert"),
            // UTF-16, which nobody writes any more.
            pair(COMMON_NAME, 0x1e, "anna"),
            anna[..anna.len() - 1].to_vec(),
        ] {
            assert!(subject(&doubtful).is_none(), "{doubtful:?}");
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = subject(&bytes);
        }
    }
}
