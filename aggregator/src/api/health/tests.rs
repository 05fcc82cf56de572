use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn failing() -> Health {
    let health = Health::default();
    health.register("metrics-ready", &[Probe::Ready], || Err("no agent has sent anything yet".to_owned()));
    health
}

fn probe(health: &Health, probe: Probe, query: &str) -> (bool, String) {
    let report = health.probe(probe, &Query::new(Some(query)));
    (report.healthy, report.text)
}

#[test]
fn c112_verbose_lists_each_check_and_the_verdict() {
    let health = Health::default();
    assert_eq!(probe(&health, Probe::Ready, ""), (true, "ok".to_owned()));
    for query in ["verbose", "verbose=1", "verbose="] {
        assert_eq!(
            probe(&health, Probe::Ready, query),
            (true, "[+]ping ok\nreadyz check passed\n".to_owned())
        );
    }
    assert!(probe(&health, Probe::Health, "verbose").1.ends_with("healthz check passed\n"));
}

#[test]
fn c112_a_failure_is_always_verbose_and_withholds_its_reason() {
    let expected = "[+]ping ok\n[-]metrics-ready failed: reason withheld\nreadyz check failed\n";
    for query in ["", "verbose"] {
        assert_eq!(probe(&failing(), Probe::Ready, query), (false, expected.to_owned()));
    }
    assert_eq!(probe(&failing(), Probe::Live, ""), (true, "ok".to_owned()));
    assert!(!failing().passes(Probe::Ready) && failing().passes(Probe::Live));
}

#[test]
fn c113_excluded_checks_are_not_asked_and_unknown_ones_are_named() {
    let health = failing();
    assert_eq!(probe(&health, Probe::Ready, "exclude=metrics-ready"), (true, "ok".to_owned()));
    assert_eq!(
        probe(&health, Probe::Ready, "verbose&exclude=metrics-ready&exclude=b&exclude=a%22"),
        (
            true,
            concat!(
                "[+]ping ok\n[+]metrics-ready excluded: ok\n",
                "warn: some health checks cannot be excluded: no matches for \"a\\\"\", \"b\"\n",
                "readyz check passed\n"
            )
            .to_owned()
        )
    );
    assert_eq!(probe(&health, Probe::Ready, "exclude=metrics-ready&exclude=b"), (true, "ok".to_owned()));
}

#[test]
fn c113_one_check_answers_alone_and_says_why() {
    let health = failing();
    let single = |probe, name| health.check(probe, name);
    assert_eq!(single(Probe::Ready, "ping"), Some(Report { healthy: true, text: "ok".to_owned() }));
    // Whoever may ask for a single check may know the reason, as on a Go server.
    let reason = "internal server error: no agent has sent anything yet\n".to_owned();
    assert_eq!(single(Probe::Ready, "metrics-ready"), Some(Report { healthy: false, text: reason }));
    assert_eq!(single(Probe::Live, "metrics-ready"), None);
    assert_eq!(single(Probe::Live, "nosuch"), None);
}

#[test]
fn checks_that_were_added_later_count_in_every_clone() {
    let health = Health::default();
    let clone = health.clone();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    health.register("shutdown", &[Probe::Ready], move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Err("process is shutting down".to_owned())
    });
    assert!(!clone.probe(Probe::Ready, &Query::default()).healthy);
    assert!(clone.probe(Probe::Live, &Query::default()).healthy);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_response_is_plain_text_that_no_browser_reinterprets() {
    let response = failing().probe(Probe::Ready, &Query::default()).into_response();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
}
