//! The bytes of a pickle, one operand at a time.

use super::Fault;

/// A position in a pickle. Reading past its end is an error, never a panic.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            let left = self.bytes.len() - self.position;
            return Err(self.fault(format!("{count} more bytes"), format!("{left}, and then the end")));
        };
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of four bytes.
    pub(super) fn length_4(&mut self) -> Result<usize, Fault> {
        let length = u32::from_le_bytes(self.array()?);
        self.length(length.into())
    }

    /// A length of eight bytes.
    pub(super) fn length_8(&mut self) -> Result<usize, Fault> {
        let length = u64::from_le_bytes(self.array()?);
        self.length(length)
    }

    fn length(&self, length: u64) -> Result<usize, Fault> {
        usize::try_from(length).map_err(|_| self.fault("a length below the file's", length.to_string()))
    }

    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, Fault> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|error| self.fault("text in UTF-8", error.to_string()))
    }

    /// Text up to a line feed.
    pub(super) fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.position..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.fault("a line of text", "no end of a line"));
        };
        let line = self.text(length)?;
        self.position += 1;
        Ok(line)
    }

    /// An error at this place.
    pub(super) fn fault(&self, expected: impl Into<String>, found: impl Into<String>) -> Fault {
        let found: String = found.into();
        Fault::new(expected, format!("{found} (at byte {} of the pickle)", self.position))
    }
}
