//! Restarts, new programs and killed programs in random order, until the time in `SOAK_SECONDS` is over.

use std::time::{Duration, Instant};

use super::load::{Told, under_load};
use super::restarts::{Deed, perform};
use crate::contention::Dice;
use crate::kill::kill_all;
use crate::servers::{Server, Way};

#[test]
fn random_deeds_lose_nothing_until_the_time_is_over() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(0, |text| text.parse().expect("a number of seconds"));
    let (start, time) = (Instant::now(), Duration::from_secs(seconds));
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut servers: Vec<Server> = [Way::ModFcgid, Way::ModProxyFcgi].into_iter().map(Server::start).collect();
    let (mut count, mut sum, mut failed) = (0, Told::default(), 0);
    loop {
        let server = dice.below(servers.len());
        let server = &mut servers[server];
        let deed = dice.below(4);
        let told = under_load(server, |server| match deed {
            0 => perform(Deed::Graceful, server),
            1 if server.way == Way::ModFcgid => perform(Deed::Replace, server),
            2 if server.way == Way::ModFcgid => {
                kill_all(server, &mut dice);
            }
            _ => perform(Deed::Restart, server),
        });
        count += 1;
        // The load without a fault.
        let calm = under_load(server, |_| std::thread::sleep(Duration::from_millis(200)));
        failed += calm.failed.len();
        assert!(calm.failed.is_empty(), "{:?}: {:?}\n{}", server.way, calm.failed, server.site.logs());
        for told in [told, calm] {
            sum += told;
        }
        if start.elapsed() >= time {
            break;
        }
    }
    // `under_load` ends the test if an increment is lost or was done twice.
    let acknowledged = sum.numbers.len();
    println!("soak stress: faults {count}, acknowledged {acknowledged}, lost 0, failed without a fault {failed}");
}
