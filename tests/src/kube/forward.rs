//! A way from the machine's loopback into a lab: kubectl and clients outside reach the API server inside.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::daemon::Lifetime;
use crate::reaper::lab_program;
use crate::{Daemon, Host, Namespace, wait};

const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Takes connections on a loopback port outside and carries each to one address inside.
pub(crate) enum Forwarder {
    /// A thread of the harness, until dropped.
    Thread(Carrier),
    /// A program, which goes on when the lab is left standing.
    Program {
        port: u16,
        /// Held for as long as the program is wanted.
        _daemon: Daemon,
    },
}

impl Forwarder {
    pub(crate) fn start(host: &Host, target: SocketAddr) -> Self {
        match host.lifetime() {
            Lifetime::Harness => Self::Thread(Carrier::start(host.namespace(), target)),
            Lifetime::Lab => Self::program(host, target),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Thread(carrier) => carrier.outside.port(),
            Self::Program { port, .. } => *port,
        }
    }

    fn program(host: &Host, target: SocketAddr) -> Self {
        let mut command = Command::new(lab_program());
        command.arg("forward").arg(format!("/proc/{}/ns/net", std::process::id())).arg(target.to_string());
        let daemon = host.spawn("forward", &command);
        let port = wait::eventually("the forwarder prints its port", OPEN_WITHIN, || {
            let log = daemon.log();
            log.trim().parse().map_err(|_| log)
        });
        Self::Program { port, _daemon: daemon }
    }
}

pub(crate) struct Carrier {
    outside: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Carrier {
    fn start(inside: &Namespace, target: SocketAddr) -> Self {
        let listener = listen();
        let outside = listener.local_addr().expect("a bound socket has an address");
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        // The thread ends with the flag; nobody waits for it.
        inside.thread("forwarder", move || serve(&listener, target, &ended));
        Self { outside, over }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // The loop waits for one more connection before it looks at the flag.
        TcpStream::connect(self.outside).ok();
    }
}

/// The same as a program of its own, for a lab that outlives its harness. It runs inside, so that it ends with
/// the others inside; only its listener is opened in the namespace of the file `outside`. Prints the port.
pub fn forward_for_ever(outside: &Path, target: SocketAddr) {
    let outside = File::open(outside).expect("the harness gives its own namespace");
    let open = || {
        setns(outside, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
        listen()
    };
    let listener = thread::spawn(open).join().expect("the thread opens the listener");
    println!("{}", listener.local_addr().expect("a bound socket has an address").port());
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
