//! What of the repository's own compose file runs, and what is refused.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn repository() -> PathBuf {
    absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).expect("a path")
}

/// The repository's own file.
fn own(caller: &Environment) -> Topology {
    let text = embedded::text("compose.yaml").expect("embedded");
    let dotenv = embedded::text(".env").expect("embedded");
    Topology::parse("compose.yaml", &repository(), text, dotenv, caller).expect("well formed")
}

fn parse(text: &str) -> Topology {
    Topology::parse("compose.yaml", Path::new("/x"), text, "", &environment(&[])).expect(text)
}

fn profiles(names: &[&str]) -> Selection {
    Selection {
        profiles: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Selection::default()
    }
}

fn refusal(topology: &Topology, selection: &Selection) -> String {
    let plan = topology.plan(selection, &environment(&[]));
    format!("{:#}", plan.err().expect("refused"))
}

/// All but the console.
fn nodes(plan: &Plan) -> Vec<&Unit> {
    plan.units.iter().filter(|unit| unit.role.name != "console").collect()
}

#[test]
fn the_console_is_told_where_every_role_is_and_the_roles_where_it_is() {
    let caller = environment(&[("CHORD_6_PORT", "40006"), ("CONSOLE_TRACES_PORT", "40317")]);
    let plan = own(&caller).plan(&profiles(&["*"]), &caller).expect("a plan");
    let console = plan.units.iter().find(|unit| unit.role.name == "console").expect("it runs");
    let told: BTreeSet<_> = names(&console.environment["CONSOLE_NODES"]).into_iter().collect();
    let place = |unit: &Unit| format!("{}={}", unit.service, unit.address);
    assert_eq!(told, nodes(&plan).into_iter().map(place).collect());
    let traces = console.environment["CONSOLE_TRACES"].clone();
    for unit in nodes(&plan) {
        let variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        assert_eq!(unit.environment[variable], format!("http://{traces}"), "{}", unit.service);
    }
}

