use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

#[test]
fn first_byte_and_exit_are_seen_apart() {
    let seen = observe(
        &mut shell("echo ready; sleep 0.05; echo more"),
        &Bounds::default(),
        &Stop::default(),
    );
    let seen = seen.unwrap();
    assert_eq!(seen.output, b"ready\nmore\n");
    assert!(seen.exit >= seen.first_byte + Duration::from_millis(50), "{seen:?}");
}

#[test]
fn what_a_console_says_before_the_marker_is_not_the_workloads() {
    let bounds = Bounds { marker: b"ready".to_vec(), ..Bounds::default() };
    let seen =
        observe(&mut shell("echo booting; sleep 0.05; echo ready"), &bounds, &Stop::default());
    assert!(seen.unwrap().first_byte >= Duration::from_millis(50));
    let mishap = observe(&mut shell("echo booting"), &bounds, &Stop::default()).unwrap_err();
    assert!(matches!(mishap, Mishap::Silent(_)), "{mishap}");
}

#[test]
fn a_bad_end_is_told_with_what_was_said() {
    let mishap =
        observe(&mut shell("echo x; echo why >&2; exit 3"), &Bounds::default(), &Stop::default());
    let text = mishap.unwrap_err().to_string();
    assert!(text.contains("exit status: 3") && text.contains("why"), "{text}");
    let missing = observe(&mut Command::new("/nonesuch"), &Bounds::default(), &Stop::default());
    assert!(matches!(missing, Err(Mishap::NotStarted(_))));
}

#[test]
fn one_that_takes_too_long_is_killed_with_its_children() {
    let bounds = Bounds { time: Duration::from_millis(100), ..Bounds::default() };
    let started = Instant::now();
    let mishap = observe(&mut shell("sleep 1000 & echo $!; wait"), &bounds, &Stop::default());
    assert!(matches!(mishap, Err(Mishap::TooLong(..))), "{mishap:?}");
    assert!(started.elapsed() < Duration::from_secs(100));
}

#[test]
fn output_is_bounded_and_its_rest_is_read() {
    let bounds = Bounds { output: 1000, ..Bounds::default() };
    let seen = observe(&mut shell("head -c 3000000 /dev/zero"), &bounds, &Stop::default());
    assert_eq!(seen.unwrap().output.len(), 1000);
}

#[test]
fn a_process_that_holds_the_streams_is_not_waited_for() {
    let seen =
        observe(&mut shell("echo ready; (sleep 1000 &)"), &Bounds::default(), &Stop::default());
    assert!(seen.unwrap().exit < Duration::from_secs(100));
}

#[test]
fn a_marker_that_comes_in_pieces_is_found() {
    let bounds = Bounds { marker: b"ready".to_vec(), ..Bounds::default() };
    let script = "echo rea; printf re; sleep 0.02; printf ad; sleep 0.02; echo y";
    let seen = observe(&mut shell(script), &bounds, &Stop::default()).unwrap();
    assert!(seen.first_byte >= Duration::from_millis(40), "{seen:?}");
}

#[test]
fn whether_it_runs_is_told() {
    let mut command = shell("echo x; read end");
    let mut running = Running::start(command.stdin(Stdio::piped()), &Bounds::default()).unwrap();
    running.until_first_byte(&Stop::default()).unwrap();
    assert!(!running.has_ended());
    drop(running.take_input());
    poll(&mut [PollFd::new(running.ended.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
    assert!(running.has_ended());
}

#[test]
fn a_request_to_stop_ends_it() {
    let stop = Stop::default();
    let mut running =
        Running::start(&mut shell("echo ready; exec sleep 1000"), &Bounds::default()).unwrap();
    running.until_first_byte(&stop).unwrap();
    stop.request();
    assert!(matches!(running.until_exit(&stop), Err(Mishap::Stopped)));
}
