//! The signals that stop the program. They cancel a token. A server then answers the requests in progress and ends.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM, SIGUSR1, SIGHUP and SIGINT cancel. Needs a runtime.
///
/// Web servers repeat SIGTERM and SIGUSR1 while they wait, so repeating them changes nothing. A second SIGINT (Ctrl-C)
/// ends the program at once, with exit code 130. Everything that was acknowledged is on disk by then.
pub fn stop_on_signals() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::user_defined1(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                stop.cancel();
            }
        });
    }
    // With a handler, a write beyond the limit of the length of files is an error, and does not end the program.
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
    let mut interrupts = signal(SignalKind::interrupt())?;
    let token = stop.clone();
    tokio::spawn(async move {
        interrupts.recv().await;
        token.cancel();
        interrupts.recv().await;
        // 128 and the number of the signal, as a shell reports it.
        std::process::exit(130);
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::time::Duration;

    #[tokio::test]
    async fn token_is_cancelled_and_a_repeated_signal_changes_nothing() {
        for kind in [Signal::TERM, Signal::USR1, Signal::HUP] {
            let stop = stop_on_signals().unwrap();
            assert!(!stop.is_cancelled());
            kill_process(getpid(), kind).unwrap();
            tokio::time::timeout(Duration::from_secs(5), stop.cancelled()).await.unwrap();
            kill_process(getpid(), kind).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
