use std::{
    io::Read as _,
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use flate2::read::GzDecoder;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use prost::Message as _;

use super::*;
use crate::api::{
    encode::{
        format::{Encoding, Format, Text},
        list::ListKind,
        table::IncludeObject,
    },
    fixture::{node_answer, now, pod_answer},
    query::ListOptions,
    route::Version,
    source::{
        Lookup, NodeAnswer, NodeInfo, NodeSelection, PodAnswer, PodPlace, PodRecord, PodSelection, Usage,
    },
};

/// So many pods and nodes, a few to a call. The pod with the number `panics` panics.
#[derive(Default)]
struct Many {
    count: usize,
    panics: Option<usize>,
    visited: Arc<AtomicUsize>,
    /// How many more there might have been.
    missing: usize,
}

impl Many {
    fn pod(nth: usize) -> PodAnswer {
        let usage =
            |n: usize| Usage { cpu_nanocores: (nth * n) as u64 * 997, memory_bytes: (nth * n * 4096) as u64 };
        let name = format!("web-{nth:06}");
        let labels = [("app", "web"), ("pod", name.as_str())];
        pod_answer(["default", &name, "n1"], &labels, &[("app", usage(1)), ("proxy", usage(3))])
    }

    fn node(nth: usize) -> NodeAnswer {
        let usage = Usage { cpu_nanocores: nth as u64 * 1_000_003, memory_bytes: 4096 * nth as u64 };
        node_answer(&format!("n{nth:06}"), &[("zone", "a")], usage)
    }
}

/// The number at the end of a name.
fn number(name: &str) -> usize {
    name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

impl Source for Many {
    fn node(&self, _name: &str) -> Lookup<NodeAnswer> {
        Lookup::Unknown
    }

    fn nodes(
        &self,
        _wanted: &NodeSelection<'_>,
        after: Option<&str>,
        visit: &mut dyn FnMut(&NodeAnswer) -> ControlFlow<()>,
    ) -> Option<Arc<str>> {
        let begin = after.map_or(0, |after| number(after) + 1);
        let answers = (begin..self.count).map(Self::node);
        answers
            .into_iter()
            .find(|answer| visit(answer).is_break())
            .map(|answer| Arc::clone(&answer.node.name))
    }

    fn pod(&self, _namespace: &str, _name: &str) -> Lookup<PodAnswer> {
        Lookup::Unknown
    }

    fn pods(
        &self,
        _wanted: &PodSelection<'_>,
        after: Option<&PodPlace>,
        visit: &mut dyn FnMut(&PodAnswer) -> ControlFlow<()>,
    ) -> Option<PodPlace> {
        let begin = after.map_or(0, |after| number(&after.name) + 1);
        let end = self.count.min(begin + 10);
        let mut last = None;
        for nth in begin..end {
            assert_ne!(Some(nth), self.panics);
            let answer = Self::pod(nth);
            self.visited.fetch_add(1, Ordering::SeqCst);
            let broken = visit(&answer).is_break();
            let PodRecord { namespace, name, .. } = answer.pod.as_ref();
            last = Some(PodPlace { namespace: Arc::clone(namespace), name: Arc::clone(name) });
            if broken {
                return last;
            }
        }
        last.filter(|_| end < self.count)
    }

    fn pods_at_most(&self, _namespace: Option<&str>) -> usize {
        self.count + self.missing
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn node_infos(&self) -> Vec<NodeInfo> {
        Vec::new()
    }

    fn node_info(&self, _name: &str) -> Option<NodeInfo> {
        None
    }
}

fn pods() -> ListRequest {
    ListRequest::Pods(None, ListOptions::default())
}

fn nodes() -> ListRequest {
    ListRequest::Nodes(ListOptions::default())
}

/// The list, with a minute to take it.
async fn made(source: Many, request: ListRequest, format: Format, gzip: bool) -> List {
    let deadline = Instant::now() + Duration::from_mins(1);
    let writer = writer(&request, format);
    list(Arc::new(source), request, writer, gzip, &Budget::default(), deadline).await.unwrap()
}

async fn bytes(list: List) -> Vec<u8> {
    list.body.collect().await.unwrap().to_bytes().to_vec()
}

/// What is written when nothing is done in pieces.
fn whole(request: &ListRequest, format: Format, count: usize) -> Vec<u8> {
    let (mut writer, mut out) = (writer(request, format), Vec::new());
    writer.begin(&mut out);
    for nth in 0..count {
        match request {
            ListRequest::Nodes(_) => writer.node(&mut out, &Many::node(nth)),
            ListRequest::Pods(..) => writer.pod(&mut out, &Many::pod(nth)),
        }
    }
    writer.end(&mut out);
    out
}

const JSON: Format = Format::Object(Encoding::JSON);
const YAML: Format = Format::Object(Encoding::YAML);
const PRETTY: Format = Format::Object(Encoding::Text(Text::Json { pretty: true }));
const PROTOBUF: Format = Format::Object(Encoding::Protobuf);

fn writer(request: &ListRequest, format: Format) -> ListWriter {
    ListWriter::new(request.kind(), Version::V1, format, IncludeObject::default(), now())
}

/// A source of so many.
fn many(count: usize) -> Many {
    Many { count, ..Many::default() }
}

/// The envelope of a protobuf body.
#[derive(Clone, PartialEq, prost::Message)]
struct Unknown {
    #[prost(bytes, tag = "2")]
    raw: Vec<u8>,
}

#[tokio::test]
async fn a_list_in_pieces_has_the_bytes_of_one_made_at_once() {
    for (request, format) in [
        (pods(), JSON),
        (pods(), YAML),
        (pods(), PRETTY),
        (nodes(), JSON),
        (pods(), Format::Table(Text::Json { pretty: false }, crate::api::encode::format::MetaVersion::V1)),
    ] {
        for count in [0, 1, 400, 401, 2000] {
            let expected = whole(&request, format, count);
            let made = made(many(count), request.clone(), format, false).await;
            assert!(!made.gzip);
            assert_eq!(made.length, Some(expected.len()).filter(|length| *length <= COMPRESS_ABOVE));
            assert!(bytes(made).await == expected, "{request:?} {format:?} {count}");
        }
    }
}

#[tokio::test]
async fn a_protobuf_list_in_pieces_says_its_length_first() {
    for request in [pods(), nodes()] {
        for count in [0, 1, 500, 700, 3000] {
            let raw = whole(&request, PROTOBUF, count);
            let made = made(many(count), request.clone(), PROTOBUF, false).await;
            let body = bytes(made).await;
            let kind = if request.kind() == ListKind::Pods { "PodMetricsList" } else { "NodeMetricsList" };
            assert!(body == envelope::envelope("metrics.k8s.io/v1", kind, &raw), "{request:?} {count}");
            let unknown = Unknown::decode(&body[envelope::MAGIC.len()..]).unwrap();
            assert!(unknown.raw == raw);
        }
    }
}

#[tokio::test]
async fn c053_long_lists_are_compressed_and_short_ones_are_not() {
    for format in [JSON, PROTOBUF] {
        let short = made(many(10), pods(), format, true).await;
        assert!(!short.gzip && short.length.is_some());
        assert_eq!(bytes(short).await.len(), bytes(made(many(10), pods(), format, false).await).await.len());
        let long = made(many(2000), pods(), format, true).await;
        assert!(long.gzip && long.length.is_none());
        let mut plain = Vec::new();
        GzDecoder::new(bytes(long).await.as_slice()).read_to_end(&mut plain).unwrap();
        assert!(plain == bytes(made(many(2000), pods(), format, false).await).await);
    }
}

#[tokio::test]
async fn a_reader_that_takes_too_long_gets_a_broken_body() {
    let (source, request) = (Arc::new(many(5000)), pods());
    let writer = writer(&request, JSON);
    let list = list(source, request, writer, false, &Budget::default(), Instant::now()).await.unwrap();
    assert!(list.body.collect().await.unwrap_err().to_string().contains("not taken within"));
}

#[tokio::test]
async fn a_fault_in_the_middle_breaks_the_body_and_nothing_else() {
    let source = Many { count: 5000, panics: Some(4000), ..Many::default() };
    let list = made(source, pods(), JSON, false).await;
    assert!(list.body.collect().await.unwrap_err().to_string().contains("fault in the server"));
}

#[tokio::test]
async fn a_fault_before_the_first_byte_is_the_requests_own() {
    let source = Many { count: 5000, panics: Some(4000), ..Many::default() };
    let planned = AssertUnwindSafe(made(source, pods(), PROTOBUF, false)).catch_unwind().await;
    assert!(planned.is_err(), "as if it had happened there, which is where the API catches it");
}

#[tokio::test]
async fn a_list_that_is_planned_gives_its_turn_back_to_one_that_waits() {
    let (source, budget) = (many(5000), Budget::default());
    let visited = Arc::clone(&source.visited);
    let mut turns: Vec<_> = std::iter::from_fn(|| budget.turn_now()).collect();
    let producer = Producer::new(Arc::new(source), pods(), writer(&pods(), PROTOBUF));
    let planning = tokio::spawn({
        let budget = budget.clone();
        async move { Planned::of(producer, &budget).await.length() }
    });
    // It waits for a turn before the other one does.
    tokio::task::yield_now().await;
    let other = tokio::spawn({
        let budget = budget.clone();
        async move { budget.turn().await }
    });
    tokio::task::yield_now().await;
    turns.pop();
    let turn = other.await.unwrap();
    assert_eq!(visited.load(Ordering::SeqCst), 10, "what one look at the source visits");
    drop(turn);
    assert!(planning.await.unwrap() > 0);
    assert_eq!(visited.load(Ordering::SeqCst), 5000);
}

#[tokio::test]
async fn too_many_long_lists_are_turned_away_and_short_ones_are_answered() {
    let budget = Budget::beside(4);
    let list_of = async |request: ListRequest, count: usize| {
        let (deadline, writer) = (Instant::now() + Duration::from_mins(1), writer(&request, JSON));
        list(Arc::new(many(count)), request, writer, false, &budget, deadline).await
    };
    let list = async |count: usize| list_of(pods(), count).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(list(2000).await.unwrap());
    }
    assert_eq!(list(2000).await.err(), Some(TooMany));
    assert!(list(5).await.unwrap().length.is_some());
    assert!(list_of(nodes(), 2000).await.unwrap().length.is_none(), "however many nodes there are");
    held.pop();
    assert!(list(2000).await.is_ok());
}

#[tokio::test]
async fn a_plan_waits_for_memory_and_gives_it_back_with_its_body() {
    let budget = Budget::default();
    let plan = async |budget: &Budget| {
        let request = pods();
        let writer = writer(&request, PROTOBUF);
        let deadline = Instant::now() + Duration::from_mins(1);
        // Room for so many is more than there is, so one plan takes it all.
        let source = Many { count: 2000, missing: 1_000_000_000, ..Many::default() };
        list(Arc::new(source), request, writer, false, budget, deadline).await.unwrap()
    };
    let first = plan(&budget).await;
    let second = tokio::time::timeout(Duration::from_millis(50), plan(&budget)).await;
    assert!(second.is_err(), "there is no room while the first body lives");
    drop(first);
    assert!(!bytes(plan(&budget).await).await.is_empty());
}
