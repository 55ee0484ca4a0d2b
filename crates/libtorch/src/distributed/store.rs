//! A small table of keys and values that several processes share.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::time::Duration;

use crate::error::{LibtorchError, check};

use super::milliseconds;

/// `Store` of csrc/distributed.cpp.
#[repr(C)]
pub(super) struct RawStore {
    _opaque: [u8; 0],
}

#[expect(
    unsafe_code,
    reason = "declares the functions of csrc/distributed.cpp, with their very signatures"
)]
unsafe extern "C" {
    fn pw_tcp_store(
        host: *const c_char,
        port: u16,
        listener: c_int,
        is_server: bool,
        timeout_ms: i64,
        store: *mut *mut RawStore,
    ) -> c_int;
    fn pw_file_store(
        path: *const c_char,
        ranks: c_int,
        timeout_ms: i64,
        store: *mut *mut RawStore,
    ) -> c_int;
    fn pw_store_prefix(
        store: *mut RawStore,
        prefix: *const c_char,
        prefixed: *mut *mut RawStore,
    ) -> c_int;
    fn pw_store_set(
        store: *mut RawStore,
        key: *const c_char,
        bytes: *const u8,
        length: usize,
    ) -> c_int;
    fn pw_store_get(
        store: *mut RawStore,
        key: *const c_char,
        timeout_ms: i64,
        take: extern "C" fn(*mut c_void, *const u8, usize),
        taker: *mut c_void,
    ) -> c_int;
    fn pw_store_check(store: *mut RawStore, key: *const c_char, is_there: *mut bool) -> c_int;
    fn pw_store_add(store: *mut RawStore, key: *const c_char, amount: i64, sum: *mut i64) -> c_int;
    fn pw_store_free(store: *mut RawStore);
}

/// A table of keys and values that several processes share: `TCPStore`, which one of them serves, or `FileStore`.
#[derive(Debug)]
pub struct Store {
    raw: NonNull<RawStore>,
}

#[expect(
    unsafe_code,
    reason = "a store is bound to no thread, and is freed where it is dropped"
)]
unsafe impl Send for Store {}

#[expect(
    unsafe_code,
    reason = "each operation of c10d's stores holds a lock of its own; their settings do not change after they are made"
)]
unsafe impl Sync for Store {}

#[expect(
    unsafe_code,
    reason = "each block calls a function of csrc/ with the pointer of a store that lives, with texts that end in a \
              zero and live until the call returns, and with places for results that are on this stack"
)]
impl Store {
    /// Serves a store on a socket that listens already, and connects to it. The server ends when this is dropped.
    pub fn serve(listener: TcpListener, timeout: Duration) -> Result<Self, LibtorchError> {
        let address = listener
            .local_addr()
            .map_err(|error| LibtorchError::new(error.to_string()))?;
        let host = if address.ip().is_unspecified() {
            "localhost".to_owned()
        } else {
            address.ip().to_string()
        };
        // The server owns the descriptor from here on, and closes it.
        let descriptor = listener.into_raw_fd();
        Self::tcp(&host, address.port(), descriptor, true, timeout)
    }

    /// Serves a store at a port of all interfaces, and connects to it by the name `host`.
    pub fn serve_at(host: &str, port: u16, timeout: Duration) -> Result<Self, LibtorchError> {
        Self::tcp(host, port, -1, true, timeout)
    }

    /// Connects to the store that another process serves; waits until it does.
    pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<Self, LibtorchError> {
        Self::tcp(host, port, -1, false, timeout)
    }

    fn tcp(
        host: &str,
        port: u16,
        listener: c_int,
        is_server: bool,
        timeout: Duration,
    ) -> Result<Self, LibtorchError> {
        let host = text(host)?;
        let timeout = milliseconds(timeout);
        Self::made(|place| unsafe {
            pw_tcp_store(host.as_ptr(), port, listener, is_server, timeout, place)
        })
    }

    /// A store in a file that all of `ranks` processes see. The file is new: what a killed run has left in it would be
    /// taken for this one's.
    pub fn file(path: &Path, ranks: u32, timeout: Duration) -> Result<Self, LibtorchError> {
        let path = text(&path.to_string_lossy())?;
        let timeout = milliseconds(timeout);
        let ranks = c_int::try_from(ranks).unwrap_or(c_int::MAX);
        Self::made(|place| unsafe { pw_file_store(path.as_ptr(), ranks, timeout, place) })
    }

