//! Which message each acknowledgement belongs to, and how many may be under way.
//!
//! rumqttc gives a packet identifier only once it has sent a message, in the order of publishing; it
//! identifies packets by a counter that wraps at `inflight`, and stops for good when the counter meets one
//! that is still unacknowledged (bytebeamio/rumqtt 1014, 1056). So the window reaches from the oldest
//! unacknowledged message to the newest, acknowledged ones between them included, and never grows beyond
//! `inflight`.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::deliver::Seq;

/// Messages published with quality of service 1, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// The message's place in the outbox; `None` for one that isn't from there.
    seq: Option<Seq>,
    /// Known once it was sent.
    packet_id: Option<u16>,
    acknowledged: bool,
    since: Instant,
}

impl Slot {
    fn waits_for(&self, packet_id: u16) -> bool {
        self.packet_id == Some(packet_id) && !self.acknowledged
    }
}

impl Window {
    pub(super) fn new(inflight: u16) -> Window {
        Window { size: usize::from(inflight), slots: VecDeque::new() }
    }

    /// The broker takes no more than this at a time.
    pub(super) fn shrink_to(&mut self, receive_maximum: u16) {
        self.size = self.size.min(usize::from(receive_maximum));
    }

    /// How many more may be published.
    pub(super) fn room(&self) -> usize {
        self.size.saturating_sub(self.slots.len())
    }

    /// Whether everything published is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How long the oldest has been waiting for its acknowledgement.
    pub(super) fn oldest_wait(&self) -> Duration {
        self.slots.front().map_or(Duration::ZERO, |slot| slot.since.elapsed())
    }

    /// How long this one has been waiting for its acknowledgement.
    pub(super) fn wait(&self, packet_id: u16) -> Option<Duration> {
        self.slots.iter().find(|slot| slot.waits_for(packet_id)).map(|slot| slot.since.elapsed())
    }

    /// Takes note of a message handed to rumqttc.
    pub(super) fn published(&mut self, seq: Option<Seq>) {
        let since = Instant::now();
        self.slots.push_back(Slot { seq, packet_id: None, acknowledged: false, since });
    }

    /// Takes note of the packet identifier of the oldest message that has none.
    pub(super) fn sent(&mut self, packet_id: u16) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.packet_id.is_none()) {
            slot.packet_id = Some(packet_id);
        }
    }

    /// Takes note of an acknowledgement; returns the message's place if it is from the outbox.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<Seq> {
        let slot = self.slots.iter_mut().find(|slot| slot.waits_for(packet_id))?;
        slot.acknowledged = true;
        let seq = slot.seq;
        while self.slots.front().is_some_and(|slot| slot.acknowledged) {
            self.slots.pop_front();
        }
        seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_find_their_message_in_any_order() {
        let mut window = Window::new(4);
        for seq in [None, Some(10), Some(11)] {
            window.published(seq);
        }
        (1..=3).for_each(|id| window.sent(id));
        assert_eq!(window.acknowledged(3), Some(11));
        assert_eq!(window.acknowledged(1), None);
        assert_eq!(window.acknowledged(9), None);
        assert_eq!(window.acknowledged(2), Some(10));
        assert!(window.is_empty());
    }

    #[test]
    fn an_old_message_without_acknowledgement_stops_the_window() {
        let mut window = Window::new(2);
        window.published(Some(1));
        window.published(Some(2));
        window.sent(1);
        window.sent(2);
        assert_eq!(window.acknowledged(2), Some(2));
        assert_eq!(window.room(), 0, "packet identifier 1 is the next one");
        window.acknowledged(1);
        assert_eq!(window.room(), 2);
    }

    #[test]
    fn a_packet_identifier_that_comes_round_again_means_the_newer_message() {
        let mut window = Window::new(2);
        window.published(Some(1));
        window.sent(1);
        window.acknowledged(1);
        window.published(Some(2));
        window.published(Some(3));
        window.sent(2);
        window.sent(1);
        assert_eq!(window.acknowledged(1), Some(3));
    }
}
