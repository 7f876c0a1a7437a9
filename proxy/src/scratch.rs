//! Buffers of the thread, lent for the length of one poll: an idle connection holds none.

use std::cell::RefCell;

/// How much is read at once, and the most that is held for one direction of a tunnel.
pub const SCRATCH: usize = 64 * 1024;

/// Room for ciphertext: two whole records (RFC 8446 §5.2) with what is left of an earlier one.
pub(crate) const CIPHERTEXT: usize = 2 * MAX_RECORD;

/// The longest TLS record, header included (RFC 8446 §5.2: 2^14 + 256 and five bytes of header; TLS 1.2 allows
/// 2^14 + 2048).
pub(crate) const MAX_RECORD: usize = 16 * 1024 + 2048 + 5;

thread_local! {
    static PLAINTEXT: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
    static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; CIPHERTEXT].into());
    static OUTGOING: RefCell<Box<[u8]>> = RefCell::new(vec![0; CIPHERTEXT].into());
}

/// Lends the buffer for what is read from a leg. Not to be nested.
pub fn with_plaintext<T>(body: impl FnOnce(&mut [u8]) -> T) -> T {
    PLAINTEXT.with_borrow_mut(|buffer| body(buffer))
}

/// Lends the buffer for ciphertext that came in.
pub(crate) fn with_incoming<T>(body: impl FnOnce(&mut [u8]) -> T) -> T {
    INCOMING.with_borrow_mut(|buffer| body(buffer))
}

/// Lends the buffer for ciphertext that goes out.
pub(crate) fn with_outgoing<T>(body: impl FnOnce(&mut [u8]) -> T) -> T {
    OUTGOING.with_borrow_mut(|buffer| body(buffer))
}
