//! The config map that says whom to trust: its changes, its faults, and how it is read.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    apiserver::{
        AGGREGATOR, ApiServer,
        make::{AUTHENTICATION, authentication_config_of},
        pki::{Authority, Wanted},
        reviews::User,
    },
    certificates::{hints, names},
    program::Aggregator,
    rig::{BASES, DEADLINE, Rig, Who},
};

/// How soon a change has to hold.
const SOON: Duration = Duration::from_secs(5);

fn nodes() -> String {
    format!("{}/nodes", BASES[0])
}

/// The administrator, vouched for by a proxy of this authority.
fn admin_through(rig: &Rig, authority: &Authority) -> Who {
    let mut who = rig.admin();
    who.identity = Some(authority.issue(&Wanted::client("front-proxy-client")));
    who
}

#[tokio::test(flavor = "multi_thread")]
async fn c100_a_new_authority_counts_within_seconds_and_the_old_one_no_more() {
    let rig = Rig::start();
    let (old, new) = (rig.admin(), Authority::new("stand-in-new-proxy-ca"));
    // Open before the change: also its requests are checked against the present authorities.
    let mut open = rig.target().http2(old.identity.as_ref()).await.unwrap();
    assert_eq!(crate::rig::ask(&mut open, &old, &nodes()).await.unwrap().status, 200);
    let next = admin_through(&rig, &new);
    assert_eq!(rig.get(&next, &nodes()).await.status, 401);

    rig.api.cluster.config_maps.put(authentication_config_of(&rig.api.pki.client.pem(), &new.pem()));
    let changed = Instant::now();
    rig.until(&next, &nodes(), |answer| answer.status == 200).await;
    eprintln!("c100: the new authority counts after {:?}", changed.elapsed());
    assert!(changed.elapsed() < SOON, "{:?}", changed.elapsed());
    assert_eq!(rig.get(&old, &nodes()).await.status, 401);
    assert_eq!(
        crate::rig::ask(&mut open, &old, &nodes()).await.unwrap().status,
        401,
        "also where it was open"
    );
    let hints = hints(&rig).await;
    assert!(names(&hints, "stand-in-new-proxy-ca") && !names(&hints, "stand-in-front-proxy-ca"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c100_a_change_is_seen_also_after_a_lost_connection() {
    let rig = Rig::start();
    let new = Authority::new("stand-in-new-proxy-ca");
    rig.api.set_away(true);
    rig.logged("cannot be watched", 1).await;
    rig.api.cluster.config_maps.put(authentication_config_of(&rig.api.pki.client.pem(), &new.pem()));
    rig.api.cluster.config_maps.compact();
    assert_eq!(rig.get(&rig.admin(), &nodes()).await.status, 200, "what is known stands");
    rig.api.set_away(false);
    rig.until(&admin_through(&rig, &new), &nodes(), |answer| answer.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c101_a_broken_change_leaves_what_is_known_in_force() {
    let rig = Rig::start();
    let maps = &rig.api.cluster.config_maps;
    let (namespace, name) = AUTHENTICATION;
    let whole = maps.get(namespace, name).unwrap();
    let faults = [
        ("requestheader-allowed-names", json!("[\"front-proxy-client\"")),
        ("requestheader-username-headers", json!("{}")),
        ("requestheader-client-ca-file", json!("")),
        (
            "requestheader-client-ca-file",
            json!("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"),
        ),
        ("client-ca-file", json!("no certificate")),
    ];
    for (count, (key, value)) in faults.into_iter().enumerate() {
        maps.change(namespace, name, |map| map["data"][key] = value.clone());
        rig.logged("refused; the last good one stays", count + 1).await;
        let answer = rig.get(&rig.admin(), &nodes()).await;
        assert_eq!(answer.status, 200, "{key} {value}: {answer:?}");
        maps.put(whole.clone());
    }
    maps.delete(namespace, name);
    rig.logged("was deleted; what it said last stays", 1).await;
    assert_eq!(rig.get(&rig.admin(), &nodes()).await.status, 200, "deleted is broken too");
}

#[test]
fn c101_without_it_at_the_start_nothing_is_served() {
    let api = ApiServer::start();
    api.cluster.config_maps.delete(AUTHENTICATION.0, AUTHENTICATION.1);
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = api.kubeconfig_of_aggregator(files.path());
    let mut program = Aggregator::refused_by_cluster(files.path(), &kubeconfig, &[]);
    let status = program.ended(DEADLINE);
    assert!(!status.success(), "{status}");
    assert!(program.log().contains(AUTHENTICATION.1), "{}", program.log());
}

#[test]
fn c101_two_equal_authorities_without_names_are_refused_at_the_start() {
    let api = ApiServer::start();
    let same = api.pki.client.pem();
    let mut map = authentication_config_of(&same, &same);
    map["data"]["requestheader-allowed-names"] = json!("[]");
    api.cluster.config_maps.put(map);
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = api.kubeconfig_of_aggregator(files.path());
    let mut program = Aggregator::refused_by_cluster(files.path(), &kubeconfig, &[]);
    assert!(!program.ended(DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn c102_a_uid_counts_only_when_its_header_is_declared() {
    let rig = Rig::start();
    let mut user = User::new("view", &[]);
    user.uid = "42".to_owned();
    let uid =
        |rig: &Rig| rig.api.cluster.reviews.of_access.last()["uid"].as_str().unwrap_or_default().to_owned();
    rig.get(&rig.proxied(&user), &nodes()).await;
    assert_eq!(uid(&rig), "42");
    let maps = &rig.api.cluster.config_maps;
    maps.change(AUTHENTICATION.0, AUTHENTICATION.1, |map| {
        map["data"].as_object_mut().unwrap().remove("requestheader-uid-headers");
    });
    let changed = Instant::now();
    let mut number = 0;
    while uid(&rig) == "42" {
        assert!(changed.elapsed() < SOON, "the uid still counts");
        // Another namespace each time, because reviews are remembered.
        number += 1;
        rig.get(&rig.proxied(&user), &format!("{}/namespaces/n{number}/pods", BASES[0])).await;
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c103_a_role_for_the_one_object_is_enough() {
    let rig = Rig::start();
    assert_eq!(rig.get(&rig.admin(), &nodes()).await.status, 200);
    let maps = &rig.api.cluster.config_maps;
    let deadline = Instant::now() + DEADLINE;
    while maps.watches() == 0 {
        assert!(Instant::now() < deadline, "nobody watches the config map");
        sleep(Duration::from_millis(20)).await;
    }
    let seen = rig.api.cluster.seen(AGGREGATOR);
    let refused: Vec<_> = seen.iter().filter(|seen| seen.status == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(seen.iter().any(|seen| seen.path_and_query.contains("configmaps")), "{seen:?}");
}
