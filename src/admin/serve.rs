//! The accept loop, with limits: on connections, on the time for a request's head, on its size.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Enough for Prometheus, probes and a few people.
const MAX_CONNECTIONS: usize = 64;
/// How long the head of a request may take, idle time of a kept connection included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may last at all: whoever is slow on purpose is gone after that.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves for ever.
pub async fn serve(listener: TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: it passes.
                tracing::warn!("admin: a connection can't be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::debug!("admin: {MAX_CONNECTIONS} connections are open, one more is refused");
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT);
            builder.max_buf_size(MAX_HEAD_BYTES);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}
