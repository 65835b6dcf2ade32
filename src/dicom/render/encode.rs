//! Pictures as files: JPEG and PNG.

use super::Picture;

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JPEG baseline, with a quality of 1 to 100.
    Jpeg(u8),
    /// PNG.
    Png,
}

/// The picture cannot be written so.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A side is longer than JPEG can say.
    #[error("the picture is too large for JPEG")]
    TooLarge,
    /// The JPEG encoder.
    #[error("the JPEG encoder failed: {0}")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
    /// The PNG encoder.
    #[error("the PNG encoder failed: {0}")]
    Png(#[from] png::EncodingError),
}

impl Picture {
    /// The picture as a file.
    pub fn encoded(&self, kind: Kind) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        match kind {
            Kind::Jpeg(quality) => {
                let side = |pixels: usize| u16::try_from(pixels).map_err(|_| EncodeError::TooLarge);
                let colour =
                    if self.channels == 3 { jpeg_encoder::ColorType::Rgb } else { jpeg_encoder::ColorType::Luma };
                let encoder = jpeg_encoder::Encoder::new(&mut out, quality.clamp(1, 100));
                encoder.encode(&self.bytes, side(self.width)?, side(self.height)?, colour)?;
            }
            Kind::Png => {
                let side = |pixels: usize| u32::try_from(pixels).map_err(|_| EncodeError::TooLarge);
                let mut encoder = png::Encoder::new(&mut out, side(self.width)?, side(self.height)?);
                encoder.set_color(if self.channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
                encoder.set_depth(png::BitDepth::Eight);
                let mut writer = encoder.write_header()?;
                writer.write_image_data(&self.bytes)?;
                writer.finish()?;
            }
        }
        Ok(out)
    }
}
