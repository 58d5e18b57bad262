use super::{DecodeError, ErrorCode, Frame, MessageType, Reader, frame};
use crate::ids::Family;

/// Asks to be told all routes of a family again (RFC 2918 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Of which family.
    pub family: Family,
    /// What is meant (RFC 7313 §3.2).
    pub subtype: Subtype,
}

/// RFC 7313 §3.2 made an octet of this that was reserved before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtype {
    /// Tell me all again.
    Request,
    /// What follows is all of it.
    Begin,
    /// That was all of it.
    End,
}

impl Subtype {
    const fn octet(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Begin => 1,
            Self::End => 2,
        }
    }
}

impl RouteRefresh {
    /// `None` is a request to ignore: for a family we do not know (RFC 2918 §4) or of a subtype we do not know
    /// (RFC 7313 §5).
    pub fn parse(frame: &Frame<'_>) -> Result<Option<Self>, DecodeError> {
        let bad_length = || DecodeError::about(ErrorCode::INVALID_REFRESH_LENGTH, frame.octets);
        let mut reader = Reader::new(frame.body);
        let fields = (|| Ok::<_, super::reader::Truncated>((reader.u16()?, reader.u8()?, reader.u8()?)))();
        let (afi, subtype, safi) = fields.map_err(|_| bad_length())?;
        let subtype = match subtype {
            0 => Subtype::Request,
            1 => Subtype::Begin,
            2 => Subtype::End,
            _ => return Ok(None),
        };
        if !reader.is_empty() {
            return Err(bad_length());
        }
        Ok(Family::parse(afi, safi).map(|family| Self { family, subtype }))
    }

    /// The whole message.
    pub fn emit(&self) -> Vec<u8> {
        let [high, low] = self.family.afi().to_be_bytes();
        frame(MessageType::RouteRefresh, &[high, low, self.subtype.octet(), self.family.safi()])
    }
}
