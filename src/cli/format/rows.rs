//! The rows of a CSV text, strictly by RFC 4180: what is not well formed is refused rather than read as something else.
//!
//! A quote opens a field only as its first character, and only a comma or the end of a row follows the one that closes
//! it; a quote within such a field is written twice. So a quote that is never closed is found, and where it begins. Rows
//! end with CRLF, LF or CR; empty lines between them are passed over.

/// A row, and the line it begins in, from 1.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) fields: Vec<String>,
}

/// What is wrong in a text, and in which line.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) text: String,
}

/// Reads row after row.
pub(super) struct Rows<'a> {
    rest: &'a str,
    line: u64,
}

/// What came behind a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Comma,
    EndOfRow,
}

impl<'a> Rows<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// What is not well formed.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Fault> {
        while self.end_of_line() {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut row = Row { line: self.line, fields: vec![] };
        loop {
            let field = if self.rest.starts_with('"') { self.quoted()? } else { self.bare()? };
            row.fields.push(field);
            if self.behind()? == Behind::EndOfRow {
                return Ok(Some(row));
            }
        }
    }

    /// A field without quotes.
    fn bare(&mut self) -> Result<String, Fault> {
        let (field, rest) = self.rest.split_at(self.rest.find([',', '\r', '\n']).unwrap_or(self.rest.len()));
        if field.contains('"') {
            return Err(self.fault(
                "a quote stands within a field that does not begin with one; put the whole field into quotes, \
                 each quote in it written twice",
            ));
        }
        self.rest = rest;
        Ok(field.to_owned())
    }

    /// A field in quotes.
    fn quoted(&mut self) -> Result<String, Fault> {
        let begun = self.line;
        let mut field = String::new();
        let mut rest = self.rest.get(1..).unwrap_or_default();
        loop {
            let Some((part, behind)) = rest.split_once('"') else {
                return Err(Fault {
                    line: begun,
                    text: "the quote that opens a field here is never closed".to_owned(),
                });
            };
            field.push_str(part);
            self.line += memchr::memchr_iter(b'\n', part.as_bytes()).count() as u64;
            let Some(behind) = behind.strip_prefix('"') else {
                self.rest = behind;
                return Ok(field);
            };
            field.push('"');
            rest = behind;
        }
    }

    /// Passes over what stands behind a field.
    fn behind(&mut self) -> Result<Behind, Fault> {
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return Ok(Behind::Comma);
        }
        if self.rest.is_empty() || self.end_of_line() {
            return Ok(Behind::EndOfRow);
        }
        let next: String = self.rest.chars().take(1).collect();
        Err(self.fault(&format!(
            "{next:?} follows the quote that closes a field, where a comma or the end of the row should; a quote in a \
             field is written twice"
        )))
    }

    /// Passes over the end of a line, if it is here.
    fn end_of_line(&mut self) -> bool {
        let ends = ["\r\n", "\n", "\r"];
        let Some(rest) = ends.iter().find_map(|end| self.rest.strip_prefix(end)) else { return false };
        self.rest = rest;
        self.line += 1;
        true
    }

    fn fault(&self, text: &str) -> Fault {
        Fault { line: self.line, text: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(u64, Vec<String>)>, Fault> {
        let mut rows = Rows::new(text);
        let mut all = vec![];
        while let Some(row) = rows.next()? {
            all.push((row.line, row.fields));
        }
        Ok(all)
    }

    #[test]
    fn rows_know_the_line_they_begin_in_however_lines_end() {
        let row = |line, fields: [&str; 2]| (line, fields.map(ToOwned::to_owned).to_vec());
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "\"x\ny\r\nz\",2", "", "c,", ",\"\"", "\"q\"\"q\",\"a,b\""].join(end);
            let expected = [
                row(1, ["a", "b"]),
                row(2, ["x\ny\r\nz", "2"]),
                row(6, ["c", ""]),
                row(7, ["", ""]),
                row(8, ["q\"q", "a,b"]),
            ];
            assert_eq!(all(&text).unwrap(), expected, "{end:?}");
            assert_eq!(all(&format!("{text}{end}{end}")).unwrap(), expected, "{end:?}");
        }
        assert_eq!(all("").unwrap(), []);
        assert_eq!(all("\n\r\n").unwrap(), []);
        assert_eq!(all("a").unwrap(), [(1, vec!["a".to_owned()])]);
    }

    #[test]
    fn what_is_not_well_formed_is_refused_with_its_line() {
        for (text, line, says) in [
            ("a,b\n\"x,1\ny,2\n", 2, "never closed"),
            ("a,\"", 1, "never closed"),
            ("a,\"\"\"", 1, "never closed"),
            ("a,b\nc,\"21.5\" C\n", 2, "\" \" follows"),
            ("a,\"x\"y\n", 1, "\"y\" follows"),
            ("a,\"one\ntwo\"x\n", 2, "follows"),
            ("a,5\" pipe\n", 1, "within a field"),
            ("a,b\n\nc, \"x\"\n", 3, "within a field"),
            ("a\"\n", 1, "within a field"),
            ("\"a\"\"\nb,c\n", 1, "never closed"),
        ] {
            let fault = all(text).unwrap_err();
            assert!(fault.line == line && fault.text.contains(says), "{text:?} gave {fault:?}");
        }
    }
}
