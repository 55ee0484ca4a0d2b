//! CUDA graphs: work that is noted down once, and started again by one call.

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use tch::Device;

use super::index;
use crate::error::{LibtorchError, check};

/// `GraphStream` of csrc/streams.cpp.
#[repr(C)]
struct RawStream {
    _opaque: [u8; 0],
}

/// `Entered` of csrc/streams.cpp.
#[repr(C)]
struct RawEntered {
    _opaque: [u8; 0],
}

/// `Graph` of csrc/streams.cpp.
#[repr(C)]
struct RawGraph {
    _opaque: [u8; 0],
}

#[expect(
    unsafe_code,
    reason = "declares the functions of csrc/streams.cpp, with their very signatures"
)]
unsafe extern "C" {
    fn pw_graph_stream(device: c_int, stream: *mut *mut RawStream) -> c_int;
    fn pw_graph_stream_free(stream: *mut RawStream);
    fn pw_graph_enter(
        stream: *mut RawStream,
        captures: bool,
        entered: *mut *mut RawEntered,
    ) -> c_int;
    fn pw_graph_leave(entered: *mut RawEntered, graph: *mut *mut RawGraph) -> c_int;
    fn pw_graph_abandon(entered: *mut RawEntered);
    fn pw_graph_replay(stream: *mut RawStream, graph: *mut RawGraph) -> c_int;
    fn pw_graph_free(graph: *mut RawGraph);
}

/// A stream of a CUDA device that graphs are captured and replayed on, and memory that is theirs alone: all of them use the
/// same, one after the other, so that it is as much as the largest needs.
///
/// What is computed here comes after all that this thread has computed before, and before all that it computes afterwards.
#[derive(Debug)]
pub struct GraphStream {
    shared: Rc<Stream>,
}

#[derive(Debug)]
struct Stream {
    raw: NonNull<RawStream>,
}

/// Work that was noted down. It lies in its stream's memory, which lives as long.
#[derive(Debug)]
pub struct Graph {
    raw: NonNull<RawGraph>,
    stream: Rc<Stream>,
}

/// A thread that computes on the stream; what fails meanwhile brings it back too.
struct Entered {
    raw: *mut RawEntered,
}

impl GraphStream {
    /// A stream of a CUDA device.
    ///
    /// # Errors
    /// Another device, or none; a program that was built without CUDA's headers.
    #[expect(unsafe_code, reason = "the place for the result is on this stack")]
    pub fn new(device: Device) -> Result<Self, LibtorchError> {
        let device = index(device)?;
        let mut place = ptr::null_mut();
        check(unsafe { pw_graph_stream(device, &raw mut place) })?;
        let raw = NonNull::new(place).expect("a function that made a stream gives its pointer");
        let shared = Rc::new(Stream { raw });
        Ok(Self { shared })
    }

    /// Computes on this stream and in its memory, as a capture will: what is prepared at the first call, such as the choice
    /// of convolutions' algorithms, is so then. A tensor that is to outlive the next call here must be copied first.
    ///
    /// # Errors
    /// What libtorch says of stream and memory; `work` has not run then.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, LibtorchError> {
        let entered = self.enter(false)?;
        let result = work();
        entered.leave()?;
        Ok(result)
    }

    /// Notes `work` down instead of doing it; it has run in the same way before. Its tensors are the places where a replay
    /// reads and writes: numbers of the host that went into an operation are noted down too, and what the host read of them
    /// would be an error.
    ///
    /// # Errors
    /// What libtorch says of work that cannot be noted down.
    pub fn capture<T>(&self, work: impl FnOnce() -> T) -> Result<(Graph, T), LibtorchError> {
        let entered = self.enter(true)?;
        let result = work();
        let graph = entered.leave()?;
        let raw = NonNull::new(graph).expect("what was captured is a graph");
        let stream = Rc::clone(&self.shared);
        Ok((Graph { raw, stream }, result))
    }

    #[expect(
        unsafe_code,
        reason = "the stream lives, and the place for the result is on this stack"
    )]
    fn enter(&self, captures: bool) -> Result<Entered, LibtorchError> {
        let mut raw = ptr::null_mut();
        check(unsafe { pw_graph_enter(self.shared.raw.as_ptr(), captures, &raw mut raw) })?;
        Ok(Entered { raw })
    }
}

impl Graph {
    /// Does what was noted down, with random numbers that go on where the device's generator stands.
    ///
    /// # Errors
    /// What libtorch says.
    #[expect(
        unsafe_code,
        reason = "stream and graph live, and are used on this thread alone"
    )]
    pub fn replay(&self) -> Result<(), LibtorchError> {
        check(unsafe { pw_graph_replay(self.stream.raw.as_ptr(), self.raw.as_ptr()) })
    }
}

impl Entered {
    /// Goes back to the stream of before; the graph, where one was captured.
    #[expect(
        unsafe_code,
        reason = "the pointer is given back this once, and set to null for `drop`; the place for the result is on this stack"
    )]
    fn leave(mut self) -> Result<*mut RawGraph, LibtorchError> {
        let raw = std::mem::replace(&mut self.raw, ptr::null_mut());
        let mut graph = ptr::null_mut();
        check(unsafe { pw_graph_leave(raw, &raw mut graph) })?;
        Ok(graph)
    }
}

impl Drop for Entered {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/ and has not been given back; this runs where `work` panicked"
    )]
    fn drop(&mut self) {
        if !self.raw.is_null() {
            unsafe { pw_graph_abandon(self.raw) }
        }
    }
}

impl Drop for Graph {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/, and is freed this once, before its stream"
    )]
    fn drop(&mut self) {
        unsafe { pw_graph_free(self.raw.as_ptr()) }
    }
}

impl Drop for Stream {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/, and is freed this once, after the last graph on it"
    )]
    fn drop(&mut self) {
        unsafe { pw_graph_stream_free(self.raw.as_ptr()) }
    }
}
