//! Whether a peer has been silent for too long, without a new timer for each thing it says.
//!
//! A timer costs a place in the runtime's wheel; here one is set again only when it has run out.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// The silence of one peer.
#[derive(Debug)]
pub(super) struct Silence {
    patience: Duration,
    heard: Instant,
    look: Pin<Box<Sleep>>,
}

impl Silence {
    /// Begins now; `patience` is how long it may last.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, heard: Instant::now(), look: Box::pin(sleep(patience)) }
    }

    /// The peer said something.
    pub(super) fn broken(&mut self) {
        self.heard = Instant::now();
    }

    /// Waits until the peer was silent for too long. May be dropped and begun again.
    pub(super) async fn too_long(&mut self) {
        loop {
            self.look.as_mut().await;
            let end = self.heard + self.patience;
            if Instant::now() >= end {
                return;
            }
            self.look.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_thing_said() {
        let (begin, mut silence) = (Instant::now(), Silence::new(PATIENCE));
        for _ in 0..10 {
            assert!(tokio::time::timeout(PATIENCE / 2, silence.too_long()).await.is_err());
            silence.broken();
        }
        silence.too_long().await;
        let lasted = begin.elapsed().saturating_sub(PATIENCE * 6);
        assert!(lasted < Duration::from_secs(1), "{lasted:?} more than the half ones and a whole one");
    }
}
