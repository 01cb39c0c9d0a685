//! What readers said of endplates, and the CSV that holds it.
//!
//! The one definition of the file that `modicd agreement` reads and a reading list exports and imports. A row that can't
//! be understood is an error that names its line, never skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::Endplate;

/// With or without the program's help. The order is that of the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// The pictures alone.
    Blind,
    /// The pictures, the Modic map and the findings.
    WithMap,
}

impl Session {
    /// Both, in their order.
    pub const BOTH: [Session; 2] = [Session::Blind, Session::WithMap];

    /// As files and addresses name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Session::Blind => "blind",
            Session::WithMap => "with_map",
        }
    }
}

/// A reader's grade of one endplate.
///
/// Text: `0` none, `1`, `2`, `3` the type, `1-2` mixed and mostly the first, `not gradable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grade {
    /// No Modic change.
    None,
    /// One type, 1 to 3.
    Type(u8),
    /// Two types, 1 to 3: mostly the first.
    Mixed(u8, u8),
    /// The endplate isn't seen, or not well enough.
    NotGradable,
}

impl Grade {
    /// All grades that a reader can give.
    pub const ALL: [Grade; 11] = [
        Grade::None,
        Grade::Type(1),
        Grade::Mixed(1, 2),
        Grade::Mixed(1, 3),
        Grade::Mixed(2, 1),
        Grade::Type(2),
        Grade::Mixed(2, 3),
        Grade::Mixed(3, 1),
        Grade::Mixed(3, 2),
        Grade::Type(3),
        Grade::NotGradable,
    ];
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Grade::None => f.write_str("0"),
            Grade::Type(of) => write!(f, "{of}"),
            Grade::Mixed(mostly, also) => write!(f, "{mostly}-{also}"),
            Grade::NotGradable => f.write_str("not gradable"),
        }
    }
}

impl FromStr for Grade {
    type Err = String;
    fn from_str(text: &str) -> Result<Grade, String> {
        let found = Grade::ALL.into_iter().find(|grade| grade.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is no grade (0, 1, 2, 3, 1-2, …, not gradable)"))
    }
}

impl TryFrom<String> for Grade {
    type Error = String;
    fn try_from(text: String) -> Result<Grade, String> {
        text.parse()
    }
}

impl From<Grade> for String {
    fn from(grade: Grade) -> String {
        grade.to_string()
    }
}

/// One row: what a reader said of an endplate in a session. Columns are named as the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grading {
    /// The study; `study_ref` where the exam came through the daemon, else whatever names it.
    pub study_ref: String,
    /// The reader's pseudonym.
    pub reader: String,
    /// With or without the map.
    pub session: Session,
    /// `L4 inferior`.
    #[serde(with = "endplate_as_text")]
    pub endplate: Endplate,
    /// `0`, `1`, `2`, `3`, `1-2`, …, `not gradable`.
    pub grade: Grade,
    /// The time that the reader spent on the exam, s: the same in all rows of an exam; may be empty.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// When the exam was handed in, RFC 3339; may be empty.
    #[serde(default)]
    pub time: Option<String>,
}

mod endplate_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::Endplate;

    pub fn serialize<S: Serializer>(of: &Endplate, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(of)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Endplate, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why gradings can't be read.
#[derive(Debug, thiserror::Error)]
pub enum GradingsError {
    /// A row isn't one, or the file can't be read. The cause names the line.
    #[error("the table of gradings can't be read")]
    Table(#[from] csv::Error),
    /// A study or a reader without a name, or a time that is none.
    #[error("a grading of {endplate} lacks its study or reader, or its seconds are no time")]
    Incomplete {
        /// The endplate.
        endplate: Endplate,
    },
    /// Two grades for the same thing: which one counts?
    #[error("reader {reader} graded {endplate} of study {study_ref} twice in session {session}")]
    Twice {
        /// The reader.
        reader: String,
        /// The endplate.
        endplate: Endplate,
        /// The study.
        study_ref: String,
        /// The session.
        session: &'static str,
    },
    /// An exam has one reading time, but its rows say several.
    #[error("reader {reader} has several times for study {study_ref} in session {session}")]
    Seconds {
        /// The reader.
        reader: String,
        /// The study.
        study_ref: String,
        /// The session.
        session: &'static str,
    },
}

/// Reads a table of gradings; columns are found by their names.
///
/// # Errors
/// A column is missing or a row can't be understood.
pub fn read(from: impl Read) -> Result<Vec<Grading>, GradingsError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(from);
    let gradings: Vec<Grading> = reader.deserialize().collect::<Result<_, _>>()?;
    for grading in &gradings {
        let named = !grading.study_ref.is_empty() && !grading.reader.is_empty();
        if !named || grading.seconds.is_some_and(|s| !(s.is_finite() && s >= 0.0)) {
            return Err(GradingsError::Incomplete { endplate: grading.endplate });
        }
    }
    Ok(gradings)
}

/// Writes a table of gradings, with its header even where there is none.
///
/// # Errors
/// `to` can't be written.
pub fn write(gradings: &[Grading], to: impl Write) -> Result<(), GradingsError> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(to);
    writer.write_record(HEADER)?;
    for grading in gradings {
        writer.serialize(grading)?;
    }
    writer.flush().map_err(csv::Error::from)?;
    Ok(())
}

