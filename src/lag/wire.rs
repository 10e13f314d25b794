//! Kafka's primitive types, read from bytes that may be anything.

/// Why bytes couldn't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end too early, or a length in them points beyond their end.
    #[error("it is cut short at byte {0}")]
    Short(usize),
    /// Text that isn't UTF-8.
    #[error("the text at byte {0} isn't UTF-8")]
    Text(usize),
    /// A version that isn't known.
    #[error("its version {0} isn't known")]
    Version(i16),
    /// Nothing where something must be.
    #[error("null at byte {0} where there must be a value")]
    Null(usize),
}

type Result<T> = std::result::Result<T, WireError>;

/// Reads on, from the front. Flexible versions have compact lengths and tagged fields.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    is_flexible: bool,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor {
            bytes,
            at: 0,
            is_flexible: false,
        }
    }

    /// From here on the version is flexible.
    pub fn set_flexible(&mut self, is_flexible: bool) {
        self.is_flexible = is_flexible;
    }

    fn take(&mut self, num: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(num);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(WireError::Short(self.at))?;
        self.at += num;
        Ok(taken)
    }

    /// `num` bytes as they are.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| WireError::Short(at))
    }

    /// INT8.
    pub fn int8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// INT16.
    pub fn int16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// INT32.
    pub fn int32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// INT64.
    pub fn int64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// UNSIGNED_VARINT.
    fn varint(&mut self) -> Result<u32> {
        let at = self.at;
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Short(at))
    }

    /// A length, compact or of `plain`'s width; `None` for null.
    fn length(&mut self, plain: fn(&mut Self) -> Result<i32>) -> Result<Option<usize>> {
        let length = match self.is_flexible {
            true => i64::from(self.varint()?) - 1,
            false => i64::from(plain(self)?),
        };
        Ok(usize::try_from(length).ok())
    }

    fn short(&mut self) -> Result<i32> {
        self.int16().map(i32::from)
    }

    /// STRING or COMPACT_STRING, which may be null.
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>> {
        let Some(length) = self.length(Self::short)? else {
            return Ok(None);
        };
        let at = self.at;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(Some).map_err(|_| WireError::Text(at))
    }

    /// STRING or COMPACT_STRING.
    pub fn string(&mut self) -> Result<&'a str> {
        let at = self.at;
        self.nullable_string()?.ok_or(WireError::Null(at))
    }

    /// BYTES or COMPACT_BYTES; null is as good as empty.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.length(Self::int32)?.unwrap_or(0);
        self.take(length)
    }

    /// An ARRAY or COMPACT_ARRAY of what `item` reads; null is as good as empty. A count takes no memory before its items are there.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let num = self.length(Self::int32)?.unwrap_or(0);
        let mut items = Vec::new();
        for _ in 0..num {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The tagged fields at the end of a structure, none of which is wanted; nothing in versions that aren't flexible.
    pub fn skip_tags(&mut self) -> Result<()> {
        if self.is_flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| WireError::Short(self.at))?;
                self.take(length)?;
            }
        }
        Ok(())
    }
}
