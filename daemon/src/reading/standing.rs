//! Where a reader stands: which session is open, and which exam is next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::store::HandedIn;
use super::{Reader, ReadingList};
use crate::agreement::Session;
use crate::domain::StudyRef;

const DAY: Duration = Duration::from_secs(86_400);

/// What is open to a reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    /// An exam is to be graded; only this one is shown.
    Reading {
        /// With or without the map.
        session: Session,
        /// The exam.
        study_ref: StudyRef,
        /// Exams that were handed in in this session.
        done: usize,
    },
    /// All exams were graded blind; the other session opens later.
    Washout {
        /// When it opens, Unix time in ms.
        opens_ms: u64,
    },
    /// Everything was handed in.
    Done,
}

impl Standing {
    /// Where `reader` stands who handed in `done`.
    pub(super) fn of(
        list: &ReadingList,
        reader: &Reader,
        done: &BTreeMap<(Session, StudyRef), HandedIn>,
        now_ms: u64,
    ) -> Standing {
        for session in Session::BOTH {
            let order = reader.orders.get(&session).map_or(&[][..], Vec::as_slice);
            let is_open = |study: &&StudyRef| !done.contains_key(&(session, (*study).clone()));
            if let Some(next) = order.iter().find(is_open) {
                let open = order.iter().filter(is_open).count();
                return Standing::Reading {
                    session,
                    study_ref: next.clone(),
                    done: order.len() - open,
                };
            }
            if session == Session::Blind {
                let blind = done.iter().filter(|((session, _), _)| *session == Session::Blind);
                let ended_ms =
                    blind.filter_map(|(_, handed_in)| handed_in.time_ms).max().unwrap_or(0);
                let washout = DAY * list.washout_days;
                let opens_ms = ended_ms.saturating_add(washout.as_millis() as u64);
                if now_ms < opens_ms {
                    return Standing::Washout { opens_ms };
                }
            }
        }
        Standing::Done
    }
}
