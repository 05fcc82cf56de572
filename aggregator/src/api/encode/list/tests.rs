//! Every form of one small fixed store, byte for byte, and the same data in every form of any store.
//!
//! `golden/*.txt` hold the texts, one section for each form; `golden/*.hex` the protobuf bodies, with what each byte
//! means: written by another decoder and read over beside the `.proto` files of Kubernetes.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::api::{
    encode::{
        format::{MetaVersion, Partial},
        golden,
        json::indent::indent,
        yaml::document,
    },
    fixture::{node_answer, pod_answer},
    source::Usage,
};

mod messages;

/// 2026-11-22T09:47:26.5Z.
const NOW: WallTime = WallTime(1_795_340_846_500_000);

const INDENTED: Text = Text::Json { pretty: true };
const COMPACT: Text = Text::Json { pretty: false };

fn nodes() -> Vec<NodeAnswer> {
    let labels = [("zone", "a"), ("y", "no"), ("rack10", "7"), ("rack2", "")];
    let whole = Usage { cpu_nanocores: 2_000_000_000, memory_bytes: 2_097_180 << 10 };
    let odd = Usage { cpu_nanocores: 250_000_001, memory_bytes: 1000 };
    let window = Duration::from_millis(60_500);
    vec![node_answer("n1", &labels, whole), NodeAnswer { window, ..node_answer("n2", &[], odd) }]
}

fn pods() -> Vec<PodAnswer> {
    let app = Usage { cpu_nanocores: 499_998_800, memory_bytes: 64 << 20 };
    let proxy = Usage { cpu_nanocores: 0, memory_bytes: 4096 };
    let labels = [("app", "web"), ("app.kubernetes.io/version", "1.10")];
    vec![
        pod_answer(["default", "web-1", "n1"], &labels, &[("app", app), ("proxy", proxy)]),
        pod_answer(["kube-system", "dns", "n1"], &[], &[]),
    ]
}

/// What a golden file is about.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Nodes,
    Pods,
    Node,
    Pod,
    NoPods,
}

impl Subject {
    /// The whole body, in `v1beta1`.
    fn body(self, format: Format, include: IncludeObject) -> Vec<u8> {
        let version = Version::V1Beta1;
        let (nodes, pods) = (nodes(), pods());
        match self {
            Self::Nodes => list(ListKind::Nodes, format, include, &[], &nodes),
            Self::Pods => list(ListKind::Pods, format, include, &pods, &[]),
            Self::NoPods => list(ListKind::Pods, format, include, &[], &[]),
            Self::Node => one(Item::Node(nodes.first().unwrap()), version, format, include, NOW),
            Self::Pod => one(Item::Pod(pods.first().unwrap()), version, format, include, NOW),
        }
    }

    fn partial(self) -> Partial {
        match self {
            Self::Node | Self::Pod => Partial::One,
            Self::Nodes | Self::Pods | Self::NoPods => Partial::List,
        }
    }
}

/// A whole list body, collected from pieces as a streamed body has them.
fn list(
    kind: ListKind,
    format: Format,
    include: IncludeObject,
    pods: &[PodAnswer],
    nodes: &[NodeAnswer],
) -> Vec<u8> {
    let mut writer = ListWriter::new(kind, Version::V1Beta1, format, include, NOW);
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut measured = writer.frame_len();
    writer.begin(&mut piece);
    pieces.append(&mut piece);
    for node in nodes {
        measured = measured.zip(writer.node_len(node)).map(|(sum, length)| sum + length);
        writer.node(&mut piece, node);
        pieces.append(&mut piece);
    }
    for pod in pods {
        measured = measured.zip(writer.pod_len(pod)).map(|(sum, length)| sum + length);
        writer.pod(&mut piece, pod);
        pieces.append(&mut piece);
    }
    writer.end(&mut piece);
    pieces.append(&mut piece);
    let Some(measured) = measured else {
        return pieces;
    };
    assert_eq!(measured, pieces.len(), "lengths are known ahead");
    let TypeMeta { api_version, kind } = writer.type_meta();
    let body = [&envelope::open(api_version, kind, measured)[..], &pieces, &envelope::TAIL].concat();
    assert_eq!(body, envelope::envelope(api_version, kind, &pieces));
    body
}

