//! Checks whether the role of the URL may write, and names the statement that would allow it.
//!
//! A missing privilege is permanent until a person grants it. A standby is not a matter of permission: its errors end
//! when another server is promoted.

use tokio_postgres::Client;

use crate::model::{Error, ErrorKind, Result};
use crate::postgres::error::{PgError, Reason};
use crate::postgres::sql::row::column;
use crate::postgres::sql::schema::TableNames;

/// The query for the role and whether it is read-only on a server that accepts writes.
const SESSION_QUERY: &str =
    "SELECT current_user::text, NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'on'";

/// The session of a connection.
struct Session {
    /// Quoted for use in a statement.
    role: String,
    /// Whether the session is read-only although the server accepts writes.
    is_read_only: bool,
}

impl Session {
    /// `None` if the server does not answer the query.
    async fn of(client: &Client) -> Option<Self> {
        let row = client.query_one(SESSION_QUERY, &[]).await.ok()?;
        let role = column::<&str>(&row, 0).ok()?.replace('"', "\"\"");
        Some(Self { role: format!("\"{role}\""), is_read_only: column(&row, 1).ok()? })
    }

    fn read_only_error(&self) -> Error {
        let role = &self.role;
        let text = format!(
            "PostgreSQL is set to read-only for the role {role} or for its database; nothing was stored. To allow \
             writes, run ALTER ROLE {role} RESET default_transaction_read_only, or the same with ALTER DATABASE"
        );
        Error::new(ErrorKind::PermissionDenied, text)
    }

    fn missing_privilege_error(&self, names: &TableNames) -> Error {
        let role = &self.role;
        let schema = names.schema().map(|schema| format!("GRANT USAGE ON SCHEMA {schema} TO {role}; "));
        let text = format!(
            "the role {role} lacks a privilege in PostgreSQL; nothing was stored. The owner of the tables can grant \
             it: {}GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {role}",
            schema.unwrap_or_default(),
            names.all_tables().join(", ")
        );
        Error::new(ErrorKind::PermissionDenied, text)
    }
}

/// Adds to an error about a missing permission the statement that grants it.
pub(crate) async fn explain(client: &Client, names: &TableNames, error: PgError) -> PgError {
    let Some(session) = Session::of(client).await else { return error };
    let explained = match error.reason {
        Some(Reason::ReadOnly) if session.is_read_only => session.read_only_error(),
        Some(Reason::NotPermitted) => session.missing_privilege_error(names),
        _ => return error,
    };
    explained.with_source(error.error).into()
}

/// Checks whether the role may write. Any other trouble with the server is ignored.
///
/// # Errors
/// `PermissionDenied`, with the statement that helps.
pub(crate) async fn check(client: &Client, names: &TableNames) -> Result<()> {
    let Some(session) = Session::of(client).await else { return Ok(()) };
    if session.is_read_only {
        return Err(session.read_only_error());
    }
    let all = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    let without_delete = ["SELECT", "INSERT", "UPDATE"];
    let needed = |table: &str| if table == names.buckets { &without_delete[..] } else { &all[..] };
    let terms: Vec<_> = names
        .all_tables()
        .into_iter()
        .flat_map(|table| needed(table).iter().map(move |one| format!("has_table_privilege('{table}', '{one}')")))
        .collect();
    let row = client.query_one(&format!("SELECT {}", terms.join(" AND ")), &[]).await;
    match row.ok().and_then(|row| column::<bool>(&row, 0).ok()) {
        Some(false) => Err(session.missing_privilege_error(names)),
        Some(true) | None => Ok(()),
    }
}
