//! A way from the machine's loopback into a lab: kubectl and clients outside reach the API server inside.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::Namespace;

/// Takes connections on a loopback port outside and carries each to one address inside, until dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    outside: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Forwarder {
    pub(crate) fn start(inside: &Namespace, target: SocketAddr) -> Self {
        let listener = listen();
        let outside = listener.local_addr().expect("a bound socket has an address");
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        // The thread ends with the flag; nobody waits for it.
        inside.thread("forwarder", move || serve(&listener, target, &ended));
        Self { outside, over }
    }

    pub(crate) fn port(&self) -> u16 {
        self.outside.port()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // The loop waits for one more connection before it looks at the flag.
        TcpStream::connect(self.outside).ok();
    }
}

/// For a lab that outlives its harness: prints the port, enters the namespace with the whole process, and
/// serves until it is killed with the others inside.
pub fn forward_for_ever(inside: &Namespace, target: SocketAddr) {
    let listener = listen();
    println!("{}", listener.local_addr().expect("a bound socket has an address").port());
    inside.enter_thread();
    serve(&listener, target, &AtomicBool::new(false));
}

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free")
}

/// Threads inherit the namespace of the thread that starts them: all connections are made inside.
fn serve(listener: &TcpListener, target: SocketAddr, over: &AtomicBool) {
    for stream in listener.incoming() {
        if over.load(Ordering::Acquire) {
            return;
        }
        // No server there: the client sees its connection closed, as it would without us in between.
        let pair = stream.and_then(|outside| Ok((outside, TcpStream::connect(target)?)));
        if let Ok((outside, inside)) = pair {
            join(outside, inside).ok();
        }
    }
}

fn join(outside: TcpStream, inside: TcpStream) -> io::Result<()> {
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    let (from_inside, to_outside) = (inside.try_clone()?, outside.try_clone()?);
    thread::spawn(move || carry(outside, inside));
    thread::spawn(move || carry(from_inside, to_outside));
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Write).ok();
    from.shutdown(Shutdown::Read).ok();
}
