//! Committed files read back: whatever codec they were written with, a piece at a time.

use std::io::{self, Write as _};
use std::sync::Arc;

use super::client::Hdfs;
use super::failure::Failure;
use crate::error::Error;

/// How much of a file is fetched at once.
const FETCH_BYTES: u64 = 4 << 20;
/// How much is unpacked at once: a kilobyte may become a megabyte.
const UNPACK_BYTES: usize = 16 << 10;
/// How often one piece is tried.
const TRIES: u32 = 3;

/// Turns what stands in a file into its lines.
enum Unpacker {
    Plain(Vec<u8>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
}

impl Unpacker {
    /// By the file's name: the configured codec may be another now.
    fn for_file(path: &str) -> io::Result<Self> {
        Ok(if path.ends_with(".zst") {
            Unpacker::Zstd(Box::new(zstd::stream::write::Decoder::new(Vec::new())?))
        } else if path.ends_with(".gz") {
            Unpacker::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new())))
        } else {
            Unpacker::Plain(Vec::new())
        })
    }

    fn push(&mut self, packed: &[u8]) -> io::Result<Vec<u8>> {
        let out = match self {
            Unpacker::Plain(out) => {
                out.extend_from_slice(packed);
                out
            }
            Unpacker::Zstd(decoder) => {
                decoder.write_all(packed)?;
                decoder.get_mut()
            }
            Unpacker::Gzip(decoder) => {
                decoder.write_all(packed)?;
                decoder.get_mut()
            }
        };
        Ok(std::mem::take(out))
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Unpacker::Plain(out) => Ok(std::mem::take(out)),
            Unpacker::Zstd(decoder) => {
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Unpacker::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

/// Why a file can't be read on.
#[derive(Debug)]
pub enum Unread {
    /// What stands in it can't be unpacked: it is damaged.
    Damaged(String),
    /// HDFS doesn't give it.
    Failed(Error),
}

/// A committed file, read from its beginning.
pub struct DataFile {
    hdfs: Arc<Hdfs>,
    path: String,
    bytes: u64,
    at: u64,
    /// Fetched, and not unpacked yet: from here on.
    fetched: bytes::Bytes,
    unpacker: Unpacker,
    has_ended: bool,
}

impl DataFile {
    /// The file at an absolute path, of so many bytes.
    pub fn new(hdfs: Arc<Hdfs>, path: String, bytes: u64) -> Result<Self, Error> {
        let unpacker = Unpacker::for_file(&path)
            .map_err(|error| Error::unavailable(format!("no decompressor for {path}: {error}")))?;
        Ok(DataFile {
            hdfs,
            path,
            bytes,
            at: 0,
            fetched: bytes::Bytes::new(),
            unpacker,
            has_ended: false,
        })
    }

    /// The next piece of what was written, before compression; `None` at the end. It may be empty.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Unread> {
        if self.has_ended {
            return Ok(None);
        }
        if self.fetched.is_empty() && self.at < self.bytes {
            self.fetch().await?;
        }
        let damaged = |error: io::Error| Unread::Damaged(error.to_string());
        if self.fetched.is_empty() {
            self.has_ended = true;
            return self.unpacker.finish().map(Some).map_err(damaged);
        }
        let piece = self.fetched.split_to(self.fetched.len().min(UNPACK_BYTES));
        self.unpacker.push(&piece).map(Some).map_err(damaged)
    }

    async fn fetch(&mut self) -> Result<(), Unread> {
        let length = FETCH_BYTES.min(self.bytes - self.at);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.hdfs.read_part(&self.path, self.at, length).await {
                Ok(fetched) if fetched.is_empty() => {
                    let what = format!("it ends after {} of {} bytes", self.at, self.bytes);
                    return Err(Unread::Damaged(what));
                }
                Ok(fetched) => {
                    self.at += fetched.len() as u64;
                    self.fetched = fetched;
                    return Ok(());
                }
                Err(Failure::NotFound(why)) => return Err(Unread::Failed(why)),
                Err(failure) if tries >= TRIES => {
                    return Err(Unread::Failed(failure.into_error()));
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compress::Compressor;
    use super::*;
    use crate::config::settings::Compression;

    fn packed(compression: Compression, data: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(compression).unwrap();
        let mut out = compressor.push(data.to_vec()).unwrap();
        out.extend(compressor.finish().unwrap());
        out
    }

    fn unpacked(name: &str, packed: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut unpacker = Unpacker::for_file(name)?;
        let mut out = Vec::new();
        for piece in packed.chunks(piece.max(1)) {
            out.extend(unpacker.push(piece)?);
        }
        out.extend(unpacker.finish()?);
        Ok(out)
    }

    const CODECS: [(Compression, &str); 3] = [
        (Compression::None, "f.json"),
        (Compression::Zstd(3), "f.json.zst"),
        (Compression::Gzip(6), "f.json.gz"),
    ];

    proptest! {
        #[test]
        fn every_codec_is_read_back_in_pieces_of_any_size(
            data in prop::collection::vec(any::<u8>(), 0..4_000), piece in 1usize..700,
        ) {
            for (compression, name) in CODECS {
                prop_assert_eq!(&unpacked(name, &packed(compression, &data), piece).unwrap(), &data);
            }
        }
    }

    #[test]
    fn damage_inside_is_seen() {
        for (compression, name) in &CODECS[1..] {
            let mut file = packed(*compression, &b"{\"a\":1}\n".repeat(500));
            let at = file.len() / 2;
            file[at] ^= 0xff;
            file[at + 1] ^= 0xff;
            let read = unpacked(name, &file, 64);
            assert!(
                read.as_ref().is_err() || read.unwrap() != b"{\"a\":1}\n".repeat(500),
                "{name}"
            );
        }
    }
}
