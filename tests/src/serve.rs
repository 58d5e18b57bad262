//! Servers that say who they are: threads of the harness behind a pod's or a VIP's address.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::host::Host;

/// How soon a server notices that it was told to stop.
const TICK: Duration = Duration::from_millis(50);
const SLOWEST_CLIENT: Duration = Duration::from_secs(5);

/// A running server. Stops when dropped.
#[must_use = "a server stops when it is dropped"]
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(host: &Host, name: &str, run: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = host.namespace().thread(name, move || run(&told));
        Self { stop, thread: Some(thread) }
    }

    /// Stops it; its port is free when this returns.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Answers each datagram with the datagram and `name` behind it: the other end of [`crate::meter`].
///
/// The address need not be the host's yet.
#[track_caller]
pub fn udp_name(host: &Host, address: IpAddr, port: u16, name: &str) -> Server {
    let socket = UdpSocket::from(bound(host, address, port, Type::DGRAM));
    socket.set_read_timeout(Some(TICK)).expect("a socket takes a timeout");
    let name = name.to_owned();
    Server::start(host, &name.clone(), move |stop| {
        let mut buffer = vec![0; 2048];
        while !stop.load(Ordering::Relaxed) {
            // A time-out is a look at `stop`; an error belongs to some earlier client.
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let mut answer = buffer[..length].to_vec();
            answer.extend_from_slice(name.as_bytes());
            socket.send_to(&answer, from).ok();
        }
    })
}

/// Answers each HTTP request with `200 OK` and `name` as the body.
///
/// The address need not be the host's yet.
#[track_caller]
pub fn http(host: &Host, address: IpAddr, port: u16, name: &str) -> Server {
    let socket = bound(host, address, port, Type::STREAM);
    socket.listen(128).expect("a bound socket listens");
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).expect("a listener takes the mode");
    let name = name.to_owned();
    Server::start(host, &name.clone(), move |stop| {
        let name: Arc<str> = name.into();
        while !stop.load(Ordering::Relaxed) {
            accept(&listener, &name);
        }
    })
}

fn accept(listener: &TcpListener, name: &Arc<str>) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let tick = PollTimeout::try_from(TICK).expect("a tick is short");
    poll(&mut waiting, tick).ok();
    if let Ok((stream, _)) = listener.accept() {
        let name = Arc::clone(name);
        // What goes wrong with one client is that client's to tell.
        thread::spawn(move || answer(stream, &name).ok());
    }
}

fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SLOWEST_CLIENT))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || request.len() > 16_384 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
    }
    let length = name.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}")
}

#[track_caller]
fn bound(host: &Host, address: IpAddr, port: u16, kind: Type) -> Socket {
    let at = SocketAddr::new(address, port);
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(at), kind, None)?;
        socket.set_reuse_address(true)?;
        match address {
            IpAddr::V4(_) => socket.set_freebind_v4(true)?,
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_freebind_v6(true)?;
            }
        }
        socket.bind(&at.into())?;
        Ok(socket)
    };
    host.enter(open).unwrap_or_else(|error| panic!("serving {at} on {}: {error}", host.name()))
}
