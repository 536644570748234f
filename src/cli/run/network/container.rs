//! What a container's network is to be, and how it comes to it.

use std::error::Error;

use super::{Held, NOTHING_TO_PUBLISH, NetworkArgs, by_passt, join, on_bridge, reachable};
use crate::container::{Attachment, Container, Network as ContainerNetwork};
use crate::host;
use crate::init::{self, Layer, Setting};
use crate::isolate::capabilities::{Capabilities, Capability};
use crate::isolate::cgroups::Group;
use crate::network::{self, Inside, Newcomer, Reserved, UserLink};
use crate::vm::devices::virtio::net::passt::UserNetwork;
use crate::workload::{AddressedNet, Net, NetBackend};

/// Decides what network a container has.
///
/// # Errors
/// It is one that a container can't have, or an option goes with another.
pub(in crate::cli::run) fn decide(
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

/// Connects a container that has been started in `group`; says what its PID 1 is to make of it.
///
/// # Errors
/// There is no such network, or what the kernel, nft or pasta said.
pub(in crate::cli::run) fn connect(
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
            let (addressing, servers) = by_passt(0, &resolver);
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
            decided.interfaces.push(on_bridge(&place));
            decided.servers = reachable(&resolver);
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
