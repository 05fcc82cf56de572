//! What a body looks like: the encoding, and what the objects are turned into before.
//!
//! Three encodings exist for objects, documents and errors. Objects can also be asked for as a `Table` (for people)
//! or without their numbers (`PartialObjectMetadata`, for caches of names and labels). A table has no protobuf form,
//! which is why [`Format::Table`] cannot say it.
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>)

use super::envelope;
use crate::api::negotiate::{Offer, Transform};

/// An encoding that people can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// JSON, indented for people or compact.
    Json {
        /// Whether to indent.
        pretty: bool,
    },
    /// YAML with sorted keys.
    Yaml,
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON or YAML.
    Text(Text),
    /// Kubernetes protobuf: a message in its envelope.
    Protobuf,
}

impl Encoding {
    /// Compact JSON.
    pub const JSON: Self = Self::Text(Text::Json { pretty: false });
    /// YAML.
    pub const YAML: Self = Self::Text(Text::Yaml);

    /// The media type of the body, as `Content-Type` has it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text(Text::Json { .. }) => "application/json",
            Self::Text(Text::Yaml) => "application/yaml",
            Self::Protobuf => envelope::MEDIA_TYPE,
        }
    }

    /// The same, indented if it is JSON.
    #[must_use]
    pub fn indented(self, pretty: bool) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.indented(pretty)),
            Self::Protobuf => self,
        }
    }
}

impl Text {
    /// The same, indented if it is JSON.
    #[must_use]
    pub fn indented(self, pretty: bool) -> Self {
        match self {
            Self::Json { .. } => Self::Json { pretty },
            Self::Yaml => self,
        }
    }
}

impl From<Text> for Encoding {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

/// A version of the group `meta.k8s.io`, where tables and partial objects live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`.
    V1Beta1,
}

impl MetaVersion {
    /// With the group before it, as `apiVersion` has it.
    #[must_use]
    pub fn group_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// Which of the two shapes of partial objects was asked for. Asking for the wrong one is an error of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// `PartialObjectMetadata`, for one object.
    One,
    /// `PartialObjectMetadataList`, for a list.
    List,
}

impl Partial {
    /// The kind.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::One => "PartialObjectMetadata",
            Self::List => "PartialObjectMetadataList",
        }
    }
}

/// What a client gets when it asks for objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The objects themselves.
    Object(Encoding),
    /// A table with a row for each object.
    Table(Text, MetaVersion),
    /// The objects' metadata.
    Partial(Encoding, Partial, MetaVersion),
}

impl Format {
    /// How the body is encoded.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        match self {
            Self::Table(text, _) => Encoding::Text(text),
            Self::Object(encoding) | Self::Partial(encoding, ..) => encoding,
        }
    }

    /// The same, indented if it is JSON.
    #[must_use]
    pub fn indented(self, pretty: bool) -> Self {
        match self {
            Self::Object(encoding) => Self::Object(encoding.indented(pretty)),
            Self::Table(text, version) => Self::Table(text.indented(pretty), version),
            Self::Partial(encoding, partial, version) => {
                Self::Partial(encoding.indented(pretty), partial, version)
            }
        }
    }
}

const JSON: Text = Text::Json { pretty: false };

/// What documents without a protobuf form are offered in. The first is for clients that accept anything.
pub const TEXTS: [Offer<Text>; 2] =
    [offer(Encoding::Text(JSON), None, JSON), offer(Encoding::YAML, None, Text::Yaml)];

/// What errors, and documents with a protobuf form, are offered in.
pub const ENCODINGS: [Offer<Encoding>; 3] = [
    offer(Encoding::JSON, None, Encoding::JSON),
    offer(Encoding::YAML, None, Encoding::YAML),
    offer(Encoding::Protobuf, None, Encoding::Protobuf),
];

/// What objects are offered in.
pub const FORMATS: [Offer<Format>; 19] = [
    object(Encoding::JSON),
    object(Encoding::YAML),
    object(Encoding::Protobuf),
    table(JSON, MetaVersion::V1),
    table(JSON, MetaVersion::V1Beta1),
    table(Text::Yaml, MetaVersion::V1),
    table(Text::Yaml, MetaVersion::V1Beta1),
    partial(Encoding::JSON, Partial::One, MetaVersion::V1),
    partial(Encoding::JSON, Partial::One, MetaVersion::V1Beta1),
    partial(Encoding::JSON, Partial::List, MetaVersion::V1),
    partial(Encoding::JSON, Partial::List, MetaVersion::V1Beta1),
    partial(Encoding::YAML, Partial::One, MetaVersion::V1),
    partial(Encoding::YAML, Partial::One, MetaVersion::V1Beta1),
    partial(Encoding::YAML, Partial::List, MetaVersion::V1),
    partial(Encoding::YAML, Partial::List, MetaVersion::V1Beta1),
    partial(Encoding::Protobuf, Partial::One, MetaVersion::V1),
    partial(Encoding::Protobuf, Partial::One, MetaVersion::V1Beta1),
    partial(Encoding::Protobuf, Partial::List, MetaVersion::V1),
    partial(Encoding::Protobuf, Partial::List, MetaVersion::V1Beta1),
];

const fn object(encoding: Encoding) -> Offer<Format> {
    offer(encoding, None, Format::Object(encoding))
}

const fn table(text: Text, version: MetaVersion) -> Offer<Format> {
    let transform = Transform { kind: "Table", group: "meta.k8s.io", version: version.name() };
    offer(Encoding::Text(text), Some(transform), Format::Table(text, version))
}

const fn partial(encoding: Encoding, partial: Partial, version: MetaVersion) -> Offer<Format> {
    let transform = Transform { kind: partial.kind(), group: "meta.k8s.io", version: version.name() };
    offer(encoding, Some(transform), Format::Partial(encoding, partial, version))
}

const fn offer<R: Copy>(encoding: Encoding, transform: Option<Transform>, representation: R) -> Offer<R> {
    Offer { media_type: encoding.content_type(), transform, representation }
}
