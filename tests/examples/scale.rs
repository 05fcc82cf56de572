//! Scales a Deployment on a signal that is a second old: as many replicas as keep each pod near a target CPU.
//!
//!     cargo run --example scale -- --endpoint https://kubevitals-query.kubevitals.svc:10252 \
//!         --ca-file ca.crt --token-file token --namespace shop --deployment web --cpu-per-pod 0.5
//!
//! It only tries the patch (server-side dry run) unless `--apply` is given. It acts on whole pictures alone: while a pod
//! has no numbers, or nothing was heard for three seconds, it leaves everything as it is. Up at once; down only to what
//! was enough for all of the last minute. An autoscaler for production needs more (limits of speed, several signals,
//! leader election); this shows how a consumer should treat the numbers.
#![allow(clippy::print_stdout, reason = "it says what it does")]

use std::{
    collections::VecDeque,
    error::Error,
    time::{Duration, Instant},
};

use clap::Parser;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use kubevitals::{
    client::{Client, Event, Mirror, Options},
    wire,
};

/// Older numbers are no ground for anything.
const FRESH: Duration = Duration::from_secs(3);

/// What was needed within this time is kept.
const CALM: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Flags {
    /// Where the query service is: <https://HOST:PORT>.
    #[arg(long)]
    endpoint: String,
    /// Who signs the aggregators' certificates.
    #[arg(long)]
    ca_file: String,
    /// The name those certificates carry, when it is not the host's.
    #[arg(long)]
    server_name: Option<String>,
    /// Who we are.
    #[arg(long)]
    token_file: String,
    #[arg(long)]
    namespace: String,
    #[arg(long)]
    deployment: String,
    /// CPUs that a pod should use.
    #[arg(long)]
    cpu_per_pod: f64,
    #[arg(long, default_value_t = 1)]
    least: u32,
    #[arg(long, default_value_t = 10)]
    most: u32,
    /// Really patch.
    #[arg(long)]
    apply: bool,
}

/// How many replicas are right.
#[derive(Debug)]
struct Policy {
    cpu_per_pod: f64,
    least: u32,
    most: u32,
    /// What was needed lately, ascending in time and descending in number: the first is the most of them.
    lately: VecDeque<(Instant, u32)>,
}

