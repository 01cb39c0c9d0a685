//! Feeds systemd's watchdog while the daemon makes progress.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::{Pulse, tell};

/// systemd advises to feed it twice within its time; once more leaves room for a busy machine.
const TIMES_A_PERIOD: u32 = 3;

/// Feeds the watchdog until `shutdown`, but not while a pulse is silent; does nothing where there is no watchdog.
pub async fn watch(pulses: Vec<Pulse>, shutdown: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    feed(&pulses, period, shutdown, || tell(&[NotifyState::Watchdog])).await;
}

async fn feed(pulses: &[Pulse], period: Duration, shutdown: CancellationToken, food: impl Fn()) {
    let mut hungry = false;
    loop {
        match pulses.iter().find(|pulse| !pulse.beats()) {
            None => {
                hungry = false;
                food();
            }
            Some(silent) if !hungry => {
                hungry = true;
                let (part, limit) = (silent.part(), silent.limit());
                tracing::error!(part, ?limit, "No progress: the watchdog isn't fed any more.");
            }
            Some(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(period / TIMES_A_PERIOD) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_fed_while_all_pulses_beat() {
        let [well, silent] = [3600, 0].map(|s| Pulse::new("a part", Duration::from_secs(s)));
        tokio::time::sleep(Duration::from_millis(5)).await;
        for (pulses, is_fed) in [(vec![well.clone()], true), (vec![well, silent], false)] {
            let [shutdown, fed] = [CancellationToken::new(), CancellationToken::new()];
            let meals = AtomicU32::new(0);
            let eat = || {
                if meals.fetch_add(1, Ordering::Relaxed) == 2 {
                    fed.cancel();
                }
            };
            let period = Duration::from_millis(6);
            let wait = async {
                let long = Duration::from_millis(if is_fed { 60_000 } else { 100 });
                let _ = tokio::time::timeout(long, fed.cancelled()).await;
                shutdown.cancel();
            };
            tokio::join!(feed(&pulses, period, shutdown.clone(), eat), wait);
            assert_eq!(meals.load(Ordering::Relaxed) >= 3, is_fed);
            assert!(is_fed || meals.load(Ordering::Relaxed) == 0);
        }
    }
}
