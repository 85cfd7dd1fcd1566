//! JSON texts that can be written into a line of YAML unchanged: all YAML readers find the same value as a JSON reader,
//! and the spelling is kept.

/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 64;

/// YAML allows a longer key only in the explicit form. The limit of the standard is 1024 characters.
const MAX_KEY_BYTES: usize = 256;

/// Whether the whole text is such a JSON text.
pub(crate) fn is_embeddable(text: &str) -> bool {
    end(text) == Some(text.len())
}

/// The end of the JSON text at the start of `text`; `None` if there is no such text.
///
/// YAML readers disagree on some JSON, which is left out: several lines, tabs, numbers such as `1e5` (text for some),
/// the escape `\/` and those of surrogates, duplicate keys, and long keys.
pub(crate) fn end(text: &str) -> Option<usize> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(0)?;
    Some(scanner.at)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips a text, if it comes next.
    fn take(&mut self, wanted: &str) -> Option<()> {
        self.rest().starts_with(wanted).then(|| self.at += wanted.len())
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'{' if depth < MAX_DEPTH => self.object(depth),
            b'[' if depth < MAX_DEPTH => self.array(depth),
            b'"' => self.string().map(drop),
            b't' => self.take("true"),
            b'f' => self.take("false"),
            b'n' => self.take("null"),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take("[")?;
        self.spaces();
        if self.take("]").is_some() {
            return Some(());
        }
        loop {
            self.spaces();
            self.value(depth + 1)?;
            self.spaces();
            if self.take(",").is_none() {
                return self.take("]");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.take("{")?;
        self.spaces();
        if self.take("}").is_some() {
            return Some(());
        }
        let mut keys = std::collections::HashSet::new();
        loop {
            self.spaces();
            let key = self.string()?;
            // Two spellings of one key are not worth detecting.
            if key.len() > MAX_KEY_BYTES || key.contains('\\') || !keys.insert(key) {
                return None;
            }
            self.spaces();
            self.take(":")?;
            self.spaces();
            self.value(depth + 1)?;
            self.spaces();
            if self.take(",").is_none() {
                return self.take("}");
            }
        }
    }

    /// Skips a string, and returns the text between its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.take("\"")?;
        let begin = self.at;
        loop {
            let c = self.rest().chars().next()?;
            self.at += c.len_utf8();
            match c {
                '"' => return self.text.get(begin..self.at - 1),
                '\\' => {
                    let escape = self.next()?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'n' | b'r' | b't' | b'b' | b'f' => {}
                        b'u' => {
                            let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                            char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                c if !super::scalar::is_printable(c) => return None,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take("-");
        let whole = self.digits();
        if whole.is_empty() || whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if self.take(".").is_some() {
            if self.digits().is_empty() {
                return None;
            }
            if self.take("e").or_else(|| self.take("E")).is_some() {
                self.take("+").or_else(|| self.take("-"))?;
                return (!self.digits().is_empty()).then_some(());
            }
        }
        // An exponent without a fraction is text for some readers.
        (!matches!(self.next(), Some(b'e' | b'E'))).then_some(())
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn end_of_a_json_text_is_found() {
        for text in
            ["{}", "[]", "[1, -2.5,3.5e+7]", r#"{"a":{"b":[true,false,null]}, "c": "x\n\u00e4"}"#, "\"a\"", "0", "[ ]"]
        {
            assert!(is_embeddable(text), "{text}");
            assert_eq!(end(&format!("{text}, updated: x}}")), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn ambiguous_json_is_not_embedded() {
        for text in [
            "",
            "1e5",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            "{'a': 1}",
            "{a: 1}",
            "[1,]",
            "{\"a\": 1, \"a\": 2}",
            "[1,\n2]",
            "[\t1]",
            "\"a\\/b\"",
            "\"\\ud83d\\ude00\"",
            "\"\u{7f}\"",
            "NaN",
            "[",
        ] {
            assert!(!is_embeddable(text), "{text}");
        }
        assert!(!is_embeddable(&"[".repeat(100_000)));
    }

    proptest! {
        #[test]
        fn serde_yaml_finds_what_serde_json_finds(text in r#"[\[\]{}",:0-9.eE+\-truefalsn\\ ]{0,24}"#) {
            if is_embeddable(&text) {
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                let yaml: serde_json::Value = serde_yaml::from_str(&text).unwrap();
                prop_assert_eq!(json, yaml);
            }
        }
    }
}
