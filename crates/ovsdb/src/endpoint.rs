//! Where a server listens, in the syntax of ovsdb(7), "Connection Methods", active forms.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// One place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `unix:PATH`, a stream socket in the file system.
    Unix(PathBuf),
    /// `tcp:HOST:PORT`.
    Tcp(HostPort),
    /// `ssl:HOST:PORT`, TLS with a certificate on both sides.
    Ssl(HostPort),
}

/// A host and a port of it; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name, or an address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Several places where the same database is served, tried in turn: what stands between commas
/// in `tcp:10.0.0.1:6641,tcp:10.0.0.2:6641`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints(Vec<Endpoint>);

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an OVSDB endpoint: {why}; write unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, \
     an IPv6 address in brackets, several separated by commas"
)]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

/// The port that IANA assigned to OVSDB (RFC 7047 section 6).
const DEFAULT_PORT: u16 = 6640;

impl Endpoints {
    /// The places, in the order given.
    pub fn as_slice(&self) -> &[Endpoint] {
        &self.0
    }
}

impl From<Endpoint> for Endpoints {
    fn from(endpoint: Endpoint) -> Self {
        Self(vec![endpoint])
    }
}

impl FromStr for Endpoints {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        text.split(',')
            .map(|part| part.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fault = |why| EndpointError {
            text: text.to_owned(),
            why,
        };
        match text.split_once(':') {
            Some(("unix", "")) => Err(fault("the path is missing")),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", rest)) => host_port(rest).map(Self::Tcp).map_err(fault),
            Some(("ssl", rest)) => host_port(rest).map(Self::Ssl).map_err(fault),
            Some(("ptcp" | "pssl" | "punix", _)) => Err(fault(
                "that is where a server listens, not where to connect",
            )),
            _ => Err(fault("it does not begin with unix:, tcp: or ssl:")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(at) => write!(f, "tcp:{at}"),
            Self::Ssl(at) => write!(f, "ssl:{at}"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, endpoint) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            endpoint.fmt(f)?;
        }
        Ok(())
    }
}

fn host_port(text: &str) -> Result<HostPort, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
                return Err("no IPv6 address in the brackets");
            }
            match rest {
                "" => (host, None),
                _ => (
                    host,
                    Some(rest.strip_prefix(':').ok_or("no colon after the bracket")?),
                ),
            }
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address must stand in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    Ok(HostPort {
        host: host.to_owned(),
        port: match port {
            Some(port) => port
                .parse()
                .map_err(|_| "the port is not a number up to 65535")?,
            None => DEFAULT_PORT,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_and_written_back() {
        for text in [
            "unix:/run/ovn/ovnnb_db.sock",
            "tcp:10.0.0.1:6641",
            "ssl:[fd00::1]:6641",
            "ssl:nb.example.org:6641,ssl:[::1]:6642",
        ] {
            assert_eq!(text.parse::<Endpoints>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp:localhost".parse::<Endpoint>().unwrap().to_string(),
            "tcp:localhost:6640"
        );
    }

    #[test]
    fn faults_are_named() {
        for (text, why) in [
            ("", "does not begin"),
            ("unix:", "path is missing"),
            ("tcp:fd00::1:6641", "brackets"),
            ("tcp:[fd00::1:6641", "not closed"),
            ("tcp:[10.0.0.1]:1", "no IPv6"),
            ("tcp:[::1]6641", "no colon"),
            ("ssl::6641", "host is missing"),
            ("ssl:h:66410", "65535"),
            ("ptcp:6641", "listens"),
            ("unix:/a,", "does not begin"),
        ] {
            let error = text.parse::<Endpoints>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
