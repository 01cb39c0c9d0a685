//! Gradings of a list as the table that `modicd agreement` reads, out and in.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};

use super::{ENDPLATES, HandedIn, Name, ReadingError, ReadingList, ReadingStore};
use crate::agreement::{Grading, Gradings, Session};
use crate::domain::StudyRef;

impl ReadingStore {
    /// All that was handed in, by reader, session and study.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn gradings(&self, list: &ReadingList) -> Result<Vec<Grading>, ReadingError> {
        let mut gradings = Vec::new();
        for reader in &list.readers {
            for ((session, study_ref), handed_in) in self.done(list, &reader.name)? {
                let HandedIn { time_ms, seconds, grades } = handed_in;
                let time = time_ms.and_then(|ms| DateTime::from_timestamp_millis(ms as i64));
                let time = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
                for endplate in ENDPLATES {
                    gradings.extend(grades.get(&endplate.to_string()).map(|grade| Grading {
                        study_ref: study_ref.to_string(),
                        reader: reader.name.to_string(),
                        session,
                        endplate,
                        grade: *grade,
                        seconds,
                        time: time.clone(),
                    }));
                }
            }
        }
        Ok(gradings)
    }

    /// Takes gradings over that were made elsewhere, all of them or none; gives how many exams are new.
    ///
    /// An exam that is there already with the same grades, seconds and time is left as it is. Order and washout aren't
    /// looked at: they were kept, or not, where the gradings were made.
    ///
    /// # Errors
    /// A row is about somebody or something that the list doesn't have, or contradicts what was handed in.
    pub fn import(&self, list: &ReadingList, rows: Vec<Grading>) -> Result<usize, ReadingError> {
        Gradings::new(rows.iter().cloned())?;
        let mut exams: BTreeMap<(Name, Session, StudyRef), HandedIn> = BTreeMap::new();
        for row in rows {
            let not_listed = || ReadingError::NotListed {
                reader: row.reader.clone(),
                study: row.study_ref.clone(),
            };
            let reader = Name::try_from(row.reader.clone()).map_err(|_| not_listed())?;
            let study = StudyRef::try_from(row.study_ref.clone()).map_err(|_| not_listed())?;
            if list.reader(&reader).is_none() || list.exam(&study).is_none() {
                return Err(not_listed());
            }
            let time_ms = row.time.map(unix_ms).transpose()?;
            let exam = exams.entry((reader, row.session, study)).or_insert_with(|| HandedIn {
                time_ms,
                seconds: row.seconds,
                grades: BTreeMap::new(),
            });
            exam.time_ms = exam.time_ms.max(time_ms);
            exam.grades.insert(row.endplate.to_string(), row.grade);
            exam.check()?;
        }
        let exams: Vec<_> = exams
            .into_iter()
            .map(|((reader, session, study), handed_in)| (reader, session, study, handed_in))
            .collect();
        self.take_over(list, &exams)
    }
}

fn unix_ms(time: String) -> Result<u64, ReadingError> {
    let parsed = DateTime::parse_from_rfc3339(&time).ok();
    let ms = parsed.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    ms.ok_or(ReadingError::Time(time))
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::new_list;
    use super::*;
    use crate::agreement::{read, write};

    fn row(reader: &str, study: u64, grade: &str) -> String {
        format!("{study:016x},{reader},blind,L4 inferior,{grade},12.5,2026-11-26T10:00:00.000Z\n")
    }

    #[test]
    fn what_is_imported_is_exported_and_nothing_is_overwritten() {
        let state = tempfile::tempdir().unwrap();
        let store = ReadingStore::new(state.path());
        let (list, _) = store.create(new_list(2), |_| Some(1)).unwrap();
        let header = "study_ref,reader,session,endplate,grade,seconds,time\n";
        let import =
            |rows: &str| store.import(&list, read(format!("{header}{rows}").as_bytes()).unwrap());
        let both = row("A", 0, "2") + &row("B", 1, "not gradable");
        assert_eq!(import(&both).unwrap(), 2);
        assert_eq!(import(&both).unwrap(), 0, "again is nothing new");
        let mut out = Vec::new();
        write(&store.gradings(&list).unwrap(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{header}{both}"));

        for (rows, why) in [
            (row("C", 0, "2"), "no reader C"),
            (row("A", 9, "2"), "no study 0000000000000009"),
            (row("A", 1, "1") + &row("A", 0, "1"), "isn't changed"),
            (row("A", 1, "1").replace("2026-", "26-"), "no time"),
            (row("A", 1, "1").replace("L4 inferior", "T8 superior"), "T8 superior"),
        ] {
            let error = import(&rows).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(store.gradings(&list).unwrap().len(), 2, "all or nothing");
    }
}
