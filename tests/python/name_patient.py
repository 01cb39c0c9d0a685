"""Names the patient of DICOM files in character sets that are switched between: `name_patient.py SETS NAME FILE...`

`SETS` as in the file, such as `\\ISO 2022 IR 87`.
"""

import sys

import pydicom


def main(sets: str, name: str, *files: str) -> None:
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.SpecificCharacterSet = sets.split("\\")
        dataset.PatientName = name
        dataset.save_as(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
