//! The two sides of a copy, so that an error says on which side it happened.

use std::fmt;

use crate::model::Error;

/// The source or the target of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Source,
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Target => "the target",
        })
    }
}

/// Puts the side in front of an error. The text has its causes already, so it gets none.
pub(crate) fn on(side: Side) -> impl Fn(Error) -> Error {
    move |error| Error::new(error.kind(), format!("{side}: {error}"))
}
