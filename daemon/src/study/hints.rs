//! What free descriptions, in any language, hint at. Never more than a hint: see [`super`].

const FAT_SATURATION: &[&str] = &["fatsat", "fat sat", "fat_sat", "fat-sat", "fat sup", "fettges"];

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

    /// A part of the spine by its name or letter, however it is written: `lspine`, `l-spine`, `L Spine`.
    fn spine(&self, any_of: &[&str]) -> bool {
        self.words
            .iter()
            .any(|w| w.strip_suffix("spine").is_some_and(|part| any_of.contains(&part)))
            || self.words.windows(2).any(|w| w[1] == "spine" && any_of.contains(&w[0]))
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
                || self.part(FAT_SATURATION)
                || self.dixon() && self.word(&["w", "water", "wasser", "eau", "agua"]))
    }

    /// Dixon's image of fat, or in opposed phase; beside his name alone the words mean that.
    pub(super) fn fat_or_opposed(&self) -> bool {
        self.dixon()
            && (self.word(&["f", "opp", "opposed", "out", "outphase"])
                || self.word(&["fat"]) && !self.part(FAT_SATURATION))
    }

    fn dixon(&self) -> bool {
        self.word(&["dixon", "ideal", "mdixon", "flex"])
    }

    pub(super) fn localizer(&self) -> bool {
        self.part(&["locali", "lokali", "scout", "survey", "topogram", "scanogram", "pilot"])
            || self.part(&["repérage", "reperage", "planung", "3 plane", "3-plane", "3plane"])
            || self.word(&["loc", "3pl"])
    }

    /// A contrast agent. The first line that speaks of one decides: a protocol's name may tell of the series after it
    /// while a series' own says "pre".
    pub(super) fn contrast(&self) -> bool {
        self.text.lines().find_map(|line| Hints::new(line).says_contrast()).unwrap_or(false)
    }

    /// Whether a contrast agent was given; `None` where nothing speaks of one. Only the word right before denies it: a
    /// `no` further off may be fat suppression's.
    fn says_contrast(&self) -> Option<bool> {
        const AGENTS: &[&str] = &["gd", "gad", "km", "mkm"];
        // `o` is what "w/o" leaves, and in "o. KM" short for "ohne".
        const DENIALS: &[&str] = &[
            "no", "non", "without", "wo", "o", "pre", "nativ", "native", "ohne", "kein", "vor",
            "sans", "senza", "sin", "zonder", "sem",
        ];
        // What an exam may come after besides, by how it begins: an operation, an accident.
        const EVENTS: &[&str] = &["op", "surg", "chir", "quir", "lami", "fusion", "trauma"];
        let is_agent = |word: &str| {
            let word = word.strip_prefix("post").unwrap_or(word);
            AGENTS.contains(&word)
                || word.contains("gado")
                || word.starts_with("contrast")
                || word.starts_with("kontrast")
        };
        let is_event = |word: &&str| EVENTS.iter().any(|event| word.starts_with(*event));
        // "Without i.v. contrast."
        let words: Vec<&str> =
            self.words.iter().copied().filter(|w| !["iv", "i", "v"].contains(w)).collect();
        let is_named = |n: &usize| {
            is_agent(words[*n]) || words[*n] == "post" && !words.get(n + 1).is_some_and(is_event)
        };
        let is_denied = |n: usize| n > 0 && DENIALS.contains(&words[n - 1]);
        let named: Vec<usize> = (0..words.len()).filter(is_named).collect();
        if self.plus_c() || named.iter().any(|n| !is_denied(*n)) {
            return Some(true);
        }
        let is_before = self.word(&["pre", "nativ", "native", "unenhanced"]);
        (is_before || !named.is_empty()).then_some(false)
    }

    /// `+c` or `c+`, but not the plus of `sag+cor`.
    fn plus_c(&self) -> bool {
        self.text.split(|c: char| !c.is_alphanumeric() && c != '+').any(|word| {
            word.ends_with("+c")
                || word.strip_suffix("c+").is_some_and(|w| !w.ends_with(char::is_alphabetic))
        })
    }

    /// The region, if the text names one; a text that names the lumbar spine too means it. The text may also be a
    /// Body Part Examined, as PS3.16 Annex L or a console has it.
    pub(super) fn region(&self) -> Option<Region> {
        const LUMBAR: &[&str] =
            &["lumb", "lomb", "lendenwirb", "lwk", "腰", "l/s spine", "l-s spine"];
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
        // In a description these may be where it hurts; alone they are the body part.
        let is_limb = matches!(self.words[..], ["arm" | "hand" | "leg" | "foot"]);
        if self.spine(&["whole", "total", "full"])
            || self.part(&["ganzwirbels"])
            || self.word(&["gws"])
        {
            Some(Region::WholeSpine)
        } else if self.part(LUMBAR)
            || self.spine(&["l", "ls", "tl"])
            || self.word(&["lws", "lsp", "ls"])
        {
            Some(Region::Lumbar)
        } else if self.part(OTHER)
            || is_limb
            || self.spine(&["c", "t"])
            || self.word(&["hws", "bws", "hals", "neck", "head", "headneck", "cou", "hip", "jaw"])
            || self.word(&["ctspine", "chest", "heart", "skull", "orbit", "pituitary", "femur"])
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
    fn contrast_is_denied_only_right_before_its_name() {
        for c in ["sag t1 post gd no fs", "t1 +c non fs", "sag t1 post", "t1 gad", "t1 mkm sag"] {
            assert!(Hints::new(c).contrast(), "{c}");
        }
        for c in ["t1c+ sag", "t1_sag+c", "t1 postkm", "t1 kontrastmittel", "t1 post op gd"] {
            assert!(Hints::new(c).contrast(), "{c}");
        }
        for c in ["t1 pre contrast", "t1 pre gd", "t1 w/o gd", "t1 o. km", "t1 wo iv contrast"] {
            assert!(!Hints::new(c).contrast(), "{c}");
        }
        for c in ["t1 sag pre\nl-spine w contrast", "t1 sag\nl-spine w/o contrast\nse2d post"] {
            assert!(!Hints::new(c).contrast(), "{c}");
        }
        assert!(Hints::new("t1 sag\nl-spine w contrast").contrast());
        for c in ["t1 sag nativ", "t1 post op", "t1 post-surgical", "t1 posterior", "t1 sag+cor"] {
            assert!(!Hints::new(c).contrast(), "{c}");
        }
    }

    #[test]
    fn fat_and_opposed_phase_are_dixon_s_beside_his_name_alone() {
        for part in ["t2_tse_dixon_sag_f", "t2_tse_dixon_sag_opp", "fat: sag t2 flex"] {
            assert!(Hints::new(part).fat_or_opposed(), "{part}");
        }
        for other in ["t2_tse_dixon_sag_in", "t2_tse_dixon_sag_w", "t2 dixon fat sat", "t2 f out"] {
            assert!(!Hints::new(other).fat_or_opposed(), "{other}");
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
            "lsspine",
            "l-s spine",
            "tlspine",
        ] {
            assert_eq!(Hints::new(lumbar).region(), Some(Region::Lumbar), "{lumbar}");
        }
        for neck in
            ["hws nativ", "c spine", "cspine", "cervical spine", "rachis cervical", "mrt hals"]
        {
            assert_eq!(Hints::new(neck).region(), Some(Region::Other), "{neck}");
        }
        for other in ["thoracic spine", "tspine", "ctspine", "headneck", "pituitary", "leg"] {
            assert_eq!(Hints::new(other).region(), Some(Region::Other), "{other}");
        }
        assert_eq!(Hints::new("back pain into the left leg").region(), None);
        assert_eq!(Hints::new("cervical and lumbar").region(), Some(Region::Lumbar));
        for whole in ["whole spine", "wholespine", "t2_whole_spine"] {
            assert_eq!(Hints::new(whole).region(), Some(Region::WholeSpine), "{whole}");
        }
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
