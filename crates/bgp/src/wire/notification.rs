use std::fmt;

use super::reader::{Reader, Truncated};
use super::{MAX_MESSAGE, MessageType, frame};

/// What went wrong, in the two numbers of a NOTIFICATION (RFC 4271 §4.5 and the IANA registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorCode {
    /// Which part of the protocol.
    pub code: u8,
    /// Which error there; zero is unspecific.
    pub subcode: u8,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal / $subcode:literal, $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, subcode: $subcode };)*

            /// The registered name, where there is one.
            pub const fn name(self) -> Option<&'static str> {
                match (self.code, self.subcode) {
                    $(($code, $subcode) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// The marker is not all ones (RFC 4271 §6.1).
    CONNECTION_NOT_SYNCHRONIZED = 1 / 1, "connection not synchronized";
    /// Data: the length field (RFC 4271 §6.1).
    BAD_MESSAGE_LENGTH = 1 / 2, "bad message length";
    /// Data: the type octet (RFC 4271 §6.1).
    BAD_MESSAGE_TYPE = 1 / 3, "bad message type";
    /// An OPEN that cannot be parsed (RFC 4271 §6.2).
    OPEN_MALFORMED = 2 / 0, "malformed open";
    /// Data: the version we speak, in two octets.
    UNSUPPORTED_VERSION = 2 / 1, "unsupported version number";
    /// Not the autonomous system we were told to expect.
    BAD_PEER_AS = 2 / 2, "bad peer AS";
    /// Zero, or ours on an internal session (RFC 6286).
    BAD_BGP_IDENTIFIER = 2 / 3, "bad BGP identifier";
    /// An optional parameter that is not a list of capabilities.
    UNSUPPORTED_OPTIONAL_PARAMETER = 2 / 4, "unsupported optional parameter";
    /// One or two seconds.
    UNACCEPTABLE_HOLD_TIME = 2 / 6, "unacceptable hold time";
    /// RFC 5492; we never send it.
    UNSUPPORTED_CAPABILITY = 2 / 7, "unsupported capability";
    /// RFC 9234; we never send it.
    ROLE_MISMATCH = 2 / 11, "role mismatch";
    /// The lengths inside an UPDATE contradict each other, or an MP attribute is there twice (RFC 7606 §3).
    MALFORMED_ATTRIBUTE_LIST = 3 / 1, "malformed attribute list";
    /// Data: the attribute.
    UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 3 / 2, "unrecognized well-known attribute";
    /// RFC 4271; since RFC 7606 no longer sent.
    MISSING_WELL_KNOWN_ATTRIBUTE = 3 / 3, "missing well-known attribute";
    /// RFC 4271; since RFC 7606 no longer sent.
    ATTRIBUTE_FLAGS = 3 / 4, "attribute flags error";
    /// RFC 4271; since RFC 7606 no longer sent.
    ATTRIBUTE_LENGTH = 3 / 5, "attribute length error";
    /// RFC 4271; since RFC 7606 no longer sent.
    INVALID_ORIGIN = 3 / 6, "invalid ORIGIN attribute";
    /// RFC 4271; since RFC 7606 no longer sent.
    INVALID_NEXT_HOP = 3 / 8, "invalid NEXT_HOP attribute";
    /// Data: the MP attribute (RFC 4760 §7).
    OPTIONAL_ATTRIBUTE = 3 / 9, "optional attribute error";
    /// A prefix that is too long or cut short.
    INVALID_NETWORK_FIELD = 3 / 10, "invalid network field";
    /// RFC 4271; since RFC 7606 no longer sent.
    MALFORMED_AS_PATH = 3 / 11, "malformed AS_PATH";
    /// Silence for the agreed time (RFC 4271 §6.5).
    HOLD_TIMER_EXPIRED = 4 / 0, "hold timer expired";
    /// Data: the message type (RFC 6608).
    UNEXPECTED_IN_OPEN_SENT = 5 / 1, "unexpected message in OpenSent";
    /// Data: the message type (RFC 6608).
    UNEXPECTED_IN_OPEN_CONFIRM = 5 / 2, "unexpected message in OpenConfirm";
    /// Data: the message type (RFC 6608).
    UNEXPECTED_IN_ESTABLISHED = 5 / 3, "unexpected message in Established";
    /// RFC 4486.
    MAXIMUM_PREFIXES = 6 / 1, "maximum number of prefixes reached";
    /// RFC 4486; may carry text (RFC 9003).
    ADMINISTRATIVE_SHUTDOWN = 6 / 2, "administrative shutdown";
    /// RFC 4486: the peer was removed from the configuration.
    PEER_DECONFIGURED = 6 / 3, "peer de-configured";
    /// RFC 4486; may carry text (RFC 9003).
    ADMINISTRATIVE_RESET = 6 / 4, "administrative reset";
    /// RFC 4486.
    CONNECTION_REJECTED = 6 / 5, "connection rejected";
    /// RFC 4486: another parameter of this peer was changed.
    OTHER_CONFIGURATION_CHANGE = 6 / 6, "other configuration change";
    /// RFC 4486: this was one connection too many.
    CONNECTION_COLLISION = 6 / 7, "connection collision resolution";
    /// RFC 4486.
    OUT_OF_RESOURCES = 6 / 8, "out of resources";
    /// RFC 8538.
    HARD_RESET = 6 / 9, "hard reset";
    /// RFC 9384.
    BFD_DOWN = 6 / 10, "BFD down";
    /// Data: the whole message (RFC 7313 §5).
    INVALID_REFRESH_LENGTH = 7 / 1, "invalid ROUTE-REFRESH message length";
    /// RFC 9687.
    SEND_HOLD_TIMER_EXPIRED = 8 / 0, "send hold timer expired";
}

const CODES: [&str; 8] = [
    "message header error",
    "OPEN message error",
    "UPDATE message error",
    "hold timer",
    "finite state machine error",
    "cease",
    "ROUTE-REFRESH message error",
    "send hold timer",
];

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = usize::from(self.code).checked_sub(1).and_then(|at| CODES.get(at));
        let name = self.name().or(group.copied()).unwrap_or("unknown error");
        write!(f, "{name} ({}/{})", self.code, self.subcode)
    }
}

