//! Networks of commands in guests, in network namespaces of the testbed.

use std::path::{Path, PathBuf};
use std::process::Output;

use duplex::guest_images::{Cache, Series, debian_kernel, tuned_kernel};

use crate::common::image;
use crate::common::testbed::in_testbed;
use crate::common::{find_program, process, say, text};
use crate::guest::{example, in_emulation};

/// The build that made the testbed, where any user can execute it.
const DUPLEX: &str = "/run/duplex/bin/duplex";

/// The modules of the packet filter, which the testbed's kernel comes without, in the order of their needs.
const FILTER: &str = "lib/libcrc32c net/netfilter/nfnetlink net/netfilter/nf_tables \
    net/ipv4/netfilter/nf_defrag_ipv4 net/ipv6/netfilter/nf_defrag_ipv6 net/netfilter/nf_conntrack \
    net/netfilter/nf_nat net/netfilter/nft_chain_nat net/netfilter/nft_ct net/netfilter/nft_fib \
    net/ipv4/netfilter/nft_fib_ipv4 net/netfilter/nft_masq net/netfilter/nft_nat";

/// Runs a shell script in namespaces of its own in the testbed, with the image at `image`, a
/// cache that has this kernel, and state of its own.
fn scene(kernel: &Path, script: &str) -> String {
    let script = format!(
        "exec unshare -n -m sh -ec '
            d=$(mktemp -d /tmp/scene.XXXXXX); chmod 755 $d; cd $d
            cp -r {} image; cp {} image/bin/net-peer; chmod 755 image/bin/net-peer
            cp image/bin/net-peer image/bin/busybox .
            mkdir -m 700 cache state; cp -r {} cache/
            export DUPLEX_CACHE=$d/cache XDG_RUNTIME_DIR=$d/state DUPLEX_TESTBED=never
            printf \"nameserver 127.0.0.1\\nnameserver 10.9.8.1\\nsearch duplex.test\\n\" >resolv.conf
            mount --bind resolv.conf /etc/resolv.conf
            ip link set lo up
            duplex() {{ {DUPLEX} \"$@\"; }}
            {script}'",
        text(image::busybox()),
        text(&example("net-peer")),
        text(kernel.parent().unwrap()),
    );
    let Output { status, stdout, stderr } = process::output(&mut in_testbed(&script));
    let all = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(status.code(), Some(0), "{all}");
    all
}

fn tuned() -> PathBuf {
    tuned_kernel(&Cache::open().unwrap()).unwrap().elf
}

/// What is used where there is no tuned one: its drivers are modules.
fn debian() -> PathBuf {
    debian_kernel(&Cache::open().unwrap(), Series::V6_1).unwrap().elf
}

/// Asserts that all these are there, in this order.
fn has_in_order(all: &str, parts: &[&str]) {
    let mut rest = all;
    for part in parts {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("no '{part}' in:\n{all}"));
        rest = after;
    }
}

#[test]
fn an_ordinary_users_guest_reaches_the_hosts_loopback() {
    if !find_program("passt") {
        say("SKIPPED: passt is not installed (make packages)");
        return;
    }
    in_emulation(&"run --net user", || {
        let all = scene(&debian(), &format!(
            "chown -R 1000:1000 cache state; chmod 666 /dev/kvm; ip link add up0 type veth peer name up1
            ip addr add 10.9.8.2/24 dev up0; ip link set up0 up; ip link set up1 up
            ip route add default via 10.9.8.1
            ./net-peer serve 127.0.0.1 1048576 setpriv --reuid 1000 --regid 1000 --clear-groups \
            {DUPLEX} run --name web --net user image sh -ec \
            \"cat /etc/hosts /etc/resolv.conf; net-peer take 10.0.2.2; net-peer give 10.0.2.2 1048576\""
        ));
        let files =
            ["localhost\n", "10.0.2.15\tweb\n", "nameserver 10.0.2.3\nsearch duplex.test\n"];
        has_in_order(&all, &files);
        for (guest, host) in [("took ", "duplex host: gave "), ("gave ", "duplex host: took ")] {
            let rest = |key: &str| {
                let line = all.lines().find_map(|line| line.strip_prefix(key));
                line.unwrap_or_else(|| panic!("no '{key}' in:\n{all}"))
            };
            assert_eq!(rest(guest), rest(host));
        }
    });
}

#[test]
fn a_tap_leads_both_ways() {
    in_emulation(&"run --net tap", || {
        let all = scene(&tuned(),
            "ip tuntap add tap0 mode tap; ip addr add 10.9.8.1/24 dev tap0; ip link set tap0 up
            mkfifo in out
            duplex run -i --net tap=tap0,ip=10.9.8.2/24,gateway=10.9.8.1 image sh -ec \
            \"cat /etc/resolv.conf; busybox ping -q -c 3 10.9.8.1; busybox ip route; echo up; cat\" \
            <in >out &
            exec 3>in 4<out
            while read -r line; do echo \"$line\"; [ \"$line\" != up ] || break; done <&4
            ./busybox ping -q -c 3 10.9.8.2 | sed s/^/host:/
            exec 3>&-; wait $!",
        );
        let parts = [
            // Not what is out of the guest's reach.
            "nameserver 10.9.8.1\nsearch",
            "3 packets transmitted, 3 packets received",
            "default via 10.9.8.1 dev eth0",
            "up\n",
            "host:3 packets transmitted, 3 packets received",
        ];
        has_in_order(&all, &parts);
        assert!(!all.contains("nameserver 127."), "{all}");
    });
}

#[test]
fn interfaces_get_the_addresses_that_their_networks_have_for_them_and_what_is_missing_is_said() {
    in_emulation(&"run on a network, and by DHCP", || {
        let all = scene(
            &tuned(),
            "duplex network create --no-nat --ports 2 guests >created
            ip tuntap add tap0 mode tap; ip addr add 10.9.8.1/24 dev tap0; ip link set tap0 up
            printf \"start 10.9.8.77\\nend 10.9.8.77\\ninterface tap0\\nlease_file $d/leases\\n\
            pidfile $d/pid\\noption subnet 255.255.255.0\\noption router 10.9.8.1\\n\
            option dns 10.9.8.1 10.9.8.3\\n\" >conf
            touch leases; ./busybox udhcpd -f conf 2>served & server=$!
            duplex run --name web --net none --net tap=guestsp1,dns=10.87.0.1 --net tap=tap0 image \
            sh -ec \"cat /etc/hosts /etc/resolv.conf; busybox ip -4 -o addr; busybox ip route; \
            busybox ping -q -c 1 10.87.0.1; busybox ping -q -c 1 10.9.8.1\"
            kill $server; cat served
            for net in tap=none0 user; do
                if duplex run --net $net image true; then exit 1; else echo \"status $?\"; fi
            done 2>&1",
        );
        let parts = [
            "10.87.0.3\tweb\n",
            "nameserver 10.87.0.1\nnameserver 10.9.8.1\nnameserver 10.9.8.3\n",
            "10.87.0.3/24 brd 10.87.0.255",
            "10.9.8.77/24 brd 10.9.8.255",
            "default via 10.87.0.1 dev eth0",
            "1 packets transmitted, 1 packets received",
            "1 packets transmitted, 1 packets received",
        ];
        has_in_order(&all, &parts);
        assert!(!all.contains("default via 10.9.8.1"), "{all}");
        has_in_order(&all, &["there is no tap none0: make it as root", "status 125", "status 125"]);
        let user = if find_program("passt") { "a default route" } else { "apt-get install passt" };
        assert!(all.contains(user), "{all}");
    });
}

#[test]
fn a_bridge_gives_a_guest_its_address_and_leads_published_ports_to_it() {
    if !find_program("nft") {
        say("SKIPPED: nft is not installed (make packages)");
        return;
    }
    in_emulation(&"run --net bridge", || {
        let modules = debian().with_file_name("modules/kernel");
        let all = scene(
            &tuned(),
            &format!("for module in {FILTER}; do insmod {modules}/$module.ko 2>insmod || true; done
            duplex network create --no-nat --ports 0 --subnet 10.99.1.0/24 guests 2>created
            mkfifo up
            {DUPLEX} run --name web --net bridge=guests,rate=10M -p 8080:80 image sh -ec \
            \"cat /etc/hosts; busybox ip -4 -o addr show eth0; busybox ip route
            busybox ip link show eth0; busybox ping -q -c 1 10.99.1.1; mkdir srv; echo served >srv/index.html
            busybox httpd -p 80 -h srv; echo up; exec sleep 1000\" >up & server=$!
            while read -r line; do echo \"$line\"; [ \"$line\" != up ] || break; done <up
            duplex network ls
            for address in 127.0.0.1:8080 10.99.1.1:8080 10.99.1.254; do
                echo \"$address: $(./busybox wget -q -O - http://$address/)\"
            done
            vmm=$(cat /proc/$server/task/$server/children)
            kill -9 $server; wait $server || true
            for pid in $vmm; do while [ -d /proc/$pid ]; do sleep 0.1; done; done
            duplex network ls >left; ! grep web left; ip link | grep guestsc || echo no port is left
            nft list tables | grep guestsc || echo no rule is left
            if duplex run --net host image true; then exit 1; else echo \"status $?\"; fi 2>&1", modules = text(&modules)),
        );
        has_in_order(
            &all,
            &[
                "10.99.1.254\tweb\n",
                "10.99.1.254/24 brd 10.99.1.255",
                "default via 10.99.1.1 dev eth0",
                "02:64:0a:63:01:fe",
                "1 packets transmitted, 1 packets received",
                "up\n",
                "web (guestsc252)",
                "127.0.0.1:8080: served",
                "10.99.1.1:8080: served",
                "10.99.1.254: served",
                "no port is left",
                "no rule is left",
                "a VM has a network of its own: give user, bridge",
                "status 125",
            ],
        );
    });
}

#[test]
fn passt_leads_published_ports_to_a_guest() {
    if !find_program("passt") {
        say("SKIPPED: passt is not installed (make packages)");
        return;
    }
    in_emulation(&"run --net user -p", || {
        let all = scene(
            &debian(),
            &format!("ip link add up0 type veth peer name up1; ip link set up1 up
            ip addr add 10.9.8.2/24 dev up0; ip link set up0 up; ip route add default via 10.9.8.1
            mkfifo up
            {DUPLEX} run --net user -p 127.0.0.1:8080:80 image sh -ec \
            \"mkdir srv; echo served >srv/index.html; busybox httpd -p 80 -h srv; echo up; exec sleep 1000\" \
            >up & server=$!
            while read -r line; do echo \"$line\"; [ \"$line\" != up ] || break; done <up
            echo \"loopback: $(./busybox wget -q -O - http://127.0.0.1:8080/)\"
            if duplex run --net user -p 8080:80 image true; then exit 1; else echo \"taken: $?\"; fi 2>&1
            kill $server; wait $server || true"),
        );
        has_in_order(
            &all,
            &["up\n", "loopback: served", "port 0.0.0.0:8080 of this host is taken", "taken: 125"],
        );
    });
}
