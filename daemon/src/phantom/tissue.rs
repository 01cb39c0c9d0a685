//! Tissues and the spin-echo signal they give.
//!
//! `S = PD (1 - exp(-TR/T1)) exp(-TE/T2)` for the water and the fat of a tissue apart, so that fat can be
//! shifted along the readout. The relaxation times in [`Palette::new`] (ms, 1.5 T and 3 T) follow the
//! literature to within its spread, no closer: fat and muscle Gold et al., AJR 2004;183:343, and Pai et
//! al., MRI 2008;26:1215 (muscle T2 34 ± 7 ms, fat up to 143 ms, longer in turbo spin echo: hence fat's
//! long T2 here); spinal cord Stanisz et al., MRM 2005;54:507; vertebral marrow as a whole de Bazelaire et
//! al., Radiology 2004;230:652. Proton densities, disc (nucleus T2 150 ms when young, 50 ms when
//! degenerate), vessels and the split of marrow into water and fat are set by eye against real images.

use super::random::Draw;
use super::settings::Protocols;

/// Signal of one tissue: the parts of water and of fat on T1w (index 0) and T2w (index 1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Signal {
    pub(super) water: [f32; 2],
    pub(super) fat: [f32; 2],
}

impl Signal {
    /// The signal multiplied by `gain`.
    pub(super) fn scaled(self, gain: f32) -> Signal {
        Signal { water: self.water.map(|s| s * gain), fat: self.fat.map(|s| s * gain) }
    }

    /// The sum of two signals.
    pub(super) fn plus(self, other: Signal) -> Signal {
        let sum = |a: [f32; 2], b: [f32; 2]| [a[0] + b[0], a[1] + b[1]];
        Signal { water: sum(self.water, other.water), fat: sum(self.fat, other.fat) }
    }

    /// `1 - share` of this tissue and `share` of another.
    pub(super) fn mixed(self, other: Signal, share: f32) -> Signal {
        let part = |a: [f32; 2], b: [f32; 2]| [0, 1].map(|k| a[k] + (b[k] - a[k]) * share);
        Signal { water: part(self.water, other.water), fat: part(self.fat, other.fat) }
    }

    /// Water and fat together.
    pub(super) fn total(self) -> [f32; 2] {
        [self.water[0] + self.fat[0], self.water[1] + self.fat[1]]
    }

    /// The signal of a tissue that is `ratio` times as bright as `reference` on T1w and T2w, and whose
    /// signal comes from fat to the share `fat_share`.
    pub(super) fn of_ratio(reference: Signal, ratio: [f32; 2], fat_share: f32) -> Signal {
        let total = reference.total();
        let s = [total[0] * ratio[0], total[1] * ratio[1]];
        Signal { water: s.map(|v| v * (1.0 - fat_share)), fat: s.map(|v| v * fat_share) }
    }
}

/// One of the two series' timing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Repetition time, ms.
    pub tr_ms: f32,
    /// Echo time, ms.
    pub te_ms: f32,
}

impl Timing {
    /// Spin-echo signal of a tissue with proton density `pd` and relaxation times in ms.
    fn signal(self, pd: f32, t1: f32, t2: f32) -> f32 {
        pd * (1.0 - (-self.tr_ms / t1).exp()) * (-self.te_ms / t2).exp()
    }
}

/// How the exam was acquired.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protocol {
    /// Field strength, T.
    pub field_t: f32,
    /// T1w and T2w.
    pub timing: [Timing; 2],
}

impl Protocol {
    /// Draws field strength and timings.
    pub(super) fn draw(draw: &mut Draw, protocols: Protocols) -> Protocol {
        if protocols == Protocols::Wide {
            let field_t = draw.log_within([0.3, 3.0]);
            let mut timing = |tr: [f32; 2], te: [f32; 2]| Timing {
                tr_ms: draw.uniform(tr[0], tr[1]).round(),
                te_ms: draw.uniform(te[0], te[1]).round(),
            };
            let t1 = timing([350.0, 800.0], [7.0, 20.0]);
            return Protocol { field_t, timing: [t1, timing([2200.0, 6000.0], [75.0, 135.0])] };
        }
        let field_t = if draw.chance(0.6) { 1.5 } else { 3.0 };
        let t1 = Timing {
            tr_ms: draw.uniform(420.0, 700.0).round(),
            te_ms: draw.uniform(8.0, 14.0).round(),
        };
        let t2 = Timing {
            tr_ms: draw.uniform(2800.0, 4500.0).round(),
            te_ms: draw.uniform(88.0, 118.0).round(),
        };
        Protocol { field_t, timing: [t1, t2] }
    }
}

/// The signals of all tissues of one exam.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub(super) fat: Signal,
    pub(super) muscle: Signal,
    pub(super) cortex: Signal,
    pub(super) csf: Signal,
    pub(super) cord: Signal,
    pub(super) nucleus_young: Signal,
    pub(super) nucleus_old: Signal,
    pub(super) annulus: Signal,
    pub(super) vein: Signal,
    pub(super) void: Signal,
    pub(super) fluid: Signal,
    marrow_water: Signal,
    /// Normal marrow at the patient's mean fat fraction: what lesions are measured against.
    pub(super) marrow: Signal,
    /// The patient's mean fat fraction of marrow.
    pub(super) marrow_fat: f32,
}

impl Palette {
    /// Computes all signals of a protocol for a patient with this fat fraction of marrow.
    pub(super) fn new(protocol: Protocol, marrow_fat: f32) -> Palette {
        // From 1.5 T (share 0) to 3 T (1), and beyond by the same power law (Bottomley et al., Med Phys 1984).
        let share = (protocol.field_t / 1.5).log2();
        let signals = |pd: f32, t1: [f32; 2], t2: [f32; 2]| {
            let at_field = |[low, high]: [f32; 2]| low * (high / low).powf(share);
            protocol.timing.map(|t| t.signal(pd, at_field(t1), at_field(t2)))
        };
        let water = |pd, t1, t2| Signal { water: signals(pd, t1, t2), fat: [0.0; 2] };
        let fat = Signal { water: [0.0; 2], fat: signals(1.0, [288.0, 371.0], [165.0, 133.0]) };
        let mut palette = Palette {
            fat,
            muscle: water(0.95, [1130.0, 1420.0], [38.0, 36.0]),
            cortex: water(0.10, [900.0, 1000.0], [20.0, 18.0]),
            csf: water(1.0, [3900.0, 4100.0], [1500.0, 1300.0]),
            cord: water(0.85, [745.0, 993.0], [74.0, 78.0]),
            nucleus_young: water(1.0, [1200.0, 1350.0], [150.0, 140.0]),
            nucleus_old: water(0.65, [1050.0, 1200.0], [48.0, 45.0]),
            annulus: water(0.45, [950.0, 1100.0], [36.0, 34.0]),
            vein: water(0.9, [1400.0, 1600.0], [160.0, 130.0]),
            void: water(0.05, [1400.0, 1600.0], [60.0, 50.0]),
            fluid: water(1.0, [2500.0, 2800.0], [300.0, 250.0]),
            marrow_water: water(0.95, [850.0, 1000.0], [60.0, 57.0]),
            marrow: Signal::default(),
            marrow_fat,
        };
        palette.marrow = palette.marrow_of(marrow_fat);
        palette
    }

    /// Marrow with this fat fraction; trabecular bone takes a tenth of its place.
    pub(super) fn marrow_of(&self, fat_fraction: f32) -> Signal {
        self.marrow_water.mixed(self.fat, fat_fraction.clamp(0.0, 1.0)).scaled(0.9)
    }
}
