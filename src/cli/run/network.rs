//! The network of an instance, in either half: the options, and what a container's become.

use std::error::Error;

use super::nets;
use crate::cli::say;
use crate::container::{Attachment, Container, Network as ContainerNetwork};
use crate::host;
use crate::init::{self, Layer, Setting};
use crate::isolate::capabilities::{Capabilities, Capability};
use crate::isolate::cgroups::Group;
use crate::network::{self, Inside, Newcomer, Place, Reserved, UserLink};
use crate::vm::devices::virtio::net::passt::UserNetwork;
use crate::workload::{AddressedNet, Net, NetBackend, PublishedPort, parse_rate};

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

/// Decides what network a container has.
///
/// # Errors
/// It is one that a container can't have, or an option goes with another.
pub(super) fn of_container(
    args: &NetworkArgs,
    capabilities: Capabilities,
) -> Result<ContainerNetwork, Box<dyn Error>> {
    let attachment = attachment(&args.nets)?;
    let (published, rate) = (args.publish.clone(), args.net_rate);
    let is_bridge = matches!(attachment, Attachment::Bridge(_));
    if !published.is_empty() && !is_bridge && attachment != Attachment::User {
        return Err(NOTHING_TO_PUBLISH.into());
    }
    if rate.is_some() && !is_bridge {
        return Err(
            "--net-rate: it is a container's port on a bridge that can be limited: add --net \
                    bridge"
                .into(),
        );
    }
    if rate.is_some() && capabilities.contains(Capability::NET_ADMIN) {
        return Err(
            "--net-rate: with NET_ADMIN its root could lift the limit on what it sends: leave \
                    one of the two away"
                .into(),
        );
    }
    Ok(ContainerNetwork { attachment, published, rate })
}

/// Why ports cannot be published.
pub(super) const NOTHING_TO_PUBLISH: &str =
    "-p: ports lead to an instance with --net user or --net bridge: add one of them";

fn attachment(nets: &[AddressedNet]) -> Result<Attachment, Box<dyn Error>> {
    let [wanted] = nets else {
        return match nets {
            [] => Ok(Attachment::None),
            _ => Err("--net: a container has one network: leave the others away".into()),
        };
    };
    let bare = AddressedNet {
        net: Net::new(wanted.net.backend.clone()),
        address: None,
        gateway: None,
        dns: None,
    };
    if let NetBackend::Tap(name) = &bare.net.backend {
        return Err(format!(
            "--net tap={name}: a tap is for a VM: give --net bridge, or --vm instead of --container"
        )
        .into());
    }
    if *wanted != bare {
        return Err(format!(
            "--net {}: its options are for VMs: leave them away",
            bare.net.backend
        )
        .into());
    }
    Ok(match bare.net.backend {
        NetBackend::Bridge(name) => {
            network::check_name(&name)?;
            Attachment::Bridge(name)
        }
        NetBackend::User => Attachment::User,
        NetBackend::Host => Attachment::Host,
        NetBackend::Tap(_) | NetBackend::None => Attachment::None,
    })
}

/// What belongs to an instance's network outside of it, as long as it runs.
#[derive(Default)]
pub(super) struct Held {
    _places: Vec<Place>,
    _link: Option<UserLink>,
    _ports: Option<Reserved>,
}

impl Held {
    /// Places on networks, and the ports of this host that lead there.
    pub(super) fn places(places: Vec<Place>, ports: Option<Reserved>) -> Held {
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

/// Connects a container that has been started in `group`; says what its PID 1 is to make of it.
///
/// # Errors
/// There is no such network, or what the kernel, nft or pasta said.
pub(super) fn connect(
    container: &Container,
    group: &Group,
    name: &str,
    wanted: &ContainerNetwork,
    reserved: Option<Reserved>,
) -> Result<(Held, Option<Setting>), Box<dyn Error>> {
    if wanted.attachment == Attachment::None {
        return Ok((Held::default(), None));
    }
    let resolver = host::resolver();
    let mut decided = init::Network { search: resolver.search.clone(), ..init::Network::default() };
    let held = match &wanted.attachment {
        Attachment::None => Held::default(),
        Attachment::Host => {
            decided.servers = resolver.servers;
            Held::default()
        }
        Attachment::User => {
            // pasta takes them itself, in a moment.
            drop(reserved);
            let (pid, addresses) = (container.pid(), UserNetwork::of(0));
            let link = UserLink::start(pid, group, &addresses, &wanted.published)?;
            let (addressing, servers) = nets::by_passt(0, &resolver);
            decided.interfaces.push(addressing);
            decided.servers = servers;
            decided.mtu = Some(UserLink::MTU);
            Held::link(link)
        }
        Attachment::Bridge(network) => {
            let newcomer = Newcomer {
                name,
                end: Inside::Namespace(container.pid()),
                mac: None,
                rate: wanted.rate,
                published: &wanted.published,
            };
            let place = join(network, &newcomer)?;
            decided.interfaces.push(nets::on_bridge(&place));
            decided.servers = nets::reachable(&resolver);
            Held::places(vec![place], reserved)
        }
    };
    let setting = Setting {
        hostname: name.to_owned(),
        layer: Layer::Memory,
        // What follows is the plan's.
        volumes: Vec::new(),
        tmpfs: Vec::new(),
        shm_size: None,
        read_only: false,
        tasks: None,
        ulimits: Vec::new(),
        network: decided,
    };
    Ok((held, Some(setting)))
}

/// Joins a network, and says if its ports lead no further than from this host.
pub(super) fn join(network: &str, newcomer: &Newcomer<'_>) -> Result<Place, network::Error> {
    let place = network::join(network, newcomer)?;
    if !newcomer.published.is_empty() && !network::host_forwards() {
        say(
            "-p: the ports can be reached from this host, but not from others as long as it does not \
             forward: 'sysctl -w net.ipv4.ip_forward=1' lets it",
        );
    }
    Ok(place)
}
