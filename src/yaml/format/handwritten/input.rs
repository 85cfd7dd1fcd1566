//! The input of the YAML parser: a tab counts as white space after a colon, as in YAML 1.2 but not in saphyr.

use saphyr_parser::StrInput;
use saphyr_parser::input::{Input, SkipTabs};

/// A text in which a tab may follow a colon.
pub(crate) struct TabTolerantInput<'a> {
    inner: StrInput<'a>,
}

impl<'a> TabTolerantInput<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { inner: StrInput::new(text) }
    }
}

/// Delegates these methods to `inner`, so that its fast versions are used and not the defaults of the trait.
macro_rules! delegate {
    ($(fn $name:ident(&$($this:ident)+ $(, $arg:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        $(delegate!(@ $name ($($this)+) ($($arg: $type),*) ($($result)?));)*
    };
    (@ $name:ident (self) ($($arg:ident: $type:ty),*) ($($result:ty)?)) => {
        fn $name(&self $(, $arg: $type)*) $(-> $result)? {
            self.inner.$name($($arg),*)
        }
    };
    (@ $name:ident (mut self) ($($arg:ident: $type:ty),*) ($($result:ty)?)) => {
        fn $name(&mut self $(, $arg: $type)*) $(-> $result)? {
            self.inner.$name($($arg),*)
        }
    };
}

impl Input for TabTolerantInput<'_> {
    /// Reports for all white space that it may follow a colon. Nothing else uses this.
    fn skip_ws_to_eol(&mut self, tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        let (skipped, found) = self.inner.skip_ws_to_eol(tabs);
        (skipped, found.map(|found| SkipTabs::Result(found.found_tabs(), skipped > 0)))
    }

    delegate! {
        fn lookahead(&mut self, count: usize);
        fn buflen(&self) -> usize;
        fn bufmaxlen(&self) -> usize;
        fn buf_is_empty(&self) -> bool;
        fn raw_read_ch(&mut self) -> char;
        fn raw_read_non_breakz_ch(&mut self) -> Option<char>;
        fn skip(&mut self);
        fn skip_n(&mut self, count: usize);
        fn peek(&self) -> char;
        fn peek_nth(&self, n: usize) -> char;
        fn peek_opt(&self) -> Option<char>;
        fn look_ch(&mut self) -> char;
        fn next_char_is(&self, c: char) -> bool;
        fn nth_char_is(&self, n: usize, c: char) -> bool;
        fn next_2_are(&self, c1: char, c2: char) -> bool;
        fn next_3_are(&self, c1: char, c2: char, c3: char) -> bool;
        fn next_is_document_indicator(&self) -> bool;
        fn next_is_document_start(&self) -> bool;
        fn next_is_document_end(&self) -> bool;
        fn next_can_be_plain_scalar(&self, in_flow: bool) -> bool;
        fn next_is_blank_or_break(&self) -> bool;
        fn next_is_blank_or_breakz(&self) -> bool;
        fn next_is_blank(&self) -> bool;
        fn next_is_break(&self) -> bool;
        fn next_is_breakz(&self) -> bool;
        fn next_is_z(&self) -> bool;
        fn next_is_flow(&self) -> bool;
        fn next_is_digit(&self) -> bool;
        fn next_is_alpha(&self) -> bool;
        fn skip_while_non_breakz(&mut self) -> usize;
        fn skip_while_blank(&mut self) -> usize;
        fn fetch_while_is_alpha(&mut self, out: &mut String) -> usize;
        fn fetch_while_is_yaml_non_space(&mut self, out: &mut String) -> usize;
    }
}
