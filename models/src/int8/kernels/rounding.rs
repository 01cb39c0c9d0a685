//! From a scaled sum to a byte, in plain Rust that becomes vector code.

/// What `clamp` gives, in a form that becomes two instructions.
#[inline(always)]
pub(crate) fn between(value: f32, low: f32, high: f32) -> f32 {
    let value = if value > low { value } else { low };
    if value < high { value } else { high }
}

/// `saturate(round(value) + zero)`, ties to even, in a form that becomes vector code: among floats of this size
/// neighbours differ by one, so that adding rounds.
#[inline(always)]
pub(crate) fn rounded(value: f32, zero: u8) -> u8 {
    const LARGE: f32 = 12_582_912.0; // 1.5 x 2^23
    let zero = f32::from(zero);
    let value = between(value, -zero, 255.0 - zero);
    (value + LARGE).to_bits().wrapping_sub(LARGE.to_bits()).wrapping_add(zero as u32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_even_and_saturates() {
        for (value, expected) in [
            (0.5, 3),
            (1.5, 5),
            (2.5, 5),
            (-0.5, 3),
            (-3.2, 0),
            (-9e9, 0),
            (251.5, 255),
            (9e9, 255),
        ] {
            assert_eq!(rounded(value, 3), expected, "{value}");
        }
        for q in -300..600 {
            let value = q as f32 * 0.5;
            let expected = (value.round_ties_even() + 7.0) as u8;
            assert_eq!(rounded(value, 7), expected, "{value}");
        }
    }
}
