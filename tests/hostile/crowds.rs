//! Many at one time: a thousand whole lists for somebody who may have them, and connections that only stand there.

use std::sync::Arc;

use tokio::{task::JoinSet, time::Instant};

use crate::{
    apiserver::dial::Connection,
    chain::READER,
    field::{Attempt, Field, PATIENCE, exchange},
    frames, lines,
    tally::{Caller::Reader, Outcome},
};

/// Connections that share the lists of a crowd.
const CONNECTIONS: usize = 50;

/// So many whole lists at one time.
pub(crate) async fn lists(field: &Arc<Field>, count: usize) {
    let mut crowd = JoinSet::new();
    for _ in 0..CONNECTIONS.min(count) {
        let (field, each) = (Arc::clone(field), count / CONNECTIONS.min(count));
        crowd.spawn(async move {
            let mut streams = JoinSet::new();
            let connection = field.target.http2(None).await.ok();
            for _ in 0..each {
                let connection = connection.as_ref().and_then(Connection::share);
                let attempt = Attempt::get("/apis/metrics.k8s.io/v1/pods").bearer(READER);
                streams.spawn(async move {
                    let Some(mut connection) = connection else { return Outcome::CutOff };
                    let answer = tokio::time::timeout(PATIENCE * 6, exchange(&mut connection, &attempt));
                    answer.await.unwrap_or(Outcome::Silent)
                });
            }
            for outcome in streams.join_all().await {
                field.note("crowds of lists", Reader, outcome);
            }
        });
    }
    crowd.join_all().await;
}

/// How many of each kind stand there.
const STANDING: usize = 20;

/// Half-open connections, heads without end, and readers who do not read, until then.
pub(crate) fn stand(field: &Arc<Field>, until: Instant) -> JoinSet<()> {
    let mut standing = JoinSet::new();
    for _ in 0..STANDING {
        let [a, b, c, d] = [(); 4].map(|()| Arc::clone(field));
        standing.spawn(async move { lines::half_open(&a, until).await });
        standing.spawn(async move { lines::slow_heads(&b, until).await });
        standing.spawn(async move { frames::slow_reader(&c, READER, until).await });
        standing.spawn(async move { frames::deaf_reader(&d, READER, until).await });
    }
    standing
}
