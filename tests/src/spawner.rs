//! The one thread that starts the long-lived programs.
//!
//! "Die with your parent" means the parent *thread* to the kernel, so programs that live longer than a call must
//! be started by a thread that lives as long as the harness.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

struct Order {
    command: Command,
    started: Sender<io::Result<Child>>,
}

static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();

fn open() -> Mutex<Sender<Order>> {
    let (orders, incoming) = channel::<Order>();
    let serve = move || {
        for mut order in incoming {
            // A caller that is gone wants no answer.
            order.started.send(order.command.spawn()).ok();
        }
    };
    thread::Builder::new().name("spawner".into()).spawn(serve).expect("a thread starts");
    Mutex::new(orders)
}

/// Starts `command` from the thread that never ends.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let (started, answer) = channel();
    let orders = ORDERS.get_or_init(open);
    let sent = orders.lock().expect("no holder panics").send(Order { command, started });
    sent.expect("the spawner lives as long as the process");
    answer.recv().expect("the spawner answers")
}
