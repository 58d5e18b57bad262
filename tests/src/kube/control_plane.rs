//! etcd, the API server, the controller-manager and, where pods are real, the scheduler: all in the lab's `cp`.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::certs::Certificates;
use super::client::Kube;
use super::forward::Forwarder;
use super::kubeconfig::{self, Identity};
use super::programs::{Group, Programs};
use crate::{Daemon, Host, Topology, run, wait};

/// Where Services get their cluster addresses.
pub const SERVICES: &str = "10.96.0.0/16,fd96::/112";
/// Where pods get theirs; node `n` has `10.244.n.0/24` and `fd10:244:n::/64`.
pub const PODS: &str = "10.244.0.0/16,fd10:244::/32";

const PORT: u16 = 6443;
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Whether pods are run, or are objects that the harness writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pods {
    /// Real ones: the scheduler and the controllers of workloads and nodes run.
    Run,
    /// Objects: nothing judges nodes, schedules or evicts.
    Written,
}

/// A running control plane.
pub struct ControlPlane {
    folder: PathBuf,
    programs: Programs,
    papers: Certificates,
    api_server: Mutex<Daemon>,
    /// Ended in this order, by being dropped.
    _others: Vec<Daemon>,
    forwarder: Forwarder,
    kube: Kube,
    admin: PathBuf,
}

impl ControlPlane {
    /// Starts it and returns when the API server says that it is ready.
    #[must_use]
    #[track_caller]
    pub fn up(topology: &Topology, pods: Pods) -> Self {
        let host = topology.cp();
        let folder = host.dir();
        let programs = Programs::of(Group::ControlPlane);
        let papers = issue(&folder.join("pki"), host.management());
        let etcd = host.spawn("etcd", &etcd(&programs, &folder));
        let api_server = host.spawn("kube-apiserver", &api_server(&programs, &folder, &papers, host));
        let forwarder = Forwarder::start(host, inside(host));
        let outside = format!("https://127.0.0.1:{}", forwarder.port());
        let admin = kubeconfig::write(
            folder.join("admin.kubeconfig"),
            &outside,
            &papers,
            Identity::Certificate("admin"),
        );
        let kube = Kube::connect(&admin);
        let mut plane = Self {
            folder,
            programs,
            papers,
            api_server: Mutex::new(api_server),
            _others: vec![etcd],
            forwarder,
            kube,
            admin,
        };
        plane.wait_ready();
        // Not before: they give up, for good, on an API server that is not healthy after twenty seconds.
        let managers = plane.managers(host, pods);
        plane._others.splice(0..0, managers);
        plane
    }

    /// The harness's client, as an administrator.
    #[must_use]
    pub fn kube(&self) -> &Kube {
        &self.kube
    }

    /// A kubeconfig for programs outside every namespace, as an administrator.
    #[must_use]
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// The programs it runs from; kubectl and kube-proxy are among them.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The authority of this cluster.
    #[must_use]
    pub fn papers(&self) -> &Certificates {
        &self.papers
    }

    /// Writes a kubeconfig for a program on the management network.
    #[must_use]
    pub fn kubeconfig(&self, topology: &Topology, name: &str, who: Identity<'_>) -> PathBuf {
        let server = format!("https://{}", inside(topology.cp()));
        kubeconfig::write(self.folder.join(format!("{name}.kubeconfig")), &server, &self.papers, who)
    }

    /// Runs the real kubectl as an administrator and gives what it printed; a failure ends the test.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        run::run(&mut self.kubectl_command(words))
    }

    /// [`Self::kubectl`] with a manifest on standard input.
    #[track_caller]
    pub fn kubectl_with_input(&self, words: &[&str], input: &str) -> String {
        run::run_with_input(&mut self.kubectl_command(words), input)
    }

    /// Applies a manifest with the real kubectl.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        self.kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifest);
    }

    /// Applies everything in [`super::samples`].
    #[track_caller]
    pub fn apply_samples(&self) {
        self.kubectl(&["apply", "--server-side", "-k", &super::samples().display().to_string()]);
    }

    /// [`Self::kubectl`] for what may be refused.
    ///
    /// # Errors
    /// The command with its output.
    pub fn try_kubectl(&self, words: &[&str]) -> Result<String, run::Failed> {
        run::attempt(&mut self.kubectl_command(words))
    }

    /// The command itself.
    #[must_use]
    pub fn kubectl_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path("kubectl"));
        // Its caches of the server's kinds stay in the lab: another lab has another server at this port.
        let cache = self.folder.join("kubectl-cache");
        command.arg("--kubeconfig").arg(&self.admin).arg("--cache-dir").arg(cache).args(words);
        command
    }

    /// An API outage: the API server is killed; connections are refused until [`Self::start_api`].
    pub fn stop_api(&self) {
        self.api_server().kill();
    }

    /// Ends the outage; returns when the API server says that it is ready.
    #[track_caller]
    pub fn start_api(&self, topology: &Topology) {
        let host = topology.cp();
        let command = api_server(&self.programs, &self.folder, &self.papers, host);
        *self.api_server() = host.spawn("kube-apiserver", &command);
        self.wait_ready();
    }

    /// An API server that hangs: connections stay, answers do not come, until [`Self::thaw_api`].
    pub fn freeze_api(&self) {
        self.api_server().freeze();
    }

    /// It goes on.
    pub fn thaw_api(&self) {
        self.api_server().thaw();
    }

    /// The port on the machine's loopback that leads to the API server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.forwarder.port()
    }

    #[track_caller]
    fn wait_ready(&self) {
        wait::eventually("the API server is ready", READY_WITHIN, || {
            let server = self.api_server();
            if let Some(status) = server.ended() {
                panic!("the API server ended with {status}:\n{}", server.log());
            }
            let log = || server.log();
            if self.kube.is_ready() { Ok(()) } else { Err(log()) }
        });
    }

    fn api_server(&self) -> std::sync::MutexGuard<'_, Daemon> {
        self.api_server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn managers(&self, host: &Host, pods: Pods) -> Vec<Daemon> {
        let config = |name: &str| {
            let path = self.folder.join(format!("{name}.kubeconfig"));
            kubeconfig::write(
                path,
                &format!("https://{}", inside(host)),
                &self.papers,
                Identity::Certificate(name),
            )
        };
        let command = controller_manager(self, &config("kube-controller-manager"), pods);
        let mut managers = vec![host.spawn("kube-controller-manager", &command)];
        if pods == Pods::Run {
            let mut scheduler = Command::new(Programs::of(Group::Nodes).path("kube-scheduler"));
            scheduler.arg(flag("kubeconfig", config("kube-scheduler")));
            scheduler.arg("--leader-elect=false").arg(flag("cert-dir", self.folder.join("scheduler")));
            managers.push(host.spawn("kube-scheduler", &scheduler));
        }
        managers
    }
}

