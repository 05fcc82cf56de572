//! The API server's authority is replaced, with the files that say so.

use std::{fs, time::Duration};

use crate::{
    apiserver::make::Pod,
    rig::{BASES, NODE, Rig, agent_user},
};

#[tokio::test(flavor = "multi_thread")]
async fn reviews_and_watches_go_on_when_the_cluster_has_a_new_authority() {
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    rig.run(&Pod::new("shop", "before", NODE), 100);
    let pods = format!("{}/pods", BASES[0]);
    rig.until(&rig.admin(), &pods, |answer| answer.items().len() == 1).await;

    let authority = rig.api.renew_authority();
    rig.api.disconnect();
    rig.run(&Pod::new("shop", "after", NODE), 100);
    rig.api.cluster.reviews.issue("new", agent_user("n2"));
    let tried = || tokio::task::block_in_place(|| rig.fleet.try_as("n2", "new", &rig.ingest()));
    let unchecked = tried().unwrap_err();
    assert!(unchecked.contains("cannot be checked now"), "the former authority is not trusted: {unchecked}");

    fs::write(rig.files.path().join("first/stand-in-ca.pem"), authority).unwrap();
    let begun = std::time::Instant::now();
    // Front proxy and reviews by the new connection; the watch goes on as well.
    rig.until(&rig.admin(), &pods, |answer| answer.status == 200 && answer.items().len() == 2).await;
    while tried().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no review by the new authority");
    }
    eprintln!("all is well {:?} after the file was replaced", begun.elapsed());
}
