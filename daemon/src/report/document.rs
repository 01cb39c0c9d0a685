//! The finding document's body: what is said of one study, without envelope.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{EndplateSide, Level};
use crate::modic::{Config, Finding, ModicResult, OtherMarrowLesion};
use crate::study::SeriesRefusal;
use crate::{modic, study};

/// What every result has to say of itself.
pub const LIMITS: [&str; 3] = [
    "research use, not for diagnosis",
    "numbering assumed from the sacrum",
    "from T1 and T2 alone: type 1 is under-called against fat-suppressed series",
];

/// The result of one study as it is published and kept. The envelope is `deliver`'s.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FindingBody {
    /// What the reader must know.
    pub limits: Vec<String>,
    /// Version of the program.
    pub software: String,
    /// What the result depends on, SHA-256 in hex: same fingerprint, same findings.
    pub fingerprint: String,
    /// The networks that were used.
    pub bundles: Vec<BundleUsed>,
    /// That their values were not rounded to integers, since the type of a finding hung on little.
    #[serde(default)]
    pub unrounded: bool,
    /// The thresholds that were used.
    pub typing: Config,
    /// How far the numbering can be trusted, 0 to 1.
    pub numbering_confidence: f32,
    /// What makes the result doubtful.
    pub quality: Vec<String>,
    /// Fat-suppressed series of the study, by weighting: they would show type 1 better.
    pub fat_suppressed_series: Vec<String>,
    /// Series of the study that were not analysed, and why.
    pub refused_series: Vec<SeriesRefusal>,
    /// Vertebrae seen, from the sacrum up.
    pub levels: Vec<LevelSeen>,
    /// Findings, from the sacrum up.
    pub findings: Vec<Finding>,
    /// Number of findings.
    pub finding_count: usize,
    /// The largest finding once more, flat for boards that can't look into lists: its type.
    pub largest_type: Option<String>,
    /// The largest finding's vertebra.
    pub largest_level: Option<Level>,
    /// The largest finding's surface.
    pub largest_side: Option<EndplateSide>,
    /// The largest finding's disc.
    pub largest_disc: Option<String>,
    /// The largest finding's volume, mm³.
    pub largest_volume_mm3: Option<f32>,
    /// Discs with a finding at either endplate, from the sacrum up.
    pub discs: Vec<DiscSummary>,
    /// Changes without contact to an endplate.
    pub other_marrow_lesions: Vec<OtherMarrowLesion>,
}

/// One network that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleUsed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its ONNX file.
    pub sha256: String,
}

/// One vertebra that was seen.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LevelSeen {
    /// Its name.
    pub level: Level,
    /// Its height, mm.
    pub height_mm: f32,
    /// Its volume inside the stack, mm³.
    pub volume_mm3: f32,
}

/// The findings at both endplates of one disc, summed up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DiscSummary {
    /// `L4-L5`.
    pub disc: String,
    /// The type of the larger finding.
    #[serde(rename = "type")]
    pub pattern: String,
    /// Number of findings.
    pub findings: usize,
    /// Volume of all, mm³.
    pub volume_mm3: f32,
    /// The largest height, % of the vertebra's.
    pub height_percent: f32,
}

/// What a quality flag means, for a person; `None` of one that a later version wrote.
pub(crate) fn quality_meaning(code: &str) -> Option<&'static str> {
    let of_study = study::QualityFlag::ALL.iter().map(|flag| (flag.as_str(), flag.meaning()));
    let of_modic = modic::QualityFlag::ALL.iter().map(|flag| (flag.as_str(), flag.meaning()));
    of_study.chain(of_modic).find(|(known, _)| *known == code).map(|(_, meaning)| meaning)
}

impl FindingBody {
    /// Says what was found.
    pub fn new(
        result: &ModicResult,
        typing: &Config,
        bundles: Vec<BundleUsed>,
        fingerprint: String,
        fat_suppressed_series: Vec<String>,
        refused_series: Vec<SeriesRefusal>,
    ) -> FindingBody {
        let by_volume = |a: &&Finding, b: &&Finding| a.volume_mm3.total_cmp(&b.volume_mm3);
        let largest = result.findings.iter().max_by(by_volume);
        FindingBody {
            limits: LIMITS.map(str::to_owned).to_vec(),
            software: format!("modicd {}", env!("CARGO_PKG_VERSION")),
            fingerprint,
            bundles,
            unrounded: false,
            typing: typing.clone(),
            numbering_confidence: result.spine.confidence,
            quality: result.quality.iter().map(|flag| flag.as_str().to_owned()).collect(),
            fat_suppressed_series,
            refused_series,
            levels: result
                .spine
                .vertebrae
                .iter()
                .map(|v| LevelSeen {
                    level: v.level,
                    height_mm: v.height_mm as f32,
                    volume_mm3: v.volume_mm3 as f32,
                })
                .collect(),
            findings: result.findings.clone(),
            finding_count: result.findings.len(),
            largest_type: largest.map(|f| f.pattern.clone()),
            largest_level: largest.map(|f| f.level),
            largest_side: largest.map(|f| f.side),
            largest_disc: largest.and_then(|f| f.disc.clone()),
            largest_volume_mm3: largest.map(|f| f.volume_mm3),
            discs: DiscSummary::sum_up(&result.findings),
            other_marrow_lesions: result.other_marrow_lesions.clone(),
        }
    }
}

impl DiscSummary {
    fn sum_up(findings: &[Finding]) -> Vec<DiscSummary> {
        let mut discs: Vec<(DiscSummary, f32)> = Vec::new();
        for finding in findings {
            let Some(disc) = &finding.disc else { continue };
            let known = discs.iter().position(|(d, _)| d.disc == *disc).unwrap_or_else(|| {
                let empty = DiscSummary {
                    disc: disc.clone(),
                    pattern: String::new(),
                    findings: 0,
                    volume_mm3: 0.0,
                    height_percent: 0.0,
                };
                discs.push((empty, 0.0));
                discs.len() - 1
            });
            let (summary, largest) = &mut discs[known];
            summary.findings += 1;
            summary.volume_mm3 += finding.volume_mm3;
            summary.height_percent = summary.height_percent.max(finding.height_percent);
            if finding.volume_mm3 > *largest {
                *largest = finding.volume_mm3;
                summary.pattern.clone_from(&finding.pattern);
            }
        }
        discs.into_iter().map(|(summary, _)| summary).collect()
    }
}
