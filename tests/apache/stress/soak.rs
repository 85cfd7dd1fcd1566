//! Restarts, new programs and killed programs in random order: one, or as many as there is time for in `make soak`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::load::under_load;
use super::restarts::{Deed, is_of_apache, perform};
use crate::contention::Dice;
use crate::kill::kill_all;
use crate::servers::{Server, Way};
use crate::tally::{Tally, soak_end};

/// How long the requests of a moment without a fault may fail because of what Apache still does.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn random_deeds_lose_nothing_until_the_time_is_over() {
    let end = soak_end();
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut servers: Vec<Server> = [Way::ModFcgid, Way::ModProxyFcgi].into_iter().map(Server::start).collect();
    let mut sum = Tally::default();
    loop {
        let server = dice.below(servers.len());
        sum.add(one(&mut servers[server], &mut dice));
        if end.is_none_or(|end| Instant::now() >= end) {
            break;
        }
    }
    sum.print("stress");
    assert!(sum.is_good(), "{sum:?}");
}

/// Something happens under load, and then nothing happens under load. `under_load` ends the test if an increment is lost
/// or was done twice.
fn one(server: &mut Server, dice: &mut Dice) -> Tally {
    let (number, mut deed) = (dice.below(4), Deed::Restart);
    let told = under_load(server, |server| match number {
        1 if server.way == Way::ModFcgid => perform(Deed::Replace, server),
        2 if server.way == Way::ModFcgid => drop(kill_all(server, dice)),
        _ => {
            deed = if number == 0 { Deed::Graceful } else { Deed::Restart };
            perform(deed, server);
        }
    });
    let mut tally = Tally { faults: 1, acknowledged: told.numbers.len() as u64, ..Tally::default() };
    let start = Instant::now();
    loop {
        let calm = under_load(server, |_| sleep(Duration::from_millis(200)));
        tally.acknowledged += calm.numbers.len() as u64;
        if calm.failed.is_empty() {
            return tally;
        }
        // The end of the restart may still be felt.
        let is_late = calm.failed.iter().all(|failure| is_of_apache(server, deed, failure));
        if !is_late || start.elapsed() > PATIENCE {
            println!("{:?}: {:?}\n{}", server.way, calm.failed, server.site.logs());
            tally.failed += calm.failed.len() as u64;
            return tally;
        }
    }
}
