//! Write hooks.

mod delivery;
