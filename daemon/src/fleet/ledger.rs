//! What was enqueued and what arrived, message by message.
//!
//! A box numbers its messages from 1 (`seq`), so what is missing, doubled or out of order can be told without
//! trusting the box's own word. Retained copies that a broker sends to a new subscriber are no arrivals.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::deliver::topics::{TopicError, availability};
use crate::deliver::{Config, Seq};

/// A PUBLISH of quality of service 1 beside topic and payload: fixed header, length of the topic, packet identifier, bytes.
const PUBLISH_OVERHEAD: usize = 8;

/// The books of a fleet; shared by its boxes and the subscriber.
pub(super) struct Ledger {
    /// What every topic of the fleet begins with: `{root}/v1/{site}/`.
    prefix: String,
    index_of: HashMap<String, usize>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    accounts: Vec<Account>,
    tally: Tally,
    traffic: Traffic,
}

/// One box.
#[derive(Default)]
struct Account {
    /// When enqueuing each message began; the first has number 1.
    enqueued: Vec<Instant>,
    arrived: BTreeMap<Seq, Arrival>,
    /// Hashes of topic and event of all arrivals.
    events: HashSet<u64>,
    /// What it said last on `availability`.
    availability: String,
    /// When it said `online`.
    online: Vec<Instant>,
}

#[derive(Clone, Copy)]
struct Arrival {
    at: Instant,
    event: u64,
}

/// What happened to numbered messages; everything but the first three and `metrics` ought to be 0 on a quiet run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages that boxes put into their outboxes.
    pub enqueued: usize,
    /// Of these, messages that arrived at least once.
    pub arrived: usize,
    /// `availability`, `info`, `health` and `alarm`, which have no number.
    pub state: usize,
    /// `metrics`: quality of service 0, sent once and never again.
    pub metrics: usize,
    /// Of these, messages that never arrived.
    pub lost: usize,
    /// Messages that arrived for the first time after a later one of the same box.
    pub out_of_order: usize,
    /// One number with two events, or one event with two numbers.
    pub contradictory: usize,
    /// Arrived again, and said so (`replayed`).
    pub replayed: usize,
    /// Arrived again with MQTT's DUP flag: the broker had not seen the subscriber's acknowledgement.
    pub redelivered: usize,
    /// Arrived again without either.
    pub unexplained: usize,
    /// Retained copies of earlier messages, sent when the subscriber subscribed.
    pub retained_copies: usize,
}

impl Tally {
    /// Whether the contract was kept: all there, in order, each event once or marked.
    pub fn holds(&self) -> bool {
        self.lost + self.out_of_order + self.contradictory + self.unexplained == 0
    }
}

/// What boxes sent, as it arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub messages: usize,
    /// Of all PUBLISH packets, without TCP/IP and TLS.
    pub bytes: usize,
}

/// A message as the subscriber got it.
pub(super) struct Received<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub retained: bool,
    pub dup: bool,
    pub at: Instant,
}

/// What the ledger reads of a payload.
#[derive(Deserialize)]
struct Numbered {
    seq: Seq,
    event_id: String,
    replayed: bool,
}

impl Ledger {
    /// Nothing enqueued and nothing arrived at the boxes called `names`.
    pub(super) fn new(config: &Config, names: &[String]) -> Result<Ledger, TopicError> {
        let all = config.topics()?.all();
        let prefix = all.strip_suffix(&format!("{}/#", config.device)).unwrap_or_default();
        let accounts = names.iter().map(|_| Account::default()).collect();
        Ok(Ledger {
            prefix: prefix.to_owned(),
            index_of: names.iter().cloned().zip(0..).collect(),
            books: Mutex::new(Books { accounts, ..Books::default() }),
        })
    }

    /// A filter for everything that the fleet publishes.
    pub(super) fn filter(&self) -> String {
        format!("{}#", self.prefix)
    }

    /// Enters messages that a box began to enqueue at `began`.
    pub(super) fn enqueued(&self, index: usize, numbers: RangeInclusive<Seq>, began: Instant) {
        let mut books = self.lock();
        books.tally.enqueued += numbers.clone().count();
        books.accounts[index].enqueued.extend(numbers.map(|_| began));
    }

