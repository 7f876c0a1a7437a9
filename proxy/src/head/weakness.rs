//! The checks that a test can switch off, one at a time, to see that the table of requests notices.
//!
//! Outside of this crate's own unit tests [`tolerated`] is the constant `false` and nothing of this is compiled
//! in: there is no way to make the proxy lenient.

/// One check that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    BareLf,
    BareCr,
    ControlInValue,
    FoldedLine,
    SpaceBeforeColon,
    MissingHost,
    RepeatedHost,
    MalformedHost,
    OtherAuthority,
    Userinfo,
    Fragment,
    AboveRoot,
    Connect,
    RepeatedLength,
    SignedLength,
    LengthWithCoding,
    OtherCoding,
    RepeatedCoding,
    CodingInHttp10,
    ChunkBareLf,
    ChunkSizePadding,
    ChunkSizePrefix,
    ChunkSizeOverflow,
    ChunkExtension,
    ChunkEnd,
    ForbiddenTrailer,
    NominatedHost,
    UnderscoreAlias,
    HopByHop,
    HandshakeMethod,
    HandshakeKey,
    HandshakeVersion,
    HandshakeBody,
    HandshakeInHttp10,
    OtherUpgrade,
}

#[cfg(not(test))]
pub(crate) const fn tolerated(_: Weakness) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switch::{ALL, tolerated, with};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Weakness;

    thread_local! {
        static CURRENT: Cell<Option<Weakness>> = const { Cell::new(None) };
    }

    pub(crate) fn tolerated(weakness: Weakness) -> bool {
        CURRENT.get() == Some(weakness)
    }

    /// What `work` gives while one check is left out.
    pub(crate) fn with<T>(weakness: Weakness, work: impl FnOnce() -> T) -> T {
        CURRENT.set(Some(weakness));
        let result = work();
        CURRENT.set(None);
        result
    }

    pub(crate) const ALL: &[Weakness] = &[
        Weakness::BareLf,
        Weakness::BareCr,
        Weakness::ControlInValue,
        Weakness::FoldedLine,
        Weakness::SpaceBeforeColon,
        Weakness::MissingHost,
        Weakness::RepeatedHost,
        Weakness::MalformedHost,
        Weakness::OtherAuthority,
        Weakness::Userinfo,
        Weakness::Fragment,
        Weakness::AboveRoot,
        Weakness::Connect,
        Weakness::RepeatedLength,
        Weakness::SignedLength,
        Weakness::LengthWithCoding,
        Weakness::OtherCoding,
        Weakness::RepeatedCoding,
        Weakness::CodingInHttp10,
        Weakness::ChunkBareLf,
        Weakness::ChunkSizePadding,
        Weakness::ChunkSizePrefix,
        Weakness::ChunkSizeOverflow,
        Weakness::ChunkExtension,
        Weakness::ChunkEnd,
        Weakness::ForbiddenTrailer,
        Weakness::NominatedHost,
        Weakness::UnderscoreAlias,
        Weakness::HopByHop,
        Weakness::HandshakeMethod,
        Weakness::HandshakeKey,
        Weakness::HandshakeVersion,
        Weakness::HandshakeBody,
        Weakness::HandshakeInHttp10,
        Weakness::OtherUpgrade,
    ];
}
