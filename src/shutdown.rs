//! Being asked to stop: SIGINT and SIGTERM. And to read the configuration anew: SIGHUP.

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that ask the process to stop. Listening begins when this is made: before anything that would
/// have to be ended in good order.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen. Needs a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(Failure::new);
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// SIGHUP, which ends the process unless someone listens.
    #[cfg(feature = "gateway")]
    pub(crate) fn hangups() -> Result<Signal, Failure> {
        signal(SignalKind::hangup()).map_err(Failure::new)
    }

    /// Ready once the process was asked to stop, even if that was before this call.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
