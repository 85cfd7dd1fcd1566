//! `kvs store init`: makes what a store needs before it is used, or shows how.

use clap::{Args, ValueEnum};

use super::failure::{Done, Failure};
use super::output::Output;
use super::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  kvs store init --store postgresql://kvs@db/kvs                  make the tables
  kvs store init --store postgresql://kvs@db/kvs --print | less   see the SQL
  kvs store init --store postgresql://kvs@db/kvs --distributed    on a cluster of Citus";

/// Make the tables of a store on PostgreSQL
///
/// They are made by themselves when a store is used first; this is for when its user may not make tables, so that another
/// has to, and for clusters. What is there already stays as it is.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// What to do with the store
    #[arg(value_name = "DO")]
    action: Action,
    /// Print the SQL and do nothing
    #[arg(long)]
    print: bool,
    /// Spread the tables by bucket over a cluster of Citus
    #[arg(long)]
    distributed: bool,
}

/// What can be done with a store as a whole.
#[derive(Clone, Copy, ValueEnum, Debug)]
enum Action {
    /// Make its tables
    Init,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let Given { action: Action::Init, print, distributed } = given;
    let Some(store) = settings.open()?.postgres else {
        let text = format!("{} needs no tables; name one on PostgreSQL with --store", settings.store);
        return Err(Failure::Usage(text));
    };
    if print {
        let mut output = Output::new();
        output.bytes(store.sql(distributed).as_bytes())?;
        return output.done();
    }
    store.init(distributed).await?;
    settings.note(&format!("the tables are there: {}", settings.store));
    Ok(())
}