/// The last message on a connection: why it ends (RFC 4271 §4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What went wrong.
    pub error: ErrorCode,
    /// What the error is about; its form depends on the code.
    pub data: Vec<u8>,
}

impl Notification {
    /// The most data that fits a message.
    pub const MAX_DATA: usize = MAX_MESSAGE - 21;

    /// An error that says all by its code.
    pub const fn bare(error: ErrorCode) -> Self {
        Self { error, data: Vec::new() }
    }

    /// An error with its data.
    pub fn about(error: ErrorCode, data: &[u8]) -> Self {
        Self { error, data: data.to_vec() }
    }

    pub(crate) fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(body);
        let error = ErrorCode { code: reader.u8()?, subcode: reader.u8()? };
        Ok(Self::about(error, reader.rest()))
    }

    /// The whole message; data beyond what fits is cut off.
    pub fn emit(&self) -> Vec<u8> {
        let mut body = vec![self.error.code, self.error.subcode];
        body.extend(self.data.iter().take(Self::MAX_DATA));
        frame(MessageType::Notification, &body)
    }

    /// What a person wrote at the other end (RFC 9003 §2), if this is a cease that carries such text and it is
    /// what the RFC says it should be.
    pub fn communication(&self) -> Option<&str> {
        let carries = [ErrorCode::ADMINISTRATIVE_SHUTDOWN, ErrorCode::ADMINISTRATIVE_RESET];
        let (length, text) = self.data.split_first()?;
        let whole = carries.contains(&self.error) && usize::from(*length) == text.len() && !text.is_empty();
        if whole { std::str::from_utf8(text).ok() } else { None }
    }
}

/// How many octets of data are worth showing.
const SHOWN: usize = 64;

impl fmt::Display for Notification {
    /// One line, whatever the peer wrote: text is escaped, and what is not text is hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.communication() {
            Some(text) => write!(f, ": \"{}\"", text.escape_debug()),
            None if self.data.is_empty() => Ok(()),
            None => {
                f.write_str(": ")?;
                self.data.iter().take(SHOWN).try_for_each(|octet| write!(f, "{octet:02x}"))?;
                if self.data.len() > SHOWN { f.write_str("…") } else { Ok(()) }
            }
        }
    }
}

/// Text for the operator at the other end (RFC 9003).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Communication(String);

impl Communication {
    /// The most octets that a receiver of RFC 8203 accepts, too.
    const LIMIT: usize = 128;

    /// Text beyond 128 octets is cut off at a character's border.
    pub fn new(text: &str) -> Self {
        let end = text.floor_char_boundary(Self::LIMIT);
        Self(text.get(..end).unwrap_or_default().to_owned())
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let length = u8::try_from(self.0.len()).unwrap_or(0);
        std::iter::once(length).chain(self.0.bytes().take(length.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shutdown(data: &[u8]) -> Notification {
        Notification::about(ErrorCode::ADMINISTRATIVE_SHUTDOWN, data)
    }

    #[test]
    fn shutdown_text_is_shown_on_one_line() {
        let text = "caf\u{e9}\n\u{1b}[31m\"";
        let data = Communication::new(text).data();
        assert_eq!(shutdown(&data).communication(), Some(text));
        let shown = shutdown(&data).to_string();
        assert_eq!(shown, r#"administrative shutdown (6/2): "café\n\u{1b}[31m\"""#);
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        assert_eq!(shutdown(&[1, 0xff]).to_string(), "administrative shutdown (6/2): 01ff");
        assert_eq!(shutdown(&[9, b'a']).to_string(), "administrative shutdown (6/2): 0961");
        let unknown = Notification::about(ErrorCode { code: 99, subcode: 7 }, &[0; 4000]);
        assert_eq!(unknown.to_string(), format!("unknown error (99/7): {}…", "00".repeat(64)));
        assert_eq!(ErrorCode { code: 6, subcode: 99 }.to_string(), "cease (6/99)");
    }

    #[test]
    fn text_is_cut_between_characters() {
        let long = "é".repeat(100);
        assert_eq!(Communication::new(&long).data().len(), 129);
        let odd = format!("a{long}");
        assert_eq!(shutdown(&Communication::new(&odd).data()).communication(), odd.get(..127));
    }

    #[test]
    fn a_notification_never_outgrows_a_message() {
        let emitted = Notification::about(ErrorCode::OPTIONAL_ATTRIBUTE, &[7; 5000]).emit();
        assert_eq!(emitted.len(), MAX_MESSAGE);
        let parsed = Notification::parse(&emitted[19..]).unwrap();
        assert_eq!(
            (parsed.error, parsed.data.len()),
            (ErrorCode::OPTIONAL_ATTRIBUTE, Notification::MAX_DATA)
        );
    }
}
