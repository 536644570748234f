//! `duplex network`: bridges with taps and NAT, for guests of root and of those to whom root lends them.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand};

use super::say;
use crate::host;
use crate::network::{self, Network, Networks, Subnet, Wanted};

/// Make, show and remove networks for guests: a bridge with taps, and NAT for what lies beyond
///
/// Only root can. The host's own firewall and settings stay as they are.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  sudo $(command -v duplex) network create guests --ports 2 --user $USER
  duplex boot --net tap=guestsp0
  sudo $(command -v duplex) network ls
  sudo $(command -v duplex) network rm guests")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a network, or what is missing of it
    Create(Create),
    /// Show the networks
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove networks, with all that belongs to them
    Rm {
        /// Also where instances use them: their links go down
        #[arg(long)]
        force: bool,
        /// Which
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(ClapArgs)]
struct Create {
    /// Its addresses, of which the host gets the first [default: the first 10.87.N.0/24 that is free]
    #[arg(long, value_name = "ADDRESS/BITS")]
    subnet: Option<Subnet>,
    /// How many taps, NAMEp0, NAMEp1 and so on: one for each guest of `duplex boot`, or of other users.
    /// Instances with --net bridge=NAME need none
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(0..=100))]
    ports: u8,
    /// Who may use the taps without being root
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The largest packet [default: 1500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(68..))]
    mtu: Option<u16>,
    /// Do not translate addresses: guests reach this host and each other only, unless routes say more
    #[arg(long)]
    no_nat: bool,
    /// The name of the network, and of its bridge
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.command {
        Command::Create(args) => create(args)?,
        Command::Ls { json } => print(&Networks::open()?.list()?, *json)?,
        Command::Rm { force, names } => {
            let networks = Networks::open()?;
            for name in names {
                networks.remove(name, *force)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: &Create) -> Result<(), Box<dyn Error>> {
    let owner = args.user.as_deref().map(uid).transpose()?;
    let wanted = Wanted {
        name: args.name.clone(),
        subnet: args.subnet,
        ports: args.ports,
        owner,
        mtu: args.mtu,
        nat: !args.no_nat,
    };
    let network = Networks::open()?.create(&wanted)?;
    if let (Some(port), Some(subnet)) = (network.ports.first(), network.subnet) {
        let (guest, gateway, bits) = (subnet.first_guest(), subnet.gateway(), subnet.bits());
        say(format_args!(
            "a guest: duplex run --net tap={tap} …; or duplex boot --net tap={tap}, and in it: ip addr add \
             {guest}/{bits} dev eth0; ip link set eth0 up; ip route add default via {gateway}",
            tap = port.tap
        ));
    }
    if !args.no_nat && !network::host_forwards() {
        say("guests reach this host, but nothing beyond, as long as it does not forward: \
             'sysctl -w net.ipv4.ip_forward=1' lets it");
    }
    print(&[network], false)
}

/// The number of a user who is given by name or number.
fn uid(user: &str) -> Result<u32, String> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    host::user_id(user).ok_or_else(|| format!("there is no user {user}: give another"))
}

fn print(networks: &[Network], json: bool) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let subnet = |network: &Network| network.subnet.map(|subnet| subnet.to_string());
    if json {
        let rows: Vec<_> = networks
            .iter()
            .map(|network| {
                serde_json::json!({
                    "name": network.name,
                    "subnet": subnet(network),
                    "gateway": network.subnet.map(|subnet| subnet.gateway()),
                    "nat": network.nat,
                    "ports": network.ports,
                    "instances": network.instances,
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut table = super::table(&["NAME", "SUBNET", "GATEWAY", "NAT", "TAPS", "INSTANCES"]);
    for network in networks {
        let gateway = network.subnet.map(|subnet| subnet.gateway().to_string());
        let tap = |port: &network::Port| {
            format!("{}{}", port.tap, if port.used { " (in use)" } else { "" })
        };
        let taps: Vec<String> = network.ports.iter().map(tap).collect();
        let instance = |member: &network::Member| format!("{} ({})", member.name, member.port);
        let instances: Vec<String> = network.instances.iter().map(instance).collect();
        table.add_row([
            network.name.clone(),
            subnet(network).unwrap_or_default(),
            gateway.unwrap_or_default(),
            if network.nat { "yes" } else { "no" }.to_owned(),
            taps.join(", "),
            instances.join(", "),
        ]);
    }
    for row in table.lines() {
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}
