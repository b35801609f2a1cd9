//! Streams to servers: unix, TCP, and TLS as OVS speaks it.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::{Endpoint, HostPort};

/// A stream of bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What [`Connect::connect`] returns.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// How endpoints are reached. Replace it to reach servers by other means, or in tests.
pub trait Connect: Send + Sync {
    /// Begins to connect.
    fn connect(&self, endpoint: &Endpoint) -> Connecting;
}

/// The PEM files for `ssl:` endpoints, as the OVS tools take them with `--ca-cert`,
/// `--certificate` and `--private-key` (ovsdb-client(1)).
///
/// As with OVS, a server is trusted if its certificate chains to the authority, whatever name is
/// in it: an OVS authority signs nothing but the servers of one deployment, and their
/// certificates seldom carry the name that clients connect to. The files are read at each
/// connection, so that renewed ones are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities that sign servers.
    pub ca: PathBuf,
    /// Our certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// The key of our certificate.
    pub key: PathBuf,
}

/// Connects by the system's sockets.
#[derive(Clone, Debug, Default)]
pub struct SystemConnect {
    /// Needed for `ssl:`.
    pub tls: Option<TlsFiles>,
}

impl Connect for SystemConnect {
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        let endpoint = endpoint.clone();
        let tls = self.tls.clone();
        Box::pin(async move {
            Ok(match endpoint {
                Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?) as _,
                Endpoint::Tcp(at) => Box::new(tcp(&at).await?) as _,
                Endpoint::Ssl(at) => Box::new(ssl(&at, tls).await?) as _,
            })
        })
    }
}

async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((at.host.as_str(), at.port)).await?;
    // Requests are small and waited for.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ssl(at: &HostPort, tls: Option<TlsFiles>) -> io::Result<impl Stream + use<>> {
    let files = tls.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "ssl needs a CA certificate, a certificate and a private key",
        )
    })?;
    let config = files.client_config()?;
    let name = ServerName::try_from(at.host.clone())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, tcp(at).await?).await
}

impl TlsFiles {
    fn client_config(&self) -> io::Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots
                .add(certificate)
                .map_err(|error| named(&self.ca, error))?;
        }
        let chain = certificates(&self.certificate)?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| named(&self.key, error))?;
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ChainOnly { roots, provider }))
            .with_client_auth_cert(chain, key)
            .map_err(|error| named(&self.certificate, error))
    }
}

fn certificates(path: &PathBuf) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| named(path, error))?;
    if certificates.is_empty() {
        return Err(named(path, "no certificate in it"));
    }
    Ok(certificates)
}

fn named(path: &std::path::Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{}: {error}", path.display()),
    )
}

/// Trusts what the authority signed, whatever its name is.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