/// Every text form, under its name in the golden files.
fn texts(subject: Subject) -> Vec<(&'static str, Format, IncludeObject)> {
    use IncludeObject::{Metadata, None, Object};
    use MetaVersion::{V1, V1Beta1};
    let partial = |text: Text, version| Format::Partial(text.into(), subject.partial(), version);
    vec![
        ("json", Format::Object(COMPACT.into()), Metadata),
        ("json indented", Format::Object(INDENTED.into()), Metadata),
        ("yaml", Format::Object(Encoding::YAML), Metadata),
        ("table v1", Format::Table(COMPACT, V1), Metadata),
        ("table v1 with objects", Format::Table(COMPACT, V1), Object),
        ("table v1 without objects", Format::Table(COMPACT, V1), None),
        ("table v1beta1", Format::Table(COMPACT, V1Beta1), Metadata),
        ("table v1 indented", Format::Table(INDENTED, V1), Metadata),
        ("table v1 yaml", Format::Table(Text::Yaml, V1), Metadata),
        ("table v1 yaml with objects", Format::Table(Text::Yaml, V1), Object),
        ("table v1beta1 yaml without objects", Format::Table(Text::Yaml, V1Beta1), None),
        ("metadata v1", partial(COMPACT, V1), Metadata),
        ("metadata v1beta1", partial(COMPACT, V1Beta1), Metadata),
        ("metadata v1 indented", partial(INDENTED, V1), Metadata),
        ("metadata v1 yaml", partial(Text::Yaml, V1), Metadata),
    ]
}

/// All text forms of a subject, as its golden file has them.
fn rendered(subject: Subject) -> String {
    let section = |(name, format, include)| golden::section(name, subject.body(format, include));
    texts(subject).into_iter().map(section).collect()
}

#[test]
fn c045_every_text_form_has_its_golden_bytes() {
    let golden = [
        (Subject::Nodes, include_str!("../golden/nodes.txt")),
        (Subject::Pods, include_str!("../golden/pods.txt")),
        (Subject::Node, include_str!("../golden/node.txt")),
        (Subject::Pod, include_str!("../golden/pod.txt")),
        (Subject::NoPods, include_str!("../golden/no-pods.txt")),
    ];
    for (subject, file) in golden {
        assert_eq!(rendered(subject), file, "{subject:?}");
    }
}

#[test]
fn c040_protobuf_has_its_golden_bytes() {
    use Subject::{NoPods, Node, Nodes, Pod, Pods};
    let object = Format::Object(Encoding::Protobuf);
    let golden = [
        (Node, object, include_str!("../golden/node.hex")),
        (Nodes, object, include_str!("../golden/nodes.hex")),
        (Pod, object, include_str!("../golden/pod.hex")),
        (Pods, object, include_str!("../golden/pods.hex")),
        (NoPods, object, include_str!("../golden/no-pods.hex")),
    ];
    for (subject, format, file) in golden {
        assert_eq!(subject.body(format, IncludeObject::Metadata), golden::bytes(file), "{subject:?}");
    }
}

#[test]
fn c051_protobuf_metadata_has_its_golden_bytes() {
    let partial = |subject: Subject, version| {
        let format = Format::Partial(Encoding::Protobuf, subject.partial(), version);
        subject.body(format, IncludeObject::Metadata)
    };
    let golden = [
        (Subject::Node, MetaVersion::V1, include_str!("../golden/metadata-of-node.hex")),
        (Subject::Pods, MetaVersion::V1, include_str!("../golden/metadata-of-pods.hex")),
        // Here the fields of the list have other numbers.
        (Subject::Pods, MetaVersion::V1Beta1, include_str!("../golden/metadata-of-pods-v1beta1.hex")),
    ];
    for (subject, version, file) in golden {
        assert_eq!(partial(subject, version), golden::bytes(file), "{subject:?}");
    }
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| unreachable!("{}", String::from_utf8_lossy(body)))
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = || "[a-z]{1,3}|[yn0-9.:-]{0,4}|\\PC{0,4}|a{120,140}";
    proptest::collection::vec((text(), text()), 0..4)
}

