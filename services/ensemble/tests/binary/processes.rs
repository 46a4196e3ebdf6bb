//! Real processes on loopback: a topology starts, heals and stops, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;

use crate::site::{SERVICES, Site, eventually, is_alive, send};
use rustix::process::Signal;
#[cfg(target_os = "linux")]
use tokio::net::TcpSocket;

#[test]
fn services_start_together_and_ctrl_c_stops_them_all() {
    let mut site = Site::new();
    let supervisor = site.up(&[]);
    let pids = site.pids();
    let names: Vec<_> = pids.keys().map(String::as_str).collect();
    assert_eq!(names, [&["console"], &SERVICES[..]].concat());

    let health = site.succeed(&["health"]);
    assert_eq!(health.matches("SERVING").count(), pids.len(), "{health}");
    let table = site.succeed(&["ps"]);
    for (service, port) in SERVICES.iter().zip(&site.ports) {
        let row = table.lines().find(|row| row.starts_with(service)).expect("a row");
        assert!(row.contains(&format!("127.0.0.1:{port}")), "{row}");
        assert!(row.contains("healthy"), "{row}");
    }
    let screen = fs::read_to_string(site.screen()).expect("a screen");
    let page = format!("Console: http://127.0.0.1:{}/\n", site.console[0]);
    let next = ["Try next:", "overlay forward hello", "kill -9"];
    for told in [&["7 services are healthy after", &page], &next[..]].concat() {
        assert!(screen.contains(told), "no {told} in {screen}");
    }

    send(supervisor, Signal::INT);
    assert_eq!(site.ended(), Some(0));
    site.all_gone(&pids);
    assert!(!is_alive(supervisor));
    let logs = site.succeed(&["logs", "ensemble"]);
    assert!(logs.contains("all services have stopped"), "{logs}");
    assert!(!logs.contains("was killed"), "{logs}");
}

