//! Writes the report: the machine, the versions, the table and the plots.

use std::fs;
use std::path::PathBuf;

use crate::row::Row;
use crate::run::Run;
use crate::{machine, places, plots, table, versions};

/// A group of parts: its title, the name of its plot, and its parts.
struct Group {
    title: &'static str,
    plot: &'static str,
    parts: &'static [&'static str],
}

const GROUPS: [Group; 5] = [
    Group { title: "Over HTTP and CGI, and the start", plot: "web", parts: &["http", "http post", "cgi", "start"] },
    Group { title: "FastCGI behind Apache", plot: "apache", parts: &["apache", "apache cpu"] },
    Group { title: "As a library, and logs", plot: "library", parts: &["library", "logs"] },
    Group { title: "On PostgreSQL", plot: "pgkv", parts: &["pgkv"] },
    Group { title: "As the data and the clients grow", plot: "limits", parts: &["growth", "streams"] },
];

const INTRODUCTION: &str = "\
# Performance

kvs was compared with other programs that do the same work. `make bench` makes this page as a whole, so do not edit it.

Each row compares kvs with a peer. Both ran in turns, for several rounds, and each was first as often as second.
**The ratio says much and the rate says little**: a rate depends on the machine and on what else it did at that moment,
but this affects both sides of a ratio. The columns `kvs` and `peer's` are medians of all rounds. `ratio` is the median
of the ratios of the rounds, rounded to two places; more is better, also where less of the unit is better. `from-to` is
the lowest and the highest ratio. `goal` is the lowest ratio that is good enough. A row without a peer has a limit (`<=`)
in place of a goal, and `from-to` is its lowest and its highest figure.
[bench/README.md](../bench/README.md) says how each part is measured.
";

const REPEAT: &str = "\
## How to repeat it

    make bench                              # all, on a machine that does nothing else: about 20 minutes
    make bench ONLY=\"http cgi\"              # some parts; prints their rows and leaves this page as it is
    make bench ONLY=pgkv:set_many           # one group of a part
    make bench QUICK=1                      # all, in some minutes; shows only that it works

The parts are `http`, `post`, `cgi`, `start`, `apache`, `library`, `pgkv`, `growth`, `logs` and `streams`. `make bench`
builds kvs and the peers, and on Debian it installs missing packages (`tests/packages.sh bench`). All servers are
private: they listen on free ports of 127.0.0.1 and stop at the end.
";

/// Writes the page and its plots. A quick run is no measurement, so its page is below the target folder.
pub(crate) fn write(run: &Run) -> PathBuf {
    let folder = if run.options.quick { places::target().join("bench") } else { places::repository().join("docs") };
    let plots = folder.join("performance");
    fs::create_dir_all(&plots).unwrap();
    let page = folder.join("performance.md");
    let mut text = format!("{INTRODUCTION}\n{}\n", summary(&run.rows));
    for group in &GROUPS {
        let rows: Vec<&Row> = run.rows.iter().filter(|row| group.parts.contains(&row.part)).collect();
        plots::goals(&plots.join(format!("{}.svg", group.plot)), group.title, &rows);
        let alternative = format!("{}: how far each row exceeds or misses its goal", group.title);
        text += &format!("## {}\n\n{}\n", group.title, table::markdown(rows.iter().copied()));
        for (row, note) in table::noted(&run.rows).filter(|(row, _)| group.parts.contains(&row.part)) {
            text += &format!("Note on {}, {}: {note}.\n\n", row.part, table::subject(row));
        }
        text += &format!("![{alternative}](performance/{}.svg)\n\n", group.plot);
    }
    plots::growth(&plots.join("growth.svg"), &run.curves);
    text += "![Requests per second for stores of 1,000 to 1,000,000 keys](performance/growth.svg)\n\n";
    text += &setting(run);
    text += REPEAT;
    fs::write(&page, text).unwrap();
    page
}

fn summary(rows: &[Row]) -> String {
    let goals = rows.iter().filter(|row| row.score().is_some()).count();
    let met = table::met(rows);
    format!("{met} of {goals} goals are met. The others say `short`, and why.\n")
}

/// The machine and the versions.
fn setting(run: &Run) -> String {
    let mut text = "## The machine and the versions\n\n| machine | |\n|---|---|\n".to_owned();
    for (name, value) in machine::describe(run.sync_seconds()) {
        text += &format!("| {name} | {value} |\n");
    }
    text += "\n| program | version |\n|---|---|\n";
    for (name, version) in versions::all() {
        text += &format!("| {name} | {version} |\n");
    }
    text + "\n"
}
