//! What `deploy/` renders, against the programs, against each other, and against Kubernetes' own types and schemas.
//!
//! Every overlay is rendered by the real kubectl, the chart by the real helm, for each choice that changes an object.
//! `tests/deploy/prepare` brings helm and the schemas; `KUBEVITALS_SKIP=manifests` leaves these tests out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it left out"
)]

#[path = "deploy/arguments.rs"]
mod arguments;
#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/migration.rs"]
mod migration;
#[path = "deploy/objects.rs"]
mod objects;
#[path = "deploy/observability.rs"]
mod observability;
#[path = "deploy/rbac.rs"]
mod rbac;
#[path = "deploy/render.rs"]
mod render;
#[path = "deploy/schema.rs"]
mod schema;
#[path = "deploy/security.rs"]
mod security;
#[path = "deploy/wiring.rs"]
mod wiring;
