//! The changes of a group of batches as the parameters of a statement: one list per column, and the deleted keys.

use std::collections::HashMap;

use crate::model::{Entry, Key, Time};
use crate::postgres::sql::row::{revision_number, type_name};

#[derive(Default)]
pub(crate) struct ChangeColumns<'a> {
    pub(crate) keys: Vec<&'a str>,
    pub(crate) values: Vec<&'a [u8]>,
    pub(crate) types: Vec<Option<&'a str>>,
    pub(crate) revisions: Vec<i64>,
    pub(crate) created: Vec<i64>,
    pub(crate) modified: Vec<Option<i64>>,
    pub(crate) expires: Vec<Option<i64>>,
    pub(crate) deleted: Vec<&'a str>,
}

impl<'a> ChangeColumns<'a> {
    /// `changes` has the new entry of each changed key; `None` deletes it.
    pub(crate) fn new(changes: &'a HashMap<Key, Option<Entry>>) -> Self {
        let mut columns = Self::default();
        for (key, entry) in changes {
            let Some(entry) = entry else {
                columns.deleted.push(key.as_str());
                continue;
            };
            columns.keys.push(key.as_str());
            columns.values.push(&entry.value);
            columns.types.push(type_name(&entry.content_type));
            columns.revisions.push(revision_number(entry.revision));
            columns.created.push(entry.created.nanos());
            columns.modified.push(entry.modified.map(Time::nanos));
            columns.expires.push(entry.expires.map(Time::nanos));
        }
        columns
    }
}
