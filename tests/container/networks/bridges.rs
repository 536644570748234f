//! Bridges: addresses, what leads where, and what is left of them.

use super::{has, scene};
use crate::common::soak;

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
