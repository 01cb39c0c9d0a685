// A volume as niivue is to take it: every acquired slice a frame of its own.
//
// As a volume, niivue would turn it into the patient's axes with a pass for each of some hundred transverse planes, four
// times over, before anything is seen, and again at every change of window or opacity. As frames, only the slice that is
// shown is worked on, and it is shown in the plane in which it was acquired, also when that is oblique.

const LITTLE_ENDIAN = true;
const SCANNER = 1;

/** Rewrites the header of a NIfTI-1 file of a stack of slices, in place: its time runs through the slices. */
export function slicesToFrames(buffer, { shape: [slices, rows, columns], spacing }) {
  const header = new DataView(buffer);
  const [, rowMm, columnMm] = spacing;
  const shorts = (offset, values) => values.forEach((value, k) => header.setInt16(offset + 2 * k, value, LITTLE_ENDIAN));
  const floats = (offset, values) => values.forEach((value, k) => header.setFloat32(offset + 4 * k, value, LITTLE_ENDIAN));
  shorts(40, [4, columns, rows, 1, slices, 1, 1, 1]); // dim
  floats(76, [1, columnMm, rowMm, 1, 1, 0, 0, 0]); // pixdim
  shorts(252, [0, SCANNER]); // qform_code, sform_code
  floats(280, [columnMm, 0, 0, 0, 0, -rowMm, 0, 0, 0, 0, 1, 0]); // srow_x, srow_y, srow_z
  return buffer;
}

/** A NIfTI-1 file of one slice of 4 by 4 bytes, all but one of them 0. */
export function blank() {
  const [size, side, uint8, bits, start] = [352 + 16, 4, 2, 8, 352];
  const buffer = new ArrayBuffer(size);
  const header = new DataView(buffer);
  header.setInt32(0, 348, LITTLE_ENDIAN); // sizeof_hdr
  header.setInt16(70, uint8, LITTLE_ENDIAN); // datatype
  header.setInt16(72, bits, LITTLE_ENDIAN); // bitpix
  header.setFloat32(108, start, LITTLE_ENDIAN); // vox_offset
  header.setFloat32(112, 1, LITTLE_ENDIAN); // scl_slope
  header.setUint32(344, 0x6e2b3100); // magic, "n+1"
  header.setUint8(start, 1);
  return slicesToFrames(buffer, { shape: [1, side, side], spacing: [1, 1, 1] });
}

/** Slice, row and column, with fractions, of a point of the patient. */
export function indexOf(point, { origin, axes, spacing }) {
  return axes.map((axis, k) => axis.reduce((sum, a, i) => sum + a * (point[i] - origin[i]), 0) / spacing[k]);
}

/** Where niivue has a point of the patient: mm in the slice's plane. */
export function inPlane(point, grid) {
  const [, row, column] = indexOf(point, grid);
  return [column * grid.spacing[2], -row * grid.spacing[1], 0];
}
