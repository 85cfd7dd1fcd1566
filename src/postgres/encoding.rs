//! The encoding of a database. Keys and types are any Unicode text, so a database that cannot hold all of it is refused on each
//! new connection: what it can hold would work, and what it cannot would fail one key at a time.

use tokio_postgres::SimpleQueryMessage;

/// What a new connection is asked. A server that does not know the question is taken as it is.
pub(super) const QUESTION: &str = "SELECT current_setting('server_encoding'), current_database()";

/// Those that hold any text. With `SQL_ASCII` the server keeps the bytes as they come, and ours are always UTF-8.
const WHOLE: [&str; 2] = ["UTF8", "SQL_ASCII"];

/// Why the database is refused, if it is.
pub(super) fn unfit(answer: &[SimpleQueryMessage]) -> Option<String> {
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })?;
    refusal(row.try_get(0).ok()??, row.try_get(1).ok()?.unwrap_or_default())
}

fn refusal(encoding: &str, database: &str) -> Option<String> {
    (!WHOLE.contains(&encoding)).then(|| {
        format!(
            "cannot use the database {database:?}: its encoding {encoding} cannot hold every key; nothing was done. Make a \
             database with `createdb --template=template0 --encoding=UTF8 --locale=C NAME`, bring over what is there with \
             pg_dump, and name the new one in the URL of the store"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_hold_all_text_is_refused_and_the_way_out_is_told() {
        for whole in WHOLE {
            assert_eq!(refusal(whole, "kvs"), None);
        }
        for other in ["LATIN1", "WIN1252", "EUC_JP", "LATIN9"] {
            let text = refusal(other, "kvs").unwrap();
            assert!(text.contains(other) && text.contains("\"kvs\"") && text.contains("createdb"), "{text}");
        }
    }
}
