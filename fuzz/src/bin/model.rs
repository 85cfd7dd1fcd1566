//! Names, times, revisions and types: each parsed value can be printed and parsed again, with the same result.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use kvs::model::{Bucket, ContentType, Key, Revision, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    round_trip::<Bucket>(text);
    round_trip::<Key>(text);
    round_trip::<Revision>(text);
    round_trip::<Time>(text);
    if let Ok(kind) = ContentType::new(text) {
        assert_eq!(ContentType::new(kind.as_str()).unwrap(), kind);
        assert!(kind.as_str().bytes().all(|b| (b' '..=b'~').contains(&b)), "could split a header: {kind:?}");
    }
    if let Ok(bucket) = Bucket::new(text) {
        assert!(!text.contains('/') && !text.starts_with('.'), "could leave its folder: {bucket:?}");
    }
});

fn round_trip<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(first) = text.parse::<T>() {
        let printed = first.to_string();
        assert_eq!(printed.parse::<T>().unwrap(), first, "{text:?} printed as {printed:?}");
    }
}