    /// Enters a message that arrived; one that no box of the fleet can have sent is passed over.
    pub(super) fn received(&self, message: &Received) {
        let Some((device, suffix)) =
            message.topic.strip_prefix(&self.prefix).and_then(|rest| rest.split_once('/'))
        else {
            return;
        };
        let Some(&index) = self.index_of.get(device) else { return };
        let mut books = self.lock();
        let Books { accounts, tally, traffic } = &mut *books;
        if !message.retained {
            traffic.messages += 1;
            traffic.bytes += PUBLISH_OVERHEAD + message.topic.len() + message.payload.len();
        }
        match suffix {
            "availability" => {
                accounts[index].said(message);
                tally.state += usize::from(!message.retained);
            }
            _ if message.retained => tally.retained_copies += 1,
            "info" | "health" => tally.state += 1,
            _ if suffix.starts_with("alarm/") => tally.state += 1,
            "metrics" => tally.metrics += 1,
            _ => match serde_json::from_slice(message.payload) {
                Ok(numbered) => accounts[index].take(&numbered, message, tally),
                Err(_) => tally.contradictory += 1,
            },
        }
    }

    /// Messages enqueued that haven't arrived.
    pub(super) fn missing(&self) -> usize {
        self.lock().accounts.iter().map(Account::missing).sum()
    }

    /// Boxes that said `online` last.
    pub(super) fn online(&self) -> usize {
        self.saying(availability::ONLINE)
    }

    /// Boxes that said `stopped` last.
    pub(super) fn stopped(&self) -> usize {
        self.saying(availability::STOPPED)
    }

    fn saying(&self, state: &str) -> usize {
        self.lock().accounts.iter().filter(|a| a.availability == state).count()
    }

    /// When every box had said `online` after `since`; `None` if one hasn't.
    pub(super) fn all_online_after(&self, since: Instant) -> Option<Instant> {
        let books = self.lock();
        let first = |a: &Account| a.online.iter().copied().find(|at| *at >= since);
        let firsts: Option<Vec<Instant>> = books.accounts.iter().map(first).collect();
        firsts?.into_iter().max()
    }

    /// What has come in so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// The sum of it all.
    pub(super) fn tally(&self) -> Tally {
        let books = self.lock();
        let sum = |of: fn(&Account) -> usize| books.accounts.iter().map(of).sum();
        let (arrived, lost): (usize, usize) = (sum(|a| a.arrived.len()), sum(Account::missing));
        // What arrived without having been enqueued is nobody's message.
        let contradictory = books.tally.contradictory + (arrived + lost - books.tally.enqueued);
        Tally { arrived, lost, contradictory, ..books.tally }
    }

