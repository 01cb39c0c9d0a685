"""Do the DICOM objects of results say what their finding document and NIfTI map say? `check_objects.py FOLDER...`

Reads them by highdicom, pydicom and dcmqi; stops at the first difference with exit code 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import pydicom
from fhir.resources.R4B.bundle import Bundle

TYPES = {"MODIC-1": 1, "MODIC-2": 2, "MODIC-3": 3, "MODIC-IND": 4}
MEASURED = {
    "Volume": "volume_mm3",
    "Area": "area_mm2",
    "Height as a share of the vertebra's": "height_percent",
    "T1 signal relative to normal marrow": "t1_ratio",
    "T2 signal relative to normal marrow": "t2_ratio",
    "Probability of a change": "probability",
}
SHARES = {
    "Share of type 1": "type_1",
    "Share of type 2": "type_2",
    "Share of type 3": "type_3",
    "Share of indeterminate type": "indeterminate",
}


def same(found: object, expected: object, what: str) -> None:
    if found != expected:
        sys.exit(f"{what}: {found!r} instead of {expected!r}")


def check(folder: Path) -> None:
    document = json.loads((folder / "finding.json").read_text())
    segmentation = hd.seg.segread(folder / "map.seg.dcm")
    check_map(segmentation, nibabel.load(folder / "modic_map.nii.gz"))
    check_report(hd.sr.srread(folder / "report.sr.dcm"), segmentation, document)
    check_dcmqi(folder, document)
    picture = pydicom.dcmread(folder / "summary.sc.dcm")
    same(picture.pixel_array.shape, (picture.Rows, picture.Columns, 3), "the picture's shape")
    page = pydicom.dcmread(folder / "report.pdf.dcm")
    pdf = page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    same((pdf[:5], pdf.rstrip()[-5:]), (b"%PDF-", b"%%EOF"), "the page's ends")
    for other in (picture, page):
        same(other.StudyInstanceUID, segmentation.StudyInstanceUID, "study")
        same(other.PatientID, segmentation.PatientID, "patient")
    check_fhir(Bundle.model_validate_json((folder / "report.fhir.json").read_text()), document)


def check_map(segmentation: hd.seg.Segmentation, nifti: nibabel.Nifti1Image) -> None:
    """The segments of the four types are the map, voxel by voxel, through patient coordinates."""
    expected = np.asarray(nifti.dataobj)
    found = np.zeros_like(expected)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    to_index = np.linalg.inv(nifti.affine)
    types = {}
    for segment in segmentation.SegmentSequence:
        if segment.SegmentLabel.startswith("Modic change"):
            types[segment.SegmentNumber] = TYPES[segment.SegmentedPropertyTypeCodeSequence[0].CodeValue]
    frames = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    for groups, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, frames, strict=True):
        same(bool(pixels.any()), True, "a frame has a voxel")
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        if number not in types:
            continue
        rows, columns = np.nonzero(pixels)
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        points = position[:, None] + np.outer(cosines[:3], columns * column_mm) + np.outer(cosines[3:], rows * row_mm)
        points[:2] *= -1  # NIfTI's world is RAS
        index = to_index[:3, :3] @ points + to_index[:3, 3:]
        same(bool(np.abs(index - index.round()).max() < 0.02), True, "pixels lie on voxels")
        index = tuple(index.round().astype(int))
        same(int(found[index].max()), 0, "a voxel has one type")
        found[index] = types[number]
    same(int((found != expected).sum()), 0, "voxels that differ from the NIfTI map")


def check_dcmqi(folder: Path, document: dict) -> None:
    """dcmqi reads as many voxels of each type, and the same volumes."""
    tool = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as out:
        run([tool / "segimage2itkimage", "--inputDICOM", folder / "map.seg.dcm", "--outputDirectory", out,
             "-t", "nii", "--mergeSegments"])
        run([tool / "tid1500reader", "--inputDICOM", folder / "report.sr.dcm", "--outputMetadata", f"{out}/report.json"])
        groups = json.loads(Path(out, "meta.json").read_text())["segmentAttributes"]
        report = json.loads(Path(out, "report.json").read_text())
        expected = np.asarray(nibabel.load(folder / "modic_map.nii.gz").dataobj)
        for number, group in enumerate(groups, start=1):
            labels = np.asarray(nibabel.load(f"{out}/{number}.nii.gz").dataobj)
            for segment in group:
                code = segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"]
                voxels = int((labels == segment["labelID"]).sum())
                if voxels == 0:
                    sys.exit(f"dcmqi: segment {code} is empty")
                if code in TYPES and not segment["SegmentLabel"].startswith("Finding"):
                    same(voxels, int((expected == TYPES[code]).sum()), f"dcmqi: voxels of {code}")
    volumes = [
        float(item["value"])
        for measured in report["Measurements"]
        for item in measured["measurementItems"]
        if item["quantity"]["CodeMeaning"] == "Volume"
    ]
    measured = document["findings"] + document["other_marrow_lesions"]
    same(len(volumes), len(measured), "dcmqi: measured lesions")
    for volume, lesion in zip(volumes, measured):
        if abs(volume - lesion["volume_mm3"]) > 0.001:
            sys.exit(f"dcmqi: volume {volume} instead of {lesion['volume_mm3']}")


def run(command: list) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]}: {done.stdout}{done.stderr}")


def check_report(report: hd.sr.Comprehensive3DSR, segmentation: hd.seg.Segmentation, document: dict) -> None:
    groups = report.content.get_volumetric_roi_measurement_groups()
    same(len(groups), len(document["findings"]), "findings in the report")
    descriptions = {n: segmentation.get_segment_description(n) for n in segmentation.segment_numbers}
    for group, finding in zip(groups, document["findings"]):
        measured = {m.name.meaning: m.value for m in group.get_measurements()}
        same({k: measured[k] for k in MEASURED}, {k: finding[v] for k, v in MEASURED.items()}, "measurements")
        composition = finding["composition_percent"]
        same({k: measured[k] for k in SHARES}, {k: composition[v] for k, v in SHARES.items()}, "composition")
        kind = "MODIC-IND" if finding["type"] == "indeterminate" else f"MODIC-{finding['type']}"
        same(group.finding_type.value, kind, "type")
        (site,) = group.finding_sites
        same(site.value.meaning, f"{finding['level']} vertebra", "level")
        same(site.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning.lower(), finding["side"], "endplate")
        (number,) = group.referenced_segment.referenced_segment_numbers
        same(group.referenced_segment.referenced_sop_instance_uid, segmentation.SOPInstanceUID, "segmentation")
        same(descriptions[number].tracking_uid, group.tracking_uid, "tracking UID of the finding's segment")
    texts = [item.TextValue for item in items_of(report) if "TextValue" in item]
    for said in (*document["limits"], *document["quality"]):
        same(said in texts, True, f"the report says {said!r}")


def check_fhir(bundle: Bundle, document: dict) -> None:
    report, *observations = (entry.resource for entry in bundle.entry)
    same(report.status, "preliminary", "status")
    same(len(report.result or []), len(observations), "results of the report")
    same(len(observations), len(document["findings"]), "observations")
    for observation, finding in zip(observations, document["findings"]):
        values = {c.code.text: float(c.valueQuantity.value) for c in observation.component if c.valueQuantity}
        for name, key in MEASURED.items():
            same(abs(values[name] - finding[key]) < 0.0006, True, f"{name} in FHIR to three decimal places")


def items_of(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """All content items below one."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from items_of(child)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check(Path(name))
        print("agrees:", Path(name).name)
