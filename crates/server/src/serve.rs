use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;

/// A server that listens, and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why a server cannot listen, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS nobody but this machine may reach it.
    #[error(
        "{0} can be reached from other machines, and nothing protects it there: listen on 127.0.0.1 or [::1], or configure TLS"
    )]
    Exposed(SocketAddr),
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
    /// Listens on an address of this machine's loopback.
    ///
    /// # Errors
    /// [`ServeError`] for other addresses, and those that are taken.
    pub fn listen(address: SocketAddr) -> Result<Self, ServeError> {
        if !address.ip().is_loopback() {
            return Err(ServeError::Exposed(address));
        }
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        listen().map_err(|cause| ServeError::Listen { address, cause })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
        let Self { listener, address } = self;
        let handle = Handle::new();
        let ending = handle.clone();
        let waiting = tokio::spawn(async move {
            stop.await;
            ending.graceful_shutdown(Some(GRACE));
        });
        let served = async {
            axum_server::from_tcp(listener)?
                .handle(handle)
                .serve(router.into_make_service_with_connect_info::<SocketAddr>())
                .await
        };
        let ended = served.await;
        waiting.abort();
        ended.map_err(|cause| ServeError::Failed { address, cause })
    }
}
