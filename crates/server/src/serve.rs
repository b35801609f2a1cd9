use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use netverdict_types::causes;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::tls::Tls;

/// A server that listens, and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    security: Security,
}

/// What stands between a server and those who ask it.
#[derive(Clone, Default)]
pub struct Security {
    /// Encrypts, and proves who answers.
    pub tls: Option<Tls>,
    /// Tells who asks.
    pub access: Access,
}

/// Why a server cannot listen, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS nobody but this machine may reach it.
    #[error(
        "{0} can be reached from other machines, and nothing protects it there: listen on 127.0.0.1 or [::1], or configure TLS"
    )]
    Exposed(SocketAddr),
    /// TLS without a question who asks.
    #[error(
        "{0} can be reached from other machines, and anybody there could ask: configure a client CA or tokens (docs/security.md), or listen on 127.0.0.1 or [::1]"
    )]
    Open(SocketAddr),
    /// Nobody could have a role.
    #[error(
        "roles tell what somebody may see, and nothing tells who asks: configure tokens, Kubernetes or a client CA (docs/security.md)"
    )]
    Nobody,
    /// The address cannot be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It ended by a fault.
    #[error("the server on {address} failed")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// What happened.
        #[source]
        cause: io::Error,
    },
}

/// How long answers that were begun may take when the server ends.
const GRACE: Duration = Duration::from_secs(5);

impl Server {
    /// Listens: without TLS, and tokens or client certificates, on this machine's loopback only.
    ///
    /// # Errors
    /// [`ServeError`] for other addresses, and those that are taken.
    pub fn listen(address: SocketAddr, security: Security) -> Result<Self, ServeError> {
        let asks_clients = security.tls.as_ref().is_some_and(Tls::asks_clients);
        let is_known = asks_clients || security.access.asks_tokens();
        if security.access.tells_apart() && !is_known {
            return Err(ServeError::Nobody);
        }
        if !address.ip().is_loopback() {
            match &security.tls {
                None => return Err(ServeError::Exposed(address)),
                Some(_) if !is_known => return Err(ServeError::Open(address)),
                Some(_) => {}
            }
        }
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        match listen() {
            Ok((listener, address)) => Ok(Self {
                listener,
                address,
                security,
            }),
            Err(cause) => Err(ServeError::Listen { address, cause }),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http`, or `https` with TLS.
    pub fn scheme(&self) -> &'static str {
        match self.security.tls {
            None => "http",
            Some(_) => "https",
        }
    }

    /// Answers until `stop`, and finishes what was begun. Streams must be closed by then
    /// ([`Live::close`](crate::Live::close)), or they are cut after some seconds.
    ///
    /// # Errors
    /// [`ServeError::Failed`].
    pub async fn run(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let Self {
            listener,
            address,
            security,
        } = self;
        let router = security.access.protect(router);
        let tls = security.tls.clone();
        let _watch = Watch::start(security);
        let handle = Handle::new();
        let ending = handle.clone();
        let waiting = tokio::spawn(async move {
            stop.await;
            ending.graceful_shutdown(Some(GRACE));
        });
        let served = async {
            let server = axum_server::from_tcp(listener)?.handle(handle);
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            match tls {
                None => server.serve(service).await,
                Some(tls) => server.acceptor(tls).serve(service).await,
            }
        };
        let ended = served.await;
        waiting.abort();
        ended.map_err(|cause| ServeError::Failed { address, cause })
    }
}

/// How often it is looked whether certificates, tokens and roles changed.
const LOOK: Duration = Duration::from_secs(5);

/// Looks after files until it is dropped.
struct Watch(JoinHandle<()>);

impl Watch {
    fn start(security: Security) -> Self {
        Self(tokio::spawn(async move {
            let mut told = Vec::new();
            loop {
                tokio::time::sleep(LOOK).await;
                let wrong = security.reload();
                if wrong != told {
                    for wrong in &wrong {
                        tracing::warn!("what was there before stays in use: {wrong}");
                    }
                }
                told = wrong;
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Security {
    /// Looks whether files changed; tells what is wrong with them.
    fn reload(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        match self.tls.as_ref().map(Tls::reload) {
            Some(Ok(true)) => tracing::info!("certificates changed, and are in use"),
            Some(Ok(false)) | None => {}
            Some(Err(error)) => wrong.push(causes(&error)),
        }
        if let Err(error) = self.access.reload() {
            wrong.push(causes(&error));
        }
        wrong
    }
}
