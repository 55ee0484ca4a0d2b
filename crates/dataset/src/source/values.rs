//! Values of Parquet columns, in whichever of Arrow's types they are stored.

use arrow_array::cast::AsArray;
use arrow_array::{Array, downcast_integer_array};
use arrow_schema::DataType;

/// The text in a row of a column of texts.
pub(super) fn text_at(values: &dyn Array, row: usize) -> Option<&str> {
    if values.is_null(row) {
        return None;
    }
    match values.data_type() {
        DataType::Utf8 => Some(values.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(values.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(values.as_string_view().value(row)),
        DataType::Binary => std::str::from_utf8(values.as_binary::<i32>().value(row)).ok(),
        DataType::LargeBinary => std::str::from_utf8(values.as_binary::<i64>().value(row)).ok(),
        DataType::Dictionary(..) => {
            let dictionary = values.as_any_dictionary();
            let key = integer_at(dictionary.keys(), row)?;
            text_at(dictionary.values(), usize::try_from(key).ok()?)
        }
        _ => None,
    }
}

/// The number in a row of a column of integers, if it is one of 32 bits.
pub(super) fn integer_at(values: &dyn Array, row: usize) -> Option<i32> {
    if values.is_null(row) {
        return None;
    }
    downcast_integer_array! {
        values => i32::try_from(i128::from(values.value(row))).ok(),
        _ => None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, DictionaryArray, Float32Array, Int8Array, LargeStringArray, StringArray,
        StringViewArray, UInt64Array,
    };

    use super::*;

    #[test]
    fn texts_and_integers_are_read_from_any_type() {
        let texts: [ArrayRef; 4] = [
            Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])),
            Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("b")])),
            Arc::new(StringViewArray::from(vec![Some("a"), None, Some("b")])),
            Arc::new(DictionaryArray::<Int8Type>::from_iter([
                Some("a"),
                None,
                Some("b"),
            ])),
        ];
        for column in &texts {
            let read = [0, 1, 2].map(|row| text_at(column, row));
            assert_eq!(
                read,
                [Some("a"), None, Some("b")],
                "{:?}",
                column.data_type()
            );
            assert_eq!(integer_at(column, 0), None);
        }
        let numbers = UInt64Array::from(vec![Some(7), None, Some(u64::MAX)]);
        let read = [0, 1, 2].map(|row| integer_at(&numbers, row));
        assert_eq!(read, [Some(7), None, None]);
        assert_eq!(integer_at(&Int8Array::from(vec![-3]), 0), Some(-3));
        assert_eq!(integer_at(&Float32Array::from(vec![1.0]), 0), None);
        assert_eq!(text_at(&numbers, 0), None);
    }
}
