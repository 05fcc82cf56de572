use std::sync::atomic::AtomicU32;

use futures_util::FutureExt as _;

use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What an aggregator says, and how often it was asked.
#[derive(Clone, Default)]
struct Aggregator {
    says: Arc<Mutex<Option<wire::ReviewResponse>>>,
    asked: Arc<AtomicU32>,
}

impl Aggregator {
    fn says(&self, authenticated: bool, allowed: bool) {
        let reason = "no role\nsays so".to_owned();
        let response = wire::ReviewResponse { authenticated, allowed, user: String::new(), reason };
        *lock(&self.says) = Some(response);
    }

    fn is_gone(&self) {
        *lock(&self.says) = None;
    }

    fn asked(&self) -> u32 {
        self.asked.swap(0, Ordering::Relaxed)
    }

    fn tokens(&self) -> ClusterTokens {
        let aggregator = self.clone();
        let ask: Ask = Arc::new(move |_| {
            let aggregator = aggregator.clone();
            async move {
                aggregator.asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
                let said = lock(&aggregator.says).clone();
                said.ok_or(NoReview::NoAggregator)
            }
            .boxed()
        });
        ClusterTokens::new(ask, Counted::default())
    }
}

async fn advance(by: Duration) {
    tokio::time::advance(by).await;
}

#[tokio::test(start_paused = true)]
async fn a_permission_counts_for_a_minute_and_a_refusal_for_ten_seconds() {
    let aggregator = Aggregator::default();
    let tokens = aggregator.tokens();
    aggregator.says(true, true);
    let many = (0..20).map(|_| tokens.verdict("good", PEER));
    let verdicts = futures_util::future::join_all(many).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Allowed));
    advance(ALLOWED * 59 / 60).await;
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed);
    assert_eq!(aggregator.asked(), 1);

    aggregator.says(true, false);
    advance(Duration::from_secs(2)).await;
    let forbidden = Verdict::Forbidden("no role says so".into());
    assert_eq!(tokens.verdict("good", PEER).await, forbidden);
    advance(REFUSED * 9 / 10).await;
    assert_eq!(tokens.verdict("good", PEER).await, forbidden);
    assert_eq!(aggregator.asked(), 1);
    advance(Duration::from_secs(2)).await;
    aggregator.says(false, true);
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Unauthenticated, "nobody cannot be allowed");
}

#[tokio::test(start_paused = true)]
async fn while_no_aggregator_answers_a_former_permission_counts_for_ten_minutes() {
    let aggregator = Aggregator::default();
    let tokens = aggregator.tokens();
    aggregator.says(true, true);
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed);
    aggregator.is_gone();
    for _ in 0..10 {
        advance(ALLOWED).await;
        assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed);
    }
    advance(ALLOWED).await;
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Unknown);
    assert_eq!(tokens.verdict("other", PEER).await, Verdict::Unknown, "never seen before");
    aggregator.says(true, true);
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed, "a failure is not remembered");
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_was_taken_back_does_not_return_with_an_outage() {
    let aggregator = Aggregator::default();
    let tokens = aggregator.tokens();
    aggregator.says(true, true);
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed);
    aggregator.says(false, false);
    advance(ALLOWED).await;
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Unauthenticated);
    aggregator.is_gone();
    advance(REFUSED).await;
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Unknown);
}

#[tokio::test(start_paused = true)]
async fn garbage_is_asked_about_seldom_and_pushes_nobody_out() {
    let aggregator = Aggregator::default();
    let tokens = aggregator.tokens();
    aggregator.says(true, true);
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed);
    aggregator.says(false, false);
    let thief = IpAddr::from([10, 0, 0, 1]);
    for round in 0..5000 {
        tokens.verdict(&format!("garbage {round}"), thief).await;
    }
    // 5000 times 10 ms at most, as those that are not asked about take no time.
    assert!(aggregator.asked() < 20, "one a second and a burst");
    aggregator.says(true, true);
    advance(ALLOWED).await;
    assert_eq!(tokens.verdict("good", PEER).await, Verdict::Allowed);
    assert_eq!(tokens.verdict("new", PEER).await, Verdict::Allowed, "another address has its own share");
    assert!(lock(&tokens.allowed).len() == 2);
    assert_eq!(tokens.verdict(&"x".repeat(LONGEST + 1), PEER).await, Verdict::Unauthenticated);
}
