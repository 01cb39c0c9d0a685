//! What free descriptions, in any language, hint at. Never more than a hint: see [`super`].

/// The words of a description.
pub(super) struct Hints<'a> {
    text: &'a str,
    words: Vec<&'a str>,
}

/// What a description says of the body part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    /// The lumbar spine.
    Lumbar,
    /// The whole spine, the lumbar part included.
    WholeSpine,
    /// Something else.
    Other,
}

impl<'a> Hints<'a> {
    /// Splits lower-case text at everything that isn't a letter or digit.
    pub(super) fn new(text: &'a str) -> Hints<'a> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        Hints { text, words }
    }

    fn word(&self, any_of: &[&str]) -> bool {
        self.words.iter().any(|w| any_of.contains(w))
    }

    fn part(&self, any_of: &[&str]) -> bool {
        any_of.iter().any(|p| self.text.contains(p))
    }

    /// A letter and number such as `t1`, inside words too (`sagT1w`), but not as the start of `t12`.
    fn weighting(&self, name: &str) -> bool {
        self.text
            .match_indices(name)
            .any(|(at, _)| !self.text[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
    }

    /// A part of the spine by its letter, however it is written: `lspine`, `l-spine`, `L Spine`.
    fn spine(&self, letter: &str) -> bool {
        self.words.iter().any(|w| w.strip_prefix(letter) == Some("spine"))
            || self.words.windows(2).any(|w| w == [letter, "spine"])
    }

    pub(super) fn t1(&self) -> bool {
        self.weighting("t1") && !self.weighting("t2")
    }

    pub(super) fn t2(&self) -> bool {
        // `t2*` is a gradient echo: not what is looked for.
        self.weighting("t2") && !self.weighting("t1") && !self.part(&["t2*", "t2star", "t2_star"])
    }

    pub(super) fn stir(&self) -> bool {
        self.word(&["stir", "tirm"]) || self.part(&["stir", "tirm", "*tir2d"])
    }

    pub(super) fn fat_suppressed(&self) -> bool {
        let negated = self.part(&["non fs", "no fs", "w/o fs", "without fs", "ohne fs", "non fat"]);
        !negated
            && (self.word(&["fs", "spir", "spair", "chess", "fatsup", "supgraisse"])
                || self.part(&["fatsat", "fat sat", "fat_sat", "fat-sat", "fat sup", "fettges"])
                || self.word(&["dixon", "ideal", "mdixon", "flex"])
                    && self.word(&["w", "water", "wasser", "eau", "agua"]))
    }

    pub(super) fn localizer(&self) -> bool {
        self.part(&["locali", "lokali", "scout", "survey", "topogram", "scanogram", "pilot"])
            || self.part(&["repérage", "reperage", "planung", "3 plane", "3-plane", "3plane"])
            || self.word(&["loc", "3pl"])
    }

    pub(super) fn contrast(&self) -> bool {
        let without = self.part(&["w/o"])
            || self.word(&["without", "ohne", "nativ", "native", "pre", "non", "no", "sans"])
            || self.word(&["senza", "sin", "zonder", "sem", "vor", "unenhanced"]);
        !without
            && (self.part(&["gado", "postcontrast", "post contrast", "post-contrast", "+c", "c+"])
                || self.word(&[
                    "gd",
                    "km",
                    "kontrast",
                    "postgd",
                    "postkm",
                    "contrast",
                    "contraste",
                ]))
    }

    /// The region, if the text names one; a text that names the lumbar spine too means it.
    pub(super) fn region(&self) -> Option<Region> {
        const WHOLE: &[&str] =
            &["whole spine", "total spine", "full spine", "ganzwirbels", "whole_spine"];
        const LUMBAR: &[&str] = &["lumb", "lomb", "lendenwirb", "lwk", "腰"];
        const OTHER: &[&str] = &[
            "cervi",
            "zervi",
            "halswirb",
            "thora",
            "brustwirb",
            "brain",
            "kopf",
            "schädel",
            "schaedel",
            "cerebr",
            "knee",
            "knie",
            "genou",
            "rodilla",
            "ginocchio",
            "shoulder",
            "schulter",
            "épaule",
            "hüfte",
            "ankle",
            "wrist",
            "elbow",
            "breast",
            "mamma",
            "prostat",
            "liver",
            "leber",
            "cardiac",
        ];
        if self.part(WHOLE) || self.word(&["gws"]) {
            Some(Region::WholeSpine)
        } else if self.part(LUMBAR) || self.spine("l") || self.word(&["lws", "lsp", "ls"]) {
            Some(Region::Lumbar)
        } else if self.part(OTHER)
            || self.spine("c")
            || self.spine("t")
            || self.word(&["hws", "bws", "hals", "neck", "head", "cou", "hip"])
        {
            Some(Region::Other)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hints, Region};

    #[test]
    fn weightings_are_read_as_scanners_write_them() {
        for t1 in ["t1_tse_sag", "sag t1", "sagt1w", "t1w_tse", "st1 tse", "t1-gewichtet"] {
            assert!(Hints::new(t1).t1() && !Hints::new(t1).t2(), "{t1}");
        }
        assert!(Hints::new("t2_tse_sag_384").t2());
        assert!(!Hints::new("sag t12-s1").t1(), "a vertebra isn't a weighting");
        assert!(!Hints::new("t1/t2 map").t1() && !Hints::new("t1/t2 map").t2());
        assert!(!Hints::new("t2*_me2d").t2());
    }

    #[test]
    fn fat_suppression_and_contrast_are_read_in_several_languages() {
        assert!(Hints::new("t2_tirm_sag").stir());
        for fs in ["t2 fs sag", "t2_spair", "sag t1 fatsat", "t2_tse_dixon_sag_w"] {
            assert!(Hints::new(fs).fat_suppressed(), "{fs}");
        }
        assert!(!Hints::new("t2 tse sag").fat_suppressed());
        assert!(!Hints::new("t2_tse_dixon_sag_in").fat_suppressed());
        for c in ["t1 sag nach km", "t1 post contrast", "t1 +c", "t1 gd sag", "t1 sag gado"] {
            assert!(Hints::new(c).contrast(), "{c}");
        }
        for c in ["t1 sag ohne km", "t1 sag without contrast", "t1_tse_sag"] {
            assert!(!Hints::new(c).contrast(), "{c}");
        }
    }

    #[test]
    fn regions_are_read_in_several_languages() {
        for lumbar in [
            "mrt lws",
            "l-spine sag",
            "lspine",
            "mri lumbar spine",
            "irm rachis lombaire",
            "rm columna lumbar",
        ] {
            assert_eq!(Hints::new(lumbar).region(), Some(Region::Lumbar), "{lumbar}");
        }
        for neck in
            ["hws nativ", "c spine", "cspine", "cervical spine", "rachis cervical", "mrt hals"]
        {
            assert_eq!(Hints::new(neck).region(), Some(Region::Other), "{neck}");
        }
        assert_eq!(Hints::new("cervical and lumbar").region(), Some(Region::Lumbar));
        assert_eq!(Hints::new("whole spine").region(), Some(Region::WholeSpine));
        assert_eq!(Hints::new("t2_tse_sag").region(), None);
    }

    #[test]
    fn localizers_are_told_by_their_names() {
        for l in ["localizer", "lokalisator", "survey", "3-plane loc", "topogramme", "scout sag"] {
            assert!(Hints::new(l).localizer(), "{l}");
        }
        assert!(!Hints::new("t2_tse_sag").localizer());
    }
}
