use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum_server::accept::Accept;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_http::add_extension::AddExtension;

use crate::certified::Certified;

/// Files that a server proves itself with, all PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// Its certificate, and those between it and the CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// The CA of clients; where it is given nobody without a certificate of it gets an answer.
    pub client_ca: Option<PathBuf>,
}

/// TLS 1.2 and 1.3, with certificates that may change while the server runs.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: TlsFiles,
    read: Mutex<Contents>,
    current: ArcSwap<Current>,
}

/// What is in use.
#[derive(Debug)]
pub(crate) struct Current {
    config: Arc<ServerConfig>,
    /// Judges clients' certificates.
    pub(crate) clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The files do not fit together.
    #[error("{} and {} make no server", certificate.display(), private_key.display())]
    Unfit {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
        /// Why not.
        #[source]
        cause: rustls::Error,
    },
    /// The client CA cannot be used.
    #[error("{} holds no certificates of a CA", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How long the other side may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let read = Contents::read(&files)?;
        let current = ArcSwap::from_pointee(read.current(&files)?);
        Ok(Self(Arc::new(Shared {
            files,
            read: Mutex::new(read),
            current,
        })))
    }

    /// Reads the files again, and uses them from now on for new connections if they changed: true
    /// then. What was there before stays in use if they cannot be used.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self) -> Result<bool, TlsError> {
        let shared = &*self.0;
        let read = Contents::read(&shared.files)?;
        let mut known = shared.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == read {
            return Ok(false);
        }
        let current = read.current(&shared.files)?;
        shared.current.store(Arc::new(current));
        *known = read;
        Ok(true)
    }

    /// True where clients must have certificates.
    pub fn asks_clients(&self) -> bool {
        self.0.files.client_ca.is_some()
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.0.current.load_full()
    }
}

impl<I, S> Accept<I, S> for Tls
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = TlsStream<I>;
    type Service = AddExtension<S, Option<Certified>>;
    type Future = BoxFuture<'static, io::Result<(TlsStream<I>, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let acceptor = TlsAcceptor::from(self.current().config.clone());
        let tls = self.clone();
        async move {
            let Ok(stream) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            let stream = stream?;
            let chain = stream.get_ref().1.peer_certificates();
            let certified = chain.map(|chain| Certified::new(tls, chain));
            Ok((stream, AddExtension::new(service, certified)))
        }
        .boxed()
    }
}

/// What stands in the files.
#[derive(PartialEq)]
struct Contents {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents(..)")
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|cause| TlsError::Read {
                path: path.to_owned(),
                cause,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            private_key: read(&files.private_key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn current(&self, files: &TlsFiles) -> Result<Current, TlsError> {
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key).map_err(|_| TlsError::Pem {
            path: files.private_key.clone(),
            what: "private key",
        })?;
        let unfit = |cause| TlsError::Unfit {
            certificate: files.certificate.clone(),
            private_key: files.private_key.clone(),
            cause,
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unfit)?;
        let (builder, clients) = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let wrong = |cause| TlsError::Ca {
                    path: path.clone(),
                    cause,
                };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem, path)? {
                    roots
                        .add(certificate)
                        .map_err(|cause| wrong(cause.into()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|cause| wrong(cause.into()))?;
                (
                    builder.with_client_cert_verifier(verifier.clone()),
                    Some(verifier),
                )
            }
            _ => (builder.with_no_client_auth(), None),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Current {
            config: Arc::new(config),
            clients,
        })
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(TlsError::Pem {
            path: path.to_owned(),
            what: "certificates",
        }),
    }
}
