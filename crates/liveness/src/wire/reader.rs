use super::Malformed;

/// Reads from the front; nothing is ever read behind the end.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    read: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets, read: 0 }
    }

    /// How many octets were read.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Length)?;
        self.rest = rest;
        self.read += length;
        Ok(slice)
    }

    pub(super) fn octets<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.slice(N)?.try_into().map_err(|_| Malformed::Length)
    }

    pub(super) fn octet(&mut self) -> Result<u8, Malformed> {
        self.octets().map(|[octet]| octet)
    }

    /// A list behind its length in one octet.
    pub(super) fn list<T>(
        &mut self,
        most: usize,
        read: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = usize::from(self.octet()?);
        if length > most {
            return Err(Malformed::Value);
        }
        (0..length).map(|_| read(self)).collect()
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }
}
