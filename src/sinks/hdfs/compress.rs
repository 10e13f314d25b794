//! Compression of a data file, a chunk at a time.

use std::io::{self, Write};

use crate::config::settings::Compression;

/// The compressor of one file.
pub enum Compressor {
    /// Bytes pass as they are.
    None,
    /// One zstd frame with a checksum.
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    /// One gzip member.
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
}

impl Compressor {
    /// A compressor for one file.
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Compressor::None,
            Compression::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.include_checksum(true)?;
                Compressor::Zstd(Box::new(encoder))
            }
            Compression::Gzip(level) => {
                let level = flate2::Compression::new(level);
                Compressor::Gzip(Box::new(flate2::write::GzEncoder::new(Vec::new(), level)))
            }
        })
    }

    /// Takes `data`; returns what is ready to be written, which may be nothing yet. Without compression it is `data`
    /// itself.
    pub fn push(&mut self, data: Vec<u8>) -> io::Result<Vec<u8>> {
        let out = match self {
            Compressor::None => return Ok(data),
            Compressor::Zstd(encoder) => {
                encoder.write_all(&data)?;
                encoder.get_mut()
            }
            Compressor::Gzip(encoder) => {
                encoder.write_all(&data)?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out))
    }

    /// What remains to be written at the end of the file.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Compressor::None => Ok(Vec::new()),
            Compressor::Zstd(encoder) => encoder.finish(),
            Compressor::Gzip(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn compressed(compression: Compression, chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut compressor = Compressor::new(compression).expect("a valid level");
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(compressor.push(chunk.clone()).expect("memory doesn't fail"));
        }
        out.extend(compressor.finish().expect("memory doesn't fail"));
        out
    }

    proptest! {
        #[test]
        fn every_reader_gets_back_what_was_written(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 0..8),
        ) {
            let plain = chunks.concat();
            prop_assert_eq!(&compressed(Compression::None, &chunks), &plain);
            let zstd = compressed(Compression::Zstd(3), &chunks);
            prop_assert_eq!(&zstd::stream::decode_all(&zstd[..]).expect("valid"), &plain);
            let gzip = compressed(Compression::Gzip(6), &chunks);
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut back).expect("valid");
            prop_assert_eq!(&back, &plain);
        }
    }
}
