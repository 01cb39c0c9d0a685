//! The way of one exam from instance files to a result, without any server.
//!
//! Owns the order of the stages `study`, `volume`, `segment`, `modic` and `report`, and what a result depends on (the
//! fingerprint). It holds no state of a study and knows neither store nor network.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use modic_models::Kernels;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::domain::Volume;
use crate::hex::hex;
use crate::modic::{self, ModicResult, QualityFlag};
use crate::report::{self, BundleUsed, FindingBody, ReportError};
use crate::segment::{LOOKS, OnSlice, SegmentError, Segmentation, Segmenter};
use crate::study::{self, Headers, Reason, Selection, SeriesPair, SeriesRefusal, Weighting};
use crate::volume::{self, AssembleError};

/// Analyses exams with one set of bundles and thresholds.
pub struct Analyser {
    segmenter: Segmenter,
    kernels: Kernels,
    study: study::Config,
    modic: modic::Config,
}

/// An exam whose series pair was chosen.
pub struct Prepared {
    pair: SeriesPair,
    fat_suppressed: Vec<String>,
    /// Series that were not taken, and why.
    pub refused_series: Vec<SeriesRefusal>,
    /// What the result will depend on, as SHA-256 in hex: the pair's files, which fat-suppressed series there are, the
    /// bundles, whether they run in integers, the thresholds, the program's version. Same fingerprint, same findings.
    pub fingerprint: String,
}

/// An exam that is not analysed.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Every series with its own reason.
    pub refused_series: Vec<SeriesRefusal>,
}

