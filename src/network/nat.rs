//! What a network's packets become on their way: masquerading for what guests send beyond, and ports of
//! this host that lead to instances.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;

use super::error::Error;
use super::links::GROUP;
use super::nft::{self, Kind, Table};
use super::subnet::Subnet;
use crate::workload::{MacAddress, PublishedPort};

/// Makes the table of a network that is to be masqueraded anew. Networks of duplex's are apart: what
/// one forwards to another is dropped, but for published ports.
pub(super) fn masquerade(network: &str, subnet: Subnet) -> Result<(), Error> {
    let content = format!(
        "chain forward {{\n\
         type filter hook forward priority filter; policy accept;\n\
         ct status dnat accept\n\
         iifname \"{network}\" oifname != \"{network}\" oifgroup {GROUP} drop\n\
         oifname \"{network}\" iifname != \"{network}\" iifgroup {GROUP} drop\n\
         }}\n\
         chain postrouting {{\n\
         type nat hook postrouting priority srcnat; policy accept;\n\
         ip saddr {subnet} ip daddr != {subnet} oifname != \"{network}\" masquerade\n\
         }}\n"
    );
    nft::apply(&Table::new(Kind::Network, network).with(&content))
}

/// An instance's end of a network, as rules go by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    /// The interface on the bridge.
    pub(super) port: &'a str,
    pub(super) network: &'a str,
    pub(super) subnet: Subnet,
    pub(super) address: Ipv4Addr,
    pub(super) mac: MacAddress,
    /// The instance's name.
    pub(super) instance: &'a str,
}

impl End<'_> {
    /// Lets it send as itself alone, and publishes its ports.
    pub(super) fn make_rules(&self, published: &[PublishedPort]) -> Result<(), Error> {
        let mut text = Table::new(Kind::Sender, self.port).with(&self.sender());
        if !published.is_empty() {
            text.push_str(&Table::new(Kind::Loopback, self.network).with(&self.loopback()));
            text.push_str(&Table::new(Kind::Port, self.port).with(&self.published(published)));
        }
        nft::apply(&text)?;
        if !published.is_empty() {
            // The bridge's own switch, and only once the rule is there that needs to be. Answers to
            // this host's loopback come in there.
            let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.network);
            let refused = Error::refused(self.network, "let the bridge answer to loopback");
            fs::write(path, "1").map_err(refused)?;
        }
        Ok(())
    }

    /// IPv4 and ARP with its own addresses; nothing else comes in at its port.
    fn sender(&self) -> String {
        let End { port, mac, address, instance, .. } = self;
        format!(
            "comment \"{instance}\"\n\
             chain ingress {{\n\
             type filter hook ingress device \"{port}\" priority filter; policy drop;\n\
             ether saddr != {mac} drop\n\
             ip saddr {address} accept\n\
             arp saddr ether {mac} arp saddr ip {address} accept\n\
             }}\n"
        )
    }

    /// No packet comes in at the bridge that is for this host's loopback, whatever was switched on. In
    /// this chain, answers to what was translated still have the bridge's address.
    fn loopback(&self) -> String {
        format!(
            "chain prerouting {{\n\
             type filter hook prerouting priority raw; policy accept;\n\
             iifname \"{}\" ip daddr 127.0.0.0/8 drop\n\
             }}\n",
            self.network
        )
    }

    /// What comes in from elsewhere is translated, and what this host sends to itself. Where the answer
    /// would not come back by this host, which are loopback and the network itself, the sender is as well.
    fn published(&self, published: &[PublishedPort]) -> String {
        let End { network, subnet, address, instance, .. } = self;
        let mut rules = String::new();
        for port in published {
            let to = match port.address() {
                Some(address) => format!("ip daddr {address}"),
                None => "fib daddr type local".to_owned(),
            };
            let (protocol, outside, inside) = (port.protocol, port.host.port(), port.inside);
            // Writing to a string does not fail.
            let _ = writeln!(rules, "{to} {protocol} dport {outside} dnat to {address}:{inside}");
        }
        format!(
            "comment \"{instance}\"\n\
             chain prerouting {{\n\
             type nat hook prerouting priority dstnat; policy accept;\n{rules}\
             }}\n\
             chain output {{\n\
             type nat hook output priority -100; policy accept;\n{rules}\
             }}\n\
             chain postrouting {{\n\
             type nat hook postrouting priority srcnat; policy accept;\n\
             ip saddr {{ 127.0.0.0/8, {subnet} }} ip daddr {address} oifname \"{network}\" \
             ct status dnat masquerade\n\
             }}\n"
        )
    }
}
