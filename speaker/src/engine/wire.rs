//! One TCP connection of a BGP peer, and what is still to be written to it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, Interest, Ready};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a last NOTIFICATION may take to be written.
const FAREWELL: Duration = Duration::from_millis(500);

pub(super) struct Wire {
    stream: TcpStream,
    pending: Vec<u8>,
    written: usize,
    /// Lengths of the pieces in `pending`, so that each can be reported when it is out.
    pieces: VecDeque<usize>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, pending: Vec::new(), written: 0, pieces: VecDeque::new() }
    }

    /// Puts octets behind those that wait; the core bounds how many there can be.
    pub(super) fn queue(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
        self.pieces.push_back(octets.len());
    }

    /// Waits until there is something to read, or room to write what waits.
    pub(super) async fn ready(&self) -> io::Result<Ready> {
        let interest = if self.pending.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        self.stream.ready(interest).await
    }

    /// Writes what can be written now; gives how many pieces are out with it.
    pub(super) fn write(&mut self) -> io::Result<usize> {
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut out = 0;
        while let Some(piece) = self.pieces.front().copied().filter(|piece| *piece <= self.written) {
            self.pending.drain(..piece);
            self.written -= piece;
            self.pieces.pop_front();
            out += 1;
        }
        Ok(out)
    }

    /// Reads what is there. `None`: nothing now. Zero octets: the peer has closed.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self.stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    /// Writes what still waits, if that does not take long, and closes.
    pub(super) async fn close(mut self) {
        let rest = self.pending.get(self.written..).unwrap_or_default().to_vec();
        let farewell = async {
            self.stream.write_all(&rest).await?;
            self.stream.shutdown().await
        };
        if let Ok(Err(error)) = timeout(FAREWELL, farewell).await {
            tracing::debug!(%error, "the peer did not take the last message");
        }
    }
}
