//! Measures kvs and programs that do the same work, in turns, and prints one table. `bench/README.md` explains the rows.
//!
//! `kvs-bench [--quick] [PART...]`: with `--quick` there are fewer and shorter turns, which shows only that all of it
//! works. A part is `http`, or `pgkv:set_many` for one group of a part. If all parts ran, the program also writes
//! `docs/performance.md`, or with `--quick` a page below the target folder.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement ends at the first fault")]
#![expect(clippy::indexing_slicing, clippy::disallowed_methods, reason = "no part of the program")]

mod bare;
mod client;
mod data;
mod machine;
mod options;
mod parts;
mod places;
mod plots;
mod report;
mod row;
mod run;
mod servers;
mod table;
mod turns;
mod versions;
mod wrk;

use std::process::ExitCode;
use std::time::Instant;

use options::Options;
use parts::PARTS;
use run::Run;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("kvs-bench: {wrong}");
            return ExitCode::from(2);
        }
    };
    assert!(places::kvs().exists(), "{} is missing: use `make bench`", places::kvs().display());
    let started = Instant::now();
    let mut run = Run::new(options);
    for (part, measure) in PARTS {
        if run.options.includes_part(part) {
            let started = Instant::now();
            run.note_sync_time();
            measure(&mut run);
            run.elapsed.push((part, started.elapsed()));
        }
    }
    print!("\n{}\n", table::text(&run.rows));
    for (part, time) in &run.elapsed {
        println!("{part:<10} took {:>6.1} s", time.as_secs_f64());
    }
    println!("all        took {:>6.1} s", started.elapsed().as_secs_f64());
    if run.options.includes_all() {
        println!("The report is in {}.", report::write(&run).display());
    }
    ExitCode::SUCCESS
}
