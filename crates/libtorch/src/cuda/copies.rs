//! Copies from the host that run beside the kernels of a step.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::index;
use crate::error::{LibtorchError, check};

/// `CopyStream` of csrc/streams.cpp.
#[repr(C)]
struct RawStream {
    _opaque: [u8; 0],
}

/// `Copy` of csrc/streams.cpp.
#[repr(C)]
struct RawCopy {
    _opaque: [u8; 0],
}

#[expect(
    unsafe_code,
    reason = "declares the functions of csrc/streams.cpp, with their very signatures; `at::Tensor` is torch-sys's `C_tensor`"
)]
unsafe extern "C" {
    fn pw_copy_stream(device: c_int, stream: *mut *mut RawStream) -> c_int;
    fn pw_copy_stream_free(stream: *mut RawStream);
    fn pw_copy_begin(
        stream: *mut RawStream,
        host: *const C_tensor,
        copy: *mut *mut RawCopy,
    ) -> c_int;
    fn pw_copy_take(copy: *mut RawCopy, out: *mut *mut C_tensor) -> c_int;
    fn pw_copy_free(copy: *mut RawCopy);
}

/// A stream that copies alone are on.
#[derive(Debug)]
pub struct CopyStream {
    raw: NonNull<RawStream>,
}

#[expect(
    unsafe_code,
    reason = "it holds the number of one of libtorch's streams, which does not change and which any thread may put work on"
)]
unsafe impl Send for CopyStream {}

#[expect(unsafe_code, reason = "as for `Send`: nothing of it changes")]
unsafe impl Sync for CopyStream {}

/// A copy under way.
#[derive(Debug)]
pub struct PendingCopy {
    raw: NonNull<RawCopy>,
}

#[expect(
    unsafe_code,
    reason = "it holds a tensor and an event of CUDA's, neither of which belongs to a thread"
)]
unsafe impl Send for PendingCopy {}

#[expect(
    unsafe_code,
    reason = "each block calls a function of csrc/ with a pointer that lives, with places for results that are on this \
              stack, and with a tensor that is borrowed until the call returns; libtorch keeps page-locked memory until \
              the copies of it are done"
)]
impl CopyStream {
    /// A stream of a CUDA device.
    ///
    /// # Errors
    /// Another device, or none.
    pub fn new(device: Device) -> Result<Self, LibtorchError> {
        let device = index(device)?;
        let mut place = ptr::null_mut();
        check(unsafe { pw_copy_stream(device, &raw mut place) })?;
        let raw = NonNull::new(place).expect("a function that made a stream gives its pointer");
        Ok(Self { raw })
    }

    /// Begins a copy of page-locked memory of the host to the device. Whoever writes to that memory before it is through
    /// changes the copy; it may be dropped at once.
    ///
    /// # Errors
    /// Memory that is not page-locked; a lack of memory on the device.
    pub fn begin(&self, host: &Tensor) -> Result<PendingCopy, LibtorchError> {
        let mut place = ptr::null_mut();
        check(unsafe { pw_copy_begin(self.raw.as_ptr(), host.as_ptr(), &raw mut place) })?;
        let raw = NonNull::new(place).expect("a function that began a copy gives its pointer");
        Ok(PendingCopy { raw })
    }
}

impl PendingCopy {
    /// The tensor on the device. What this thread computes from now on waits for it; the host does not.
    #[expect(
        unsafe_code,
        reason = "the pointer is that of a copy that lives; the call gives out a tensor of its own, which is freed here alone"
    )]
    pub fn take(self) -> Result<Tensor, LibtorchError> {
        let mut out = ptr::null_mut();
        check(unsafe { pw_copy_take(self.raw.as_ptr(), &raw mut out) })?;
        Ok(unsafe { Tensor::from_ptr(out) })
    }
}

impl Drop for CopyStream {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/, and is freed this once; libtorch's streams stay"
    )]
    fn drop(&mut self) {
        unsafe { pw_copy_stream_free(self.raw.as_ptr()) }
    }
}

impl Drop for PendingCopy {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/, and is freed this once; the tensor that was taken counts for itself"
    )]
    fn drop(&mut self) {
        unsafe { pw_copy_free(self.raw.as_ptr()) }
    }
}
