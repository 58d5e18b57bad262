//! Requests as a client makes them.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;
use crate::namespace::Namespace;

/// How long [`Vantage::http`] waits for each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where requests come from: a host, or one of its addresses.
#[derive(Clone, Debug)]
pub struct Vantage {
    namespace: Namespace,
    sources: Vec<IpAddr>,
}

/// A request that got no good answer.
#[derive(Debug)]
pub enum Unanswered {
    /// No connection, or it broke.
    Network(io::Error),
    /// An answer that is not `200 OK`, whole.
    Refused(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => write!(f, "{error}"),
            Self::Refused(answer) => write!(f, "answered {answer:?}"),
        }
    }
}

impl std::error::Error for Unanswered {}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        Self::Network(error)
    }
}

impl Vantage {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, sources: Vec::new() }
    }

    /// With these source addresses, one a family.
    pub(crate) fn from_sources(namespace: Namespace, sources: Vec<IpAddr>) -> Self {
        Self { namespace, sources }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The source for that destination, port 0: the kernel's choice unless one was given.
    pub(crate) fn source_to(&self, to: IpAddr) -> SocketAddr {
        let any: IpAddr = match to {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let given = self.sources.iter().find(|s| s.is_ipv4() == to.is_ipv4());
        SocketAddr::new(given.copied().unwrap_or(any), 0)
    }

    /// `GET /` on a new connection: the body of the answer.
    ///
    /// # Errors
    /// Nobody answers within two seconds, or not with `200 OK`.
    pub fn http(&self, to: IpAddr, port: u16) -> Result<String, Unanswered> {
        self.http_within(to, port, PATIENCE)
    }

    /// [`Self::http`] with another patience for each step.
    ///
    /// # Errors
    /// As [`Self::http`].
    pub fn http_within(&self, to: IpAddr, port: u16, patience: Duration) -> Result<String, Unanswered> {
        let source = self.source_to(to);
        let answer = self.namespace.enter(|| get(source, SocketAddr::new(to, port), patience))?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => Err(Unanswered::Refused(answer)),
        }
    }
}

fn get(source: SocketAddr, to: SocketAddr, patience: Duration) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&source.into())?;
    socket.connect_timeout(&to.into(), patience)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Host {
    /// `GET /` on a new connection: the body of the answer.
    ///
    /// # Errors
    /// As [`Vantage::http`].
    pub fn http(&self, to: IpAddr, port: u16) -> Result<String, Unanswered> {
        self.vantage().http(to, port)
    }
}
