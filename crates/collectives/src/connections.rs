//! Over which network interfaces a process is connected, by Linux's account of its sockets.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The sockets of a process, by their inodes.
pub(crate) type Sockets = BTreeSet<u64>;

/// Those of this process now; none where the system does not tell.
pub(crate) fn own_sockets() -> Sockets {
    let descriptors = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    descriptors
        .filter_map(|descriptor| {
            let target = fs::read_link(descriptor.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// The interfaces of the connections that are among `sockets`, each with its address, such as `eth0 (10.0.0.7)`.
pub(crate) fn interfaces(sockets: &Sockets) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")];
    let (routes, addresses) = (read("/proc/net/route"), read("/proc/net/if_inet6"));
    let local = tables
        .iter()
        .flat_map(|table| local_addresses(table, sockets));
    let names: BTreeSet<String> = local
        .map(|address| match interface(address, &routes, &addresses) {
            Some(name) => format!("{name} ({address})"),
            None => address.to_string(),
        })
        .collect();
    names.into_iter().collect()
}

/// The local addresses of established connections among `sockets`, in a table as proc_net_tcp has it:
/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`.
fn local_addresses(table: &str, sockets: &Sockets) -> Vec<IpAddr> {
    const ESTABLISHED: &str = "01";
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let inode: u64 = fields.get(9)?.parse().ok()?;
            if fields[3] != ESTABLISHED || !sockets.contains(&inode) {
                return None;
            }
            address(fields[1].split(':').next()?)
        })
        .collect()
}

/// An address in hexadecimal digits: words of 32 bits, each in the machine's order.
fn address(digits: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = (0..digits.len())
        .step_by(8)
        .map(|begin| {
            let word = u32::from_str_radix(digits.get(begin..begin + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [word] => Some(Ipv4Addr::from(*word).into()),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// The name of the interface that has an address, by the tables /proc/net/route and /proc/net/if_inet6.
fn interface(address: IpAddr, routes: &str, addresses: &str) -> Option<String> {
    match address {
        _ if address.is_loopback() => Some("lo".to_owned()),
        IpAddr::V4(address) => {
            let own = u32::from_ne_bytes(address.octets());
            // `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, without the routes through other machines.
            let networks = routes.lines().skip(1).filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let number = |place: usize| u32::from_str_radix(fields.get(place)?, 16).ok();
                let (network, gateway, mask) = (number(1)?, number(2)?, number(7)?);
                (gateway == 0 && own & mask == network)
                    .then(|| (mask.count_ones(), fields[0].to_owned()))
            });
            networks.max().map(|(_, name)| name)
        }
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", address.to_bits());
            // `address index prefix scope flags name`.
            let line = addresses.lines().find(|line| line.starts_with(&digits))?;
            line.split_whitespace().last().map(str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_found() {
        let before = own_sockets();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let _connected = TcpStream::connect(address).unwrap();
        let new: Sockets = own_sockets().difference(&before).copied().collect();
        // What listens is not a connection.
        assert_eq!(interfaces(&new), ["lo (127.0.0.1)"]);
        assert_eq!(interfaces(&Sockets::new()), Vec::<String>::new());
    }

    #[test]
    fn an_interface_is_known_by_its_network() {
        let hexadecimal = |text: &str| {
            let address: Ipv4Addr = text.parse().unwrap();
            format!("{:08X}", u32::from_ne_bytes(address.octets()))
        };
        let route = |name: &str, network: &str, gateway: &str, mask: &str| {
            let [network, gateway, mask] = [network, gateway, mask].map(hexadecimal);
            format!("{name}\t{network}\t{gateway}\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n")
        };
        let routes = [
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n".to_owned(),
            route("eth0", "0.0.0.0", "10.0.0.1", "0.0.0.0"),
            route("eth0", "10.0.0.0", "0.0.0.0", "255.0.0.0"),
            route("ib0", "10.1.0.0", "0.0.0.0", "255.255.0.0"),
        ]
        .concat();
        let addresses = "fe80000000000000000000000000abcd 02 40 20 80     ib0\n";
        for (address, name) in [
            ("10.2.3.4", Some("eth0")),
            ("10.1.3.4", Some("ib0")),
            ("192.168.0.1", None),
            ("127.0.1.1", Some("lo")),
            ("fe80::abcd", Some("ib0")),
            ("::1", Some("lo")),
        ] {
            let found = interface(address.parse().unwrap(), &routes, addresses);
            assert_eq!(found.as_deref(), name, "{address}");
        }
        let mapped = format!(
            "0000000000000000{}{}",
            hexadecimal("0.0.255.255"),
            hexadecimal("10.1.3.4")
        );
        assert_eq!(address(&mapped), Some("10.1.3.4".parse().unwrap()));
    }
}
