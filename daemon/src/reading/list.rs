//! A reading list: the exams, the readers, and the order in which each of them reads.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ReadingError;
use crate::agreement::Session;
use crate::domain::StudyRef;
use crate::hex::hex;

/// Exams in a list.
const MAX_EXAMS: usize = 500;
/// Readers of a list.
const MAX_READERS: usize = 20;
/// The longest washout, days.
const MAX_WASHOUT_DAYS: u32 = 3650;
/// Characters of a name.
const MAX_NAME: usize = 32;
/// Random bytes of a token: nobody guesses it, so its plain hash is kept and wrong ones needn't be counted.
const TOKEN_BYTES: usize = 32;

/// The name of a list or a reader's pseudonym. It is a folder's name too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = ReadingError;
    fn try_from(text: String) -> Result<Name, ReadingError> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if first && rest && text.len() <= MAX_NAME {
            Ok(Name(text))
        } else {
            Err(ReadingError::Name(text))
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An exam, with the result whose pictures and map are shown: a later revision doesn't change an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedExam {
    /// The study.
    pub study_ref: StudyRef,
    /// Its result.
    pub revision: u32,
}

/// A reader of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reader {
    /// The pseudonym.
    pub name: Name,
    /// SHA-256 of the token, in hex.
    token_sha256: String,
    /// The order of the exams in each session. Kept, since a later version may shuffle otherwise.
    pub orders: BTreeMap<Session, Vec<StudyRef>>,
}

/// What an administrator asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewList {
    /// The list's name.
    pub name: Name,
    /// The studies, each once.
    pub studies: Vec<StudyRef>,
    /// The readers' pseudonyms, each once.
    pub readers: Vec<Name>,
    /// Days between the end of a reader's blind session and the start of the one with the map.
    pub washout_days: u32,
    /// Where the orders come from.
    pub seed: u64,
}

/// A reading list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadingList {
    /// Its name.
    pub name: Name,
    /// The exams.
    pub exams: Vec<ListedExam>,
    /// The readers.
    pub readers: Vec<Reader>,
    /// See [`NewList::washout_days`].
    pub washout_days: u32,
    /// See [`NewList::seed`].
    pub seed: u64,
}

/// A reader's token: told once, kept as hash.
pub type Tokens = Vec<(Name, String)>;

impl ReadingList {
    /// Makes a list and its readers' tokens; `revision` gives the result of a study to be shown.
    ///
    /// # Errors
    /// A study has no result, or there is too little, too much or the same twice.
    pub(super) fn new(
        new: NewList,
        revision: impl Fn(&StudyRef) -> Option<u32>,
    ) -> Result<(ReadingList, Tokens), ReadingError> {
        let NewList { name, studies, readers, washout_days, seed } = new;
        let check =
            |holds: bool, what| if holds { Ok(()) } else { Err(ReadingError::NewList(what)) };
        check((1..=MAX_EXAMS).contains(&studies.len()), "1 to 500 studies")?;
        check((1..=MAX_READERS).contains(&readers.len()), "1 to 20 readers")?;
        check(washout_days <= MAX_WASHOUT_DAYS, "a washout of at most 3650 days")?;
        check(are_unique(&studies), "each study once")?;
        check(are_unique(&readers), "each reader once")?;
        let exam = |study_ref: StudyRef| {
            let revision = revision(&study_ref);
            let revision =
                revision.ok_or(ReadingError::NewList("studies with pictures and a result"))?;
            Ok(ListedExam { study_ref, revision })
        };
        let exams = studies.iter().cloned().map(exam).collect::<Result<_, ReadingError>>()?;
        let mut tokens = Vec::new();
        let readers = readers
            .into_iter()
            .map(|reader| {
                let token = new_token();
                tokens.push((reader.clone(), token.clone()));
                let orders = orders(&studies, seed, &reader);
                Reader { name: reader, token_sha256: hash(&token), orders }
            })
            .collect();
        Ok((ReadingList { name, exams, readers, washout_days, seed }, tokens))
    }

    /// The reader whose token it is.
    pub(super) fn reader_with(&self, token: &str) -> Option<&Reader> {
        let hash = hash(token);
        let is = |reader: &&Reader| reader.token_sha256.as_bytes().ct_eq(hash.as_bytes()).into();
        self.readers.iter().find(is)
    }