    /// Time from the beginning of enqueuing to the first arrival of each message that arrived, ms, sorted.
    pub(super) fn latencies_ms(&self) -> Vec<f64> {
        let books = self.lock();
        let mut latencies: Vec<f64> = books
            .accounts
            .iter()
            .flat_map(|account| {
                account.arrived.iter().filter_map(|(seq, arrival)| {
                    let began = account.enqueued.get((*seq as usize).checked_sub(1)?)?;
                    Some(1000.0 * arrival.at.duration_since(*began).as_secs_f64())
                })
            })
            .collect();
        latencies.sort_by(f64::total_cmp);
        latencies
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn said(&mut self, message: &Received) {
        self.availability = String::from_utf8_lossy(message.payload).into_owned();
        if self.availability == availability::ONLINE && !message.retained {
            self.online.push(message.at);
        }
    }

    /// Messages enqueued that haven't arrived.
    fn missing(&self) -> usize {
        let newest = self.enqueued.len();
        newest - self.arrived.range(1..=newest as Seq).count()
    }

    fn take(&mut self, numbered: &Numbered, message: &Received, tally: &mut Tally) {
        let mut hasher = DefaultHasher::new();
        (message.topic, &numbered.event_id).hash(&mut hasher);
        let event = hasher.finish();
        match self.arrived.get(&numbered.seq) {
            Some(known) if known.event != event => tally.contradictory += 1,
            Some(_) if numbered.replayed => tally.replayed += 1,
            Some(_) if message.dup => tally.redelivered += 1,
            Some(_) => tally.unexplained += 1,
            None => {
                let newest = self.arrived.last_key_value().map_or(0, |(newest, _)| *newest);
                tally.out_of_order += usize::from(numbered.seq < newest);
                tally.contradictory += usize::from(numbered.seq == 0 || !self.events.insert(event));
                self.arrived.insert(numbered.seq, Arrival { at: message.at, event });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "modic/v1/site/box-2/event/study.received";

    fn ledger(enqueued: Seq) -> Ledger {
        let names = ["box-1".to_owned(), "box-2".to_owned()];
        let ledger = Ledger::new(&Config::default(), &names).unwrap();
        ledger.enqueued(1, 1..=enqueued, Instant::now());
        ledger
    }

    fn receive(ledger: &Ledger, seq: Seq, event_id: &str, replayed: bool, dup: bool) {
        let payload = serde_json::json!({"seq": seq, "event_id": event_id, "replayed": replayed});
        let payload = payload.to_string().into_bytes();
        let at = Instant::now();
        let message = Received { topic: EVENT, payload: &payload, retained: false, dup, at };
        ledger.received(&message);
    }

    fn say(ledger: &Ledger, topic: &str, payload: &str, retained: bool) {
        let (payload, at) = (payload.as_bytes(), Instant::now());
        ledger.received(&Received { topic, payload, retained, dup: false, at });
    }

    #[test]
    fn what_arrives_once_and_in_order_holds() {
        let ledger = ledger(2);
        assert_eq!(ledger.missing(), 2);
        receive(&ledger, 1, "a", false, false);
        receive(&ledger, 2, "b", false, false);
        let expected = Tally { enqueued: 2, arrived: 2, ..Tally::default() };
        assert_eq!(ledger.tally(), expected);
        assert!(ledger.tally().holds());
        assert_eq!(ledger.latencies_ms().len(), 2);
    }

    #[test]
    fn what_never_arrives_is_lost() {
        let ledger = ledger(3);
        receive(&ledger, 1, "a", false, false);
        receive(&ledger, 3, "c", false, false);
        assert_eq!(ledger.tally().lost, 1);
        assert!(!ledger.tally().holds());
    }

    #[test]
    fn a_first_arrival_behind_a_later_one_is_out_of_order_a_replay_is_not() {
        let ledger = ledger(3);
        receive(&ledger, 2, "b", false, false);
        receive(&ledger, 1, "a", true, false);
        assert_eq!(ledger.tally().out_of_order, 1);
        receive(&ledger, 2, "b", true, false);
        receive(&ledger, 3, "c", false, false);
        assert_eq!(ledger.tally().out_of_order, 1);
    }

    #[test]
    fn a_duplicate_is_explained_by_replayed_or_by_dup_or_by_nothing() {
        let ledger = ledger(1);
        for (replayed, dup) in [(false, false), (true, false), (false, true), (false, false)] {
            receive(&ledger, 1, "a", replayed, dup);
        }
        let tally = ledger.tally();
        assert_eq!((tally.replayed, tally.redelivered, tally.unexplained), (1, 1, 1));
        assert!(!tally.holds());
    }

    #[test]
    fn one_number_has_one_event_and_one_event_one_number() {
        let ledger = ledger(2);
        receive(&ledger, 1, "a", false, false);
        receive(&ledger, 1, "b", true, false);
        receive(&ledger, 2, "a", false, false);
        assert_eq!(ledger.tally().contradictory, 2);
        receive(&ledger, 9, "c", false, false);
        assert_eq!(ledger.tally().contradictory, 3, "number 9 was never enqueued");
    }

    #[test]
    fn state_and_metrics_and_strangers_are_no_numbered_messages() {
        let ledger = ledger(0);
        let before = Instant::now();
        say(&ledger, "modic/v1/site/box-1/availability", "online", false);
        assert_eq!((ledger.online(), ledger.all_online_after(before)), (1, None));
        say(&ledger, "modic/v1/site/box-2/availability", "online", false);
        assert!(ledger.all_online_after(before).is_some());
        say(&ledger, "modic/v1/site/box-2/availability", "stopped", false);
        say(&ledger, "modic/v1/site/box-1/metrics", "{}", false);
        say(&ledger, "modic/v1/site/box-1/latest/finding", "{}", true);
        say(&ledger, "modic/v1/site/box-1/health", "{}", true);
        say(&ledger, "modic/v1/other/box-1/event/study.received", "{}", false);
        say(&ledger, "modic/v1/site/box-3/event/study.received", "{}", false);
        let tally = ledger.tally();
        assert_eq!((ledger.online(), ledger.stopped()), (1, 1));
        assert_eq!((tally.state, tally.metrics, tally.retained_copies), (3, 1, 2));
        assert!(tally.holds());
    }
}
