//! Reading lists on disk. See the module's documentation for the layout.
//!
//! An exam that is handed in is one file, written whole; so a crash loses none and spoils none.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::list::Tokens;
use super::{ENDPLATES, Name, NewList, Reader, ReadingError, ReadingList, Standing};
use crate::agreement::{Grade, Session};
use crate::domain::StudyRef;
use crate::store::files::{FileError, create_dir, names_in, write_atomically};

const LIST: &str = "list.json";
/// Lists on one box.
const MAX_LISTS: usize = 100;
/// The longest reading time of an exam, s.
const MAX_SECONDS: f64 = 86_400.0;

/// What a reader said of an exam.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandedIn {
    /// When, Unix time in ms; unknown only in imported ones.
    pub time_ms: Option<u64>,
    /// The time that the reader spent on it, s; unknown only in imported ones.
    pub seconds: Option<f64>,
    /// A grade for each endplate, by its name.
    pub grades: BTreeMap<String, Grade>,
}

impl HandedIn {
    /// What a reader hands in: every endplate has a grade.
    fn new(
        grades: BTreeMap<String, Grade>,
        seconds: f64,
        time_ms: u64,
    ) -> Result<HandedIn, ReadingError> {
        let handed_in = HandedIn { time_ms: Some(time_ms), seconds: Some(seconds), grades };
        // First what is there: an endplate under another name would be called missing.
        handed_in.check()?;
        let mut asked_for = ENDPLATES.iter().map(ToString::to_string);
        match asked_for.find(|endplate| !handed_in.grades.contains_key(endplate)) {
            Some(missing) => Err(ReadingError::Endplates(missing)),
            None => Ok(handed_in),
        }
    }

    /// What holds for imported ones too, where endplates may be missing.
    pub(super) fn check(&self) -> Result<(), ReadingError> {
        let is_asked_for = |name: &String| name.parse().is_ok_and(|e| ENDPLATES.contains(&e));
        if let Some(name) = self.grades.keys().find(|name| !is_asked_for(name)) {
            return Err(ReadingError::Endplates(name.clone()));
        }
        match self.seconds {
            Some(seconds) if !(0.0..=MAX_SECONDS).contains(&seconds) => Err(ReadingError::Seconds),
            _ => Ok(()),
        }
    }
}

/// All that a reader handed in.
pub(super) type Done = BTreeMap<(Session, StudyRef), HandedIn>;

/// All reading lists of this box. Blocking.
#[derive(Debug, Clone)]
pub struct ReadingStore {
    root: PathBuf,
    /// Held while something is looked at and then written.
    writing: Arc<Mutex<()>>,
}

impl ReadingStore {
    /// The lists below a state folder; the folder is made with the first one.
    pub fn new(state_dir: &Path) -> ReadingStore {
        ReadingStore { root: state_dir.join("reading"), writing: Arc::default() }
    }

