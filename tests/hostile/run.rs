//! The battle: calm, storm, crowd, calm again.

use std::{
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use rustix::process::setpriority_process;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    apiserver::make::Pod,
    chain::{Chain, Plan, PlannedNode},
    crowds,
    field::{Certificates, Field},
    fleet::Load,
    frames, impostors, lines, odd_requests,
    program::{PATIENCE, long, wait_until},
    witness::{Look, Witness, quantile},
};

const NODES: usize = 200;
const PODS_PER_NODE: usize = 10;

/// Attackers at one time.
const ATTACKERS: usize = 16;

/// Requests of the storm, and its longest time.
const SHORT: (u64, Duration) = (4000, Duration::from_secs(60));
const LONG: (u64, Duration) = (20_000, Duration::from_secs(1200));

/// Whole lists at one time.
const CROWD: usize = 1000;

/// How long the calm is watched before and after.
const CALM: Duration = Duration::from_secs(5);

/// A tick, the rounding of timestamps to whole seconds, and a little for busy cores, in seconds. A server that was not
/// optimized takes some twenty times as long for each list of a crowd.
const OLDEST: f64 = if cfg!(debug_assertions) { 5.0 } else { 2.9 };

/// How much more memory than before an attack may cost, at most, KiB.
const MORE_MEMORY: u64 = 256 << 10;

fn plan() -> Plan {
    let load = |millicores, mebibytes: u64| Load { millicores, memory: mebibytes << 20 };
    let node =
        |index| PlannedNode { name: format!("node-{index}"), labels: vec![], load: Some(load(1500, 2048)) };
    let pod = |index: usize| {
        let (namespace, node) = (format!("team-{}", index % 20), format!("node-{}", index / PODS_PER_NODE));
        let pod = Pod::new(&namespace, &format!("web-{index}"), &node).label("app", "web");
        (pod.containers(&["app", "proxy"]), vec![load(120, 64), load(3, 16)])
    };
    Plan {
        nodes: (0..NODES).map(node).collect(),
        pods: (0..NODES * PODS_PER_NODE).map(pod).collect(),
        tick: Duration::from_secs(1),
        flags: vec!["--window=5s"],
    }
}

#[test]
fn hostile_clients_get_nothing_break_nothing_and_delay_nothing() {
    let chain = Chain::start(&plan());
    chain.wait_for_window("5s");
    let field = Arc::new(Field::new(chain.target(), Certificates::of(&chain.api.pki)));
    let witness = Witness::start(&chain.api);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        // Real attackers have machines of their own; here they leave agents and the honest client their turn.
        .on_thread_start(|| {
            // Only a wish: where it is refused, the witness is slower.
            let _refused = setpriority_process(None, 10);
        })
        .build()
        .unwrap();
    let begun = Clock::now();

    std::thread::sleep(CALM);
    let mut stale = vec![judge("calm", &witness.take())];
    let program = &chain.aggregator.program;
    let (descriptors, before) = program.footprint();
    program.forget_peak();

    let storm = Clock::now();
    runtime.block_on(attack(&field));
    eprintln!("storm: {} requests in {:?}", field.tally.total(), storm.elapsed());
    stale.push(judge("storm", &witness.take()));
    let crowd = Clock::now();
    runtime.block_on(crowds::lists(&field, CROWD));
    eprintln!("crowd: {CROWD} lists in {:?}", crowd.elapsed());
    stale.push(judge("crowd", &witness.take()));

    let peak = program.peak();
    let after = wait_until("what attackers opened is closed", PATIENCE * 3, || {
        let (left, after) = program.footprint();
        if left <= descriptors + 8 {
            Ok(after)
        } else {
            Err(format!("{left} descriptors, {descriptors} before"))
        }
    });
    std::thread::sleep(CALM);
    stale.push(judge("calm again", &witness.take()));
    eprintln!("resident memory: {} MiB before, {} at most, {} after", before >> 10, peak >> 10, after >> 10);
    assert!(peak <= before + MORE_MEMORY, "{} MiB more at the peak", (peak - before) >> 10);
    let faults = field.tally.report();
    let stale: Vec<_> = stale.into_iter().filter_map(Result::err).collect();
    assert!(stale.is_empty(), "{stale:?}");
    no_batch_was_missed(&chain);
    witness.end();
    eprintln!("{} requests in {:?}", field.tally.total(), begun.elapsed());
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(30)]);
}

