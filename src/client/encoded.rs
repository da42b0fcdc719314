//! A job's rows as objects, and what is said of columns that become too many inputs for a network. Owns neither the objects' layout
//! (`wire`) nor what a column becomes (`dataset`).

use std::sync::Arc;

use crate::dataset::{Block, Dataset, Schema, Targets};
use crate::digest::Digest;
use crate::job::RowsRef;
use crate::model::rows::RowParts;
use crate::model::{NetworkError, Targets as Told};
use crate::store::Store;
use crate::wire::object;

/// Keeps rows, whose network has so many outputs, as an object.
pub(super) fn rows_object(objects: &Store, outputs: u32, block: Block) -> RowsRef {
    let (rows, Block { layout, values, indices, targets }) = (block.rows() as u32, block);
    let targets = match targets {
        Targets::Classes(labels) => Told::Labels { labels: labels.into(), classes: outputs },
        Targets::Values(values) => Told::Values { values: values.into(), width: outputs },
    };
    let parts = RowParts { values: values.into(), indices: indices.into(), targets };
    RowsRef { rows, digest: keep(objects, object::encode_row_parts(&layout, &parts)) }
}

/// Keeps an object.
pub(super) fn keep(objects: &Store, bytes: Vec<u8>) -> Digest {
    let digest = Digest::of(&bytes);
    objects.insert(digest, Arc::new(bytes));
    digest
}

/// Why there is no such network, with the columns to blame where some become several inputs.
pub(super) fn too_large(error: &NetworkError, dataset: &Dataset, schema: &Schema) -> String {
    let mut widest = dataset.widest(schema);
    widest.retain(|(_, width)| *width > 1);
    let (NetworkError::Parameters { .. }, Some((first, _))) = (error, widest.first()) else { return error.to_string() };
    let widths: Vec<String> = widest.iter().map(|(column, width)| format!("{column} becomes {width}")).collect();
    format!(
        "{error}, or fewer of the {} inputs: {}; leave columns out (--ignore {}), or make one of rare categories (--rare)",
        schema.width(),
        widths.join(", "),
        first.as_word()
    )
}
