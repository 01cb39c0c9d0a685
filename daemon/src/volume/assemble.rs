//! A series' files become one volume.

use std::io;
use std::path::Path;

use ndarray::{Array3, ArrayView2, Axis};

use super::pixels::{PixelError, PixelFile};
use crate::domain::Volume;
use crate::study::{Reason, Series};

/// Why a series can't be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The study's fault: it is refused.
    #[error("the series' pixels are refused: {0}")]
    Refused(Reason),
    /// The disk's fault: worth another try.
    #[error("reading an instance file of the series")]
    Io(#[source] io::Error),
}

impl From<PixelError> for AssembleError {
    fn from(e: PixelError) -> AssembleError {
        match e {
            PixelError::Io(e) => AssembleError::Io(e),
            PixelError::Short => AssembleError::Refused(Reason::PixelDataShort),
            PixelError::Unsupported => AssembleError::Refused(Reason::UnsupportedPixels),
        }
    }
}

/// Decodes a series slice by slice onto its canonical grid; values are rescaled, in the file's unit. Blocking.
/// Beyond the volume it needs memory for one image.
pub fn assemble(series: &Series) -> Result<Volume, AssembleError> {
    let mut data = Array3::<f32>::zeros(series.grid.shape);
    let mut open: Option<(&Path, PixelFile)> = None;
    for (mut canonical, header) in data.axis_iter_mut(Axis(0)).zip(&series.slices) {
        let file = match open.take() {
            // The frames of a multi-frame file are read from one opened file.
            Some((path, file)) if path == header.path => file,
            _ => PixelFile::open(&header.path)?,
        };
        let (_, file) = open.insert((&header.path, file));
        let values = file.values(header)?;
        let stored = ArrayView2::from_shape((header.rows.into(), header.columns.into()), &values)
            .expect("as many values as rows times columns were read");
        series.layout.as_stored(canonical.view_mut()).assign(&stored);
    }
    Ok(Volume::new(data, series.grid.clone()))
}
