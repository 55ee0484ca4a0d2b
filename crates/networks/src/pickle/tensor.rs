//! Tensors out of the file's bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::Tensor;

use super::arena::{Arena, Node, TensorView};
use super::error::{PickleProblem, shortened};
use super::legacy::byte_length;

/// What a tensor takes besides its elements, roughly.
const TENSOR_BYTES: usize = 64;

/// Makes tensors of one file, and no more of them than the file can account for.
pub(crate) struct TensorReader<'a> {
    data: &'a [u8],
    places: BTreeMap<String, Range<usize>>,
    budget: usize,
}

impl<'a> TensorReader<'a> {
    /// `places`: where the bytes of storages known by key are.
    pub(crate) fn new(data: &'a [u8], places: BTreeMap<String, Range<usize>>) -> Self {
        // Tied weights share storages, so tensors may hold somewhat more than the file.
        let budget = data.len().saturating_mul(4).saturating_add(1 << 20);
        Self {
            data,
            places,
            budget,
        }
    }

    /// The tensor `view`, contiguous, on the CPU.
    pub(crate) fn read(
        &mut self,
        arena: &Arena,
        name: &str,
        view: &TensorView,
    ) -> Result<Tensor, PickleProblem> {
        let problem = |problem: &str| PickleProblem::Tensor {
            name: shortened(name),
            problem: problem.to_owned(),
        };
        let Node::Storage(storage) = arena.get(view.storage) else {
            return Err(problem("its storage is something else"));
        };
        let place = storage
            .bytes
            .clone()
            .or_else(|| self.places.get(&storage.key).cloned());
        let place = place.ok_or_else(|| {
            problem(&format!(
                "its storage `{}` is missing from the file",
                storage.key
            ))
        })?;
        let bytes = self
            .data
            .get(place)
            .ok_or_else(|| problem("its storage is outside of the file"))?;
        if bytes.len() != byte_length(storage.kind, storage.elements)? {
            return Err(problem("its storage has another length than is said"));
        }
        let extent = extent(view)
            .filter(|extent| extent.end <= storage.elements && extent.count <= storage.elements);
        let extent = extent.ok_or_else(|| {
            problem(&format!(
                "offset {}, size {:?} and stride {:?} do not fit a storage of {} elements",
                view.offset, view.size, view.stride, storage.elements
            ))
        })?;
        let width = storage.kind.elt_size_in_bytes();
        // A view with strides of zero touches few elements and has many.
        let span = extent.end.saturating_sub(extent.start);
        let needed = span.max(extent.count) * width + TENSOR_BYTES;
        self.budget = self
            .budget
            .checked_sub(needed)
            .ok_or_else(|| problem("the tensors together are far larger than the file"))?;
        let refused = |cause: tch::TchError| problem(&cause.to_string());
        let used = &bytes[extent.start * width..extent.end * width];
        if is_contiguous(view) {
            return Tensor::f_from_data_size(used, &view.size, storage.kind).map_err(refused);
        }
        let flat =
            Tensor::f_from_data_size(used, &[(extent.end - extent.start) as i64], storage.kind)
                .map_err(refused)?;
        let strided = flat
            .f_as_strided(&view.size, &view.stride, 0)
            .map_err(refused)?;
        strided.f_contiguous().map_err(refused)
    }
}

/// The elements of a storage from the first to the last that a view touches.
struct Extent {
    start: usize,
    end: usize,
    count: usize,
}

fn extent(view: &TensorView) -> Option<Extent> {
    let start = usize::try_from(view.offset).ok()?;
    let mut count = 1usize;
    let mut last = start;
    for (size, stride) in view.size.iter().zip(&view.stride) {
        let (size, stride) = (usize::try_from(*size).ok()?, usize::try_from(*stride).ok()?);
        count = count.checked_mul(size)?;
        last = last.checked_add(size.saturating_sub(1).checked_mul(stride)?)?;
    }
    if count == 0 {
        return Some(Extent {
            start: 0,
            end: 0,
            count,
        });
    }
    Some(Extent {
        start,
        end: last.checked_add(1)?,
        count,
    })
}

fn is_contiguous(view: &TensorView) -> bool {
    if view.size.contains(&0) {
        return true;
    }
    let mut expected = 1;
    view.size
        .iter()
        .zip(&view.stride)
        .rev()
        .all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        })
}