    /// The names of all lists.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn names(&self) -> Result<Vec<Name>, ReadingError> {
        let named = |name: String| Name::try_from(name).ok();
        let mut names: Vec<Name> = names_in(&self.root)?.into_iter().filter_map(named).collect();
        names.retain(|name| self.path(name).is_file());
        names.sort();
        Ok(names)
    }

    /// A list.
    ///
    /// # Errors
    /// There is none of that name, or it is damaged.
    pub fn list(&self, name: &Name) -> Result<ReadingList, ReadingError> {
        read(&self.path(name))?.ok_or(ReadingError::NotFound)
    }

    /// Makes a list; gives it with its readers' tokens, which can't be had again. `revision` gives the result of a study.
    ///
    /// # Errors
    /// The list makes no sense or is there already, or the disk refuses.
    pub fn create(
        &self,
        new: NewList,
        revision: impl Fn(&StudyRef) -> Option<u32>,
    ) -> Result<(ReadingList, Tokens), ReadingError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.path(&new.name).exists() {
            return Err(ReadingError::Exists(new.name));
        }
        if self.names()?.len() >= MAX_LISTS {
            return Err(ReadingError::NewList("a box with fewer than 100 of them"));
        }
        let (list, tokens) = ReadingList::new(new, revision)?;
        self.write(&list)?;
        Ok((list, tokens))
    }

    /// Gives a reader another token; the old one opens nothing any more.
    ///
    /// # Errors
    /// There is no such reader, or the disk refuses.
    pub fn renew_token(&self, name: &Name, reader: &Name) -> Result<String, ReadingError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = self.list(name)?;
        let token = list.renew_token(reader).ok_or(ReadingError::NotFound)?;
        self.write(&list)?;
        Ok(token)
    }

    /// The list and the reader whose token it is.
    ///
    /// # Errors
    /// There is no such list, or the token is none of its readers'; which of both isn't said.
    pub fn enter(&self, name: &Name, token: &str) -> Result<(ReadingList, Reader), ReadingError> {
        let list = match self.list(name) {
            Err(ReadingError::NotFound) => return Err(ReadingError::Token),
            list => list?,
        };
        let reader = list.reader_with(token).cloned().ok_or(ReadingError::Token)?;
        Ok((list, reader))
    }

    /// What is open to a reader.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn standing(
        &self,
        list: &ReadingList,
        reader: &Reader,
        now_ms: u64,
    ) -> Result<Standing, ReadingError> {
        Ok(Standing::of(list, reader, &self.done(list, &reader.name)?, now_ms))
    }

    /// How many exams a reader handed in, by session.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn progress(&self, list: &ReadingList, reader: &Name) -> Result<[usize; 2], ReadingError> {
        let done = self.done(list, reader)?;
        Ok(Session::BOTH.map(|session| done.keys().filter(|(of, _)| *of == session).count()))
    }

    /// Runs `work` unless an open list, one that somebody has yet to finish, holds the study; meanwhile none is made.
    ///
    /// # Errors
    /// A list can't be read.
    pub fn unless_listed<T>(
        &self,
        study_ref: &StudyRef,
        work: impl FnOnce() -> T,
    ) -> Result<Option<T>, ReadingError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(if self.listed()?.contains(study_ref) { None } else { Some(work()) })
    }

    /// The studies of all open lists.
    ///
    /// # Errors
    /// A list can't be read.
    pub fn listed(&self) -> Result<HashSet<StudyRef>, ReadingError> {
        let mut listed = HashSet::new();
        for name in self.names()? {
            let list = self.list(&name)?;
            if self.is_open(&list) {
                listed.extend(list.exams.into_iter().map(|exam| exam.study_ref));
            }
        }
        Ok(listed)
    }

    /// Whether a reader has an exam yet to hand in. The last session's are looked at first: while the list is open one of
    /// them is missing.
    fn is_open(&self, list: &ReadingList) -> bool {
        list.readers.iter().rev().any(|reader| {
            Session::BOTH.into_iter().rev().any(|session| {
                let order = reader.orders.get(&session).map_or(&[][..], Vec::as_slice);
                let is_there = |study| self.exam_path(list, &reader.name, session, study).is_file();
                !order.iter().rev().all(is_there)
            })
        })
    }

    /// Takes what a reader says of the exam that is open to them: a grade for each of [`ENDPLATES`], by its name.
    ///
    /// # Errors
    /// Another exam or none is open, an endplate is missing or not asked for, `seconds` is no reading time, or the disk
    /// refuses.
    pub fn hand_in(
        &self,
        list: &ReadingList,
        reader: &Reader,
        (session, study_ref): (Session, &StudyRef),
        (grades, seconds): (BTreeMap<String, Grade>, f64),
        now_ms: u64,
    ) -> Result<(), ReadingError> {
        let handed_in = HandedIn::new(grades, seconds, now_ms)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.standing(list, reader, now_ms)? {
            Standing::Reading { session: open, study_ref: next, .. }
                if open == session && next == *study_ref =>
            {
                self.keep(list, &reader.name, (session, study_ref), &handed_in)
            }
            _ => Err(ReadingError::NotOpen),
        }
    }

    /// Takes several exams that were handed in elsewhere: all or, where one contradicts what is there, none.
    pub(super) fn take_over(
        &self,
        list: &ReadingList,
        exams: &[(Name, Session, StudyRef, HandedIn)],
    ) -> Result<usize, ReadingError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for (reader, session, study_ref, handed_in) in exams {
            match read::<HandedIn>(&self.exam_path(list, reader, *session, study_ref))? {
                Some(known) if known == *handed_in => {}
                Some(_) => {
                    let (reader, study_ref) = (reader.clone(), study_ref.clone());
                    return Err(ReadingError::Contradiction { reader, study_ref });
                }
                None => new.push((reader, *session, study_ref, handed_in)),
            }
        }
        for (reader, session, study_ref, handed_in) in &new {
            self.keep(list, reader, (*session, study_ref), handed_in)?;
        }
        Ok(new.len())
    }

    /// All that a reader handed in.
    pub(super) fn done(&self, list: &ReadingList, reader: &Name) -> Result<Done, ReadingError> {
        let mut done = Done::new();
        for session in Session::BOTH {
            for exam in &list.exams {
                let path = self.exam_path(list, reader, session, &exam.study_ref);
                if let Some(handed_in) = read(&path)? {
                    done.insert((session, exam.study_ref.clone()), handed_in);
                }
            }
        }
        Ok(done)
    }

    fn keep(
        &self,
        list: &ReadingList,
        reader: &Name,
        (session, study_ref): (Session, &StudyRef),
        handed_in: &HandedIn,
    ) -> Result<(), ReadingError> {
        let path = self.exam_path(list, reader, session, study_ref);
        create_dir(path.parent().unwrap_or(&self.root))?;
        Ok(write_atomically(&path, &serde_json::to_vec(handed_in)?)?)
    }

    fn write(&self, list: &ReadingList) -> Result<(), ReadingError> {
        let path = self.path(&list.name);
        create_dir(path.parent().unwrap_or(&self.root))?;
        Ok(write_atomically(&path, &serde_json::to_vec_pretty(list)?)?)
    }

    fn path(&self, list: &Name) -> PathBuf {
        self.root.join(list.as_str()).join(LIST)
    }

    fn exam_path(
        &self,
        list: &ReadingList,
        reader: &Name,
        session: Session,
        study_ref: &StudyRef,
    ) -> PathBuf {
        let folder = self.root.join(list.name.as_str()).join(reader.as_str());
        folder.join(session.as_str()).join(format!("{study_ref}.json"))
    }
}

