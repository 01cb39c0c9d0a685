"""Sends instances by pynetdicom: send.py PORT COUNT FILE. Each gets a new SOP Instance UID, every hundred a new study. A rejected
association is asked for again. Prints how many were answered with Success."""

import sys
import time

from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE

port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dataset = dcmread(path)
ae = AE(ae_title="PYNETDICOM")
ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
accepted = 0
while accepted < count:
    association = ae.associate("127.0.0.1", port, ae_title="MODICD")
    if not association.is_established:
        time.sleep(0.5)
        continue
    for _ in range(min(100, count - accepted)):
        if accepted % 100 == 0:
            dataset.StudyInstanceUID = generate_uid()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        status = association.send_c_store(dataset)
        if not status or status.Status != 0:
            break
        accepted += 1
    association.release()
print(accepted)
