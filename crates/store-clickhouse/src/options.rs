use std::str::FromStr;
use std::time::Duration;

use crate::error::ClickHouseError;

/// Where and how connections are kept.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// `http://HOST:PORT` or `https://HOST:PORT` of ClickHouse's HTTP interface.
    pub url: String,
    /// The user, if not `default`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// The database; it is made if it is not there.
    pub database: String,
    /// On which machines.
    pub layout: Layout,
    /// How long connections are kept, by their end; `None`: for ever.
    pub keep: Option<Duration>,
    /// How long a request may last.
    pub timeout: Duration,
}

/// On which machines connections are kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Layout {
    /// On one.
    #[default]
    Single,
    /// On each machine of a cluster all of them. Servers have the macros `shard` and `replica`.
    Replicated {
        /// The name of the cluster in ClickHouse's configuration.
        cluster: String,
    },
    /// On each shard of a cluster some of them, and on each replica of a shard the same. Servers
    /// have the macros `shard` and `replica`.
    Sharded {
        /// The name of the cluster in ClickHouse's configuration.
        cluster: String,
    },
}

impl Options {
    /// In the database `netverdict` of one machine, for ever.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            database: "netverdict".to_owned(),
            layout: Layout::Single,
            keep: None,
            timeout: Duration::from_secs(30),
        }
    }
}

impl FromStr for Options {
    type Err = ClickHouseError;

    /// Reads `http://USER:PASSWORD@HOST:8123/DATABASE?keep=30d&cluster=NAME&sharded=true&timeout=30s`,
    /// of which all but scheme and host may be left out. In user, password, database and cluster
    /// `%` and two hexadecimal digits are a byte.
    fn from_str(text: &str) -> Result<Self, ClickHouseError> {
        let bad = |why: &str| ClickHouseError::Url {
            url: without_password(text),
            why: why.to_owned(),
        };
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        if !matches!(scheme, "http" | "https") {
            return Err(bad("it begins neither with http:// nor with https://"));
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let decode = |text: &str| {
            decode(text).ok_or_else(|| bad("a `%` is not followed by two hexadecimal digits, or what they spell is no text"))
        };
        let mut options = Self::new(format!("{scheme}://{host}"));
        if let Some(user) = user {
            let (user, password) = match user.split_once(':') {
                Some((user, password)) => (user, Some(decode(password)?)),
                None => (user, None),
            };
            (options.user, options.password) = (Some(decode(user)?), password);
        }
        if !database.is_empty() {
            options.database = decode(database)?;
        }
        let (mut cluster, mut sharded) = (None, false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("keep", age) => {
                    options.keep = Some(duration(age).ok_or_else(|| {
                        bad("`keep` is a number of s, m, h or d, as in keep=30d")
                    })?);
                }
                ("timeout", time) => {
                    options.timeout = duration(time).ok_or_else(|| {
                        bad("`timeout` is a number of s, m, h or d, as in timeout=30s")
                    })?;
                }
                ("cluster", name) if !name.is_empty() => cluster = Some(decode(name)?),
                ("sharded", "true") => sharded = true,
                ("sharded", "false") => sharded = false,
                (name, _) => {
                    return Err(bad(&format!(
                        "`{name}` is none of keep=30d, timeout=30s, cluster=NAME, sharded=true"
                    )));
                }
            }
        }
        options.layout = match (cluster, sharded) {
            (None, false) => Layout::Single,
            (None, true) => return Err(bad("`sharded` needs cluster=NAME")),
            (Some(cluster), false) => Layout::Replicated { cluster },
            (Some(cluster), true) => Layout::Sharded { cluster },
        };
        Ok(options)
    }
}

impl std::fmt::Debug for Options {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("layout", &self.layout)
            .field("keep", &self.keep)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}…{}", &text[..scheme + 3], &text[at..])
        }
        _ => text.to_owned(),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_all() {
        let line =
            "https://me:p%40ss:w@ch.example:8443/nv?keep=30d&cluster=main&sharded=true&timeout=5s";
        let options: Options = line.parse().unwrap();
        assert_eq!(
            options,
            Options {
                user: Some("me".to_owned()),
                password: Some("p@ss:w".to_owned()),
                database: "nv".to_owned(),
                layout: Layout::Sharded {
                    cluster: "main".to_owned()
                },
                keep: Some(Duration::from_secs(30 * 86_400)),
                timeout: Duration::from_secs(5),
                ..Options::new("https://ch.example:8443")
            }
        );
        assert!(!format!("{options:?}").contains("p@ss"));
        let plain: Options = "http://ch:8123".parse().unwrap();
        assert_eq!(plain, Options::new("http://ch:8123"));
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for (line, wanted) in [
            ("ch:8123", "http://"),
            ("http://", "host"),
            ("http://u:secret@ch?keep=soon", "keep=30d"),
            ("http://u:secret@ch?kep=1d", "`kep`"),
            ("http://u:secret@ch?sharded=true", "cluster=NAME"),
            ("http://u:secret%zz@ch", "hexadecimal"),
        ] {
            let error = line.parse::<Options>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
