//! What counts as the same: from grades to categories.

use serde::{Deserialize, Serialize};

use super::gradings::Grade;

/// What readers agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Any Modic change against none.
    Change,
    /// None, 1, 2, 3; a mixed change counts as the type that it mostly is.
    Type,
    /// Every grade as it was given: 1-2 is neither 1 nor 2-1. Without weights, since these grades have no order.
    Grade,
}

/// What becomes of endplates that a reader couldn't grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum NotGradable {
    /// The endplate is left out where any reader compared said so.
    Exclude,
    /// A category of its own. Without weights, since it has no place in the order.
    Category,
}

/// The categories of an analysis.
#[derive(Debug, Clone, Copy)]
pub struct Categories {
    /// What readers agree on.
    pub by: By,
    /// What becomes of endplates that a reader couldn't grade.
    pub not_gradable: NotGradable,
}

impl Categories {
    /// Their names, in their order where they have one.
    pub fn names(self) -> Vec<String> {
        let grades = Grade::ALL.iter().filter(|grade| **grade != Grade::NotGradable);
        let mut names: Vec<String> = match self.by {
            By::Change => ["none", "change"].map(str::to_owned).into(),
            By::Type => ["0", "1", "2", "3"].map(str::to_owned).into(),
            By::Grade => grades.map(Grade::to_string).collect(),
        };
        if self.not_gradable == NotGradable::Category {
            names.push(Grade::NotGradable.to_string());
        }
        names
    }

    /// Whether they have an order, so that a near miss can weigh less than a far one.
    pub fn are_ordered(self) -> bool {
        self.by == By::Type && self.not_gradable == NotGradable::Exclude
    }

    /// A grade's category, as index of [`Categories::names`]; `None` where the endplate is left out.
    pub fn of(self, grade: Grade) -> Option<usize> {
        if grade == Grade::NotGradable {
            let last = self.names().len() - 1;
            return (self.not_gradable == NotGradable::Category).then_some(last);
        }
        Some(match self.by {
            By::Change => usize::from(grade != Grade::None),
            By::Type => match grade {
                Grade::Type(of) | Grade::Mixed(of, _) => usize::from(of),
                _ => 0,
            },
            By::Grade => Grade::ALL.iter().position(|g| *g == grade)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_and_ungradable_endplates_count_as_said() {
        let of = |by, grade: &str| {
            let grade = grade.parse().unwrap();
            let categories = Categories { by, not_gradable: NotGradable::Exclude };
            categories.of(grade).map(|i| categories.names()[i].clone())
        };
        assert_eq!(of(By::Type, "2-1").as_deref(), Some("2"));
        assert_eq!(of(By::Grade, "2-1").as_deref(), Some("2-1"));
        assert_eq!(of(By::Change, "2-1").as_deref(), Some("change"));
        assert_eq!(of(By::Type, "0").as_deref(), Some("0"));
        assert_eq!(of(By::Type, "not gradable"), None);
        for by in [By::Change, By::Type, By::Grade] {
            let categories = Categories { by, not_gradable: NotGradable::Category };
            let index = categories.of(Grade::NotGradable).unwrap();
            assert_eq!(categories.names()[index], "not gradable");
        }
    }
}