    /// A reader by name.
    pub fn reader(&self, name: &Name) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.name == *name)
    }

    /// Gives a reader another token; the old one opens nothing any more.
    pub(super) fn renew_token(&mut self, name: &Name) -> Option<String> {
        let reader = self.readers.iter_mut().find(|reader| reader.name == *name)?;
        let token = new_token();
        reader.token_sha256 = hash(&token);
        Some(token)
    }

    /// An exam of the list.
    pub fn exam(&self, study_ref: &StudyRef) -> Option<&ListedExam> {
        self.exams.iter().find(|exam| exam.study_ref == *study_ref)
    }
}

fn are_unique<T: Ord + Clone>(all: &[T]) -> bool {
    let mut sorted = all.to_vec();
    sorted.sort();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>())
}

fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// An order for each session, from the list's seed and the reader's name: another one for each reader, and another one in
/// the second session wherever there is another.
fn orders(studies: &[StudyRef], seed: u64, reader: &Name) -> BTreeMap<Session, Vec<StudyRef>> {
    let digest = Sha256::digest(format!("{seed} {reader}"));
    let own: [u8; 8] = std::array::from_fn(|k| digest[k]);
    let mut random = Pcg64::seed_from_u64(u64::from_le_bytes(own));
    let mut blind = studies.to_vec();
    blind.shuffle(&mut random);
    let mut with_map = blind.clone();
    while studies.len() > 1 && with_map == blind {
        with_map.shuffle(&mut random);
    }
    [(Session::Blind, blind), (Session::WithMap, with_map)].into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn name(text: &str) -> Name {
        text.to_owned().try_into().unwrap()
    }

    pub fn study(n: u64) -> StudyRef {
        format!("{n:016x}").try_into().unwrap()
    }

    pub fn new_list(studies: u64) -> NewList {
        NewList {
            name: name("pilot"),
            studies: (0..studies).map(study).collect(),
            readers: vec![name("A"), name("B")],
            washout_days: 14,
            seed: 7,
        }
    }

    #[test]
    fn each_reader_has_an_order_and_a_token_of_their_own() {
        let (list, tokens) = ReadingList::new(new_list(20), |_| Some(1)).unwrap();
        let [a, b] = &list.readers[..] else { panic!("two readers") };
        assert_ne!(a.orders[&Session::Blind], b.orders[&Session::Blind]);
        assert_ne!(a.orders[&Session::Blind], a.orders[&Session::WithMap]);
        for reader in [a, b] {
            for order in reader.orders.values() {
                let mut sorted = order.clone();
                sorted.sort();
                assert_eq!(sorted, new_list(20).studies);
            }
        }
        let (again, _) = ReadingList::new(new_list(20), |_| Some(1)).unwrap();
        assert_eq!(again.readers[0].orders, a.orders, "the seed decides");
        let (pair, _) = ReadingList::new(new_list(2), |_| Some(1)).unwrap();
        assert!(
            pair.readers.iter().all(|r| r.orders[&Session::Blind] != r.orders[&Session::WithMap])
        );

        assert_eq!(list.reader_with(&tokens[1].1).unwrap().name, name("B"));
        assert!(list.reader_with("").is_none() && list.reader_with(&a.token_sha256).is_none());
        assert!(
            !serde_json::to_string(&list).unwrap().contains(&tokens[0].1),
            "only the hash is kept"
        );
    }

    #[test]
    fn lists_that_make_no_sense_are_refused() {
        let refused = |change: fn(&mut NewList)| {
            let mut new = new_list(3);
            change(&mut new);
            ReadingList::new(new, |_| Some(1)).unwrap_err().to_string()
        };
        assert!(refused(|new| new.studies.clear()).contains("500 studies"));
        assert!(refused(|new| new.readers.clear()).contains("20 readers"));
        assert!(refused(|new| new.studies.push(study(0))).contains("each study once"));
        assert!(refused(|new| new.readers.push(name("A"))).contains("each reader once"));
        let error = ReadingList::new(new_list(3), |_| None).unwrap_err();
        assert!(error.to_string().contains("a result"), "{error}");
        for bad in ["", "..", ".hidden", "a/b", "a b", "ä", &"x".repeat(33)] {
            assert!(Name::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
