//! What kvs reads from a text in the file format is what `serde_yaml` reads. `pyyaml.rs` asks PyYAML.
#![no_main]

use kvs_fuzz::yaml_readers::{compare_with_serde_yaml, terminated};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    compare_with_serde_yaml(&terminated(text));
});
