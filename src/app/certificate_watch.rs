// Upstream: run
// Downstream: config, observability, tls_places
// Role: Looks at the certificates of all servers at the start and every hour, on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::app::tls_places::certificate_ends;
use crate::config::Settings;
use crate::observability::certificates::CertificateEnds;

/// Time between two looks. A certificate is watched for days.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// The thread, until this is dropped.
pub struct CertificateWatch {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CertificateWatch {
    /// Starts the thread. It asks for the settings in force before each look.
    pub fn start(
        settings: impl Fn() -> Settings + Send + 'static,
        ends: Arc<CertificateEnds>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let watch = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = look_for_ever(settings, &ends) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("certificates".to_owned()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watch over certificates has failed");
        }
    }
}

async fn look_for_ever(settings: impl Fn() -> Settings, ends: &CertificateEnds) {
    loop {
        let (sections, seen) = certificate_ends(&settings()).await;
        ends.update(&sections, seen);
        tokio::time::sleep(INTERVAL).await;
    }
}
