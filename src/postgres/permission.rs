//! Whether the role of the URL may write. What is refused for want of a privilege is refused tomorrow as well; what a standby
//! refuses is over once another server is promoted, so that is no matter of permission.

use tokio_postgres::Client;

use super::engine::Engine;
use super::fault::{Fault, Reason};
use super::row::column;
use crate::model::{Error, Kind, Result};

/// What a session tells of itself.
const QUESTION: &str =
    "SELECT current_user::text, NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'on'";

/// Who a session is for the server.
struct Session {
    /// In quotes, as it may stand in a statement.
    role: String,
    /// Whether it may not write though the server takes writes.
    is_read_only: bool,
}

impl Session {
    /// None if the server cannot be asked that.
    async fn of(client: &Client) -> Option<Self> {
        let row = client.query_one(QUESTION, &[]).await.ok()?;
        let role = column::<&str>(&row, 0).ok()?.replace('"', "\"\"");
        Some(Self { role: format!("\"{role}\""), is_read_only: column(&row, 1).ok()? })
    }

    fn read_only(&self) -> Error {
        let role = &self.role;
        let text = format!(
            "PostgreSQL is set to read-only for the role {role}, or for its database; nothing was stored; whoever has set it \
             may run ALTER ROLE {role} RESET default_transaction_read_only, or the same with ALTER DATABASE"
        );
        Error::new(Kind::PermissionDenied, text)
    }
}

impl Engine {
    /// The fault, and if it is one of permission, what to do about it.
    pub(super) async fn explained(&self, fault: Fault) -> Fault {
        let Some(reason @ (Reason::NotPermitted | Reason::ReadOnly)) = fault.reason else { return fault };
        let Ok(client) = self.connection().await else { return fault };
        let Some(session) = Session::of(&client).await else { return fault };
        let error = match reason {
            Reason::ReadOnly if session.is_read_only => session.read_only(),
            Reason::ReadOnly => return fault,
            _ => self.lacking(&session),
        };
        Fault { error: error.because(fault.error), again: false, reason: None }
    }

    /// Looks whether writes are permitted. What else may be wrong with the server is no matter of this.
    ///
    /// # Errors
    /// `PermissionDenied`, with what to do.
    pub(super) async fn check_permission(&self) -> Result<()> {
        let client = match self.client().await {
            Ok(client) => client,
            Err(fault) => {
                let error = self.explained(fault).await.error;
                return if error.kind() == Kind::PermissionDenied { Err(error) } else { Ok(()) };
            }
        };
        let Some(session) = Session::of(&client).await else { return Ok(()) };
        if session.is_read_only {
            return Err(session.read_only());
        }
        let names = &self.place.url.names;
        let needed = [(&names.table, "SELECT"), (&names.table, "INSERT"), (&names.table, "UPDATE")].into_iter();
        let needed = needed.chain([(&names.table, "DELETE"), (&names.buckets, "SELECT")]);
        let needed = needed.chain([(&names.buckets, "INSERT"), (&names.buckets, "UPDATE")]);
        let asked: Vec<_> = needed.map(|(table, what)| format!("has_table_privilege('{table}', '{what}')")).collect();
        let row = client.query_one(&format!("SELECT {}", asked.join(" AND ")), &[]).await;
        match row.ok().and_then(|row| column::<bool>(&row, 0).ok()) {
            Some(false) => Err(self.lacking(&session)),
            Some(true) | None => Ok(()),
        }
    }

    fn lacking(&self, session: &Session) -> Error {
        let (names, role) = (&self.place.url.names, &session.role);
        let schema = names.schema().map(|schema| format!("GRANT USAGE ON SCHEMA {schema} TO {role}; "));
        let text = format!(
            "the role {role} lacks a privilege in PostgreSQL; nothing was stored; let the owner of the tables run: \
             {}GRANT SELECT, INSERT, UPDATE, DELETE ON {}, {} TO {role}",
            schema.unwrap_or_default(),
            names.table,
            names.buckets
        );
        Error::new(Kind::PermissionDenied, text)
    }
}
