//! Networks of containers. Each test is a shell script in network and mount namespaces made for it: what
//! is the host there has nothing to do with this one's network.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::containers::{command, end_of, has_containers, runtime_directory};
use crate::common::process::Process;
use crate::common::{DUPLEX, find_program, image, say, soak, text};

/// What every script begins with. Its shell is PID 1: nothing that it has started outlives it. `serve
/// NAME OPTIONS…` starts a container that answers on port 80, and returns when it does; `get URL` says
/// what is there, or "nothing".
const PRELUDE: &str = r#"
    mount -t tmpfs none /run
    ip link set lo up
    printf 'nameserver 127.0.0.1\nnameserver 10.9.8.1\nsearch duplex.test\n' >/run/resolv.conf
    mount --bind /run/resolv.conf /etc/resolv.conf
    cd /run
    run="$DUPLEX run --container"
    serve() {
        name=$1; shift; mkfifo "$name.up"
        $run --name "$name$ID" "$@" "$IMAGE" sh -c "mkdir /srv; hostname >/srv/index.html
            busybox httpd -p 80 -h /srv; echo up; exec sleep 1000" >"$name.up" &
        eval "$name=$!"
        read -r line <"$name.up"; [ "$line" = up ]
    }
    get() { timeout 5 busybox wget -q -O - "$1" 2>/dev/null || echo nothing; }
    got() { echo "$1: $(get "$2" | sed "s/$ID//")"; }
    # Everything that a network could leave behind.
    everything() { ip -br link | sed 's/ .*//'; nft list tables; ls /run/duplex-network 2>/dev/null || :; }
"#;

/// Runs a script to its end; returns what it says. None where this host lacks what it takes, which is
/// said.
fn scene(name: &str, script: &str) -> Option<String> {
    if !has_containers() {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        say("SKIPPED: network namespaces for tests take root");
        return None;
    }
    for program in ["nft", "ip", "busybox", "unshare"] {
        if !find_program(program) {
            say(&format!("SKIPPED: {program} is not installed (make packages)"));
            return None;
        }
    }
    let mut command = Command::new("unshare");
    command.args([
        "-n",
        "-m",
        "-p",
        "-f",
        "--mount-proc",
        "sh",
        "-euc",
        &format!("{PRELUDE}\n{script}"),
    ]);
    command.env("DUPLEX", DUPLEX).env("IMAGE", image::busybox());
    command.env("ID", format!("-{name}-{}", std::process::id()));
    command.env("XDG_RUNTIME_DIR", runtime_directory());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Process::start(&mut command).output();
    let all =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(output.status.code(), Some(0), "{}", all.concat());
    Some(all.concat())
}

/// Asserts that all these lines are there.
fn has(all: &str, lines: &[&str]) {
    for line in lines {
        assert!(all.lines().any(|other| other == *line), "no line '{line}' in:\n{all}");
    }
}

#[test]
fn a_bridge_gives_an_address_and_leads_both_ways() {
    let Some(all) = scene(
        "bridge",
        r#"
        everything >before
        $run --name "first$ID" --net bridge "$IMAGE" sh -c 'busybox ip -4 -o addr show eth0
            busybox ip route; cat /etc/hosts /etc/resolv.conf
            busybox ping -q -c 1 -W 5 10.87.0.1 | grep -c " 0% packet loss"'
        serve web --net bridge
        got "host to container" http://10.87.0.254/
        $run --net bridge "$IMAGE" sh -c 'echo "neighbour: $(busybox timeout 5 busybox wget -q -O - http://10.87.0.254/)"
            busybox ip -4 -o addr show eth0'
        "$DUPLEX" network ls | sed "s/$ID//"
        if "$DUPLEX" network rm duplex0; then exit 1; fi
        kill $web; wait $web || :
        "$DUPLEX" network rm duplex0
        everything | diff before -
        "#,
    ) else {
        return;
    };
    let lines = ["10.87.0.254\tfirst", "nameserver 10.9.8.1", "search duplex.test", "1"];
    let all = all.replace(&format!("-bridge-{}", std::process::id()), "");
    has(&all, &lines);
    has(&all, &["host to container: web", "neighbour: web"]);
    for part in [
        "inet 10.87.0.254/24 brd 10.87.0.255 scope global eth0",
        "inet 10.87.0.253/24",
        "default via 10.87.0.1 dev eth0",
        "web (duplex0c252)",
        "network duplex0 is in use: end instance web first",
    ] {
        assert!(all.contains(part), "no '{part}' in:\n{all}");
    }
    assert!(!all.contains("nameserver 127."), "out of reach from there:\n{all}");
}

#[test]
fn published_ports_lead_to_it_from_everywhere_and_nowhere_else() {
    let Some(all) = scene(
        "ports",
        r#"
        # Another machine: a namespace behind a wire.
        sysctl -qw net.ipv4.ip_forward=1
        unshare -n sleep 1000 & far=$!
        while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
        ip link add up0 type veth peer name eth0 netns $far
        ip addr add 10.9.8.2/24 dev up0; ip link set up0 up
        nsenter -t $far -n sh -c "ip addr add 10.9.8.3/24 dev eth0; ip link set eth0 up
            mkdir far; echo far >far/index.html; busybox httpd -p 80 -h far"
        # A service of the host for itself alone.
        mkdir own; echo own >own/index.html; busybox httpd -p 127.0.0.1:99 -h own
        everything >before
        serve web --net bridge -p 8080:80 -p 10.9.8.2:8081:80 -p 127.0.0.1:8082:80
        got loopback http://127.0.0.1:8080/
        got gateway http://10.87.0.1:8080/
        got "one address" http://10.9.8.2:8081/
        got "another address" http://127.0.0.1:8081/
        got "loopback only" http://127.0.0.1:8082/
        got "not loopback" http://10.9.8.2:8082/
        got itself http://127.0.0.1:99/
        far() { echo "far $1: $(nsenter -t $far -n timeout 5 busybox wget -q -O - "$2" 2>/dev/null |
            sed "s/$ID//" | grep . || echo nothing)"; }
        far public http://10.9.8.2:8080/
        far "loopback only" http://10.9.8.2:8082/
        $run --net bridge "$IMAGE" sh -c 'get() { busybox timeout 5 busybox wget -q -O - "$1" 2>/dev/null || echo nothing; }
            echo "neighbour by the host: $(get http://10.9.8.2:8080/)"
            echo "beyond: $(get http://10.9.8.3/)"; echo "loopback of the host: $(get http://10.87.0.1:99/)"' |
            sed "s/$ID//"
        # Its root, with all the rights that it can have there, sends to the host's loopback.
        $run --net bridge --cap-add NET_ADMIN "$IMAGE" sh -c 'busybox ip addr del 127.0.0.1/8 dev lo
            busybox ip route add 127.0.0.0/8 via 10.87.0.1 2>/dev/null
            busybox timeout 5 busybox wget -q -O - http://127.0.0.1:99/ 2>/dev/null || echo "crafted: nothing"'
        if $run --name "second$ID" --net bridge -p 8080:80 "$IMAGE" true; then exit 1; else echo "taken: $?"; fi
        if $run --net bridge -p 127.0.0.1:99:80 "$IMAGE" true; then exit 1; fi
        kill $web; wait $web || :
        $run --net bridge -p 8080:80 "$IMAGE" echo free again
        "$DUPLEX" network rm duplex0
        everything | diff before -
        kill $far
        "#,
    ) else {
        return;
    };
    has(
        &all,
        &[
            "loopback: web",
            "gateway: web",
            "one address: web",
            "another address: nothing",
            "loopback only: web",
            "not loopback: nothing",
            "itself: own",
            "far public: web",
            "far loopback only: nothing",
            "neighbour by the host: web",
            "beyond: far",
            "loopback of the host: nothing",
            "crafted: nothing",
            "taken: 125",
            "free again",
        ],
    );
    for port in ["0.0.0.0:8080", "127.0.0.1:99"] {
        let said = format!("-p: tcp port {port} of this host is taken: end what listens there");
        assert!(all.contains(&said), "{all}");
    }
}

#[test]
fn datagrams_reach_a_published_port() {
    let own = std::env::current_exe().unwrap();
    let peer = own.parent().and_then(Path::parent).unwrap().join("examples/net-peer");
    if !peer.exists() {
        say("SKIPPED: the example net-peer is not built (cargo test builds all of them)");
        return;
    }
    let script = r#"
        cp -r "$IMAGE" image; cp PEER image/bin/net-peer; chmod 755 image/bin/net-peer
        for address in 127.0.0.1 10.87.0.1; do
            rm -f up; mkfifo up
            $run --net bridge -p 5353:53/udp image net-peer echo 53 >up & pid=$!
            read -r line <up
            echo "$address: $line $(image/bin/net-peer datagram $address 5353)"
            kill $pid || :; wait $pid || :
        done"#;
    let Some(all) = scene("datagrams", &script.replace("PEER", text(&peer))) else { return };
    has(&all, &["127.0.0.1: up and back", "10.87.0.1: up and back"]);
}

#[test]
fn networks_are_apart_and_nobody_sends_as_another() {
    let Some(all) = scene(
        "apart",
        r#"
        sysctl -qw net.ipv4.ip_forward=1
        "$DUPLEX" network create --ports 0 --subnet 10.99.1.0/24 da >/dev/null
        "$DUPLEX" network create --ports 0 --subnet 10.99.2.0/24 db >/dev/null
        serve web --net bridge=da
        try() { $run --net "$1" --cap-add NET_ADMIN "$IMAGE" sh -c "
            seen() { busybox ping -q -c 1 -W 2 \$* | grep -o '[0-9]*% packet loss'; }; $2"; }
        echo "same: $(try bridge=da 'seen 10.99.1.254')"
        echo "other: $(try bridge=db 'seen 10.99.1.254')"
        echo "own gateway: $(try bridge=db 'seen 10.99.2.1')"
        echo "address: $(try bridge=da 'busybox ip addr add 10.99.1.77/24 dev eth0; seen -I 10.99.1.77 10.99.1.254')"
        echo "hardware: $(try bridge=da 'busybox ip link set eth0 down
            busybox ip link set eth0 address 02:00:00:00:00:07; busybox ip link set eth0 up; seen 10.99.1.254')"
        # Who says that the gateway is his.
        try bridge=da 'busybox ip addr add 10.99.1.1/32 dev eth0
            busybox arping -q -U -c 1 -I eth0 -s 10.99.1.1 10.99.1.1' || :
        echo "gateway for others: $(try bridge=da 'seen 10.99.1.1')"
        kill $web; wait $web || :
        "#,
    ) else {
        return;
    };
    has(
        &all,
        &[
            "same: 0% packet loss",
            "other: 100% packet loss",
            "own gateway: 0% packet loss",
            "address: 100% packet loss",
            "hardware: 100% packet loss",
            "gateway for others: 0% packet loss",
        ],
    );
}

#[test]
fn killed_it_leaves_nothing_to_the_next_command() {
    let moments = if soak() { 100 } else { 10 };
    let script = r#"
        "$DUPLEX" network create --ports 0 da >/dev/null 2>&1
        $run --net bridge=da -p 8080:80 "$IMAGE" true
        everything >before
        for moment in $(seq 1 MOMENTS); do
            $run --name "k$moment$ID" --net bridge=da -p 8080:80 "$IMAGE" sleep 1000 & pid=$!
            # Later and later in its start, up to after it.
            busybox usleep $((moment * 20000 % 400000))
            kill -9 $pid; wait $pid 2>/dev/null || :
            $run "$IMAGE" true
            # A child on its way to becoming nft has what its parent had open, for an instant.
            everything | diff before - || { $run "$IMAGE" true; everything | diff before -; }
        done
        "$DUPLEX" ps >/dev/null"#;
    scene("killed", &script.replace("MOMENTS", &moments.to_string()));
}

#[test]
fn addresses_are_nobody_elses() {
    let Some(all) = scene(
        "many",
        r#"
        "$DUPLEX" network create --ports 1 --subnet 10.99.1.0/29 da >/dev/null 2>&1
        address='busybox ip -4 -o addr show eth0 | busybox awk "{print \$4}"'
        # Six addresses: the gateway's, the tap's, and four.
        for n in 1 2 3 4; do
            mkfifo up$n
            $run --name "s$n$ID" --net bridge=da "$IMAGE" sh -c "$address; sleep 1000" >up$n & pids="${pids-} $!"
            read -r line <up$n; echo "small: $line"
        done
        if $run --net bridge=da "$IMAGE" true; then exit 1; fi
        if "$DUPLEX" network create --ports 2 da; then exit 1; fi
        kill $pids; wait $pids || :
        # All at once, on a network that is not there yet.
        pids=
        for n in $(seq 20); do
            $run --name "m$n$ID" --net bridge -p $((9000 + n)):80 "$IMAGE" sh -c "$address" >out$n & pids="$pids $!"
        done
        for pid in $pids; do wait $pid; done
        echo "at once: $(cat out* | wc -l)"
        everything
        "#,
    ) else {
        return;
    };
    let small: Vec<&str> = all.lines().filter(|line| line.starts_with("small: ")).collect();
    let expected = [6, 5, 4, 3].map(|last| format!("small: 10.99.1.{last}/29"));
    assert_eq!(small, expected, "{all}");
    assert!(all.contains("network da has no address left in 10.99.1.0/29"), "{all}");
    assert!(all.contains("has the address of tap dap1: end it first"), "{all}");
    has(&all, &["at once: 20"]);
    assert!(!all.contains("duplex-port-") && !all.contains("duplex0c"), "{all}");
}

#[test]
fn a_rate_holds_and_stays() {
    let Some(all) = scene(
        "rate",
        r#"
        $run --net bridge "$IMAGE" true
        mkfifo hold
        $run -i --name "slow$ID" --net bridge --net-rate 10M "$IMAGE" sh -c 'busybox tc qdisc show dev eth0
            busybox ip link set eth0 down 2>&1; busybox tc qdisc show dev eth0; cat' <hold >shown & pid=$!
        exec 3>hold
        while ! [ "$(grep -c tbf shown)" = 2 ]; do :; done
        ip -d link show duplex0c252 | grep -o 'qdisc [a-z]*'
        exec 3>&-; wait $pid; cat shown
        "#,
    ) else {
        return;
    };
    assert_eq!(all.matches("qdisc tbf").count(), 3, "{all}");
    assert!(all.contains("ermitted"), "{all}");
}

#[test]
fn a_rate_is_what_iperf3_measures() {
    if !soak() || !find_program("iperf3") {
        say("SKIPPED: rates are measured with DUPLEX_SOAK=1, by iperf3");
        return;
    }
    let Some(all) = scene(
        "iperf",
        r#"
        cp -r "$IMAGE" image; cp "$(command -v iperf3)" image/bin/
        ldd "$(command -v iperf3)" | grep -o '/[^ ]*' | while read -r library; do
            mkdir -p "image${library%/*}"; cp "$library" "image$library"
        done
        $run --net bridge image true
        for way in "" -R; do
            iperf3 -s -1 --forceflush -B 10.87.0.1 >served & server=$!
            while ! grep -q listening served; do :; done
            $run --net bridge --net-rate 10M image iperf3 -c 10.87.0.1 -t 10 -f K $way | grep receiver
            wait $server
        done
        "#,
    ) else {
        return;
    };
    let rates: Vec<f64> = all
        .lines()
        .filter_map(|line| line.split(" KBytes/sec").next()?.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(rates.len(), 2, "{all}");
    assert!(rates.iter().all(|rate| (0.9..1.1).contains(&(rate / 10240.0))), "{all}");
}

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
