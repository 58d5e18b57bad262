//! Servers that say who they are: threads of the harness behind a pod's or a VIP's address.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use crate::clock;
use crate::host::Host;

/// How soon a server notices that it was told to stop.
const TICK: Duration = Duration::from_millis(50);
/// After that a client is gone.
const SILENT_FOR: Duration = Duration::from_secs(60);
const LONGEST_REQUEST: usize = 16_384;

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

/// Answers each HTTP request with `200 OK` and `name` as the body; a connection stays open for more requests
/// unless the client wants it closed.
///
/// The address need not be the host's yet.
#[track_caller]
pub fn http(host: &Host, address: IpAddr, port: u16, name: &str) -> Server {
    let socket = bound(host, address, port, Type::STREAM);
    socket.listen(1024).expect("a bound socket listens");
    let mut clients = Clients::new(TcpListener::from(socket), name).expect("a listener can be waited for");
    Server::start(host, name, move |stop| {
        while !stop.load(Ordering::Relaxed) {
            clients.serve_for(TICK);
        }
    })
}

/// Answers each HTTP request on the loopback address with the status that `code` says then, as a health check does.
#[track_caller]
pub fn health(host: &Host, port: u16, code: &Arc<AtomicU16>) -> Server {
    let listener = host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    let listener = listener.unwrap_or_else(|error| panic!("port {port} on {}: {error}", host.name()));
    listener.set_nonblocking(true).expect("a listener need not block");
    let code = Arc::clone(code);
    Server::start(host, "health", move |stop| {
        while !stop.load(Ordering::Relaxed) {
            let Ok((mut client, _)) = listener.accept() else {
                std::thread::sleep(TICK);
                continue;
            };
            client.set_nonblocking(false).ok();
            client.set_read_timeout(Some(TICK)).ok();
            let mut request = [0; 1024];
            let Ok(1..) = client.read(&mut request) else { continue };
            let code = code.load(Ordering::Relaxed);
            client.write_all(format!("HTTP/1.1 {code} Lab\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok();
        }
    })
}

/// The connections of one listener, all on one thread: it shares two cores with what is measured.
struct Clients {
    listener: TcpListener,
    name: String,
    ready: Epoll,
    open: BTreeMap<u64, Client>,
    next: u64,
    swept: Instant,
}

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    heard: Instant,
}

/// Whether a client's connection goes on.
enum Fate {
    Open,
    Closed,
}

impl Clients {
    const LISTENER: u64 = 0;

    fn new(listener: TcpListener, name: &str) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        ready.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, Self::LISTENER))?;
        Ok(Self {
            listener,
            name: name.to_owned(),
            ready,
            open: BTreeMap::new(),
            next: 1,
            swept: clock::now(),
        })
    }

    fn serve_for(&mut self, tick: Duration) {
        let mut events = [EpollEvent::empty(); 64];
        let tick = EpollTimeout::try_from(tick).expect("a tick is short");
        let count = self.ready.wait(&mut events, tick).unwrap_or(0);
        for event in &events[..count] {
            match event.data() {
                Self::LISTENER => self.accept(),
                number => self.hear(number),
            }
        }
        self.forget_the_silent();
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next);
            // What goes wrong with one client is that client's to tell.
            if stream.set_nonblocking(true).is_ok() && self.ready.add(&stream, event).is_ok() {
                let client = Client { stream, request: Vec::new(), heard: clock::now() };
                self.open.insert(self.next, client);
                self.next += 1;
            }
        }
    }

    /// A closed descriptor leaves the set by itself.
    fn hear(&mut self, number: u64) {
        let Some(client) = self.open.get_mut(&number) else { return };
        if matches!(client.hear(&self.name), Fate::Closed) {
            self.open.remove(&number);
        }
    }

    /// Whose node was cut off never says goodbye.
    fn forget_the_silent(&mut self) {
        let now = clock::now();
        if now >= self.swept + SILENT_FOR {
            self.swept = now;
            self.open.retain(|_, client| now < client.heard + SILENT_FOR);
        }
    }
}

impl Client {
    fn hear(&mut self, name: &str) -> Fate {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Fate::Closed,
            Ok(length) => self.request.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Open,
            Err(_) => return Fate::Closed,
        }
        self.heard = clock::now();
        while let Some(end) = self.request.windows(4).position(|end| end == b"\r\n\r\n") {
            let request: Vec<u8> = self.request.drain(..end + 4).collect();
            let last = String::from_utf8_lossy(&request).to_ascii_lowercase().contains("connection: close");
            let (length, how) = (name.len(), if last { "close" } else { "keep-alive" });
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {how}\r\n\r\n{name}");
            if self.stream.write_all(answer.as_bytes()).is_err() || last {
                return Fate::Closed;
            }
        }
        if self.request.len() > LONGEST_REQUEST { Fate::Closed } else { Fate::Open }
    }
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