/// A result with the pictures it was made from.
pub struct Analysis {
    /// What is published.
    pub body: FindingBody,
    pair: SeriesPair,
    t1: Volume,
    t2: Volume,
    result: ModicResult,
    /// How long each stage took in all.
    pub stages: Vec<(&'static str, Duration)>,
}

/// What the program sees in a pair of volumes.
pub struct Examined {
    /// What the networks say.
    pub segmentation: Segmentation,
    /// What follows from it.
    pub result: ModicResult,
    /// That the networks ran again, without rounding.
    pub unrounded: bool,
}

/// Why an exam got no result through no fault of its own.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The disk failed.
    #[error("can't read the instances of the study")]
    Read(#[source] std::io::Error),
    /// The networks failed.
    #[error("can't segment the study")]
    Segment(#[source] SegmentError),
    /// It was broken off by who asked for it.
    #[error("the analysis was broken off")]
    BrokenOff,
}

/// Why volumes came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// Either a refusal or what was asked for.
pub type Verdict<T> = Result<T, Refused>;

impl Analyser {
    /// `bundles` holds `vertebrae/` and `modic/`; without it the shipped ones are used, whatever `config` says.
    pub fn new(
        bundles: Option<&Path>,
        config: &Config,
    ) -> Result<Analyser, modic_models::BundleError> {
        let runtime = config.segment.runtime()?;
        let segmenter = match bundles {
            Some(folder) => Segmenter::load(folder, &runtime)?,
            None => Segmenter::shipped(&runtime)?,
        };
        Ok(Self::of(segmenter, config))
    }

    /// With these networks.
    pub fn of(segmenter: Segmenter, config: &Config) -> Analyser {
        Analyser {
            segmenter,
            kernels: config.segment.kernels,
            study: config.study.clone(),
            modic: config.modic.clone(),
        }
    }

    /// The networks in use.
    pub fn bundles(&self) -> Vec<BundleUsed> {
        let used = |(name, version, sha256): (&str, &str, &str)| BundleUsed {
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: sha256.to_owned(),
        };
        self.segmenter.bundles().map(used).to_vec()
    }

    /// Reads the headers of one study's files and chooses the series pair.
    ///
    /// # Errors
    /// The disk failed; what is wrong with the study itself is in the verdict.
    pub fn prepare(&self, files: &[PathBuf]) -> Result<Verdict<Prepared>, AnalysisError> {
        let headers = Headers::read(files, &self.study).map_err(AnalysisError::Read)?;
        let Selection { outcome, refused_series, fat_suppressed, .. } =
            study::select(&headers, &self.study);
        let pair = match outcome {
            Ok(pair) => pair,
            Err(reason) => return Ok(Err(Refused { reason, refused_series })),
        };
        let fingerprint = self.fingerprint(&pair, &fat_suppressed).map_err(AnalysisError::Read)?;
        let fat_suppressed = fat_suppressed.iter().map(ToString::to_string).collect();
        Ok(Ok(Prepared { pair, fat_suppressed, refused_series, fingerprint }))
    }

    /// How many steps [`Analyser::analyse`] reports for an exam; as many again where it does it twice.
    pub fn steps(prepared: &Prepared) -> usize {
        LOOKS * prepared.pair.t1.slices.len()
    }

    /// Analyses a prepared exam; `on_step` is called as [`Analyser::steps`] says, unless it breaks the analysis off.
    ///
    /// # Errors
    /// The disk or a network failed, or `on_step` broke it off; what is wrong with the study itself is in the verdict.
    pub fn analyse(
        &mut self,
        prepared: &Prepared,
        on_step: OnSlice,
    ) -> Result<Verdict<Analysis>, AnalysisError> {
        let Prepared { pair, fat_suppressed, refused_series, .. } = prepared;
        let refused = |reason| Refused { reason, refused_series: refused_series.clone() };
        let mut clock = StageClock::start();

        let mut examined = || -> Result<(Volume, Examined), Failure> {
            let t1 = volume::assemble(&pair.t1)?;
            let t2 = || volume::assemble(&pair.t2).map_err(Failure::from);
            let examined = self.volumes(&t1, t2, on_step, &mut clock)?;
            Ok((t1, examined))
        };
        let (t1, Examined { segmentation, result, unrounded }) = match examined() {
            Ok(examined) => examined,
            Err(Failure::Assemble(AssembleError::Refused(reason))) => {
                return Ok(Err(refused(reason)));
            }
            Err(Failure::Assemble(AssembleError::Io(error))) => {
                return Err(AnalysisError::Read(error));
            }
            Err(Failure::Segment(SegmentError::NoVertebrae | SegmentError::Marrow { .. })) => {
                return Ok(Err(refused(Reason::NoSpineSeen)));
            }
            Err(Failure::Segment(SegmentError::BrokenOff)) => return Err(AnalysisError::BrokenOff),
            Err(Failure::Segment(error)) => return Err(AnalysisError::Segment(error)),
        };

        let mut body = FindingBody::new(
            &result,
            &self.modic,
            self.bundles(),
            prepared.fingerprint.clone(),
            fat_suppressed.clone(),
            refused_series.clone(),
        );
        body.unrounded = unrounded;
        body.quality.extend(pair.quality.iter().map(|flag| flag.as_str().to_owned()));
        let (t2, stages) = (segmentation.t2, clock.stages);
        Ok(Ok(Analysis { body, pair: pair.clone(), t1, t2, result, stages }))
    }

    /// The stages from volumes on, for those who have the volumes already: `t1` and `t2` each on its own grid.
    ///
    /// # Errors
    /// No spine is seen, or a network failed.
    pub fn examine(&mut self, t1: &Volume, t2: &Volume) -> Result<Examined, SegmentError> {
        let mut goes_on = || ControlFlow::Continue(());
        self.volumes(t1, || Ok(t2.clone()), &mut goes_on, &mut StageClock::start())
    }

    /// Analyses T1 and T2, which `t2` loads. Where the type of a finding hangs on little, rounding in the networks
    /// might decide it: then all is done again without, and T2 loaded again, since it needn't be kept for that.
    fn volumes<E: From<SegmentError>>(
        &mut self,
        t1: &Volume,
        t2: impl Fn() -> Result<Volume, E>,
        on_step: OnSlice,
        clock: &mut StageClock,
    ) -> Result<Examined, E> {
        let mut once = |segmenter: &mut Segmenter, unrounded| -> Result<Examined, E> {
            let t2 = t2()?;
            clock.stage("volume");
            let segmentation = segmenter.segment(t1, t2, on_step)?;
            clock.stage("segment");
            let result = modic::analyse(&segmentation, &self.modic);
            clock.stage("modic");
            if result.spine.vertebrae.is_empty() {
                return Err(SegmentError::NoVertebrae.into());
            }
            Ok(Examined { segmentation, result, unrounded })
        };
        let first = once(&mut self.segmenter, false)?;
        let is_borderline = first.result.quality.contains(&QualityFlag::BorderlineType);
        if !self.modic.second_look || !is_borderline || !self.segmenter.is_rounded() {
            return Ok(first);
        }
        drop(first); // it takes memory
        tracing::info!(
            "The type of a finding hangs on little: the networks run again, without rounding."
        );
        once(&mut self.segmenter.unrounded().map_err(SegmentError::from)?, true)
    }

    fn fingerprint(
        &self,
        pair: &SeriesPair,
        fat_suppressed: &[Weighting],
    ) -> std::io::Result<String> {
        let mut hasher = Sha256::new();
        // All integer kernels give the same bytes, whatever the CPU.
        let in_integers = self.kernels != Kernels::Tract;
        let version = env!("CARGO_PKG_VERSION");
        let settings = (version, in_integers, &self.study, &self.modic, fat_suppressed);
        hasher.update(serde_json::to_vec(&settings).map_err(std::io::Error::other)?);
        for identity in self.segmenter.identities() {
            hasher.update(identity);
        }
        for series in [&pair.t1, &pair.t2] {
            let mut files: Vec<&Path> = series.slices.iter().map(|s| s.path.as_path()).collect();
            files.sort_unstable();
            files.dedup();
            hasher.update((files.len() as u64).to_le_bytes());
            for file in files {
                hasher.update(file_digest(file)?);
            }
        }
        Ok(hex(&hasher.finalize()))
    }
}

impl Analysis {
    /// Writes the map, the picture and the DICOM objects into a folder.
    pub fn write_files(&self, folder: &Path, revision: u32) -> Result<(), ReportError> {
        let Analysis { body, pair, t1, t2, result, .. } = self;
        report::write_files(folder, pair, [t1, t2], result, body, revision)
    }

    /// The Modic map on T1's grid and the vertebra of each voxel, for those who compare with a truth.
    pub fn result(&self) -> &ModicResult {
        &self.result
    }
}

fn file_digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().into())
}

