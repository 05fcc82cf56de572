//! An agent is killed and comes back while Prometheus scrapes it.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    kubelet::millis,
    program::wait_until,
    rates::{OTHER, Scraped, selector},
    rig::NODE,
    server::points,
    tools::left_out,
};

/// How long there is no agent.
const AWAY: Duration = Duration::from_secs(2);

/// Beyond that, until its first reading after it was told the names has been scraped: start, connection, and ticks.
const BACK: Duration = Duration::from_secs(5);

/// Until then everything is there again, on cores that may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn series_go_on_over_the_restart_of_an_agent() {
    if left_out() {
        return;
    }
    tokio::task::block_in_place(restart);
}

fn now() -> i64 {
    i64::try_from(millis()).unwrap()
}

fn restart() {
    let mut scraped = Scraped::start();
    scraped.until_sampled(8);
    let begun = now();
    let cpu = selector("container_cpu_usage_seconds_total", &scraped.pods[0]);
    let last = scraped.prometheus.raw(&cpu).last().copied().unwrap();

    let [mut agent, other] = scraped.agents;
    agent.program.kill();
    let killed = Instant::now();
    // The time without an agent is what is tested, so there is nothing to wait for.
    thread::sleep(AWAY);
    scraped.agents = [agent.again(), other];
    let away = killed.elapsed();

    let first = wait_until("samples after the restart", PATIENCE, || {
        let raw = scraped.prometheus.raw(&cpu);
        let after: Vec<_> = raw.iter().filter(|sample| sample.0 > last.0 + 2500).copied().collect();
        if after.len() >= 8 { Ok(after[0]) } else { Err(format!("{after:?}")) }
    });
    let raw = scraped.prometheus.raw(&cpu);
    let gaps = raw.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let gap = Duration::from_millis(gaps.max().unwrap().unsigned_abs());
    let up = scraped.prometheus.raw(&format!("up{{node=\"{NODE}\"}}"));
    let failed = up.iter().filter(|sample| sample.1 < 0.5).count();
    eprintln!("away {away:?}: {failed} of {} scrapes failed, longest gap of samples {gap:?}", up.len());
    assert!(gap <= away + BACK, "{gap:?} for {away:?}");

    counters_go_on(&scraped, &cpu, [last, first]);
    nothing_is_stale(&scraped, &cpu, begun);
    scraped.assert_smooth(&[OTHER]);
}

/// The same series before and after, whose counter neither began anew nor went back, and whose rate over the gap is
/// that of the two samples at its ends.
fn counters_go_on(scraped: &Scraped, cpu: &str, [last, first]: [(i64, f64); 2]) {
    let raw = scraped.prometheus.raw(cpu);
    assert!(raw.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{raw:?}");
    assert!(scraped.prometheus.number(&format!("resets({cpu}[10m])"), None).abs() < 0.5);
    let series = scraped.prometheus.query("last_over_time({pod=\"web\"}[10m])", None);
    let shown: Vec<String> = series.iter().map(|series| series["metric"].to_string()).collect();
    // Container and pod, CPU and memory, with swap where the kernel accounts for it, and the start.
    assert!((5..=7).contains(&shown.len()), "{shown:#?}");

    let rate = scraped.prometheus.number(&format!("rate({cpu}[{}ms])", first.0 - last.0), Some(first.0));
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a test")]
    let quotient = (first.1 - last.1) / ((first.0 - last.0) as f64 / 1000.0);
    assert!((rate / quotient - 1.0).abs() < 1e-9, "{rate} and {quotient}");
    assert!(quotient > 0.0);
}

/// A value at every moment from the beginning to now.
fn nothing_is_stale(scraped: &Scraped, cpu: &str, begun: i64) {
    let range = [begun, now(), 250];
    let steps = usize::try_from((range[1] - range[0]) / range[2]).unwrap() + 1;
    for expression in [cpu.to_owned(), format!("rate({cpu}[15s])")] {
        let results = scraped.prometheus.query_range(&expression, range);
        let [series] = results.as_slice() else { panic!("{expression}: {results:?}") };
        assert_eq!(points(series).len(), steps, "{expression} has holes");
    }
}
