//! The Debian packages that the lab needs, installed when they are missing.

use std::path::Path;
use std::process::Command;

use super::progress;

/// Routers, the baseline of failovers, namespace tools, and what runc and ring need to compile.
const NEEDED: &[&str] = &[
    "bird2",
    "conntrack",
    "ethtool",
    "frr",
    "iproute2",
    "iptables",
    "keepalived",
    "libseccomp-dev",
    "musl-tools",
    "nftables",
    "pkg-config",
    "procps",
    "tcpdump",
    "util-linux",
];

/// Installs what is missing, and says so; quick when nothing is.
pub fn ensure() {
    let missing = missing();
    if missing.is_empty() {
        return;
    }
    eprintln!("installing Debian packages: {}", missing.join(" "));
    refuse_daemons();
    progress::run("apt-get update", apt().arg("update"));
    progress::run("apt-get install", apt().args(["install", "-y", "--no-install-recommends"]).args(&missing));
}

/// Those of the needed packages that are not installed.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    // A package that dpkg never heard of makes the query fail, but the others are listed all the same.
    let listed = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(NEEDED)
        .output();
    let listed = listed.unwrap_or_else(|error| {
        panic!("dpkg-query: {error}. Without Debian, install what these hold: {}", NEEDED.join(" "))
    });
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    NEEDED
        .iter()
        .copied()
        .filter(|name| !listed.lines().any(|line| line == format!("{name} installed")))
        .collect()
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    command
}

/// The routers are started by the lab inside its namespaces; installing them must start none on the machine.
fn refuse_daemons() {
    use std::os::unix::fs::PermissionsExt;
    let path = Path::new("/usr/sbin/policy-rc.d");
    if path.exists() || Path::new("/run/systemd/system").exists() {
        return;
    }
    std::fs::write(path, "#!/bin/sh\nexit 101\n").expect("installing packages needs root");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_always_there_is_not_missing() {
        assert!(!missing().contains(&"util-linux"));
    }
}
