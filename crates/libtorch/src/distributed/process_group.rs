//! Processes that do collective operations together.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{LibtorchError, check};

use super::milliseconds;
use super::store::{NO_TEXT, RawStore, Store, text};

/// `Group` of csrc/distributed.cpp.
#[repr(C)]
struct RawGroup {
    _opaque: [u8; 0],
}

#[expect(
    unsafe_code,
    reason = "declares the functions of csrc/distributed.cpp, with their very signatures; `at::Tensor` is torch-sys's \
              `C_tensor`"
)]
unsafe extern "C" {
    fn pw_gloo_group(
        store: *mut RawStore,
        rank: c_int,
        ranks: c_int,
        timeout_ms: i64,
        host: *const c_char,
        group: *mut *mut RawGroup,
    ) -> c_int;
    safe fn pw_has_nccl() -> bool;
    fn pw_nccl_group(
        store: *mut RawStore,
        rank: c_int,
        ranks: c_int,
        timeout_ms: i64,
        device: c_int,
        group: *mut *mut RawGroup,
    ) -> c_int;
    fn pw_all_reduce(
        group: *mut RawGroup,
        tensors: *const *mut C_tensor,
        count: usize,
        average: bool,
    ) -> c_int;
    fn pw_broadcast(
        group: *mut RawGroup,
        tensors: *const *mut C_tensor,
        count: usize,
        root: c_int,
    ) -> c_int;
    fn pw_all_gather(group: *mut RawGroup, output: *mut C_tensor, input: *mut C_tensor) -> c_int;
    fn pw_barrier(group: *mut RawGroup) -> c_int;
    fn pw_group_abort(group: *mut RawGroup) -> c_int;
    fn pw_group_free(group: *mut RawGroup);
}

/// What carries the tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Between processors, over TCP.
    Gloo {
        /// The name or address whose interface is used; absent: the one that the environment's GLOO_SOCKET_IFNAME names,
        /// or else the one that the machine's name belongs to.
        host: Option<String>,
    },
    /// Between NVIDIA GPUs.
    Nccl {
        /// The index of this process's GPU.
        device: u32,
    },
}

/// How the tensors of all ranks become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their sum divided by how many there are; for floating-point tensors.
    Average,
}

/// Whether this program can make groups over NCCL.
pub fn has_nccl() -> bool {
    pw_has_nccl()
}

/// A process's place in a group of processes.
///
/// After an error the group is of no use: the ranks no longer agree on what comes next.
#[derive(Debug)]
pub struct ProcessGroup {
    raw: NonNull<RawGroup>,
    rank: u32,
    ranks: u32,
}

#[expect(
    unsafe_code,
    reason = "a group is bound to no thread, only used by one at a time: it is not `Sync`"
)]
unsafe impl Send for ProcessGroup {}

