//! Whether the patient is a minor: the one thing that is taken from age and birth date.

/// Reads DICOM's Patient's Age (AS, PS3.5 6.2: `nnnD`, `nnnW`, `nnnM`, `nnnY`) or, without it, the years
/// between birth date and study date (DA: `YYYYMMDD`). `None` when neither says. An age of 0 says nothing:
/// consoles write `000Y` where they weren't told a birth date.
pub(super) fn is_under(
    years: u32,
    age: Option<&str>,
    birth_date: Option<&str>,
    study_date: Option<&str>,
) -> Option<bool> {
    age.and_then(years_of_age)
        .or_else(|| years_between(birth_date?, study_date?))
        .map(|found| found < years)
}

fn years_of_age(age: &str) -> Option<u32> {
    let age = age.trim();
    let number = age.get(..age.len().checked_sub(1)?)?.parse::<u32>().ok().filter(|n| *n > 0)?;
    match age.as_bytes().last()?.to_ascii_uppercase() {
        b'Y' => Some(number),
        b'M' => Some(number / 12),
        b'W' => Some(number / 52),
        b'D' => Some(number / 365),
        _ => None,
    }
}

fn years_between(birth_date: &str, study_date: &str) -> Option<u32> {
    // YYYYMMDD as a number: the difference's first digits are the full years.
    let number = |date: &str| {
        let digits: String = date.chars().filter(char::is_ascii_digit).collect();
        (digits.len() == 8).then(|| digits.parse::<u32>().ok()).flatten()
    };
    Some(number(study_date)?.checked_sub(number(birth_date)?)? / 10_000)
}

#[cfg(test)]
mod tests {
    use super::is_under;

    #[test]
    fn a_minor_is_told_from_age_or_else_from_dates() {
        assert_eq!(is_under(18, Some("017Y"), None, None), Some(true));
        assert_eq!(is_under(18, Some("018Y"), None, None), Some(false));
        assert_eq!(is_under(18, Some("200M"), None, None), Some(true));
        assert_eq!(is_under(18, None, Some("20080302"), Some("20260301")), Some(true));
        assert_eq!(is_under(18, None, Some("20080301"), Some("20260301")), Some(false));
        assert_eq!(is_under(18, Some("?"), Some("1970"), Some("20260301")), None);
        assert_eq!(is_under(18, None, None, None), None);
    }

    #[test]
    fn an_age_of_zero_years_is_no_age() {
        assert_eq!(is_under(18, Some("000Y"), None, None), None);
        assert_eq!(is_under(18, Some("000Y"), Some("19710301"), Some("20260301")), Some(false));
        assert_eq!(is_under(18, Some("000Y"), Some("20250301"), Some("20260301")), Some(true));
        assert_eq!(is_under(18, Some("003D"), None, None), Some(true));
    }
}
