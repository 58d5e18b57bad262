//! What the lab's pods run: a server that says who it is, on TCP and UDP port 8080 of every address.
//!
//! `GET` anything is answered with the pod's name and node; a datagram comes back with the same behind it, as
//! the lab's meter wants it. As `podsrv pause` it only waits, and holds a pod's namespaces.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

const PORT: u16 = 8080;
const SLOWEST_CLIENT: Duration = Duration::from_secs(5);
const LONGEST_REQUEST: usize = 16_384;

fn main() -> io::Result<()> {
    // The first process of a PID namespace gets no signal that it does not ask for.
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    reap_by_itself()?;
    if std::env::args().nth(1).as_deref() != Some("pause") {
        serve(&name())?;
    }
    ends.wait()?;
    Ok(())
}

/// `POD_NAME`, and `@NODE_NAME` when that is given.
fn name() -> Arc<str> {
    let pod = std::env::var("POD_NAME").unwrap_or_else(|_| "pod".to_owned());
    std::env::var("NODE_NAME").map_or(pod.clone(), |node| format!("{pod}@{node}")).into()
}

fn serve(name: &Arc<str>) -> io::Result<()> {
    let everywhere = (Ipv6Addr::UNSPECIFIED, PORT);
    let (listener, socket) = (TcpListener::bind(everywhere)?, UdpSocket::bind(everywhere)?);
    let (http, echo) = (Arc::clone(name), Arc::clone(name));
    thread::spawn(move || accept(&listener, &http));
    thread::spawn(move || answer_datagrams(&socket, &echo));
    Ok(())
}

fn accept(listener: &TcpListener, name: &Arc<str>) {
    for stream in listener.incoming().flatten() {
        let name = Arc::clone(name);
        // What goes wrong with one client is that client's to tell.
        thread::spawn(move || answer(stream, &name).ok());
    }
}

fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(SLOWEST_CLIENT))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || request.len() > LONGEST_REQUEST {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
    }
    let length = name.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}")
}

fn answer_datagrams(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 2048];
    loop {
        // An error belongs to some earlier client.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let answer = [&buffer[..length], name.as_bytes()].concat();
        socket.send_to(&answer, from).ok();
    }
}

/// Children that end leave no zombie.
fn reap_by_itself() -> io::Result<()> {
    // SAFETY: SIG_IGN installs no handler, so there is nothing that could be unsafe in a handler.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    Ok(())
}