#[test]
fn what_dies_is_started_again() {
    let mut site = Site::new();
    site.up(&[]);
    let mut before = site.pids();
    send(before["overlay-c"], Signal::KILL);
    eventually("overlay-c is back", || {
        let service = site.service("overlay-c");
        (service["restarts"] == 1 && service["health"] == "SERVING").then_some(())
    });
    site.all_serve();
    let mut after = site.pids();
    assert_ne!(before.remove("overlay-c"), after.remove("overlay-c"));
    assert_eq!(before, after, "the others go on");
    let logs = site.succeed(&["logs", "ensemble"]);
    assert!(logs.contains("overlay-c was killed by signal 9; it starts again in 100 ms"), "{logs}");
    assert!(logs.contains("overlay-c is healthy again"), "{logs}");
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed() {
    let mut site = Site::new();
    let supervisor = site.up(&[]);
    let pids = site.pids();
    send(supervisor, Signal::KILL);
    assert_eq!(site.ended(), None);
    assert_eq!(site.ps()["running"], false);
    assert!(site.succeed(&["down"]).contains("nothing runs here"));
    site.all_gone(&pids);
}

#[test]
fn a_killed_supervisor_is_followed_by_another_at_once() {
    let mut site = Site::new();
    let supervisor = site.up(&[]);
    let before = site.pids();
    send(supervisor, Signal::KILL);
    assert_eq!(site.ended(), None);
    // Its services may still be stopping: their ports are waited for.
    site.up(&[]);
    assert!(!before.values().any(|pid| is_alive(*pid)), "of the first no service is left");
}

/// Two services of which the first cannot start: there are no certificates where it looks.
fn broken_first(policy: &str) -> String {
    let environment = "{ OVERLAY_CONFIG: /c, OVERLAY_ADDRESSES: \
                       'A=127.0.0.1:${OVERLAY_A_PORT}, B=127.0.0.1:${OVERLAY_B_PORT}, \
                       C=127.0.0.1:${OVERLAY_C_PORT}, D=127.0.0.1:${OVERLAY_D_PORT}, \
                       E=127.0.0.1:${OVERLAY_E_PORT}, F=127.0.0.1:${OVERLAY_F_PORT}'";
    let mount = "volumes: ['./services/overlay/two_hosts_config.json:/c']";
    format!(
        "services:\n\
         \x20 first:\n    image: ensemble/overlay-worker\n    {mount}\n    restart: {policy}\n\
         \x20   environment: {environment}, OVERLAY_ID: C, CHASSIS_TLS_DIR: /nowhere }}\n\
         \x20 second:\n    image: ensemble/overlay-worker\n    {mount}\n\
         \x20   environment: {environment}, OVERLAY_ID: D }}\n\
         \x20   depends_on: {{ first: {{ condition: service_healthy }} }}\n"
    )
}

#[test]
fn a_service_waits_for_the_health_of_another() {
    let mut site = Site::new();
    site.write("compose.yaml", &broken_first("always"));
    site.write(".env", "");
    let supervisor = site.start(&[]);
    eventually("first is started again and again", || {
        let ps = site.ps();
        assert!(ps["services"][1]["pid"].is_null(), "{ps}");
        (ps["services"][0]["restarts"].as_u64()? >= 3).then_some(())
    });
    assert_eq!(site.ps()["services"][1]["state"], "waiting");
    send(supervisor, Signal::INT);
    assert_eq!(site.ended(), Some(0));
}

#[test]
fn a_policy_lets_what_failed_rest() {
    let mut site = Site::new();
    let text = broken_first("on-failure:2");
    let only_first = text.split("  second:").next().expect("a service");
    site.write("compose.yaml", only_first);
    site.write(".env", "");
    site.start(&[]);
    assert_eq!(site.ended(), Some(1));
    let screen = fs::read_to_string(site.screen()).expect("a screen");
    assert!(
        screen.ends_with("ensemble: every service has ended, and not well: first\n"),
        "{screen}"
    );
    for (what, times) in [
        ("first exited with 1: cannot go on reason=/nowhere/tls.crt: No such file", 3),
        ("it starts again in 100 ms", 1),
        ("it starts again in 200 ms", 1),
        ("its policy lets it rest", 1),
    ] {
        assert_eq!(screen.matches(what).count(), times, "{what} in {screen}");
    }
}

#[test]
fn a_second_supervisor_is_refused() {
    let mut site = Site::new();
    let supervisor = site.up(&[]);
    for arguments in [&["up"][..], &["up", "--detach"]] {
        let error = site.fail(arguments, 1);
        let expected = format!("a topology already runs here: process {supervisor} (overlay)");
        assert!(error.starts_with(&format!("ensemble: {expected}")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    site.all_serve();
}

#[test]
fn a_port_in_use_is_named_with_who_has_it_and_what_moves_it() {
    // Ports of its own for each: what other tests start may hold one for a moment longer, since a
    // process has what its parent had open until it is another program.
    let [one, other, third] = [Site::new(), Site::new(), Site::new()];
    for (site, arguments, port, service, variable) in [
        (&one, &["up"][..], one.ports[2], "overlay-c", "OVERLAY_C_PORT"),
        (&other, &["up", "--detach"], other.ports[2], "overlay-c", "OVERLAY_C_PORT"),
        (&third, &["up"], third.console[1], "console", "CONSOLE_TRACES_PORT"),
    ] {
        let _holder = TcpListener::bind(("127.0.0.1", port)).expect("free");
        let error = site.fail(arguments, 1);
        let start = format!("ensemble: service {service}: port {port} is taken");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.trim_end().ends_with(&format!("; set {variable} to another")), "{error}");
        if cfg!(target_os = "linux") {
            let who = format!("by process {} (", std::process::id());
            assert!(error.contains(&who), "{error}");
        }
    }
}

/// Our ports lie among those that the system gives to whoever connects to anything.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_port_that_a_connection_was_given_is_waited_for() {
    let mut site = Site::new();
    let to = TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = TcpSocket::new_v4().expect("a socket");
    from.bind(([127, 0, 0, 1], site.ports[3]).into()).expect("free");
    // Closed at once instead of remembered for a minute.
    from.set_zero_linger().expect("set");
    let connection = from.connect(to.local_addr().expect("bound")).await.expect("connected");
    site.start(&[]);
    let told = format!("port {}: it is taken by a connection", site.ports[3]);
    eventually("it says what it waits for", || {
        fs::read_to_string(site.screen()).expect("a screen").contains(&told).then_some(())
    });
    drop(connection);
    site.all_serve();
}

#[test]
fn in_the_background_it_runs_until_it_is_told_to_stop() {
    let mut site = Site::new();
    let told = site.succeed(&["up", "--detach"]);
    assert!(told.contains("7 services are healthy after"), "{told}");
    site.all_serve();
    let ps = site.ps();
    assert_eq!(ps["profiles"][0], "overlay");
    let pids = site.pids();
    let logs = site.succeed(&["logs", "--tail", "1"]);
    assert_eq!(logs.lines().count(), pids.len(), "{logs}");
    let raw = site.succeed(&["logs", "overlay-b", "--raw", "--tail", "all"]);
    for line in raw.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(event["level"].is_string(), "{line}");
    }
    assert!(site.fail(&["logs", "overlay-x"], 1).contains("do you mean overlay-"));
    let told = site.succeed(&["down"]);
    assert!(told.starts_with("stopped after"), "{told}");
    site.all_gone(&pids);
    assert!(site.succeed(&["down"]).contains("nothing runs here"));
    assert!(site.succeed(&["ps"]).contains("nothing runs here"));
    assert!(site.fail(&["health"], 1).is_empty(), "a table says who is not there");
}

#[test]
fn followed_logs_go_on() {
    use std::io::{BufRead, BufReader};
    let mut site = Site::new();
    site.up(&[]);
    let mut command = site.command(&["logs", "ensemble", "--follow"]);
    let mut following = command.stdout(std::process::Stdio::piped()).spawn().expect("started");
    let lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    lines.find(|line| line.contains("all services are healthy")).expect("what was before");
    send(site.pids()["overlay-a"], Signal::KILL);
    lines.find(|line| line.contains("overlay-a was killed")).expect("what comes after");
    following.kill().expect("ended");
    following.wait().expect("ended");
}

#[test]
fn somebody_with_nothing_but_the_binary_can_run_it() {
    let mut site = Site::empty();
    site.variables.push(("COMPOSE_PROFILES".to_owned(), "overlay".to_owned()));
    site.up(&[]);
    assert!(site.path().join(".ensemble/topology/compose.yaml").is_file());
}

#[test]
fn services_speak_tls_with_the_certificates_that_were_made() {
    let mut site = Site::new();
    let error = site.fail(&["up", "--tls"], 1);
    assert!(error.contains("service console: "), "{error}");
    assert!(error.contains("`ensemble certs` makes it"), "{error}");
    let told = site.succeed(&["certs", "gateway.example.org"]);
    assert!(told.starts_with("20 certificates for 825 days, by a new authority, in "), "{told}");
    let certs = site.path().join("certs");
    let authority = fs::read(certs.join("ca.crt")).expect("made");
    let told = site.succeed(&["certs"]);
    assert!(told.contains("by the authority that was there"), "{told}");
    assert_eq!(fs::read(certs.join("ca.crt")).expect("kept"), authority);
    site.up(&["--tls"]);
    site.succeed(&["health", "overlay-a"]);
    let address = format!("127.0.0.1:{}", site.ports[0]);
    site.succeed(&["health", &address, "--tls-dir", "certs/client"]);
    site.succeed(&["certs", "--force"]);
    assert_ne!(fs::read(certs.join("ca.crt")).expect("made"), authority);
}

#[cfg(target_os = "linux")]
#[test]
fn two_hosts_run_their_halves_at_their_own_addresses() {
    let (mut one, mut two) = (Site::new(), Site::new());
    two.ports.clone_from(&one.ports);
    // All of 127.0.0.0/8 is this machine.
    for site in [&mut one, &mut two] {
        site.variables.push(("HOST_1".to_owned(), "127.0.0.2".to_owned()));
        site.variables.push(("HOST_2".to_owned(), "127.0.0.3".to_owned()));
    }
    one.up(&["--host", "1"]);
    two.up(&["overlay", "--host", "2"]);
    let addresses = |site: &Site| -> Vec<String> {
        let ps = site.ps();
        let services = ps["services"].as_array().expect("a list").iter();
        services.map(|service| service["address"].as_str().expect("text").to_owned()).collect()
    };
    let at = |host: u8, port: usize| format!("127.0.0.{host}:{}", one.ports[port]);
    let page = |site: &Site| format!("127.0.0.1:{}", site.console[0]);
    assert_eq!(addresses(&one), [page(&one), at(2, 0), at(2, 1), at(2, 3)]);
    assert_eq!(addresses(&two), [page(&two), at(3, 2), at(3, 4), at(3, 5)]);
    one.succeed(&["health", &at(3, 2)]);
}

#[test]
fn a_host_that_is_not_here_is_refused_with_its_variable() {
    let mut site = Site::new();
    site.variables.push(("HOST_2".to_owned(), "192.0.2.1".to_owned()));
    let error = site.fail(&["up", "--host", "2"], 1);
    assert!(error.contains("host 2 has the address 192.0.2.1"), "{error}");
    assert!(error.contains("set HOST_2 to an address of this machine"), "{error}");
}
