//! The two sides of a copy, so that an error tells on which it happened.

use std::fmt;

use crate::model::Error;

/// Where entries come from, or where they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
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

/// The same error, telling the side. Its causes are in its text: as a cause of its own it would tell them twice.
pub(super) fn on(side: Side) -> impl Fn(Error) -> Error {
    move |error| Error::new(error.kind(), format!("{side}: {error}"))
}
