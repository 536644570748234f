//! Limited rates.

use super::scene;
use crate::common::{find_program, say, soak};

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