impl Policy {
    /// The most that was needed within the last minute, now that pods use so many CPUs in all.
    fn replicas(&mut self, cores: f64, now: Instant) -> u32 {
        let exact = (cores / self.cpu_per_pod).ceil().clamp(0.0, f64::from(u32::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped")]
        let needed = (exact as u32).clamp(self.least, self.most);
        while self.lately.back().is_some_and(|(_, less)| *less <= needed) {
            self.lately.pop_back();
        }
        self.lately.push_back((now, needed));
        while self.lately.front().is_some_and(|(at, _)| now.duration_since(*at) > CALM) {
            self.lately.pop_front();
        }
        self.lately.front().map_or(needed, |(_, most)| *most)
    }
}

/// What the pods use in all, if that is known of every one of them and of this moment.
fn total(mirror: &Mirror, now: Instant) -> Result<f64, String> {
    if let Some((subject, reason)) = mirror.absent().next() {
        return Err(format!("{} has no numbers ({})", subject.name(), reason.as_str_name()));
    }
    match mirror.silent_for(now) {
        Some(silent) if silent <= FRESH => {}
        _ => return Err("nothing was heard lately".to_owned()),
    }
    if mirror.usages().next().is_none() {
        return Err("no pod is there".to_owned());
    }
    Ok(mirror.usages().map(wire::Usage::cpu_cores).sum())
}

async fn scale(api: &Api<Deployment>, flags: &Flags, replicas: u32) -> Result<(), kube::Error> {
    let now = api.get_scale(&flags.deployment).await?.spec.and_then(|spec| spec.replicas).unwrap_or_default();
    if now == i32::try_from(replicas).unwrap_or(i32::MAX) {
        return Ok(());
    }
    let patch = serde_json::json!({"spec": {"replicas": replicas}});
    let params = PatchParams { dry_run: !flags.apply, ..PatchParams::default() };
    api.patch_scale(&flags.deployment, &params, &Patch::Merge(&patch)).await?;
    println!("{now} -> {replicas} replicas{}", if flags.apply { "" } else { " (dry run)" });
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    if flags.cpu_per_pod.is_nan() || flags.cpu_per_pod <= 0.0 || flags.least > flags.most {
        return Err("--cpu-per-pod must be above zero, and --least not above --most".into());
    }
    let mut options = Options::new(&flags.endpoint)?.ca_file(&flags.ca_file).token_file(&flags.token_file);
    if let Some(name) = &flags.server_name {
        options = options.server_name(name);
    }
    let owner =
        wire::Owner { kind: "Deployment".to_owned(), name: flags.deployment.clone(), uid: String::new() };
    let selection = wire::Selection {
        level: wire::Level::Pods.into(),
        namespaces: vec![flags.namespace.clone()],
        owner: Some(owner),
        ..wire::Selection::default()
    };
    // A short window answers a burst soon; hysteresis is the policy's matter.
    let window = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    let request = wire::WatchRequest {
        selection: Some(selection),
        window,
        without_details: true,
        without_distribution: true,
        ..wire::WatchRequest::default()
    };
    let api: Api<Deployment> = Api::namespaced(kube::Client::try_default().await?, &flags.namespace);
    let (cpu_per_pod, least, most) = (flags.cpu_per_pod, flags.least, flags.most);
    let mut policy = Policy { cpu_per_pod, least, most, lately: VecDeque::new() };
    let (mut watch, mut mirror) = (Client::new(options).watch(request), Mirror::default());
    loop {
        let event = watch.next().await?;
        if let Event::Interrupted(why) = &event {
            println!("waiting: {why}");
        }
        let now = Instant::now();
        mirror.apply(event, now);
        match total(&mirror, now) {
            Err(why) => println!("left as it is: {why}"),
            Ok(cores) => {
                let replicas = policy.replicas(cores, now);
                println!("{cores:.3} CPUs want {replicas} replicas");
                if let Err(error) = scale(&api, &flags, replicas).await {
                    println!("not scaled: {error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use kubevitals::client::Tick;

    use super::*;

    #[test]
    fn more_is_wanted_at_once_and_less_after_a_calm_minute() {
        let mut policy = Policy { cpu_per_pod: 0.5, least: 1, most: 10, lately: VecDeque::new() };
        let begin = Instant::now();
        let wanted = [
            (0, 0.9, 2),
            (1, 2.6, 6),
            (2, 0.9, 6),
            (61, 0.9, 6),
            (62, 0.9, 2),
            (63, 99.0, 10),
            (130, 0.0, 1),
        ];
        for (second, cores, replicas) in wanted {
            assert_eq!(policy.replicas(cores, begin + Duration::from_secs(second)), replicas, "{second} s");
        }
    }

    #[test]
    fn partial_and_old_pictures_are_no_ground_to_act() {
        let begin = Instant::now();
        let mut mirror = Mirror::default();
        assert!(total(&mirror, begin).is_err());
        let pod = |name: &str| wire::Subject {
            namespace: "shop".to_owned(),
            pod: name.to_owned(),
            ..wire::Subject::default()
        };
        let usage =
            wire::Usage { subject: Some(pod("a")), cpu_nanocores: 750_000_000, ..wire::Usage::default() };
        let reason = wire::AbsenceReason::FirstSample.into();
        let absent = wire::Absent { subject: Some(pod("b")), reason };
        let tick = |usages, absent| Tick { usages, absent, time: SystemTime::now(), conflated: 0 };
        mirror.apply(Event::Picture(tick(vec![usage.clone()], vec![absent])), begin);
        assert!(total(&mirror, begin).unwrap_err().contains("shop/b"));
        mirror.apply(Event::Picture(tick(vec![usage], vec![])), begin);
        assert_eq!(total(&mirror, begin), Ok(0.75));
        assert!(total(&mirror, begin + FRESH * 2).is_err());
        mirror.apply(Event::Picture(tick(vec![], vec![])), begin);
        assert!(total(&mirror, begin).is_err(), "no pod is no reason to scale to the least");
    }
}
