//! The integration tests, one program.

mod classic;
