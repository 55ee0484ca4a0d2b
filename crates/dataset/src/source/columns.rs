//! Which columns of a table hold images and labels.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

/// Names of columns of bytes that hold images, where there are several.
const IMAGES: [&str; 10] = [
    "image",
    "img",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_bytes",
    "bytes",
    "content",
    "data",
];

/// Names of columns that hold labels.
const LABELS: [&str; 5] = ["label", "labels", "fine_label", "class", "target"];

const BYTES: &str = "bytes";
const PATH: &str = "path";

/// The column that holds images.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImageColumn {
    pub(super) column: String,
    /// Whether it is a struct of `bytes`, and whether that has a `path`.
    is_struct: bool,
    has_path: bool,
}

impl ImageColumn {
    /// The first struct of `bytes`, or the column of bytes that is called as images are, or the only one; else what is
    /// wrong, and the remedy.
    pub(super) fn of(schema: &Schema) -> Result<Self, (String, String)> {
        let fields = || schema.fields().iter();
        if let Some(field) = fields().find(|field| is_struct_of_bytes(field.data_type())) {
            return Ok(Self {
                column: field.name().clone(),
                is_struct: true,
                has_path: child(field.data_type(), PATH).is_some(),
            });
        }
        let plain: Vec<&str> = fields()
            .filter(|field| is_bytes(field.data_type()))
            .map(|field| field.name().as_str())
            .collect();
        let named = IMAGES.into_iter().find(|name| plain.contains(name));
        if let Some(column) = named.or(match plain[..] {
            [only] => Some(only),
            _ => None,
        }) {
            return Ok(Self {
                column: column.to_owned(),
                is_struct: false,
                has_path: false,
            });
        }
        if !plain.is_empty() {
            let problem = format!(
                "it has several columns of bytes (`{}`), and none is called as images are",
                plain.join("`, `")
            );
            return Err((problem, "call the column of images `image`".to_owned()));
        }
        if let Some(list) = fields().find(|field| is_list_of_images(field.data_type())) {
            return Err((
                format!(
                    "its column `{}` is a list of images ({}), and a row has to be one image",
                    list.name(),
                    list.data_type()
                ),
                "write a row for each image, as pandas' `explode` does".to_owned(),
            ));
        }
        let columns: Vec<String> = fields()
            .map(|field| format!("`{}` ({})", field.name(), field.data_type()))
            .collect();
        Err((
            format!("it has no column of image files among {}", columns.join(", ")),
            "images are read from a column of bytes or of a struct of `bytes` and `path`; a column of paths, of texts or of \
             pixels as numbers has to be written as such"
                .to_owned(),
        ))
    }

    /// The leaf that holds the images' names.
    pub(super) fn path_leaf(&self) -> Option<String> {
        (self.is_struct && self.has_path).then(|| format!("{}.{PATH}", self.column))
    }

    /// The leaf that holds the images.
    pub(super) fn bytes_leaf(&self) -> String {
        if self.is_struct {
            format!("{}.{BYTES}", self.column)
        } else {
            self.column.clone()
        }
    }

    /// The names that a batch holds.
    pub(super) fn paths(&self, batch: &RecordBatch) -> Option<ArrayRef> {
        let column = batch.column_by_name(&self.column)?.as_struct_opt()?;
        column.column_by_name(PATH).cloned()
    }

    /// The image files that a batch holds, as large binaries.
    pub(super) fn files(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        let missing =
            || ArrowError::SchemaError(format!("the column `{}` is missing", self.column));
        let column = batch.column_by_name(&self.column).ok_or_else(missing)?;
        let bytes = match column.as_struct_opt() {
            Some(column) => column.column_by_name(BYTES).ok_or_else(missing)?,
            None => column,
        };
        cast(bytes, &DataType::LargeBinary)
    }

    /// Whether a row has its struct at all.
    pub(super) fn is_valid(&self, batch: &RecordBatch, index: usize) -> bool {
        let column = batch.column_by_name(&self.column);
        column.is_some_and(|column| column.is_valid(index))
    }
}

fn child<'a>(kind: &'a DataType, name: &str) -> Option<&'a Field> {
    match kind {
        DataType::Struct(children) => children
            .iter()
            .find(|child| child.name() == name)
            .map(AsRef::as_ref),
        _ => None,
    }
}

fn is_struct_of_bytes(kind: &DataType) -> bool {
    child(kind, BYTES).is_some_and(|bytes| is_bytes(bytes.data_type()))
}

fn is_bytes(kind: &DataType) -> bool {
    match kind {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => true,
        DataType::Dictionary(_, value) => is_bytes(value),
        _ => false,
    }
}

fn is_list_of_images(kind: &DataType) -> bool {
    match kind {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            is_bytes(item.data_type()) || is_struct_of_bytes(item.data_type())
        }
        _ => false,
    }
}

/// The column that holds labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LabelColumn {
    pub(super) name: String,
    pub(super) kind: LabelKind,
}

/// What labels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LabelKind {
    /// Numbers of classes.
    Number,
    /// Numbers as values of a dictionary.
    CategoricalNumber,
    /// Names of classes.
    Text,
    /// Of this type, which gives no classes.
    Other(String),
}

impl LabelColumn {
    /// The first column of a name that labels have and that holds numbers, or else texts, or else anything.
    pub(super) fn of(schema: &Schema) -> Option<Self> {
        let named: Vec<Self> = LABELS
            .into_iter()
            .filter_map(|name| schema.field_with_name(name).ok())
            .map(|field| Self {
                name: field.name().clone(),
                kind: LabelKind::of(field.data_type()),
            })
            .collect();
        let rank = |label: &Self| match label.kind {
            LabelKind::Number => 0,
            LabelKind::CategoricalNumber | LabelKind::Text => 1,
            LabelKind::Other(_) => 2,
        };
        named.into_iter().min_by_key(rank)
    }
}

impl LabelKind {
    fn of(kind: &DataType) -> Self {
        match kind {
            kind if kind.is_integer() => Self::Number,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Dictionary(_, value) => match Self::of(value) {
                Self::Number => Self::CategoricalNumber,
                other => other,
            },
            other => Self::Other(other.to_string()),
        }
    }
}
