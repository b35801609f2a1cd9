use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::subject::Namespaces;
use crate::who::Who;

/// Who may see which namespaces.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    #[serde(default)]
    role: Vec<Role>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    #[serde(default)]
    subjects: BTreeSet<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

/// Stands for all namespaces, and what is in none.
const ALL: &str = "*";

impl Roles {
    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, TextError> {
        let roles: Self = toml::from_str(text).map_err(|error| TextError::toml(text, &error))?;
        for role in &roles.role {
            if role.subjects.is_empty() && role.groups.is_empty() {
                return Err(TextError(
                    "a role has neither subjects nor groups".to_owned(),
                ));
            }
            let odd = |name: &&String| name.contains('*') && *name != ALL;
            if let Some(name) = role.namespaces.iter().find(odd) {
                return Err(TextError(format!(
                    "{name:?} is no namespace: write whole names, or \"*\" for all"
                )));
            }
        }
        Ok(roles)
    }

    /// What somebody may see: the namespaces of all their roles. `None` without a role.
    pub(crate) fn namespaces(&self, who: &Who) -> Option<Namespaces> {
        let is_theirs = |role: &&Role| {
            role.subjects.contains(&who.name)
                || who.groups.iter().any(|group| role.groups.contains(group))
        };
        let mut roles = self.role.iter().filter(is_theirs).peekable();
        roles.peek()?;
        let own: BTreeSet<String> = roles.flat_map(|role| role.namespaces.clone()).collect();
        Some(match own.contains(ALL) {
            true => Namespaces::All,
            false => Namespaces::Only(Arc::new(own)),
        })
    }
}

/// What is wrong with a file's text, without any of it that could be secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TextError(pub(crate) String);

impl TextError {
    /// The parser's own words may hold what stands in the file; its place tells enough.
    pub(crate) fn toml(text: &str, error: &toml::de::Error) -> Self {
        let place = error.span().and_then(|span| text.get(..span.start));
        Self(match place {
            Some(before) => format!(
                "line {} makes no sense: see docs/security.md",
                before.matches('\n').count() + 1
            ),
            None => "it makes no sense: see docs/security.md".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn roles_add_up() {
        let roles = Roles::parse(
            "[[role]]\nsubjects = [\"anna\"]\nnamespaces = [\"a\"]\n\
             [[role]]\ngroups = [\"shop\"]\nnamespaces = [\"b\", \"c\"]\n\
             [[role]]\ngroups = [\"admins\"]\nnamespaces = [\"*\"]\n",
        )
        .unwrap();
        let of = |name: &str, groups: &[&str]| {
            roles.namespaces(&Who {
                name: name.to_owned(),
                groups: groups.iter().map(|it| (*it).to_owned()).collect(),
                ..Who::default()
            })
        };
        let only = |names: &[&str]| {
            Some(Namespaces::Only(Arc::new(
                names.iter().map(|it| (*it).to_owned()).collect(),
            )))
        };
        assert_eq!(of("anna", &[]), only(&["a"]));
        let both = only(&["a", "b", "c"]);
        assert_eq!(of("anna", &["shop"]), both);
        assert_eq!(of("bert", &["shop", "admins"]), Some(Namespaces::All));
        assert_eq!(of("shop", &["anna"]), None);
        for wrong in [
            "[[role]]\nnamespaces = [\"a\"]",
            "[[role]]\nsubjects = [\"a\"]\nnamespaces = [\"a*\"]",
            "[[role]]\nsubjects = [\"a\"]",
            "[[roles]]\nsubjects = [\"a\"]\nnamespaces = [\"a\"]",
        ] {
            assert!(Roles::parse(wrong).is_err(), "{wrong}");
        }
    }
}