    /// The same store, every key of which has `prefix` before it.
    pub fn under(&self, prefix: &str) -> Result<Self, LibtorchError> {
        let prefix = text(prefix)?;
        Self::made(|place| unsafe { pw_store_prefix(self.raw(), prefix.as_ptr(), place) })
    }

    fn made(make: impl FnOnce(*mut *mut RawStore) -> c_int) -> Result<Self, LibtorchError> {
        let mut place = ptr::null_mut();
        check(make(&raw mut place))?;
        let raw = NonNull::new(place).expect("a function that made a store gives its pointer");
        Ok(Self { raw })
    }

    /// Sets a value.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), LibtorchError> {
        let key = text(key)?;
        check(unsafe { pw_store_set(self.raw(), key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// The value of a key; waits until some process has set it.
    pub fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, LibtorchError> {
        extern "C" fn take(taker: *mut c_void, bytes: *const u8, length: usize) {
            // SAFETY: called once, before `pw_store_get` returns, with the `taker` given below and a whole buffer of c10d's,
            // whose pointer may be null when it is empty.
            if length > 0 {
                let value = unsafe { &mut *taker.cast::<Vec<u8>>() };
                value.extend_from_slice(unsafe { std::slice::from_raw_parts(bytes, length) });
            }
        }
        let key = text(key)?;
        let mut value: Vec<u8> = Vec::new();
        let taker = (&raw mut value).cast();
        let timeout = milliseconds(timeout);
        check(unsafe { pw_store_get(self.raw(), key.as_ptr(), timeout, take, taker) })?;
        Ok(value)
    }

    /// Whether a key has a value. Like [`Store::set`] and [`Store::add`] it waits for the server, however long that takes.
    pub fn has(&self, key: &str) -> Result<bool, LibtorchError> {
        let key = text(key)?;
        let mut is_there = false;
        check(unsafe { pw_store_check(self.raw(), key.as_ptr(), &raw mut is_there) })?;
        Ok(is_there)
    }

    /// Adds to the number of a key, which begins with zero, and gives the sum.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64, LibtorchError> {
        let key = text(key)?;
        let mut sum = 0;
        check(unsafe { pw_store_add(self.raw(), key.as_ptr(), amount, &raw mut sum) })?;
        Ok(sum)
    }

    pub(super) fn raw(&self) -> *mut RawStore {
        self.raw.as_ptr()
    }
}

impl Drop for Store {
    #[expect(
        unsafe_code,
        reason = "the pointer came from csrc/, and is freed this once; a group or a prefixed store holds the store behind \
                  it by a count of its own"
    )]
    fn drop(&mut self) {
        unsafe { pw_store_free(self.raw()) }
    }
}

/// A text for C++.
pub(super) fn text(text: &str) -> Result<CString, LibtorchError> {
    CString::new(text).map_err(|_| LibtorchError::new(format!("`{text:?}` holds a zero byte")))
}

/// No text.
pub(super) const NO_TEXT: &CStr = c"";

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn values_go_from_one_store_to_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store");
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Store::serve(listener, SHORT).unwrap();
        let client = Store::connect("127.0.0.1", port, SHORT).unwrap();
        let files = [(); 2].map(|()| Store::file(&file, 2, SHORT).unwrap());
        for [one, other] in [[server, client], files] {
            assert!(!other.has("key").unwrap());
            one.set("key", b"a value\0of bytes").unwrap();
            one.set("empty", b"").unwrap();
            assert_eq!(other.get("key", SHORT).unwrap(), b"a value\0of bytes");
            assert_eq!(other.get("empty", SHORT).unwrap(), b"");
            assert!(other.has("key").unwrap());
            assert_eq!(
                (one.add("n", 2).unwrap(), other.add("n", 3).unwrap()),
                (2, 5)
            );
            let under = one.under("here").unwrap();
            under.set("key", b"another").unwrap();
            assert_eq!(
                other.under("here").unwrap().get("key", SHORT).unwrap(),
                b"another"
            );
            assert_eq!(other.get("key", SHORT).unwrap(), b"a value\0of bytes");
        }
    }

    #[test]
    fn what_never_comes_is_an_error_in_words() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let store = Store::serve(listener, SHORT).unwrap();
        let error = store.get("never", SHORT).unwrap_err();
        assert!(error.text().contains("never"), "{error}");
        assert!(!error.text().contains("frame #"), "{error}");
        assert!(store.set("a\0b", b"").unwrap_err().text().contains("zero"));
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        assert!(Store::connect("127.0.0.1", port, SHORT).is_err());
    }
}
