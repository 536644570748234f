//! What network a container has, decided before anything is done.

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::workload::PublishedPort;

/// A container's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Where its packets go.
    pub(crate) attachment: Attachment,
    /// The ports of this host that lead to it.
    pub(crate) published: Vec<PublishedPort>,
    /// The most bytes a second, each way.
    pub(crate) rate: Option<u64>,
}

/// Where a container's packets go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Attachment {
    /// Nowhere: it has loopback alone.
    #[default]
    None,
    /// This host's network is the container's.
    Host,
    /// Through sockets of this user, by pasta.
    User,
    /// To a bridge of duplex's, by its name.
    Bridge(String),
}

impl Network {
    /// What duplex does outside, with reasons.
    pub(super) fn outside(&self) -> Vec<(String, &'static str)> {
        let mut all = Vec::new();
        match &self.attachment {
            Attachment::None | Attachment::Host => {}
            Attachment::User => all.push((
                "start pasta on its network namespace, with eth0 in it".to_owned(),
                "it reaches what this user reaches, through sockets; it ends with duplex",
            )),
            Attachment::Bridge(name) => {
                all.push((
                    format!(
                        "make a pair of interfaces: eth0 in it, and a port on the bridge {name}"
                    ),
                    "its packets go to the bridge; the pair goes when either end's namespace does",
                ));
                all.push((
                    "let in at that port what has its own addresses, and nothing else".to_owned(),
                    "it can send as nobody else (nftables, a table of its own)",
                ));
            }
        }
        for port in &self.published {
            all.push((
                format!(
                    "lead {} port {} of this host to its port {}",
                    port.protocol, port.host, port.inside
                ),
                "asked for",
            ));
        }
        if let Some(rate) = self.rate {
            all.push((
                format!("let the port send {rate} bytes a second (tc-tbf(8))"),
                "asked for: this is what it receives",
            ));
        }
        all
    }

    /// What its PID 1 does, in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.attachment != Attachment::Host {
            steps.push(Step::Loopback);
        }
        if matches!(self.attachment, Attachment::User | Attachment::Bridge(_)) {
            steps.push(Step::Interface);
            steps.extend(self.rate.map(Step::Rate));
        }
        if self.attachment != Attachment::None {
            steps.push(Step::Resolver);
        }
        steps
    }
}
