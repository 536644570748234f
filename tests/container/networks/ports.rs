//! Published ports.

use std::path::Path;

use super::{has, scene};
use crate::common::{say, text};

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