#[expect(
    unsafe_code,
    reason = "each block calls a function of csrc/ with the pointer of a group or store that lives, with places for \
              results that are on this stack, and with pointers of tensors that are borrowed until the call returns; \
              each call waits for its operation, so that nothing writes to the tensors afterwards"
)]
impl ProcessGroup {
    /// Joins the group of all who call this with the same store; waits for them.
    pub fn join(
        store: &Store,
        backend: &Backend,
        rank: u32,
        ranks: u32,
        timeout: Duration,
    ) -> Result<Self, LibtorchError> {
        let mut place = ptr::null_mut();
        let timeout = milliseconds(timeout);
        let (own, all) = (rank.cast_signed(), ranks.cast_signed());
        check(match backend {
            Backend::Gloo { host } => {
                let host = host.as_deref().map(text).transpose()?;
                let host = host.as_deref().map_or(NO_TEXT.as_ptr(), CStr::as_ptr);
                unsafe { pw_gloo_group(store.raw(), own, all, timeout, host, &raw mut place) }
            }
            Backend::Nccl { device } => unsafe {
                let device = device.cast_signed();
                pw_nccl_group(store.raw(), own, all, timeout, device, &raw mut place)
            },
        })?;
        let raw = NonNull::new(place).expect("a function that made a group gives its pointer");
        Ok(Self { raw, rank, ranks })
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// How many processes there are.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// Replaces the tensors by the reduction of those of all ranks, in place. The same shapes on every rank; several
    /// tensors are of one kind and on one device, and take one operation together.
    ///
    /// # Determinism
    /// Equal bits on all ranks and over repeats. With three ranks or more they depend on how the elements are shared out
    /// over tensors.
    pub fn all_reduce(
        &self,
        tensors: &mut [&mut Tensor],
        reduction: Reduction,
    ) -> Result<(), LibtorchError> {
        let average = reduction == Reduction::Average;
        if average && tensors.iter().any(|tensor| !is_floating(tensor.kind())) {
            return Err(LibtorchError::new(
                "only floating-point tensors have an average",
            ));
        }
        in_place(tensors, |pointers| unsafe {
            pw_all_reduce(
                self.raw.as_ptr(),
                pointers.as_ptr(),
                pointers.len(),
                average,
            )
        })
    }

    /// Replaces the tensors by those of the rank `root`, in place.
    pub fn broadcast(&self, tensors: &mut [&mut Tensor], root: u32) -> Result<(), LibtorchError> {
        let root = root.cast_signed();
        in_place(tensors, |pointers| unsafe {
            pw_broadcast(self.raw.as_ptr(), pointers.as_ptr(), pointers.len(), root)
        })
    }

    /// The tensors of all ranks, in their order: `[ranks, …]`. The same shape on every rank.
    pub fn all_gather(&self, tensor: &Tensor) -> Result<Tensor, LibtorchError> {
        let mut shape = vec![i64::from(self.ranks)];
        shape.extend(tensor.size());
        // c10d wants one after the other, of whatever shape.
        let input = tensor.detach().contiguous().view([-1]);
        let elements = input.numel() as i64 * shape[0];
        let output = Tensor::empty([elements], (input.kind(), input.device()));
        let pointers = [&output, &input].map(|tensor| tensor.as_ptr().cast_mut());
        check(unsafe { pw_all_gather(self.raw.as_ptr(), pointers[0], pointers[1]) })?;
        Ok(output.view(shape.as_slice()))
    }

    /// Waits until every rank has come here.
    pub fn barrier(&self) -> Result<(), LibtorchError> {
        check(unsafe { pw_barrier(self.raw.as_ptr()) })
    }

    /// Closes the connections, so that the other ranks fail at once too.
    pub fn abort(&self) -> Result<(), LibtorchError> {
        check(unsafe { pw_group_abort(self.raw.as_ptr()) })
    }
}

impl Drop for ProcessGroup {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/, and is freed this once; no operation is under way, since each one is \
                  waited for"
    )]
    fn drop(&mut self) {
        unsafe { pw_group_free(self.raw.as_ptr()) }
    }
}

/// Has an operation write into tensors; into a contiguous copy where one is not contiguous, which c10d would take for
/// contiguous and write beyond.
fn in_place(
    tensors: &mut [&mut Tensor],
    operation: impl FnOnce(&[*mut C_tensor]) -> c_int,
) -> Result<(), LibtorchError> {
    let contiguous: Vec<Tensor> = tensors
        .iter()
        .map(|tensor| tensor.detach().contiguous())
        .collect();
    let pointers: Vec<*mut C_tensor> = contiguous
        .iter()
        .map(|tensor| tensor.as_ptr().cast_mut())
        .collect();
    check(operation(&pointers))?;
    for (tensor, result) in tensors.iter_mut().zip(&contiguous) {
        // `contiguous` gives the tensor itself where it is.
        if tensor.data_ptr() != result.data_ptr() {
            tch::no_grad(|| tensor.copy_(result));
        }
    }
    Ok(())
}

fn is_floating(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double
    )
}