struct StageClock {
    last: Instant,
    stages: Vec<(&'static str, Duration)>,
}

impl StageClock {
    fn start() -> StageClock {
        StageClock { last: Instant::now(), stages: Vec::new() }
    }

    fn stage(&mut self, name: &'static str) {
        let took = self.last.elapsed();
        self.last += took;
        match self.stages.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += took,
            None => self.stages.push((name, took)),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;
    use crate::phantom::{Settings, generate, tissue_class};

    #[test]
    fn an_exam_of_the_sacrum_alone_has_no_result() {
        let exam = generate(7, &Settings::small(5));
        let sacrum = exam.truth.tissue.mapv(|class| class == tissue_class::S1);
        let top = sacrum.axis_iter(Axis(1)).position(|row| row.iter().any(|s1| *s1)).unwrap();
        let mut analyser = Analyser::new(None, &Config::with_state_dir("unused".into())).unwrap();
        assert!(analyser.examine(&exam.t1, &exam.t2).is_ok());
        let t1 = exam.t1.below_row(top);
        let mut goes_on = || ControlFlow::Continue(());
        let seen = analyser.segmenter.segment(&t1, exam.t2.clone(), &mut goes_on);
        assert!(seen.is_ok(), "the sacrum is seen");
        let refused = analyser.examine(&t1, &exam.t2).err();
        assert!(matches!(refused, Some(SegmentError::NoVertebrae)), "{refused:?}");
    }
}
