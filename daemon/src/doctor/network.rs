//! The ports of the box and the peers that it talks to.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rumqttc::ConnectReturnCode;

use super::{Check, wait_for};
use crate::config::Config;
use crate::deliver::{self, Probed};
use crate::domain::AeTitle;
use crate::pacs::{self, Destination, SendError};

/// The box's own ports answer at once.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// What to do about one that doesn't.
const NOT_OPEN: &str = "Look into the journal (journalctl -u modicd), and restart the daemon if the file was changed since its start.";

pub(super) fn checks(config: &Config, is_running: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    if is_running {
        checks.extend([own_dicom_port(config), own_port("page_port", config.page.bind)]);
    } else {
        checks.push(free_port("dicom_port", config.receive.bind));
        checks.push(free_port("page_port", config.page.bind));
    }
    checks.push(broker(config));
    checks.extend(config.pacs.iter().map(destination));
    checks.extend(config.audit.socket.as_deref().map(syslog));
    checks
}

/// Nothing is sent: a message of the doctor's has no place in an audit trail.
fn syslog(socket: &Path) -> Check {
    const NAME: &str = "audit";
    match UnixDatagram::unbound().and_then(|ours| ours.connect(socket)) {
        Ok(()) => Check::ok(NAME, format!("somebody listens at {}", socket.display())),
        Err(error) => Check::fault(
            NAME,
            format!("{}: {error}", socket.display()),
            "Start the syslog daemon or journald, or name its socket in audit.socket (/dev/log mostly).",
        ),
    }
}

/// The port is open: does it answer C-ECHO under its title? Where it lets only named or certified peers in, whether somebody
/// listens: the doctor would be turned away, which is counted and audited.
fn own_dicom_port(config: &Config) -> Check {
    const NAME: &str = "dicom_port";
    let receive = &config.receive;
    if receive.tls.is_some() || !receive.peers.is_empty() {
        return listening(NAME, receive.bind);
    }
    let at = reachable(receive.bind);
    let Ok(calling) = AeTitle::try_from("DOCTOR".to_owned()) else {
        return Check::skipped(NAME, "no title to call with");
    };
    let own = Destination::dicom("own port", at, receive.ae_title.clone(), calling);
    match pacs::echo(&own) {
        Ok(()) => {
            let mut found = format!("{at} answers as {}", receive.ae_title);
            if receive.bind.ip().is_loopback() {
                found += ", to this machine only";
                return Check::warning(
                    NAME,
                    found,
                    "At a scanner, set receive.bind to the box's address, such as \"0.0.0.0:11112\", and reload.",
                );
            }
            Check::ok(NAME, found)
        }
        Err(error) => Check::fault(
            NAME,
            format!("{at} doesn't answer as {}: {error}", receive.ae_title),
            NOT_OPEN,
        ),
    }
}

fn own_port(name: &'static str, bind: SocketAddr) -> Check {
    let at = reachable(bind);
    match TcpStream::connect_timeout(&at, CONNECT_LIMIT) {
        Ok(_) => Check::ok(name, format!("{at} is open")),
        Err(error) => Check::fault(name, format!("{at}: {error}"), NOT_OPEN),
    }
}

/// The same, found without a connection.
fn listening(name: &'static str, bind: SocketAddr) -> Check {
    let at = reachable(bind);
    let table = |name: &str| fs::read_to_string(Path::new("/proc/self/net").join(name)).ok();
    let tables: String = ["tcp", "tcp6"].into_iter().filter_map(table).collect();
    if tables.is_empty() {
        Check::skipped(name, "the kernel doesn't tell who listens")
    } else if is_listened_at(at, &tables) {
        Check::ok(name, format!("{at} is open"))
    } else {
        Check::fault(name, format!("{at}: nobody listens"), NOT_OPEN)
    }
}