/// The mixed attacks, while other connections only stand there.
async fn attack(field: &Arc<Field>) {
    let (count, limit) = if long() { LONG } else { SHORT };
    let until = Instant::now() + limit;
    let standing = crowds::stand(field, Instant::now() + limit.min(Duration::from_secs(50)));
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let field = Arc::clone(field);
        attackers.spawn(async move {
            while field.tally.total() < count && Instant::now() < until {
                one(&field).await;
            }
        });
    }
    attackers.join_all().await;
    standing.join_all().await;
    // What was sent last may still be on its way.
    sleep(Duration::from_millis(100)).await;
}

/// One attack of any kind; those that are cheap and subtle more often than those that are only loud.
async fn one(field: &Field) {
    match field.number() % 32 {
        0..=3 => impostors::spoofed_headers(field).await,
        4..=6 => impostors::wrong_certificates(field).await,
        7..=10 => impostors::bad_tokens(field).await,
        11 | 12 => impostors::impersonation(field).await,
        13 | 14 => impostors::without_rights(field).await,
        15 => impostors::no_credentials(field).await,
        16 => impostors::tokens_in_strange_places(field).await,
        17 | 18 => odd_requests::path_tricks(field).await,
        19 => odd_requests::methods(field).await,
        20 => odd_requests::websocket_tokens(field).await,
        21 => odd_requests::odd_parameters(field).await,
        22 => odd_requests::huge_selectors(field).await,
        23 => odd_requests::many_headers(field).await,
        24..=26 => lines::strange_bytes(field).await,
        27 => lines::garbage_handshakes(field).await,
        28 => frames::rapid_resets(field).await,
        29 => frames::continuations(field).await,
        30 => frames::chatter(field).await,
        _ if field.number().is_multiple_of(2) => frames::unfolding_heads(field).await,
        _ => frames::broken_frames(field).await,
    }
}

/// Prints what the honest client saw; an error when it was stale.
fn judge(phase: &str, looks: &[Look]) -> Result<(), String> {
    let of = |value: fn(&Look) -> f64, part| quantile(looks.iter().map(value), part);
    let [ages, takes] = [|look: &Look| look.age, |look: &Look| look.took]
        .map(|value| [0.5, 0.99, 1.0].map(|part| format!("{:.3}", of(value, part))).join("/"));
    eprintln!("{phase}: {} looks, p50/p99/most: age when asked {ages} s, answer took {takes} s", looks.len());
    let oldest = of(|look| look.age, 1.0);
    if looks.is_empty() || oldest > OLDEST {
        return Err(format!(
            "{phase}: {} looks, numbers up to {oldest} s old, allowed {OLDEST} s",
            looks.len()
        ));
    }
    Ok(())
}

/// Every stream still stands, and all that was sent is stored.
fn no_batch_was_missed(chain: &Chain) {
    assert_eq!(chain.fleet.all_ends(), [], "agents' streams ended");
    let sent = chain.fleet.batches();
    let stored = wait_until("all batches are stored", PATIENCE, || {
        let metrics = chain.aggregator.metrics();
        let stored = metrics.get("kubevitals_aggregator_ingest_batches_total");
        #[allow(clippy::cast_precision_loss, reason = "a count of a minute")]
        let enough = stored >= sent as f64;
        if enough { Ok(stored) } else { Err(format!("{stored} of {sent}")) }
    });
    let lost = chain.aggregator.metrics().get("kubevitals_aggregator_ingest_lost_batches_total");
    eprintln!("{sent} batches sent, {stored} stored a moment later, {lost} lost");
    assert!(lost < 0.5, "{lost} batches were lost");
}
