//! What tables are made of: the columns, the cells of a row, and how much of each object comes along.
//!
//! kubectl shows tables as they come and sorts by the objects in them.
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>)

use super::item::Item;
use crate::api::{quantity::Quantity, status::ApiError, time::write_duration};

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) format: &'static str,
    pub(super) description: &'static str,
}

/// The columns; all are strings of priority 0.
pub(super) const COLUMNS: [Column; 4] = [
    Column { name: "Name", format: "name", description: "Name of the resource" },
    Column { name: "cpu", format: "quantity", description: "" },
    Column { name: "memory", format: "quantity", description: "" },
    Column { name: "Window", format: "duration", description: "" },
];

/// How much of each object a table holds beside its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

impl IncludeObject {
    /// Reads `?includeObject=`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::None),
            other => Err(ApiError::BadRequest(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: \
                 must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// Calls `write` for the cell of each column after the name, with its text.
pub(super) fn cells(item: Item<'_>, mut write: impl FnMut(&[u8])) {
    let total = item.total();
    let mut text = Vec::with_capacity(32);
    for quantity in [Quantity::cpu(total.cpu_nanocores), Quantity::memory(total.memory_bytes)] {
        text.clear();
        quantity.write(&mut text);
        write(&text);
    }
    text.clear();
    write_duration(&mut text, item.window());
    write(&text);
}
