//! By what a server knows us, and we know it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::Url;

/// By what a server knows us, and we know it.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
#[command(next_help_heading = "Server")]
pub(crate) struct Credentials {
    /// A file with the token for --source server:URL [default: the token in $NETVERDICT_TOKEN]
    #[arg(long, value_name = "FILE", env = "NETVERDICT_TOKEN_FILE")]
    server_token_file: Option<PathBuf>,

    /// Certificates of the CA that signs the server's [default: those of public CAs]
    #[arg(long, value_name = "FILE", env = "NETVERDICT_SERVER_CA")]
    server_ca: Option<PathBuf>,

    /// A client certificate, where the server asks for one
    #[arg(long, value_name = "FILE", requires = "server_key")]
    server_certificate: Option<PathBuf>,

    /// Its private key
    #[arg(long, value_name = "FILE", requires = "server_certificate")]
    server_key: Option<PathBuf>,
}

/// A token; it is shown to the server and to nobody else.
pub(super) struct Token(String);

impl Token {
    /// For the header of a request.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    fn new(text: &str, of: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{of}: this is no token: it is one line of letters, digits and signs");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Credentials {
    /// The token for a server, read anew each time: those of Kubernetes change every hour.
    ///
    /// # Errors
    /// If the file cannot be read, what is given is no token, or others could read it on its way.
    pub(super) fn token(&self, url: &Url) -> Result<Option<Token>> {
        let token = match &self.server_token_file {
            Some(path) => {
                let of = path.display().to_string();
                let text = std::fs::read_to_string(path).with_context(|| of.clone())?;
                Token::new(&text, &of)?
            }
            None => match std::env::var_os("NETVERDICT_TOKEN") {
                None => return Ok(None),
                Some(text) => {
                    let text = text.to_str().unwrap_or_default();
                    Token::new(text, "NETVERDICT_TOKEN")?
                }
            },
        };
        if !is_private(url) {
            bail!("{url}: a token is not sent where others can read it: ask the server by https");
        }
        Ok(Some(token))
    }

    /// Whom we trust, and by what we are known.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold what it should.
    pub(super) fn tls(&self) -> Result<TlsConfig> {
        let mut config = TlsConfig::builder();
        if let Some(path) = &self.server_ca {
            config = config.root_certs(RootCerts::from(certificates(path)?));
        }
        if let (Some(certificate), Some(key)) = (&self.server_certificate, &self.server_key) {
            let of = || key.display().to_string();
            let text = std::fs::read(key).with_context(of)?;
            // What the parser says may hold a part of the key.
            let Ok(private) = PrivateKey::from_pem(&text) else {
                bail!("{}: there is no private key in it", of());
            };
            let chain = certificates(certificate)?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&chain, private)));
        }
        Ok(config.build())
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let of = || path.display().to_string();
    let text = std::fs::read(path).with_context(of)?;
    let mut all = Vec::new();
    for item in parse_pem(&text) {
        match item.with_context(of)? {
            PemItem::Certificate(certificate) => all.push(certificate),
            _ => bail!("{}: there is something else in it than certificates", of()),
        }
    }
    if all.is_empty() {
        bail!("{}: there are no certificates in it", of());
    }
    Ok(all)
}

/// True where nobody else reads what is sent there: by TLS, or to this machine.
fn is_private(Url(url): &Url) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return true;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_by_tls_or_stay_here() {
        let is_private = |text: &str| is_private(&text.parse().unwrap());
        for fine in [
            "https://verdicts.example",
            "http://127.0.0.1:8480",
            "http://localhost:8480/behind",
            "http://[::1]:8480",
            "http://[::1]",
        ] {
            assert!(is_private(fine), "{fine}");
        }
        for open in [
            "http://verdicts.example",
            "http://10.0.0.1:8480",
            "http://localhost.example",
            "http://127.0.0.1@verdicts.example",
            "http://127.0.0.1:1@verdicts.example:80",
        ] {
            assert!(!is_private(open), "{open}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_shown() {
        assert_eq!(
            Token::new(" a.b-c \n", "x").unwrap().bearer(),
            "Bearer a.b-c"
        );
        for wrong in ["", " \n", "sec ret", "sec\nret", "sécret"] {
            let error = Token::new(wrong, "token.txt").err().unwrap().to_string();
            assert!(
                error.contains("token.txt") && !error.contains("ret"),
                "{error}"
            );
        }
    }
}
