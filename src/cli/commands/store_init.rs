//! `kvs store init`: creates the tables of a PostgreSQL store, or prints their SQL.

use crate::cli::config::settings::CliSettings;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;

const EXAMPLES: &str = "\
Examples:
  kvs store init --store postgresql://kvs@db/kvs                  create the tables
  kvs store init --store postgresql://kvs@db/kvs --print | less   print the SQL
  kvs store init --store postgresql://kvs@db/kvs --distributed    on a Citus cluster";

/// Create the tables of a PostgreSQL store
///
/// A store creates its tables when it is first used. Run this if its user may not create tables, or for a cluster.
/// Existing tables are not changed.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, override_usage = "kvs store init [OPTIONS]")]
pub(crate) struct Args {
    /// The word `init`
    #[arg(value_name = "init", value_parser = ["init"], hide_possible_values = true)]
    _action: String,
    /// Print the SQL and change nothing
    #[arg(long)]
    print: bool,
    /// Distribute the tables by bucket over a Citus cluster
    #[arg(long)]
    distributed: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let Some(store) = settings.open()?.postgres else {
        let text = format!("{} has no tables; name a PostgreSQL store with --store", settings.store);
        return Err(Failure::Usage(text));
    };
    if args.print {
        let mut output = Output::new();
        output.bytes(store.sql(args.distributed).as_bytes())?;
        return output.finish();
    }
    store.init(args.distributed).await?;
    settings.note(&format!("the tables exist: {}", settings.store));
    Ok(())
}