#[test]
fn the_overlay_is_six_roles_and_the_console_on_loopback() {
    let caller = environment(&[
        ("PATH", "/bin"),
        ("SECRET", "x"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b"),
        ("OVERLAY_F_PORT", "40006"),
    ]);
    let plan = own(&caller).plan(&Selection::default(), &caller).expect("a plan");
    assert_eq!(plan.profiles, ["overlay"]);
    let found: Vec<_> = plan
        .units
        .iter()
        .map(|unit| (unit.service.as_str(), unit.role.name, unit.address.to_string()))
        .collect();
    let expected = [
        ("console", "console", "127.0.0.1:8080".to_owned()),
        ("overlay-a", "overlay-leader", "127.0.0.1:50051".to_owned()),
        ("overlay-b", "overlay-team-leader", "127.0.0.1:50052".to_owned()),
        ("overlay-c", "overlay-worker", "127.0.0.1:50053".to_owned()),
        ("overlay-d", "overlay-worker", "127.0.0.1:50054".to_owned()),
        ("overlay-e", "overlay-team-leader", "127.0.0.1:50055".to_owned()),
        ("overlay-f", "overlay-worker", "127.0.0.1:40006".to_owned()),
    ];
    assert_eq!(found, expected);
    let unit = &plan.units[1];
    let config = repository().join("services/overlay/two_hosts_config.json");
    assert_eq!(unit.environment["OVERLAY_CONFIG"], config.display().to_string());
    assert_eq!(unit.mounts, [MountedPath::Bind(config)]);
    assert_eq!(unit.environment["CHASSIS_TIED"], "on");
    assert_eq!(unit.environment["PATH"], "/bin");
    assert_eq!(unit.environment["OTEL_RESOURCE_ATTRIBUTES"], "a=b");
    for absent in ["SECRET", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT", "CHASSIS_TLS_DIR"]
    {
        assert!(!unit.environment.contains_key(absent), "{absent}");
    }
    assert_ne!(unit.restart, Restart::No);
    let moved = Use { variable: "OVERLAY_F_PORT".to_owned(), value: "40006".to_owned() };
    assert!(plan.units[6].uses.contains(&moved));
}

#[test]
fn the_store_is_five_nodes_on_loopback_each_with_a_volume_of_its_own() {
    let caller = environment(&[("RAFT_5_PORT", "40005")]);
    let plan = own(&caller).plan(&profiles(&["raft"]), &caller).expect("a plan");
    let volumes = repository().join(STATE_FOLDER).join("volumes");
    let members = "1=127.0.0.1:50071, 2=127.0.0.1:50072, 3=127.0.0.1:50073, 4=127.0.0.1:50074, \
                   5=127.0.0.1:40005";
    let ports = [50071, 50072, 50073, 50074, 40005];
    let nodes = nodes(&plan);
    assert_eq!(nodes.len(), ports.len());
    for (number, (unit, port)) in (1..).zip(nodes.into_iter().zip(ports)) {
        assert_eq!(unit.service, format!("raft-{number}"));
        assert_eq!(unit.role.name, "raft-node");
        assert_eq!(unit.address.to_string(), format!("127.0.0.1:{port}"));
        assert_eq!(unit.environment["RAFT_MEMBERS"], members);
        let volume = volumes.join(&unit.service);
        assert_eq!(unit.environment["RAFT_DIRECTORY"], volume.display().to_string());
        assert_eq!(unit.mounts, [MountedPath::Volume(volume)]);
        assert_eq!(unit.health_service, "ensemble.raft.v1.StoreService");
    }
    let overlay = own(&caller).plan(&Selection::default(), &caller).expect("a plan");
    assert_eq!(overlay.units[1].health_service, "");
}

#[test]
fn the_ring_is_a_registry_and_six_nodes_that_start_one_after_another() {
    let caller = environment(&[("CHORD_6_PORT", "40006")]);
    let plan = own(&caller).plan(&profiles(&["chord"]), &caller).expect("a plan");
    let ports = [50080, 50081, 50082, 50083, 50084, 50085, 40006];
    let nodes = nodes(&plan);
    assert_eq!(nodes.len(), ports.len());
    for (number, (unit, port)) in nodes.iter().zip(ports).enumerate() {
        assert_eq!(unit.address.to_string(), format!("127.0.0.1:{port}"));
        assert_eq!(unit.environment["CHORD_ADDRESS"], unit.address.to_string());
        assert_eq!(unit.mounts, []);
        if let Some(before) = number.checked_sub(1) {
            assert_eq!(
                (&*unit.service, unit.role.name),
                (&*format!("chord-{number}"), "chord-node")
            );
            assert_eq!(unit.environment["CHORD_REGISTRY"], "127.0.0.1:50080");
            let [(position, Condition::Healthy)] = unit.after[..] else { panic!("{}", before) };
            assert_eq!(plan.units[position].service, nodes[before].service);
            assert_eq!(unit.health_service, "ensemble.chord.v1.NodeService");
        } else {
            assert_eq!(unit.role.name, "chord-registry");
            assert_eq!(unit.health_service, "ensemble.chord.v1.RegistryService");
            // Empty in the file: the role's own default holds.
            assert!(!unit.environment.contains_key("CHORD_LEASE_MS"));
        }
    }
}

#[test]
fn a_host_runs_its_own_three_at_their_real_addresses() {
    let caller = environment(&[("HOST_1", "10.1.1.1"), ("HOST_2", "10.1.1.2")]);
    let topology = own(&caller);
    let selection = Selection { host: Some(2), ..Selection::default() };
    let plan = topology.plan(&selection, &caller).expect("a plan");
    let found: Vec<_> =
        plan.units.iter().map(|unit| (unit.service.as_str(), unit.address.to_string())).collect();
    let at = |port: u16| format!("10.1.1.2:{port}");
    let expected = [
        ("console", "127.0.0.1:8080".to_owned()),
        ("overlay-c", at(50053)),
        ("overlay-e", at(50055)),
        ("overlay-f", at(50056)),
    ];
    assert_eq!(found, expected);
    // A console on each machine sees both.
    let told = &plan.units[0].environment["CONSOLE_NODES"];
    assert!(told.contains("overlay-a=10.1.1.1:50051"), "{told}");
    let spans = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    assert_eq!(plan.units[1].environment[spans], "http://127.0.0.1:4317");
    assert_eq!(topology.host_address(1).expect("a host"), "10.1.1.1");
    let selection = Selection { host: Some(3), ..Selection::default() };
    let error = refusal(&topology, &selection);
    assert_eq!(error, "compose.yaml has no service host-3: its hosts are 1, 2");
    let profiles = vec!["raft".to_owned()];
    let error = refusal(&topology, &Selection { profiles, host: Some(1), ..Selection::default() });
    assert!(error.contains("nothing to run"), "{error}");
}

#[test]
fn what_the_compose_file_mounts_is_in_the_binary() {
    let topology = own(&environment(&[]));
    for name in topology.role_services() {
        for (_, mounted) in topology.mounts(&topology.services[name]) {
            let MountedPath::Bind(path) = mounted else {
                continue;
            };
            let path = path.strip_prefix(repository()).expect("in the repository");
            let name = path.to_str().expect("unicode");
            assert!(embedded::text(name).is_some(), "add {name} to embedded::FILES");
        }
    }
}

#[test]
fn a_role_of_the_compose_file_exists() {
    let topology = own(&environment(&[]));
    for name in topology.role_services() {
        let role = topology.services[name].role().expect("a role");
        roles::find(role).expect("known");
    }
}

#[test]
fn certificates_are_those_of_the_service() {
    let caller = environment(&[]);
    let selection = Selection { certs: Some("/certs".into()), ..Selection::default() };
    let plan = own(&caller).plan(&selection, &caller).expect("a plan");
    let environment = &plan.units[2].environment;
    assert_eq!(environment["CHASSIS_TLS_DIR"], "/certs/overlay-b");
    assert_eq!(environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], "https://127.0.0.1:4317");
}

#[test]
fn a_service_is_known_by_its_name_and_its_hosts() {
    let names = own(&environment(&[])).names_of("overlay-c");
    assert_eq!(names, ["overlay-c", "host-2", "192.168.1.2"]);
}

const TWO_PROFILES: &str = "services:\n\
    \x20 always: { build: { args: { ROLE: host } }, image: x }\n\
    \x20 third-party: { image: x, profiles: [p] }\n\
    \x20 a: { build: { args: { ROLE: rol } }, profiles: [p, overlay] }\n";

#[test]
fn an_unknown_profile_is_refused_with_those_there_are() {
    let topology = own(&environment(&[]));
    let error = refusal(&topology, &profiles(&["overlai"]));
    assert!(
        error.starts_with("compose.yaml has no profile overlai: do you mean overlay?"),
        "{error}"
    );
    let error = refusal(&parse(TWO_PROFILES), &profiles(&["nothing"]));
    assert!(error.contains("there are overlay, p"), "{error}");
}

#[test]
fn without_a_profile_only_services_without_one_run() {
    let error = refusal(&parse(TWO_PROFILES), &Selection::default());
    assert!(error.contains("nothing to run; name one of its profiles overlay, p"), "{error}");
}

#[test]
fn an_unknown_role_is_named_with_its_service() {
    let error = refusal(&parse(TWO_PROFILES), &profiles(&["p"]));
    assert_eq!(
        error,
        "compose.yaml: service a: there is no role rol: `ensemble role` lists what there is"
    );
}

/// Services that wait for each other: `a: [b, c]` and so on.
fn waiting(graph: &[(&str, &[&str])]) -> Topology {
    let mut text = "services:\n".to_owned();
    for (name, after) in graph {
        let variables = "OVERLAY_ID: A, OVERLAY_ADDRESSES: 'A=127.0.0.1:1', OVERLAY_CONFIG: /tmp";
        text += &format!(
            "  {name}:\n    build: {{ args: {{ ROLE: overlay-worker }} }}\n    \
             environment: {{ {variables} }}\n    depends_on: {after:?}\n"
        );
    }
    parse(&text)
}

/// The order of the services, by `order` alone: whatever their roles make of their environment.
fn order(topology: &Topology) -> Result<Vec<&str>> {
    let chosen = topology.services.iter().map(|(name, service)| (name.as_str(), ("", service)));
    topology.order(&chosen.collect(), &[])
}

#[test]
fn each_service_comes_after_those_it_waits_for() {
    let topology =
        waiting(&[("a", &["c", "b"]), ("b", &["d"]), ("c", &[]), ("d", &[]), ("e", &[])]);
    assert_eq!(order(&topology).expect("no circle"), ["c", "d", "e", "b", "a"]);
}

#[test]
fn a_circle_of_dependencies_is_refused() {
    let topology = waiting(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])]);
    let error = order(&topology).expect_err("a circle").to_string();
    assert_eq!(error, "compose.yaml: depends_on goes in a circle among a, b, c");
}

#[test]
fn a_dependency_that_does_not_run_is_refused() {
    let topology = waiting(&[("a", &["nobody"])]);
    let error = order(&topology).expect_err("nobody").to_string();
    assert_eq!(error, "compose.yaml: service a depends on nobody, which is not in its profile");
}
