//! The testbed's own tokio runtime, so that its blocking calls work from plain and from async tests.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

/// The runtime on which proxies and HTTP calls run. It lives as long as the process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("testbed")
            .enable_all()
            .build();
        match built {
            Ok(runtime) => runtime,
            // No threads or descriptors left: no test can go on from here.
            Err(error) => panic!("the testbed's runtime can't start: {error}"),
        }
    })
}

/// Runs a future on the testbed's runtime and blocks for its result. Unlike `Runtime::block_on`
/// this may be called on a thread that belongs to another runtime.
pub(crate) fn block_on<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (done_tx, done_rx) = mpsc::sync_channel(1);
    runtime().spawn(async move {
        // The receiver waits below; it can't be gone.
        let _ = done_tx.send(future.await);
    });
    match done_rx.recv() {
        Ok(output) => output,
        Err(_) => panic!("a call on the testbed's runtime panicked"),
    }
}
