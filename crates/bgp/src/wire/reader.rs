/// Octets that are read from the front and cannot be read past the end.
///
/// A part with a length of its own becomes a reader of its own, so that no part can reach into its neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// Fewer octets were left than a field needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truncated;

impl<'a> Reader<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn part(&mut self, count: impl Into<usize>) -> Result<Self, Truncated> {
        self.take(count.into()).map(Self)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_fails_and_consumes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!((reader.u32(), reader.take(4)), (Err(Truncated), Err(Truncated)));
        assert_eq!((reader.u16(), reader.u8(), reader.u8()), (Ok(0x0102), Ok(3), Err(Truncated)));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_part_ends_where_its_length_says() {
        let mut reader = Reader::new(&[1, 2, 3]);
        let mut part = reader.part(2u8).unwrap();
        assert_eq!((part.u8(), part.u16(), part.rest()), (Ok(1), Err(Truncated), &[2][..]));
        assert_eq!(reader.rest(), [3]);
    }
}