/// The columns, in the order in which they are written.
pub const HEADER: [&str; 7] =
    ["study_ref", "reader", "session", "endplate", "grade", "seconds", "time"];

/// All gradings of an experiment, each found by what it is about.
#[derive(Debug, Default)]
pub struct Gradings {
    grades: BTreeMap<(String, Session), BTreeMap<(String, Endplate), Grade>>,
    seconds: BTreeMap<(String, Session), BTreeMap<String, Option<f64>>>,
}

impl Gradings {
    /// Sorts gradings, from however many tables.
    ///
    /// # Errors
    /// Two rows contradict or repeat each other.
    pub fn new(rows: impl IntoIterator<Item = Grading>) -> Result<Gradings, GradingsError> {
        let mut all = Gradings::default();
        for Grading { study_ref, reader, session, endplate, grade, seconds, .. } in rows {
            let key = (reader, session);
            let of_exam = all.seconds.entry(key.clone()).or_default();
            let known = *of_exam.entry(study_ref.clone()).or_insert(seconds);
            let grades = all.grades.entry(key.clone()).or_default();
            let (reader, session) = (key.0, session.as_str());
            if grades.insert((study_ref.clone(), endplate), grade).is_some() {
                return Err(GradingsError::Twice { reader, endplate, study_ref, session });
            }
            if known != seconds {
                return Err(GradingsError::Seconds { reader, study_ref, session });
            }
        }
        Ok(all)
    }

    /// All readers, by name.
    pub fn readers(&self) -> BTreeSet<&str> {
        self.grades.keys().map(|(reader, _)| reader.as_str()).collect()
    }

    /// A reader's grades in a session, by study and endplate; `None` where the reader has none.
    pub(super) fn of(
        &self,
        reader: &str,
        session: Session,
    ) -> Option<&BTreeMap<(String, Endplate), Grade>> {
        self.grades.get(&(reader.to_owned(), session))
    }

    /// A reader's times in a session, s, by study.
    pub(super) fn seconds(&self, reader: &str, session: Session) -> BTreeMap<&str, f64> {
        let of_reader = self.seconds.get(&(reader.to_owned(), session));
        let of_reader = of_reader.into_iter().flatten();
        of_reader.filter_map(|(study, seconds)| Some((study.as_str(), (*seconds)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "study_ref,reader,session,endplate,grade,seconds,time\n\
                         0123456789abcdef,A,blind,L4 inferior,1-2,31.5,2026-11-26T10:00:00Z\n\
                         0123456789abcdef,A,with_map,L4 inferior,not gradable,,\n";

    #[test]
    fn a_table_is_written_as_it_was_read() {
        let gradings = read(TABLE.as_bytes()).unwrap();
        assert_eq!(gradings[0].grade, Grade::Mixed(1, 2));
        assert_eq!(gradings[1].seconds, None);
        let mut written = Vec::new();
        write(&gradings, &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), TABLE);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_its_line() {
        for (good, bad) in [("1-2", "4"), ("inferior", "lower"), ("blind", "deaf"), ("31.5", "-1")]
        {
            assert!(read(TABLE.replacen(good, bad, 1).as_bytes()).is_err(), "{bad}");
        }
        let error = read(TABLE.replace("1-2", "x").as_bytes()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("line: 2"), "{cause}");
        assert!(read("study_ref,reader\n1,A\n".as_bytes()).is_err());
    }

    #[test]
    fn repeated_and_contradicting_rows_are_refused() {
        let rows = read(TABLE.as_bytes()).unwrap();
        let twice = Gradings::new([rows[0].clone(), rows[0].clone()]).unwrap_err();
        assert!(matches!(twice, GradingsError::Twice { .. }), "{twice}");
        let mut other = rows[0].clone();
        other.endplate = "L5 superior".parse().unwrap();
        other.seconds = Some(1.0);
        let times = Gradings::new([rows[0].clone(), other]).unwrap_err();
        assert!(matches!(times, GradingsError::Seconds { .. }), "{times}");
    }
}
