//! The client library against the program: lists, and watches that outlive it.

use kubevitals::wire::{ListRequest, Selection};

use crate::{
    apiserver::make::Pod,
    consumer::reader,
    program::PATIENCE,
    rig::{NODE, Rig},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_to_its_end_page_by_page() {
    const PODS: usize = 25;
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    for nth in 0..PODS {
        rig.run(&Pod::new("shop", &format!("web-{nth}"), NODE), 100);
    }
    let client = reader(&rig);
    let selection = Some(Selection { namespaces: vec!["shop".to_owned()], ..Selection::default() });
    let request = ListRequest { selection, page_size: 10, ..ListRequest::default() };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (mut pages, mut names) = (client.list(request.clone()), Vec::new());
        while let Some(page) = pages.next().await.unwrap() {
            names.extend(page.usages.iter().map(kubevitals::wire::Usage::name));
        }
        if names.len() == PODS {
            assert!(names.is_sorted(), "{names:?}");
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{} of {PODS}", names.len());
    }
}
