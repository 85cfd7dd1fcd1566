//! The text as the YAML parser takes it: a tab is white space after a colon, as YAML 1.2 has it and saphyr does not.

use saphyr_parser::StrInput;
use saphyr_parser::input::{Input, SkipTabs};

/// A text in which a tab may follow a colon.
pub(super) struct Tabbed<'a> {
    inner: StrInput<'a>,
}

impl<'a> Tabbed<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { inner: StrInput::new(text) }
    }
}

/// Passes these on to `inner`, so that its shortcuts count and not the defaults of the trait.
macro_rules! passed_on {
    ($(fn $name:ident(&$($this:ident)+ $(, $given:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        $(passed_on!(@ $name ($($this)+) ($($given: $type),*) ($($result)?));)*
    };
    (@ $name:ident (self) ($($given:ident: $type:ty),*) ($($result:ty)?)) => {
        fn $name(&self $(, $given: $type)*) $(-> $result)? {
            self.inner.$name($($given),*)
        }
    };
    (@ $name:ident (mut self) ($($given:ident: $type:ty),*) ($($result:ty)?)) => {
        fn $name(&mut self $(, $given: $type)*) $(-> $result)? {
            self.inner.$name($($given),*)
        }
    };
}

impl Input for Tabbed<'_> {
    /// Says of every white space that it may follow a colon. Nothing else asks.
    fn skip_ws_to_eol(&mut self, tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        let (skipped, found) = self.inner.skip_ws_to_eol(tabs);
        (skipped, found.map(|found| SkipTabs::Result(found.found_tabs(), skipped > 0)))
    }

    passed_on! {
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
