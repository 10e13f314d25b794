//! Frames of Hadoop's RPC and of Kafka's protocol: where each ends, which call it is.

use super::calls::Protocol;

/// "hrpc", a version, a service class and an authentication: what a Hadoop client says first.
const HADOOP_PREAMBLE: usize = 7;

/// Splits one direction of a connection into frames.
pub(super) struct Frames {
    preamble: usize,
    buffer: Vec<u8>,
}

impl Frames {
    pub(super) fn new(protocol: Protocol, is_to_server: bool) -> Self {
        let preamble = match protocol {
            Protocol::Hadoop if is_to_server => HADOOP_PREAMBLE,
            Protocol::Hadoop | Protocol::Kafka => 0,
        };
        Self {
            preamble,
            buffer: Vec::new(),
        }
    }

    /// Takes bytes and gives back what is complete now: the preamble as it comes, then whole frames.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.buffer.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        if self.preamble > 0 {
            let len = self.preamble.min(self.buffer.len());
            self.preamble -= len;
            pieces.push(self.buffer.drain(..len).collect());
        }
        while let Some(len) = frame_len(&self.buffer)
            && len <= self.buffer.len()
        {
            pieces.push(self.buffer.drain(..len).collect());
        }
        pieces
    }
}

/// The length of the frame at the beginning, its length field included.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let len = bytes.first_chunk::<4>()?;
    Some(4 + usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

impl Protocol {
    /// The call's name and number, if the frame is a request.
    pub(super) fn request(self, frame: &[u8]) -> Option<(String, i64)> {
        let body = frame.get(4..)?;
        match self {
            Protocol::Kafka => {
                let key = i16::from_be_bytes(*body.first_chunk()?);
                let number = i32::from_be_bytes(*body.get(4..)?.first_chunk()?);
                Some((key.to_string(), i64::from(number)))
            }
            Protocol::Hadoop => {
                let (header, body) = delimited(body)?;
                // callId is a zigzag number; the connection's context has a negative one.
                let raw = field(header, 3)?.number()?;
                let number = i64::try_from(raw >> 1).ok()? ^ -i64::try_from(raw & 1).ok()?;
                let (header, _) = delimited(body)?;
                let name = field(header, 1)?.bytes()?;
                Some((String::from_utf8_lossy(name).into_owned(), number))
            }
        }
    }

    /// The number of the call that this frame answers.
    pub(super) fn answer(self, frame: &[u8]) -> Option<i64> {
        let body = frame.get(4..)?;
        match self {
            Protocol::Kafka => Some(i64::from(i32::from_be_bytes(*body.first_chunk()?))),
            Protocol::Hadoop => {
                let (header, _) = delimited(body)?;
                let raw = field(header, 1)?.number()?;
                // An unsigned 32 bit number, where a negative one may be written.
                i64::try_from(raw & u64::from(u32::MAX)).ok()
            }
        }
    }
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> Option<u64> {
        match self {
            Field::Number(number) => Some(*number),
            Field::Bytes(_) => None,
        }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number(_) => None,
        }
    }
}

/// A field of a protobuf message. Only the two kinds that these headers have.
fn field(mut message: &[u8], wanted: u64) -> Option<Field<'_>> {
    loop {
        let (tag, rest) = varint(message)?;
        let (found, rest) = match tag & 7 {
            0 => {
                let (number, rest) = varint(rest)?;
                (Field::Number(number), rest)
            }
            2 => {
                let (bytes, rest) = delimited(rest)?;
                (Field::Bytes(bytes), rest)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(found);
        }
        message = rest;
    }
}

fn delimited(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_whatever_pieces_they_come_in() {
        let bytes = b"hrpc\x09\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\x01c";
        for size in 1..bytes.len() {
            let mut frames = Frames::new(Protocol::Hadoop, true);
            let mut pieces: Vec<Vec<u8>> = bytes
                .chunks(size)
                .flat_map(|chunk| frames.push(chunk))
                .collect();
            let whole = pieces.split_off(pieces.len() - 3);
            assert_eq!(pieces.concat(), b"hrpc\x09\0\0");
            let expected: [&[u8]; 3] = [b"\0\0\0\x02ab", b"\0\0\0\0", b"\0\0\0\x01c"];
            assert_eq!(whole, expected);
        }
    }

    #[test]
    fn a_kafka_call_has_its_key_and_number() {
        let request = b"\0\0\0\x0a\0\x08\0\x09\0\0\0\x07..";
        let expected = Some(("8".to_owned(), 7));
        assert_eq!(Protocol::Kafka.request(request), expected);
        assert_eq!(Protocol::Kafka.answer(b"\0\0\0\x06\0\0\0\x07.."), Some(7));
    }

    #[test]
    fn a_hadoop_call_has_its_method_and_number() {
        // Kind 2, operation 0, call 150 (zigzag 300), then a header with the method and the protocol.
        let request = b"\0\0\0\x14\x07\x10\x02\x18\xac\x02\x20\0\x0a\x0a\x06create\x12\0xx";
        let expected = Some(("create".to_owned(), 150));
        assert_eq!(Protocol::Hadoop.request(request), expected);
        let answer = b"\0\0\0\x06\x05\x08\x96\x01\x10\0";
        assert_eq!(Protocol::Hadoop.answer(answer), Some(150));
    }
}
