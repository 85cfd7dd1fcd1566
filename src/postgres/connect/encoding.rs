//! Checks the encoding of a database on each new connection.
//!
//! Keys and content types are any Unicode text. A database with a smaller character set would store some keys and
//! reject others, so it is refused as a whole.

use tokio_postgres::SimpleQueryMessage;

/// The query for the encoding. A server that does not know it is accepted.
pub(crate) const QUERY: &str = "SELECT current_setting('server_encoding'), current_database()";

/// The encodings that hold any text. With `SQL_ASCII` the server stores bytes unchanged, and kvs always sends UTF-8.
const COMPLETE: [&str; 2] = ["UTF8", "SQL_ASCII"];

/// The error text if the database cannot be used.
pub(crate) fn error_of(response: &[SimpleQueryMessage]) -> Option<String> {
    let row = response.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })?;
    error_text(row.try_get(0).ok()??, row.try_get(1).ok()?.unwrap_or_default())
}

fn error_text(encoding: &str, database: &str) -> Option<String> {
    (!COMPLETE.contains(&encoding)).then(|| {
        format!(
            "cannot use the database {database:?}: its encoding {encoding} cannot hold every key; nothing was done. \
             Create a database with `createdb --template=template0 --encoding=UTF8 --locale=C NAME`, move the data \
             with pg_dump, and put the new name into the URL of the store"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_encoding_is_refused_with_the_command_that_helps() {
        for complete in COMPLETE {
            assert_eq!(error_text(complete, "kvs"), None);
        }
        for other in ["LATIN1", "WIN1252", "EUC_JP", "LATIN9"] {
            let text = error_text(other, "kvs").unwrap();
            assert!(text.contains(other) && text.contains("\"kvs\"") && text.contains("createdb"), "{text}");
        }
    }
}
