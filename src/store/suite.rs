//! The suite that every store and every layer must pass.