fn pairs(labels: &[(String, String)]) -> Vec<(&str, &str)> {
    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn usage() -> impl Strategy<Value = Usage> {
    let number = || prop_oneof![any::<u64>(), (0..1000_u64).prop_map(|n| n << 10), 0..2_000_000_000_u64];
    (number(), number()).prop_map(|(cpu_nanocores, memory_bytes)| Usage { cpu_nanocores, memory_bytes })
}

fn times() -> impl Strategy<Value = (WallTime, Duration)> {
    let at = prop_oneof![any::<u64>(), Just(NOW.0)].prop_map(WallTime);
    (at, prop_oneof![any::<u64>(), 0..60_000_000_000_u64].prop_map(Duration::from_nanos))
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9.-]{1,9}|\\PC{1,5}|x{125,130}"
}

prop_compose! {
    fn any_node()(name in name(), labels in labels(), (timestamp, window) in times(), usage in usage()) -> NodeAnswer {
        NodeAnswer { timestamp, window, ..node_answer(&name, &pairs(&labels), usage) }
    }
}

prop_compose! {
    fn any_pod()(
        name in name(), namespace in name(), labels in labels(), (timestamp, window) in times(),
        containers in proptest::collection::vec((name(), usage()), 0..4),
    ) -> PodAnswer {
        let containers: Vec<(&str, Usage)> =
            containers.iter().map(|(name, usage): &(String, Usage)| (name.as_str(), *usage)).collect();
        let pod = pod_answer([&namespace, &name, "n"], &pairs(&labels), &containers);
        PodAnswer { timestamp, window, ..pod }
    }
}

/// Every list form of one store.
fn all_forms(kind: ListKind, pods: &[PodAnswer], nodes: &[NodeAnswer]) {
    let body = |format, include| list(kind, format, include, pods, nodes);
    let plain = json(&body(Format::Object(Encoding::JSON), IncludeObject::Metadata));
    for include in [IncludeObject::Metadata, IncludeObject::Object, IncludeObject::None] {
        for version in [MetaVersion::V1, MetaVersion::V1Beta1] {
            let table = body(Format::Table(COMPACT, version), include);
            assert_eq!(
                json(&table)["rows"].as_array().map_or(0, Vec::len),
                plain["items"].as_array().unwrap().len()
            );
            assert_eq!(indent(&table), body(Format::Table(INDENTED, version), include));
            // The texts of both encodings come from two writers; a document from a tree is a third way.
            let yaml = body(Format::Table(Text::Yaml, version), include);
            assert_eq!(yaml, document(&json(&table)));
        }
    }
    let yaml = body(Format::Object(Encoding::YAML), IncludeObject::Metadata);
    assert_eq!(String::from_utf8(yaml).unwrap(), String::from_utf8(document(&plain)).unwrap());
    for version in [MetaVersion::V1, MetaVersion::V1Beta1] {
        let partial =
            |encoding| body(Format::Partial(encoding, Partial::List, version), IncludeObject::Metadata);
        let metadata = json(&partial(Encoding::JSON));
        assert_eq!(partial(Encoding::YAML), document(&metadata));
        assert_eq!(messages::partial_list(&partial(Encoding::Protobuf), version), metadata);
    }
    let protobuf = body(Format::Object(Encoding::Protobuf), IncludeObject::Metadata);
    assert_eq!(messages::object_list(&protobuf), plain);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn c040_all_forms_of_nodes_have_the_same_data(nodes in proptest::collection::vec(any_node(), 0..3)) {
        all_forms(ListKind::Nodes, &[], &nodes);
    }

    #[test]
    fn c040_all_forms_of_pods_have_the_same_data(pods in proptest::collection::vec(any_pod(), 0..3)) {
        all_forms(ListKind::Pods, &pods, &[]);
    }

    #[test]
    fn one_object_is_the_item_of_a_list_with_its_kind(pod in any_pod(), node in any_node()) {
        for (kind, item) in [("PodMetrics", Item::Pod(&pod)), ("NodeMetrics", Item::Node(&node))] {
            let body = |encoding| {
                one(item, Version::V1, Format::Object(encoding), IncludeObject::Metadata, NOW)
            };
            let plain = json(&body(Encoding::JSON));
            prop_assert_eq!(&plain["kind"], kind);
            prop_assert_eq!(body(Encoding::YAML), document(&plain));
            prop_assert_eq!(messages::object(&body(Encoding::Protobuf)), plain);
        }
    }
}
