use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::roles::TextError;

/// Who there is: tokens, and whose they are. Of tokens only hashes are kept.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Vec<Token>);

#[derive(Clone)]
struct Token {
    hash: [u8; 32],
    who: Arc<Who>,
}

/// Somebody who is known.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
    /// Kubernetes has more that tells somebody from others.
    pub(crate) uid: Option<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: String,
    subject: String,
    #[serde(default)]
    groups: Vec<String>,
}

/// Shorter ones can be guessed.
const LEAST: usize = 16;

impl Tokens {
    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, TextError> {
        let File { token } = toml::from_str(text).map_err(|error| TextError::toml(text, &error))?;
        let tokens = token.into_iter().map(|entry| {
            let Entry {
                token,
                subject,
                groups,
            } = entry;
            if subject.is_empty() {
                return Err(TextError("a token has an empty subject".to_owned()));
            }
            if token.len() < LEAST {
                return Err(TextError(format!(
                    "the token of {subject:?} is shorter than {LEAST} characters"
                )));
            }
            Ok(Token {
                hash: Sha256::digest(token).into(),
                who: Arc::new(Who {
                    name: subject,
                    groups,
                    ..Who::default()
                }),
            })
        });
        tokens.collect::<Result<_, _>>().map(Self)
    }

    /// Whose a token is. All are looked at, each whole, so that the time tells nothing.
    pub(crate) fn find(&self, token: &str) -> Option<&Arc<Who>> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for known in &self.0 {
            let pairs = known.hash.iter().zip(&hash);
            let differs = pairs.fold(0, |differs, (one, two)| differs | (one ^ two));
            if std::hint::black_box(differs) == 0 {
                found = Some(&known.who);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn tokens_are_found_and_never_told() {
        let text =
            "[[token]]\ntoken = \"0123456789abcdef\"\nsubject = \"anna\"\ngroups = [\"shop\"]\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.find("0123456789abcdef").unwrap().name, "anna");
        for wrong in [
            "",
            "0123456789abcdeF",
            "0123456789abcdef0",
            "0123456789abcde",
        ] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        for text in [
            "[[token]]\ntoken = \"secret\"\nsubject = \"anna\"\n",
            "[[token]]\ntoken = \"secret-secret-secret\" subject = \"anna\"\n",
            "[[token]]\ntoken = \"secret-secret-secret\"\n",
            "[[token]]\ntoken = \"secret-secret-secret\"\nsubject = \"\"\n",
            "token = \"secret-secret-secret\"\n",
        ] {
            let error = Tokens::parse(text).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
