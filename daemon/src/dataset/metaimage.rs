//! MetaImage files (`.mha`): a text header, then voxels, as ITK writes them and SPIDER is published.
//!
//! The header's world is LPS in mm, as DICOM's. `TransformMatrix` lists the direction of each stored axis.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use ndarray::{Array3, ArrayView3, ShapeBuilder};

use super::DatasetError;
use crate::domain::{Grid, Volume};

/// A header line longer than this is none.
const MAX_LINE_BYTES: u64 = 4096;
/// More lines than this are no header.
const MAX_LINES: usize = 200;
/// More voxels than this are refused: a full lumbar series has a hundredth of it.
const MAX_VOXELS: usize = 1 << 29;
/// Patient directions of a canonical grid's slices, rows and columns (see [`Grid`]).
const CANONICAL: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]];

/// Type of the stored voxels.
#[derive(Clone, Copy)]
enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl Element {
    fn parse(name: &str) -> Option<Element> {
        Some(match name {
            "MET_UCHAR" => Element::U8,
            "MET_CHAR" => Element::I8,
            "MET_USHORT" => Element::U16,
            "MET_SHORT" => Element::I16,
            "MET_UINT" => Element::U32,
            "MET_INT" => Element::I32,
            "MET_FLOAT" => Element::F32,
            "MET_DOUBLE" => Element::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::F64 => 8,
        }
    }

    /// One little-endian value; `bytes` has [`Element::bytes`] of them.
    fn value(self, bytes: &[u8]) -> f32 {
        let mut wide = [0u8; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let [a, b, c, d, ..] = wide;
        match self {
            Element::U8 => f32::from(a),
            Element::I8 => f32::from(a as i8),
            Element::U16 => f32::from(u16::from_le_bytes([a, b])),
            Element::I16 => f32::from(i16::from_le_bytes([a, b])),
            Element::U32 => u32::from_le_bytes([a, b, c, d]) as f32,
            Element::I32 => i32::from_le_bytes([a, b, c, d]) as f32,
            Element::F32 => f32::from_le_bytes([a, b, c, d]),
            Element::F64 => f64::from_le_bytes(wide) as f32,
        }
    }
}

struct Header {
    /// Voxels along the stored axes, the fastest first.
    shape: [usize; 3],
    spacing: [f64; 3],
    origin: [f64; 3],
    axes: [[f64; 3]; 3],
    element: Element,
    compressed: bool,
}

/// Reads a three-dimensional image onto its canonical grid.
///
/// # Errors
/// The file can't be read, isn't a MetaImage with its voxels inside, or is cut off.
pub fn read(path: &Path) -> Result<Volume, DatasetError> {
    let file = File::open(path).map_err(|e| DatasetError::io(path, e))?;
    let mut file = BufReader::new(file);
    let header = Header::read(&mut file).map_err(|problem| DatasetError::image(path, problem))?;
    let count: usize = header.shape.iter().product();
    let (wanted, mut bytes) = (count * header.element.bytes(), Vec::new());
    let read = if header.compressed {
        ZlibDecoder::new(file).take(wanted as u64).read_to_end(&mut bytes)
    } else {
        file.take(wanted as u64).read_to_end(&mut bytes)
    };
    read.map_err(|e| DatasetError::image(path, format!("its voxels can't be read: {e}")))?;
    if bytes.len() < wanted {
        let problem = format!("its voxels can't be read: {} bytes of {wanted}", bytes.len());
        return Err(DatasetError::image(path, problem));
    }
    let values: Vec<f32> =
        bytes.chunks_exact(header.element.bytes()).map(|b| header.element.value(b)).collect();
    let [i, j, k] = header.shape;
    let stored = Array3::from_shape_vec((i, j, k).f(), values)
        .expect("as many values as the header's shape asks for were read");
    header.canonical(stored).map_err(|problem| DatasetError::image(path, problem))
}

impl Header {
    fn read(file: &mut impl BufRead) -> Result<Header, String> {
        let mut fields = std::collections::BTreeMap::new();
        loop {
            let mut line = Vec::new();
            file.by_ref()
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line)
                .map_err(|e| e.to_string())?;
            let line = String::from_utf8(line).map_err(|_| "its header is no text".to_owned())?;
            let Some((key, value)) = line.split_once('=') else {
                return Err("it has no MetaImage header that ends in ElementDataFile".to_owned());
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if key == "ElementDataFile" {
                if value != "LOCAL" {
                    return Err("its voxels lie in another file; write it as one .mha".to_owned());
                }
                break;
            }
            fields.insert(key, value);
            if fields.len() > MAX_LINES {
                return Err("its header doesn't end".to_owned());
            }
        }
        let field = |key: &str| fields.get(key).map(String::as_str);
        let is_true = |key: &str| field(key).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if is_true("BinaryDataByteOrderMSB") || is_true("ElementByteOrderMSB") {
            return Err("its voxels are big endian, which isn't read".to_owned());
        }
        let shape = numbers::<3>(field("DimSize"), "DimSize")?;
        let shape = shape.map(|n| n as usize);
        let voxels = shape.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
        if shape.contains(&0) || voxels.is_none_or(|n| n > MAX_VOXELS) {
            return Err(format!("DimSize {shape:?} is not that of a series"));
        }
        let element = field("ElementType").unwrap_or_default();
        let matrix = numbers::<9>(
            Some(field("TransformMatrix").unwrap_or("1 0 0 0 1 0 0 0 1")),
            "TransformMatrix",
        )?;
        let origin = field("Offset").or(field("Origin")).or(field("Position"));
        Ok(Header {
            shape,
            spacing: numbers(field("ElementSpacing"), "ElementSpacing")?,
            origin: numbers(Some(origin.unwrap_or("0 0 0")), "Offset")?,
            axes: [0, 3, 6].map(|k| [matrix[k], matrix[k + 1], matrix[k + 2]]),
            element: Element::parse(element)
                .ok_or_else(|| format!("ElementType {element:?} isn't read"))?,
            compressed: is_true("CompressedData"),
        })
    }

    /// Turns the stored axes into the canonical ones.
    fn canonical(&self, stored: Array3<f32>) -> Result<Volume, String> {
        let along = |stored: usize, wanted: usize| {
            let dot: f64 = (0..3).map(|k| self.axes[stored][k] * CANONICAL[wanted][k]).sum();
            dot
        };
        const ORDERS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let fit = |order: &[usize; 3]| (0..3).map(|k| along(order[k], k).abs()).sum::<f64>();
        let order = ORDERS
            .into_iter()
            .max_by(|a, b| fit(a).total_cmp(&fit(b)))
            .expect("there are six orders");
        let mut data = stored.permuted_axes(order);
        let mut origin = self.origin;
        let mut axes = order.map(|k| self.axes[k]);
        let spacing = order.map(|k| self.spacing[k]);
        for k in 0..3 {
            if along(order[k], k) < 0.0 {
                data.invert_axis(ndarray::Axis(k));
                let length = spacing[k] * (self.shape[order[k]] - 1) as f64;
                for (o, axis) in origin.iter_mut().zip(axes[k]) {
                    *o += length * axis;
                }
                axes[k] = axes[k].map(|x| -x);
            }
        }
        let shape = order.map(|k| self.shape[k]);
        let grid = Grid::new(shape, origin, axes, spacing).map_err(|e| e.to_string())?;
        Ok(Volume::new(data.as_standard_layout().into_owned(), grid))
    }
}

fn numbers<const N: usize>(text: Option<&str>, key: &str) -> Result<[f64; N], String> {
    let text = text.ok_or_else(|| format!("its header has no {key}"))?;
    let values: Option<Vec<f64>> = text.split_whitespace().map(|w| w.parse().ok()).collect();
    values
        .filter(|v| v.iter().all(|x| x.is_finite()))
        .and_then(|v| v.try_into().ok())
        .ok_or_else(|| format!("{key} {text:?} is not {N} numbers: only three dimensions are read"))
}

/// A type of voxel that is written.
pub trait Voxel: Copy {
    /// Its name in a MetaImage header.
    const NAME: &'static str;
    /// Its bytes, the lowest first.
    fn put(self, out: &mut Vec<u8>);
}

impl Voxel for u8 {
    const NAME: &'static str = "MET_UCHAR";
    fn put(self, out: &mut Vec<u8>) {
        out.push(self);
    }
}

impl Voxel for u16 {
    const NAME: &'static str = "MET_USHORT";
    fn put(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
}

/// Writes voxels `[slice, row, column]` compressed; columns are the file's fastest axis.
pub fn write<T: Voxel>(path: &Path, data: ArrayView3<T>, grid: &Grid) -> Result<(), DatasetError> {
    let mut bytes = Vec::with_capacity(data.len() * size_of::<T>());
    data.iter().for_each(|v| v.put(&mut bytes));
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    let compressed = compressed.map_err(|e| DatasetError::io(path, e))?;
    let stored = [2, 1, 0];
    let words = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(" ");
    // ITK doesn't read compressed voxels without their size.
    let header = format!(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
         CompressedData = True\nCompressedDataSize = {}\nTransformMatrix = {}\nOffset = {}\n\
         ElementSpacing = {}\nDimSize = {}\nElementType = {}\nElementDataFile = LOCAL\n",
        compressed.len(),
        words(&mut stored.iter().flat_map(|k| grid.axes[*k]).map(|x| x.to_string())),
        words(&mut grid.origin.iter().map(f64::to_string)),
        words(&mut stored.iter().map(|k| grid.spacing[*k].to_string())),
        words(&mut stored.iter().map(|k| grid.shape[*k].to_string())),
        T::NAME,
    );
    let whole = [header.into_bytes(), compressed].concat();
    std::fs::write(path, whole).map_err(|e| DatasetError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oblique() -> Grid {
        let (s, c) = 0.2_f64.sin_cos();
        let axes = [[c, s, 0.0], [0.0, 0.0, -1.0], [-s, c, 0.0]];
        Grid::new([3, 5, 4], [10.0, 20.0, 30.0], axes, [4.0, 0.5, 0.7]).unwrap()
    }

    fn numbered() -> Array3<u16> {
        Array3::from_shape_fn((3, 5, 4), |(s, r, c)| (100 * s + 10 * r + c) as u16)
    }

    #[test]
    fn what_was_written_is_read_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mha");
        write(&path, numbered().view(), &oblique()).unwrap();
        let back = read(&path).unwrap();
        assert_eq!(back.data, numbered().mapv(f32::from));
        for (got, want) in back.grid.origin.iter().zip(oblique().origin) {
            assert!((got - want).abs() < 1e-9);
        }
        assert_eq!(back.grid.spacing, oblique().spacing);
    }

    #[test]
    fn any_stored_order_becomes_the_canonical_grid() {
        // Stored as SPIDER's files may be: left-right first, then backwards, then headwards.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.mha");
        let header = "ObjectType = Image\nNDims = 3\nCompressedData = False\n\
                      TransformMatrix = -1 0 0 0 -1 0 0 0 1\nOffset = 8 3 0\n\
                      ElementSpacing = 4 1 2\nDimSize = 3 4 2\nElementType = MET_SHORT\n\
                      ElementDataFile = LOCAL\n";
        let values = (0..24i16).flat_map(|v| (v - 5).to_le_bytes());
        let bytes: Vec<u8> = header.bytes().chain(values).collect();
        std::fs::write(&path, bytes).unwrap();
        let volume = read(&path).unwrap();
        assert_eq!(volume.grid.shape, [3, 2, 4]);
        assert_eq!(volume.grid.spacing, [4.0, 2.0, 1.0]);
        // The first stored voxel lies at the offset: leftmost, hindmost, lowest.
        assert_eq!(volume.grid.to_patient([2.0, 1.0, 3.0]), [8.0, 3.0, 0.0]);
        assert_eq!(volume.data[[2, 1, 3]], -5.0);
        assert_eq!(volume.data[[1, 1, 3]], -4.0);
        assert_eq!(volume.data[[2, 0, 3]], 7.0);
    }

    #[test]
    fn damaged_files_are_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.mha");
        write(&path, numbered().view(), &oblique()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&whole).into_owned();
        let cut = whole[..whole.len() - 20].to_vec();
        let huge = text.replace("DimSize = 4 5 3", "DimSize = 4000 5000 3000").into_bytes();
        let other = text.replace("= LOCAL", "= voxels.raw").into_bytes();
        for (bytes, word) in [
            (cut, "voxels can't be read"),
            (huge, "DimSize"),
            (other, "another file"),
            (b"no header at all".to_vec(), "no MetaImage header"),
            (Vec::new(), "no MetaImage header"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("c.mha"), "{error}");
        }
    }
}
