//! A user's own network, the host's, none; and what cannot be had.

use std::fs::File;

use super::{has, scene};
use crate::common::containers::{command, end_of, has_containers};
use crate::common::{find_program, say};

#[test]
fn a_user_has_their_own_network() {
    if !find_program("pasta") {
        say("SKIPPED: pasta is not installed (make packages: passt)");
        return;
    }
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        say(&format!("SKIPPED: /dev/net/tun: {error}"));
        return;
    }
    let Some(all) = scene(
        "user",
        r#"
        if $run --net user "$IMAGE" true; then exit 1; else echo "without a route: $?"; fi
        ip link add up0 type veth peer name up1; ip link set up1 up
        ip addr add 10.9.8.2/24 dev up0; ip link set up0 up; ip route add default via 10.9.8.1
        mkdir own; echo own >own/index.html; busybox httpd -p 127.0.0.1:99 -h own
        $run --name "in$ID" --net user "$IMAGE" sh -c 'busybox ip -4 -o addr show eth0; busybox ip route
            cat /etc/hosts /etc/resolv.conf; echo "host: $(busybox timeout 5 busybox wget -q -O - http://10.0.2.2:99/)"'
        serve web --net user -p 8080:80 -p 127.0.0.1:8081:80
        got loopback http://127.0.0.1:8080/
        got address http://10.9.8.2:8080/
        got "loopback only" http://127.0.0.1:8081/
        got "not loopback" http://10.9.8.2:8081/
        if $run --net user -p 8080:80 "$IMAGE" true; then exit 1; else echo "taken: $?"; fi
        for child in $(cat /proc/$web/task/$web/children); do
            case $(cat /proc/$child/comm) in pass*|past*) pasta=$child ;; esac
        done
        if grep -q "duplex/web$ID" /proc/$pasta/cgroup; then echo "pasta is limited"; fi
        kill -9 $web; wait $web 2>/dev/null || :
        # It is nobody's child here, so that it has gone shows by its number.
        tail --pid=$pasta -f /dev/null; echo "pasta has gone"
        # The next command removes what the killed one has left.
        groups() { find /sys/fs/cgroup -maxdepth 3 -path "*/duplex/web$ID*"; }
        [ -n "$(groups)" ]; "$DUPLEX" ps >/dev/null; if [ -z "$(groups)" ]; then echo "its group has gone"; fi
        "#,
    ) else {
        return;
    };
    has(
        &all,
        &[
            "without a route: 125",
            "nameserver 10.0.2.3",
            "host: own",
            "loopback: web",
            "address: web",
            "loopback only: web",
            "not loopback: nothing",
            "taken: 125",
            "pasta is limited",
            "pasta has gone",
            "its group has gone",
        ],
    );
    assert!(all.contains("inet 10.0.2.15/24") && all.contains("default via 10.0.2.2"), "{all}");
    assert!(all.contains("an address and a default route"), "{all}");
}

#[test]
fn the_hosts_network_is_shared_and_cannot_be_changed() {
    let Some(all) = scene(
        "host",
        r#"
        ip link add here type bridge; ip addr add 10.9.8.7/24 dev here; ip link set here up
        mount -t sysfs none /sys
        echo "outside: $(readlink /proc/self/ns/net)"
        mkdir own; echo own >own/index.html; busybox httpd -p 127.0.0.1:99 -h own
        $run --net host --cap-add NET_ADMIN "$IMAGE" sh -c 'echo "inside: $(busybox readlink /proc/self/ns/net)"
            busybox ip -4 -o addr show here; ls /sys/class/net; echo "own: $(busybox wget -q -O - http://127.0.0.1:99/)"
            busybox ip link set here down 2>&1; busybox ip link set lo down 2>&1
            echo 9000 2>&1 >/sys/class/net/here/mtu; echo "hidden: $(ls /sys/fs /sys/kernel/debug)"; cat /etc/resolv.conf'
        ip link show here | grep -o 'UP,LOWER_UP\|NO-CARRIER,BROADCAST,MULTICAST,UP'
        "#,
    ) else {
        return;
    };
    let namespace = |key: &str| {
        let line = all.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no '{key}' in:\n{all}"))
    };
    assert_eq!(namespace("outside: "), namespace("inside: "));
    has(&all, &["here", "own: own", "nameserver 127.0.0.1"]);
    assert!(all.contains("inet 10.9.8.7/24"), "{all}");
    assert_eq!(all.matches("ermitted").count(), 2, "{all}");
    assert!(all.contains("Read-only file system"), "{all}");
}

