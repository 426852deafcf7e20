//! Images to download: each a real PNG file, different from all others, and known well enough to check a copy of it.

use std::{error::Error, fs::File, io::BufReader, path::Path};

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, EncodingError};

#[cfg(test)]
mod tests;

type AnyError = Box<dyn Error + Send + Sync>;

const CHANNELS: usize = 3;
const SIDE_MIN: u32 = 64;
const SIDE_MAX: u32 = 192;

/// What an image shows: one number makes all of it.
struct Picture {
    width: u32,
    height: u32,
    /// Red, green and blue of each pixel, row by row.
    pixels: Vec<u8>,
}

/// The PNG file with this number.
pub(crate) fn encoded(number: u64) -> Result<Vec<u8>, EncodingError> {
    let picture = Picture::new(number);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, picture.width, picture.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.pixels)?;
    writer.finish()?;
    Ok(file)
}

/// Decodes a file, which must be the image with this number to the last pixel.
pub(crate) fn check(path: &Path, number: u64) -> Result<(), AnyError> {
    let expected = Picture::new(number);
    let mut reader = Decoder::new(BufReader::new(File::open(path)?)).read_info()?;
    let size = reader.output_buffer_size().ok_or("the image does not fit into memory")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels)?;
    // Reads what follows the pixels, down to the end mark.
    reader.finish()?;
    pixels.truncate(frame.buffer_size());

    let format = (frame.width, frame.height, frame.color_type, frame.bit_depth);
    let expected_format = (expected.width, expected.height, ColorType::Rgb, BitDepth::Eight);
    if format != expected_format {
        return Err(format!("it is {format:?} instead of {expected_format:?}").into());
    }
    if pixels != expected.pixels {
        return Err("its pixels are those of another image".into());
    }
    Ok(())
}

impl Picture {
    /// Colours that run into each other, as in a photograph of the sky, with some grain that does not compress.
    fn new(number: u64) -> Self {
        let [width, height] = [1, 2].map(|salt| {
            let span = u64::from(SIDE_MAX - SIDE_MIN + 1);
            SIDE_MIN + u32::try_from(scramble(number ^ salt << 32) % span).unwrap_or(0)
        });
        let [tint, ..] = scramble(number).to_le_bytes();
        let mut grain = scramble(!number);
        let mut pixels = Vec::with_capacity(width as usize * height as usize * CHANNELS);
        for y in 0..height {
            for x in 0..width {
                grain = scramble(grain);
                let [noise, ..] = grain.to_le_bytes();
                let [slope_x, slope_y] = [shade(x, width), shade(y, height)];
                pixels.extend([
                    slope_x.wrapping_add(noise & 7),
                    slope_y.wrapping_add(noise >> 5),
                    tint.wrapping_add(slope_x / 2),
                ]);
            }
        }
        Self { width, height, pixels }
    }
}

/// How far `position` is along `length`, from 0 to 255.
fn shade(position: u32, length: u32) -> u8 {
    u8::try_from(position * 255 / length).unwrap_or(u8::MAX)
}

/// A number that looks random and is always the same: the mixing step of the generator SplitMix64.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