/// Whether somebody listens there, or at that port of every address, by the lines of /proc/net/tcp and tcp6 (proc(5)).
fn is_listened_at(at: SocketAddr, tables: &str) -> bool {
    const LISTEN: &str = "0A";
    let ips: [IpAddr; 3] = [at.ip(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let wanted = ips.map(|ip| in_table(ip, at.port()));
    tables.lines().any(|line| {
        // Its number, the local address, the remote one, the state.
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        state == Some(LISTEN) && local.is_some_and(|local| wanted.iter().any(|w| w == local))
    })
}

/// An address as it stands there: 32 bits at a time in the machine's byte order, in hex.
fn in_table(ip: IpAddr, port: u16) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]));
    let words: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{words}:{port:04X}")
}

/// The daemon doesn't run: could it open its port?
fn free_port(name: &'static str, address: SocketAddr) -> Check {
    let Err(error) = TcpListener::bind(address) else {
        return Check::ok(name, format!("{address} is free"));
    };
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("Find who has it (ss -ltnp 'sport = :{}'), or choose another port.", address.port())
        }
        io::ErrorKind::PermissionDenied => {
            "Ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one, or grant that in a drop-in.".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "No interface has that address (ip addr); 0.0.0.0 means all of them.".to_owned()
        }
        _ => "See the operating system's word.".to_owned(),
    };
    Check::fault(name, format!("{address}: {error}"), remedy)
}

/// Where this machine reaches a port that may be bound to every address.
fn reachable(mut bind: SocketAddr) -> SocketAddr {
    match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bind.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bind.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    bind
}

fn broker(config: &Config) -> Check {
    const NAME: &str = "broker";
    let mqtt = &config.mqtt;
    let at = format!("{}:{}", mqtt.host, mqtt.port);
    let probed = match wait_for(deliver::probe(mqtt)) {
        Ok(probed) => probed,
        Err(error) => return Check::skipped(NAME, error.to_string()),
    };
    match probed {
        Ok(Probed::LetIn) => Check::ok(NAME, format!("{at} lets the box in")),
        Ok(Probed::Refused(code)) => {
            let remedy = match code {
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                    "Check mqtt.username and the password in mqtt.password_file, and the broker's access control."
                }
                _ => "Look into the broker's log.",
            };
            Check::fault(NAME, format!("{at} refuses the box: {code:?}"), remedy)
        }
        Ok(Probed::OutOfReach(error)) => Check::fault(
            NAME,
            format!("{at}: {error}"),
            "Check mqtt.host and mqtt.port, the network and the firewall, and with mqtt.tls that the broker's certificate has that name and comes from an authority in ca_file. Findings wait in the outbox.",
        ),
        Err(error) => Check::fault(
            NAME,
            error.to_string(),
            "Put the file there and let the daemon's user read it.",
        ),
    }
}

fn destination(destination: &Destination) -> Check {
    let name = format!("pacs.{}", destination.name);
    match pacs::echo(destination) {
        Ok(()) => Check::ok(name, "answers"),
        Err(error) => {
            let remedy = match &error {
                SendError::Connection(_) => {
                    "Check host and port, that the PACS knows the box's calling_ae and address, and the firewall. Results wait in its queue."
                }
                SendError::Tls(_) | SendError::Disk(_) | SendError::Config(_) => {
                    "Put the files of the section there and let the daemon's user read them."
                }
                _ => "Ask the PACS' administrator why it refuses the box.",
            };
            Check::fault(name, error.to_string(), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_port_for_named_peers_is_found_open_without_a_connection() {
        for any in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            // A machine may be without IPv6.
            let Ok(listener) = TcpListener::bind(any) else { continue };
            listener.set_nonblocking(true).unwrap();
            let bind = listener.local_addr().unwrap();
            let config: Config = toml::from_str(&format!(
                "state_dir = '/s'\n[receive]\nbind = '{bind}'\n\
                 [[receive.peers]]\ncalling_ae = 'MR1'\naddresses = ['192.0.2.7']"
            ))
            .unwrap();
            let check = own_dicom_port(&config);
            assert_eq!(check.verdict, Verdict::Ok, "{check:?}");
            let nobody = listener.accept().unwrap_err();
            assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
            drop(listener);
            assert_eq!(own_dicom_port(&config).verdict, Verdict::Fault);
        }
    }
}
