// Runs once at the start. What codes mean, for people; an unknown code is shown as it is, so a newer box needs no
// newer flow. `version` counts changes of what is kept, from a number that no earlier run can have reached.
flow.set("version", Date.now());
flow.set("words", {
    alarm: {
        offline: "The box or its network is down. Findings wait in its outbox and arrive later.",
        silent: "It counts as online, but nothing has come from it for some time.",
        degraded: "It works with a limitation.",
        failing: "Exams are not received or not analysed.",
        outbox_full: "The broker has been out of reach for long: studies wait, nothing is lost.",
        analysis_error: "An analysis failed and is tried again. The box's journal names the cause.",
        pacs_queue_unreadable: "The queues of the PACS can't be read. Check the box's disk.",
    },
    quality: {
        s1_not_seen: "S1 was not seen; the lowest body was taken for L5.",
        few_levels: "Fewer than five vertebrae above the sacrum are seen.",
        level_gap: "A body between two others was missed; its level was counted all the same.",
        bodies_divided: "Two bodies had grown together in the segmentation and were divided.",
        t2_moved: "The patient moved between T1 and T2; T2 was moved back.",
        both_sides_oedema: "Oedema over most of both bodies beside one disc: think of spondylodiscitis.",
        uncertain_finding: "The probability of a finding lies near the threshold.",
        lossy_compression: "The series was compressed with loss.",
    },
});
