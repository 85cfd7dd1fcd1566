//! The cases of the suite: what a case is, and the macro that lists the cases of a file.

use std::pin::Pin;

use super::store_under_test::TestBench;

/// A case: its name, and a test that gets an empty store.
pub(crate) type Case = (&'static str, fn(TestBench) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// Lists the cases of a file by name. A case that is not listed is dead code, which the compiler reports.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        pub(crate) const CASES: &[crate::store::suite::cases::Case] = &[$((
            concat!(module_path!(), "::", stringify!($case)),
            |bench| Box::pin($case(bench)),
        )),+];
    };
}
pub(crate) use cases;
