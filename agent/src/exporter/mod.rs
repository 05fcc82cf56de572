//! Stub of the pages, until they are here.

pub mod access;
pub mod answer;
pub mod counted;
pub mod server;
pub mod settings;
mod watched;

pub use crate::exposition::Form;

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// What is exported.
#[derive(Debug, Clone, Default)]
pub struct Exporter;

impl Exporter {
    /// `/metrics/resource`.
    #[must_use]
    pub fn resource(&self, form: Form) -> Page {
        Page { content_type: form.content_type(), body: b"# resource\n".to_vec() }
    }

    /// `/metrics/vitals`.
    #[must_use]
    pub fn vitals(&self, form: Form) -> Page {
        Page { content_type: form.content_type(), body: b"# vitals\n".to_vec() }
    }
}