/// `--name=value`.
fn flag(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(format!("--{name}="));
    text.push(value);
    text
}

fn inside(host: &Host) -> SocketAddr {
    (host.management(), PORT).into()
}

fn issue(folder: &Path, management: Ipv4Addr) -> Certificates {
    let papers = Certificates::create(folder);
    let addresses: [IpAddr; 4] = [
        management.into(),
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::new(10, 96, 0, 1).into(),
        Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 1).into(),
    ];
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    papers.server("kube-apiserver", &names, &addresses);
    papers.client("admin", "lab-admin", Some("system:masters"));
    papers.client("kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"));
    for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        papers.client(component, &format!("system:{component}"), None);
    }
    papers.key_pair("service-account");
    papers
}

fn etcd(programs: &Programs, folder: &Path) -> Command {
    let data = folder.join("etcd");
    // etcd asks for a folder that nobody else can read.
    fs::create_dir_all(&data).expect("the lab's folder can be written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&data, private).expect("the folder is ours");
    let mut command = Command::new(programs.path("etcd"));
    command.arg(flag("data-dir", data)).args([
        "--name=lab",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=lab=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]);
    command
}

fn api_server(programs: &Programs, folder: &Path, papers: &Certificates, host: &Host) -> Command {
    let mut command = Command::new(programs.path("kube-apiserver"));
    let files = [
        ("cert-dir", folder.join("apiserver")),
        ("client-ca-file", papers.path("ca.crt")),
        ("kubelet-client-certificate", papers.path("kubelet-client.crt")),
        ("kubelet-client-key", papers.path("kubelet-client.key")),
        ("service-account-key-file", papers.path("service-account.pub")),
        ("service-account-signing-key-file", papers.path("service-account.key")),
        ("tls-cert-file", papers.path("kube-apiserver.crt")),
        ("tls-private-key-file", papers.path("kube-apiserver.key")),
    ];
    command.args(files.map(|(name, file)| flag(name, file)));
    command.args([
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--etcd-servers=http://127.0.0.1:2379",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
    ]);
    command.arg(flag("secure-port", PORT.to_string()));
    command.arg(flag("advertise-address", host.management().to_string()));
    command.arg(flag("service-cluster-ip-range", SERVICES));
    command
}

/// The loops that make EndpointSlices, ServiceAccounts and namespaces work.
const ALWAYS: &str = "endpointslice-controller,endpointslice-mirroring-controller,endpoints-controller,\
    serviceaccount-controller,root-ca-certificate-publisher-controller,namespace-controller,\
    garbage-collector-controller,clusterrole-aggregation-controller";

fn controller_manager(plane: &ControlPlane, kubeconfig: &Path, pods: Pods) -> Command {
    let mut command = Command::new(plane.programs.path("kube-controller-manager"));
    let files = [
        ("kubeconfig", kubeconfig.to_path_buf()),
        ("cert-dir", plane.folder.join("controller-manager")),
        ("root-ca-file", plane.papers.path("ca.crt")),
        ("service-account-private-key-file", plane.papers.path("service-account.key")),
    ];
    command.args(files.map(|(name, file)| flag(name, file)));
    command.args(["--leader-elect=false", "--use-service-account-credentials"]);
    match pods {
        Pods::Written => command.arg(flag("controllers", ALWAYS)),
        // A dead node is NotReady after five seconds here, not after fifty.
        Pods::Run => command.args(["--node-monitor-period=1s", "--node-monitor-grace-period=5s"]),
    };
    command
}
