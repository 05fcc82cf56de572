//! Waiting for events under a deadline, and what time it is.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, sleep};

/// How often is looked.
const LOOK: Duration = Duration::from_millis(250);

/// Asks until there is an answer; a failure says what was missing last.
pub(crate) async fn wait_for<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(missing) => assert!(Instant::now() < deadline, "not within {within:?}: {what}; {missing}"),
        }
        sleep(LOOK).await;
    }
}

/// Wall time of this machine. The cluster's clocks are taken to agree within a second.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Seconds since 1970 of this machine's clock.
pub(crate) fn now_s() -> f64 {
    seconds(now())
}

/// Seconds since 1970.
pub(crate) fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}
