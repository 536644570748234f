//! The network of an instance: the options, and what both halves make of them alike.

pub(super) mod container;
pub(super) mod vm;

use std::error::Error;
use std::net::Ipv4Addr;

use crate::cli::say;
use crate::host::Resolver;
use crate::init::Addressing;
use crate::network::{self, Newcomer, Place, Reserved, UserLink};
use crate::vm::devices::virtio::net::passt::UserNetwork;
use crate::workload::{AddressedNet, PublishedPort, parse_rate};

/// The options, called as docker calls them where it has them.
#[derive(clap::Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// What it reaches. none: nothing, the default. user: what this user reaches, by passt, without
    /// privilege. bridge: a network of this host, made on first need, with an address, NAT, and the other
    /// instances on it; bridge=NAME: one that `duplex network` has made. Root alone. tap=NAME: for a VM, a
    /// tap of this host. host: for a container, all that this host has. Options of a VM's: mac=ADDRESS;
    /// mtu=N; rate=SIZE and pps=N (bytes and packets a second, each way); offload=on|off|rx|tx; of its
    /// taps: ip=ADDRESS/BITS|dhcp|none [default: what `duplex network` has for it, else dhcp],
    /// gateway=ADDRESS, dns=ADDRESS. A VM can have several: eth0, eth1 and so on
    #[arg(long = "net", value_name = "none|user|bridge[=NAME]|tap=NAME|host[,OPTION]…")]
    pub(super) nets: Vec<AddressedNet>,
    /// Let a port of this host, at one of its addresses or all of them, lead to one of the instance's.
    /// With --net user or bridge. Can be given again
    #[arg(
        long,
        short,
        value_name = "[ADDRESS:]HOSTPORT:PORT[/tcp|/udp]",
        allow_hyphen_values = true
    )]
    pub(super) publish: Vec<PublishedPort>,
    /// The most bytes a second that it sends, and that it receives. A container takes --net bridge for it
    #[arg(long, value_name = "SIZE", value_parser = parse_rate, allow_hyphen_values = true)]
    pub(super) net_rate: Option<u64>,
}

/// Why ports cannot be published.
const NOTHING_TO_PUBLISH: &str =
    "-p: ports lead to an instance with --net user or --net bridge: add one of them";

/// What belongs to an instance's network outside of it, as long as it runs.
#[derive(Default)]
pub(super) struct Held {
    _places: Vec<Place>,
    _link: Option<UserLink>,
    _ports: Option<Reserved>,
}

impl Held {
    /// Places on networks, and the ports of this host that lead there.
    fn places(places: Vec<Place>, ports: Option<Reserved>) -> Held {
        Held { _places: places, _link: None, _ports: ports }
    }

    fn link(link: UserLink) -> Held {
        Held { _link: Some(link), ..Held::default() }
    }
}

/// Takes the ports of this host that are to be published, before anything is started.
///
/// # Errors
/// One is taken.
pub(super) fn reserve(published: &[PublishedPort]) -> Result<Option<Reserved>, Box<dyn Error>> {
    if published.is_empty() {
        return Ok(None);
    }
    Ok(Some(network::reserve(published)?))
}

/// Joins a network, and says if its ports lead no further than from this host.
fn join(network: &str, newcomer: &Newcomer<'_>) -> Result<Place, network::Error> {
    let place = network::join(network, newcomer)?;
    if !newcomer.published.is_empty() && !network::host_forwards() {
        say(
            "-p: the ports can be reached from this host, but not from others as long as it does not \
             forward: 'sysctl -w net.ipv4.ip_forward=1' lets it",
        );
    }
    Ok(place)
}

/// What goes with a place on a network.
fn on_bridge(place: &Place) -> Addressing {
    Addressing::Fixed { own: place.own, gateway: Some(place.gateway) }
}

/// Who can be asked for names from another network. As docker: one at a loopback address is out of reach.
fn reachable(resolver: &Resolver) -> Vec<Ipv4Addr> {
    resolver.servers.iter().copied().filter(|address| !address.is_loopback()).collect()
}

/// What passt has on its other end.
fn by_passt(number: usize, resolver: &Resolver) -> (Addressing, Vec<Ipv4Addr>) {
    let UserNetwork { own, gateway, dns } = UserNetwork::of(number);
    // It passes questions on to the first server of this host, wherever that is.
    let servers = if resolver.servers.is_empty() { Vec::new() } else { vec![dns] };
    (Addressing::Fixed { own, gateway: Some(gateway) }, servers)
}
