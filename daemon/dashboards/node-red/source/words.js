// Runs once at the start. What codes mean, for people: boxes say it of their own alarms; an unknown code is shown as it
// is, so that a newer box needs no newer flow. `version` counts changes of what is kept, from a number that no earlier run can have reached.
flow.set("version", Date.now());
flow.set("words", {
    alarm: {
        offline: "The box or its network is down. Findings wait in its outbox and arrive later.",
        silent: "It counts as online, but nothing has come from it for some time.",
        degraded: "It works with a limitation.",
        failing: "Exams are not received or not analysed.",
    },
    quality: {
        s1_not_seen: "S1 was not seen; the lowest body was taken for L5.",
        few_levels: "Fewer than five vertebrae above the sacrum are seen.",
        level_gap: "A body between two others was missed; its level was counted all the same.",
        bodies_divided: "Two bodies had grown together in the segmentation and were divided.",
        t2_moved: "The patient moved between T1 and T2; T2 was moved back.",
        both_sides_oedema: "Oedema over most of both bodies beside one disc: think of spondylodiscitis.",
        uncertain_finding: "The probability of a finding lies near the threshold.",
        borderline_type: "A finding's type hangs on little: with somewhat other signals or probabilities it would be another.",
        age_unknown: "Neither age nor birth date is given; the patient may be a minor.",
        body_part_unknown: "Neither body part nor description says that this is the lumbar spine.",
        whole_spine: "A long field of view or whole spine: levels are counted from the lowest body seen.",
        few_slices: "Fewer slices than usual: lateral parts of the bodies may be missing.",
        thick_slices: "Slices are further apart than usual: small findings may be missed.",
        oblique: "The slices are turned far from the sagittal plane.",
        partial_overlap: "T2w covers T1w's region only in part; nothing is found outside.",
        lossy_compression: "The pixels were compressed with loss: signal values are approximate.",
        weighting_from_description: "Timing was missing or ambiguous: T1w or T2w was told from the description.",
    },
});