#[test]
fn what_a_container_cannot_have_is_refused_with_a_reason() {
    if !has_containers() {
        return;
    }
    for (options, words) in [
        (&["--net", "tap=t0"][..], "--net tap=t0: a tap is for a VM: give --net bridge"),
        (&["--net", "user,mtu=1400"], "its options are for VMs"),
        (&["--net", "bridge,rate=1M"], "its options are for VMs"),
        (&["--net", "bridge", "--net", "host"], "a container has one network"),
        (&["--net", "bridge=a/b"], "'a/b' is no name of a network"),
        (&["--net", "bridge=twelve-chars"], "is no name of a network"),
        (&["-p", "80:80"], "add one of them"),
        (&["--net", "host", "-p", "80:80"], "add one of them"),
        (&["--net-rate", "1M"], "add --net bridge"),
        (&["--net", "user", "--net-rate", "1M"], "add --net bridge"),
        (&["--net", "user", "--userns", "host"], "give --net bridge"),
        (&["--net", "bridge", "--net-rate", "1M", "--cap-add", "ALL"], "leave one of the two away"),
        (&["--net", "user", "-p", "192.0.2.77:80:80"], "this host has no address 192.0.2.77"),
    ] {
        let output = end_of(command(options, &["true"]));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{options:?}: {stderr}");
        assert!(stderr.starts_with("duplex: ") && stderr.contains(words), "{options:?}: {stderr}");
    }
    for (options, words) in [
        (&["--net", "bridge="][..], "'bridge=' is no network: give none, user, bridge"),
        (&["--net", "host,mtu=1500"], "host has no options: leave 'mtu=1500' out"),
        (&["--net", "bridge,ip=10.0.0.2/24"], "a bridge gives an instance its address"),
        (&["--net", "bridge", "-p", "80"], "does not say which port leads where"),
        (&["--net", "bridge", "-p", "80:80/sctp"], "'sctp' has no ports"),
        (&["--net", "bridge", "-p", "-1:80"], "'-1' is no port"),
        (&["--net", "bridge", "--net-rate", "0"], "a rate of 0 would let nothing through"),
        (&["--net", "bridge", "--net-rate", "-5"], "rate: "),
    ] {
        let output = end_of(command(options, &["true"]));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && stderr.contains(words), "{options:?}: {stderr}");
    }
}

#[test]
fn each_step_is_explained() {
    if !has_containers() {
        return;
    }
    let options = ["--net", "bridge=dx", "-p", "8080:80", "--net-rate", "1M", "--explain"];
    let output = end_of(command(&options, &["true"]));
    let plan = String::from_utf8_lossy(&output.stdout).into_owned();
    for step in [
        "make a pair of interfaces: eth0 in it, and a port on the bridge dx",
        "let in at that port what has its own addresses, and nothing else",
        "lead tcp port 0.0.0.0:8080 of this host to its port 80",
        "let the port send 1048576 bytes a second",
        "start eth0, with its address and a default route",
        "let eth0 send 1048576 bytes a second",
        "write /etc/resolv.conf",
    ] {
        assert!(plan.contains(step), "no '{step}' in:\n{plan}");
    }
    let output = end_of(command(&["--net", "host", "--explain"], &["true"]));
    let plan = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(plan.contains("user, mount, pid, ipc and uts namespaces"), "{plan}");
    assert!(
        plan.contains("show the host's /sys, read-only") && !plan.contains("loopback"),
        "{plan}"
    );
}
