//! The rows of CSV text, strictly by RFC 4180: text that is not well formed is an error.
//!
//! A field in quotes begins with a quote, and after its closing quote comes a comma or the end of the row. A quote
//! inside it is written twice. So an unclosed quote is found, with the line where it begins. Rows end with CRLF, LF or
//! CR; empty lines are ignored.

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct CsvRow {
    /// Where the row begins, from 1.
    pub(crate) line: u64,
    pub(crate) fields: Vec<String>,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct CsvError {
    /// From 1.
    pub(crate) line: u64,
    pub(crate) text: String,
}

/// Reads one row after another.
pub(crate) struct CsvRows<'a> {
    rest: &'a str,
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterField {
    Comma,
    EndOfRow,
}

impl<'a> CsvRows<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// If the row is not well formed.
    pub(crate) fn next(&mut self) -> Result<Option<CsvRow>, CsvError> {
        while self.end_of_line() {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut row = CsvRow { line: self.line, fields: vec![] };
        loop {
            let field = if self.rest.starts_with('"') { self.quoted()? } else { self.unquoted()? };
            row.fields.push(field);
            if self.after_field()? == AfterField::EndOfRow {
                return Ok(Some(row));
            }
        }
    }

    fn unquoted(&mut self) -> Result<String, CsvError> {
        let (field, rest) = self.rest.split_at(self.rest.find([',', '\r', '\n']).unwrap_or(self.rest.len()));
        if field.contains('"') {
            return Err(self.error(
                "there is a quote in a field that does not begin with one; put the whole field in quotes, and \
                 write each quote in it twice",
            ));
        }
        self.rest = rest;
        Ok(field.to_owned())
    }

    fn quoted(&mut self) -> Result<String, CsvError> {
        let first_line = self.line;
        let mut field = String::new();
        let mut rest = self.rest.get(1..).unwrap_or_default();
        loop {
            let Some((part, after)) = rest.split_once('"') else {
                return Err(CsvError {
                    line: first_line,
                    text: "the quote that opens a field here is not closed; close it at the end of the field"
                        .to_owned(),
                });
            };
            field.push_str(part);
            self.line += memchr::memchr_iter(b'\n', part.as_bytes()).count() as u64;
            let Some(after_quote) = after.strip_prefix('"') else {
                self.rest = after;
                return Ok(field);
            };
            field.push('"');
            rest = after_quote;
        }
    }

    /// Skips the comma or line end after a field.
    fn after_field(&mut self) -> Result<AfterField, CsvError> {
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return Ok(AfterField::Comma);
        }
        if self.rest.is_empty() || self.end_of_line() {
            return Ok(AfterField::EndOfRow);
        }
        let next: String = self.rest.chars().take(1).collect();
        Err(self.error(&format!(
            "expected a comma or the end of the row after a closing quote, got {next:?}; write a quote in a field twice"
        )))
    }

    /// Skips a line end, if there is one.
    fn end_of_line(&mut self) -> bool {
        let ends = ["\r\n", "\n", "\r"];
        let Some(rest) = ends.iter().find_map(|end| self.rest.strip_prefix(end)) else { return false };
        self.rest = rest;
        self.line += 1;
        true
    }

    fn error(&self, text: &str) -> CsvError {
        CsvError { line: self.line, text: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(u64, Vec<String>)>, CsvError> {
        let mut rows = CsvRows::new(text);
        let mut all = vec![];
        while let Some(row) = rows.next()? {
            all.push((row.line, row.fields));
        }
        Ok(all)
    }

    #[test]
    fn rows_have_the_line_where_they_begin_with_any_line_end() {
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
    fn malformed_rows_are_errors_with_their_line() {
        for (text, line, says) in [
            ("a,b\n\"x,1\ny,2\n", 2, "not closed"),
            ("a,\"", 1, "not closed"),
            ("a,\"\"\"", 1, "not closed"),
            ("a,b\nc,\"21.5\" C\n", 2, "got \" \""),
            ("a,\"x\"y\n", 1, "got \"y\""),
            ("a,\"one\ntwo\"x\n", 2, "got \"x\""),
            ("a,5\" pipe\n", 1, "a quote in a field"),
            ("a,b\n\nc, \"x\"\n", 3, "a quote in a field"),
            ("a\"\n", 1, "a quote in a field"),
            ("\"a\"\"\nb,c\n", 1, "not closed"),
        ] {
            let error = all(text).unwrap_err();
            assert!(error.line == line && error.text.contains(says), "{text:?} gave {error:?}");
        }
    }
}
