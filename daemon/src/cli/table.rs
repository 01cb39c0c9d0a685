//! Findings as a short table for people.

use crate::report::FindingBody;

/// The findings as lines of text.
pub fn findings(body: &FindingBody) -> String {
    let mut lines = Vec::new();
    if body.findings.is_empty() {
        lines.push("no Modic change found".to_owned());
    } else {
        lines.push(format!(
            "{:<12}{:<9}{:<15}{:>9}{:>10}{:>13}  {}",
            "endplate", "disc", "type", "mm3", "height", "probability", "place"
        ));
    }
    for f in &body.findings {
        let side = format!("{:?}", f.side).to_lowercase();
        let place: Vec<String> =
            f.place.iter().map(|third| format!("{third:?}").to_lowercase()).collect();
        lines.push(format!(
            "{:<12}{:<9}{:<15}{:>9.0}{:>8.0}%{}{:>13.2}  {}",
            format!("{} {}", f.level, &side[..3]),
            f.disc.as_deref().unwrap_or("-"),
            f.pattern,
            f.volume_mm3,
            f.height_percent,
            f.height_grade,
            f.probability,
            place.join(", ")
        ));
    }
    for lesion in &body.other_marrow_lesions {
        lines.push(format!(
            "{:<12}other marrow lesion, {:.0} mm3, touches no endplate",
            lesion.level.to_string(),
            lesion.volume_mm3
        ));
    }
    if !body.quality.is_empty() {
        lines.push(format!("quality: {}", body.quality.join(", ")));
    }
    lines.push(body.limits.join("; "));
    lines.join("\n")
}