/// A file's content; `None` where there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReadingError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::during("read", path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::{name, new_list};
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn grades(all: &str) -> BTreeMap<String, Grade> {
        ENDPLATES.iter().map(|e| (e.to_string(), all.parse().unwrap())).collect()
    }

    #[test]
    fn a_reader_reads_blind_waits_and_reads_with_the_map_in_another_order() {
        let state = tempfile::tempdir().unwrap();
        let store = ReadingStore::new(state.path());
        assert_eq!(store.names().unwrap(), []);
        let (list, tokens) = store.create(new_list(3), |_| Some(2)).unwrap();
        assert!(matches!(store.create(new_list(3), |_| Some(2)), Err(ReadingError::Exists(_))));
        let (list, reader) = store.enter(&list.name, &tokens[0].1).unwrap();
        assert!(matches!(store.enter(&list.name, "no"), Err(ReadingError::Token)));
        assert!(matches!(store.enter(&name("no"), &tokens[0].1), Err(ReadingError::Token)));

        let mut now_ms = 1000;
        let mut read = Vec::new();
        // Another store on the same folder is the program started again.
        while let Standing::Reading { session: Session::Blind, study_ref, done } =
            ReadingStore::new(state.path()).standing(&list, &reader, now_ms).unwrap()
        {
            assert_eq!(done, read.len());
            let hand_in = |session| {
                let said = (grades("1-2"), 30.0);
                store.hand_in(&list, &reader, (session, &study_ref), said, now_ms)
            };
            assert!(matches!(hand_in(Session::WithMap), Err(ReadingError::NotOpen)));
            hand_in(Session::Blind).unwrap();
            let again = hand_in(Session::Blind);
            assert!(matches!(again, Err(ReadingError::NotOpen)), "what was handed in stays");
            read.push(study_ref);
            now_ms += 1000;
        }
        assert_eq!(read, reader.orders[&Session::Blind]);
        let opens_ms = now_ms - 1000 + 14 * DAY_MS;
        let standing = |now_ms| store.standing(&list, &reader, now_ms).unwrap();
        assert_eq!(standing(opens_ms - 1), Standing::Washout { opens_ms });
        let first = reader.orders[&Session::WithMap][0].clone();
        let open = Standing::Reading { session: Session::WithMap, study_ref: first, done: 0 };
        assert_eq!(standing(opens_ms), open);
        assert_eq!(store.listed().unwrap().len(), 3, "two readers have yet to read");
        for study_ref in &reader.orders[&Session::WithMap] {
            let (exam, said) = ((Session::WithMap, study_ref), (grades("0"), 20.0));
            store.hand_in(&list, &reader, exam, said, opens_ms).unwrap();
        }
        assert_eq!(standing(opens_ms), Standing::Done);
        assert_eq!(store.progress(&list, &reader.name).unwrap(), [3, 3]);
        assert_eq!(store.progress(&list, &name("B")).unwrap(), [0, 0]);

        let listed = &list.exams[0].study_ref;
        assert_eq!(store.unless_listed(listed, || ()).unwrap(), None);
        let b = list.reader(&name("B")).unwrap().clone();
        for session in Session::BOTH {
            for study_ref in &b.orders[&session] {
                assert_eq!(store.unless_listed(listed, || ()).unwrap(), None);
                let said = (grades("0"), 20.0);
                let later = opens_ms + 100 * DAY_MS * session as u64;
                store.hand_in(&list, &b, (session, study_ref), said, later).unwrap();
            }
        }
        assert_eq!(store.unless_listed(listed, || ()).unwrap(), Some(()), "the list is done");
    }

    #[test]
    fn half_an_exam_is_not_handed_in() {
        let mut some = grades("0");
        some.remove("L4 inferior");
        let error = HandedIn::new(some, 1.0, 0).unwrap_err();
        assert!(error.to_string().contains("L4 inferior"), "{error}");
        let mut more = grades("0");
        more.insert("T8 inferior".to_owned(), Grade::None);
        assert!(HandedIn::new(more, 1.0, 0).is_err());
        let mut other = grades("0");
        let grade = other.remove("L4 inferior").unwrap();
        other.insert("L4 lower".to_owned(), grade);
        let error = HandedIn::new(other, 1.0, 0).unwrap_err();
        assert!(error.to_string().contains("\"L4 lower\""), "{error}");
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(HandedIn::new(grades("0"), seconds, 0).is_err(), "{seconds}");
        }
    }

    #[test]
    fn a_new_token_ends_the_old_one() {
        let state = tempfile::tempdir().unwrap();
        let store = ReadingStore::new(state.path());
        let (list, tokens) = store.create(new_list(3), |_| Some(1)).unwrap();
        let token = store.renew_token(&list.name, &name("A")).unwrap();
        assert!(store.enter(&list.name, &tokens[0].1).is_err());
        assert_eq!(store.enter(&list.name, &token).unwrap().1.name, name("A"));
        assert_eq!(store.enter(&list.name, &tokens[1].1).unwrap().1.name, name("B"));
        assert!(store.renew_token(&list.name, &name("C")).is_err());
    }
}
