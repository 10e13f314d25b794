//! OffsetCommit on the wire (versions 7 to 9, which librdkafka speaks), as far as a proxy changes it.

use std::ops::Range;

use super::frames::varint;

/// Its API key.
pub const KEY: &str = "8";

/// The version of a request.
pub fn version(frame: &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(*frame.get(6..)?.first_chunk()?))
}

/// Writes another generation into a request: the broker then refuses it.
pub fn set_generation(frame: &mut [u8], generation: i32) -> Option<()> {
    let is_flexible = version(frame)? >= 8;
    let mut at = Cursor { frame, at: 12 };
    at.text(false)?;
    if is_flexible {
        at.tags()?;
    }
    at.text(is_flexible)?;
    let place = at.skip(4)?;
    let bytes = frame.get_mut(place)?;
    bytes.copy_from_slice(&generation.to_be_bytes());
    Some(())
}

/// Writes this error into an answer, for each partition, and says for how many. `version` is the request's.
pub fn set_errors(frame: &mut [u8], version: i16, code: i16) -> Option<usize> {
    let places = errors(frame, version >= 8)?;
    for place in &places {
        frame
            .get_mut(place.clone())?
            .copy_from_slice(&code.to_be_bytes());
    }
    Some(places.len())
}

/// Where the errors are in an answer.
fn errors(frame: &[u8], is_flexible: bool) -> Option<Vec<Range<usize>>> {
    let mut at = Cursor { frame, at: 8 };
    if is_flexible {
        at.tags()?;
    }
    at.skip(4)?;
    let mut places = Vec::new();
    for _ in 0..at.length(is_flexible)? {
        at.text(is_flexible)?;
        for _ in 0..at.length(is_flexible)? {
            at.skip(4)?;
            places.push(at.skip(2)?);
            if is_flexible {
                at.tags()?;
            }
        }
        if is_flexible {
            at.tags()?;
        }
    }
    Some(places)
}

struct Cursor<'a> {
    frame: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, num: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(num)?;
        self.frame.get(range.clone())?;
        self.at = range.end;
        Some(range)
    }

    fn number(&mut self) -> Option<usize> {
        let (number, rest) = varint(self.frame.get(self.at..)?)?;
        self.at = self.frame.len() - rest.len();
        usize::try_from(number).ok()
    }

    /// Compact ones count from one, with zero for null.
    fn length(&mut self, is_compact: bool) -> Option<usize> {
        if is_compact {
            return Some(self.number()?.saturating_sub(1));
        }
        let place = self.skip(4)?;
        let length = i32::from_be_bytes(*self.frame.get(place)?.first_chunk()?);
        Some(usize::try_from(length).unwrap_or(0))
    }

    fn text(&mut self, is_compact: bool) -> Option<()> {
        let length = if is_compact {
            self.length(true)?
        } else {
            let place = self.skip(2)?;
            let length = i16::from_be_bytes(*self.frame.get(place)?.first_chunk()?);
            usize::try_from(length).unwrap_or(0)
        };
        self.skip(length).map(|_| ())
    }

    /// Fields that nobody here knows.
    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            self.number()?;
            let length = self.number()?;
            self.skip(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_written_for_each_partition() {
        // Length, number, throttling, one topic "t" with two partitions.
        let old = [
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't'][..],
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        ];
        let mut answer = old.concat();
        assert_eq!(set_errors(&mut answer, 7, 0x0102), Some(2));
        assert_eq!(
            answer[19..],
            [0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 2]
        );
        let new = [
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 2, 2, b't'][..],
            &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        ];
        let mut answer = new.concat();
        assert_eq!(set_errors(&mut answer, 9, 0x0102), Some(2));
        assert_eq!(
            answer[16..],
            [3, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0]
        );
    }

    #[test]
    fn the_generation_is_behind_the_group() {
        let head = [0, 0, 0, 0, 0, 8, 0, 9, 0, 0, 0, 7, 0, 2, b'i', b'd', 0];
        let mut request = [&head[..], &[3, b'g', b'r', 0, 0, 0, 5, 2, b'm']].concat();
        assert_eq!(set_generation(&mut request, 0x01020304), Some(()));
        assert_eq!(request[17..], [3, b'g', b'r', 1, 2, 3, 4, 2, b'm']);
    }
}
