//! Whether a process id is that of the server: looked at before a run, so that no figures of something else are taken for its own.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddrV4;

use crate::fault::Fault;
use crate::procfs;

/// The state of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";
/// The state of a process that has ended and that nobody has asked about yet.
const ZOMBIE: &str = "Z";

/// Whether `pid` can be watched; a remark where it is not what listens on `address`.
///
/// # Errors
///
/// When there is no such process, or it has no memory to watch; it says what is there, and what to do.
pub(super) fn check(pid: u32, address: SocketAddrV4) -> Result<Option<String>, Fault> {
    let listeners = listeners(address);
    let advice = match listeners.first() {
        Some(other) => format!("process {other} listens on {address}: give --server-pid {}", other.pid),
        None => format!("give the id of the process that listens on {address}, or leave --server-pid out"),
    };
    let Some(name) = name_of(pid) else {
        return Err(Fault::new(format!("--server-pid {pid}: there is no process {pid} on this machine; {advice}")));
    };
    let found = Listener { pid, name };
    if state_of(pid).is_none_or(|state| state == ZOMBIE) {
        return Err(Fault::new(format!("--server-pid {pid}: process {found} has ended; {advice}")));
    }
    if let Err(fault) = procfs::resident_bytes(pid).and_then(|_| procfs::cpu_time(pid)) {
        return Err(Fault::new(format!("--server-pid {pid}: process {found} cannot be watched ({fault}); {advice}")));
    }
    // A server behind a proxy does not listen where people connect, so this is no fault.
    let another = !listeners.is_empty() && !listeners.iter().any(|listener| listener.pid == pid);
    Ok(another.then(|| format!("the server's figures will be those of process {found}, but {advice}")))
}

/// A process, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listener {
    pid: u32,
    name: String,
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// What a process calls itself, without what a terminal would obey.
fn name_of(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect())
}

/// The letter after the name, which stands in brackets and may hold any.
fn state_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.get(stat.rfind(')')? + 1..)?;
    after.split_ascii_whitespace().next().map(str::to_owned)
}

/// The processes that listen on the port of `address`, as far as this user may see them.
fn listeners(address: SocketAddrV4) -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: BTreeSet<String> =
        tables.iter().flat_map(|table| listening(table, address.port())).map(|inode| format!("socket:[{inode}]")).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.retain(|pid| holds(*pid, &sockets));
    pids.into_iter().filter_map(|pid| Some(Listener { pid, name: name_of(pid)? })).collect()
}

/// The inodes of the sockets that listen on `port`, from the table of proc(5): local address in hexadecimal, state, and inode.
fn listening(table: &str, port: u16) -> Vec<&str> {
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&port) && row[3] == LISTENING).map(|row| row[9]).collect()
}

/// Whether a process has one of these sockets open; those of other users cannot be looked into.
fn holds(pid: u32, sockets: &BTreeSet<String>) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.contains(target)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::process::{Command, Stdio};

    use super::*;

    /// A port of this process.
    fn own() -> (TcpListener, SocketAddrV4) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
        (listener, address)
    }

    #[test]
    fn the_process_that_listens_is_right() {
        let (_listener, address) = own();
        assert_eq!(check(std::process::id(), address).unwrap(), None);
        assert_eq!(listeners(address).into_iter().map(|listener| listener.pid).collect::<Vec<_>>(), [std::process::id()]);
    }

    #[test]
    fn another_process_is_remarked_and_the_right_one_named() {
        let (_listener, address) = own();
        let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let remark = check(other.id(), address);
        drop(other.stdin.take());
        other.wait().unwrap();
        let remark = remark.unwrap().unwrap();
        assert!(remark.contains(&format!("those of process {} (", other.id())), "{remark}");
        assert!(remark.ends_with(&format!("give --server-pid {}", std::process::id())), "{remark}");
    }

    #[test]
    fn a_process_that_is_no_more_is_refused() {
        let (listener, address) = own();
        let mut ended = Command::new("true").spawn().unwrap();
        // Not asked about yet, so it is still there, without anything.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while state_of(ended.id()).as_deref() != Some(ZOMBIE) {
            assert!(std::time::Instant::now() < deadline, "it ends");
            std::thread::yield_now();
        }
        let fault = check(ended.id(), address).unwrap_err().to_string();
        assert!(fault.contains(") has ended; process"), "{fault}");
        ended.wait().unwrap();
        let fault = check(ended.id(), address).unwrap_err().to_string();
        assert!(fault.contains(&format!("there is no process {} on this machine; process", ended.id())), "{fault}");
        drop(listener);
        let fault = check(ended.id(), address).unwrap_err().to_string();
        assert!(
            fault.ends_with(&format!("give the id of the process that listens on {address}, or leave --server-pid out")),
            "{fault}"
        );
    }

    #[test]
    fn only_sockets_that_listen_on_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n\
            1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 100 0 0 10 0\n\
            2: 0100007F:1F90 0100007F:C0DE 01 00000000:00000000 00:00000000 00000000     0        0 4244 1 0 100 0 0 10 0\n\
            3: short\n";
        assert_eq!(listening(table, 8080), ["4242"]);
    }
}
