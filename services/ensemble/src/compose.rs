//! A compose file: as much of it as running its services as child processes needs.
//!
//! What is not named here (images, capabilities, subnets, published ports, `x-…`) is read over:
//! it concerns containers.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::interpolate::{Interpolation, Use};

/// A whole compose file.
#[derive(Debug, Deserialize)]
pub(crate) struct Compose {
    #[serde(default)]
    pub(crate) services: BTreeMap<String, Service>,
}

/// One service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    image: Option<String>,
    build: Build,
    pub(crate) profiles: Vec<String>,
    pub(crate) environment: Environment,
    pub(crate) network_mode: Option<String>,
    networks: Networks,
    pub(crate) depends_on: Dependencies,
    restart: Option<String>,
    volumes: Vec<Volume>,
    stop_grace_period: Option<String>,
    healthcheck: HealthCheck,
    /// The variables that the service's values were made of.
    #[serde(skip)]
    pub(crate) uses: Vec<Use>,
}

/// How the image is built; its argument `ROLE` says which role the service is.
#[derive(Clone, Debug, Default)]
struct Build {
    role: Option<String>,
}

/// Environment variables; one without a value takes the caller's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(pub(crate) BTreeMap<String, Option<String>>);

/// The addresses that a service fixes for itself.
#[derive(Clone, Debug, Default)]
struct Networks(Vec<String>);

/// What a service waits for before it starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dependencies(pub(crate) BTreeMap<String, Dependency>);

/// How a service waits for another.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    #[serde(default)]
    pub(crate) condition: Condition,
    #[serde(default = "yes")]
    pub(crate) required: bool,
}

fn yes() -> bool {
    true
}

/// What must be true of a service before those that wait for it start.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Its process runs.
    #[default]
    #[serde(rename = "service_started")]
    Started,
    /// It answers that it serves.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It has ended well.
    #[serde(rename = "service_completed_successfully")]
    Completed,
}

/// A folder or file that appears in the container at `target`.
#[derive(Clone, Debug)]
struct Volume {
    source: Option<String>,
    target: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct HealthCheck {
    test: Test,
    interval: Option<String>,
    retries: Option<u32>,
}

/// The words of a health check's command; none for a line of shell.
#[derive(Clone, Debug, Default)]
struct Test(Vec<String>);

/// When a service that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    No,
    Always,
    /// After a failure, at most so many times.
    OnFailure(Option<u32>),
}

/// Where what a container would see at `target` lies on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: Source,
    pub(crate) target: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path, perhaps relative to the compose file's folder.
    Path(String),
    /// A volume that the topology owns.
    Named(String),
}

/// What the names of our images begin with.
const OUR_IMAGES: &str = "ensemble";
/// How often health is asked for when the file does not say.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);
/// How many failed checks in a row make a service unhealthy when the file does not say.
const HEALTH_RETRIES: u32 = 3;
/// How long a service may take to stop when the file does not say.
const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);

impl Compose {
    /// Reads a file's text. Merge keys (`<<`) are resolved; nothing is interpolated yet.
    ///
    /// # Errors
    ///
    /// The text is not YAML, or not a compose file: the error says where.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_saphyr::from_str(text).map_err(|error| anyhow!("{}", error.without_snippet()))
    }

    /// Replaces `${…}` in every value that is used.
    ///
    /// # Errors
    ///
    /// An expression is bad: the error names the service and the value.
    pub(crate) fn interpolate(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        for (name, service) in &mut self.services {
            service.interpolate(lookup).with_context(|| format!("service {name}"))?;
        }
        Ok(())
    }
}

impl Service {
    fn interpolate(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let mut interpolation = Interpolation::new(lookup);
        let mut replace = |place: &str, value: &mut String| -> Result<()> {
            *value = interpolation.text(value).with_context(|| place.to_owned())?;
            Ok(())
        };
        for (name, value) in &mut self.environment.0 {
            match value {
                Some(value) => replace(&format!("environment {name}"), value)?,
                None => *value = lookup(name),
            }
        }
        for (place, value) in [
            ("image", &mut self.image),
            ("build.args.ROLE", &mut self.build.role),
            ("network_mode", &mut self.network_mode),
            ("restart", &mut self.restart),
            ("stop_grace_period", &mut self.stop_grace_period),
            ("healthcheck.interval", &mut self.healthcheck.interval),
        ] {
            value.as_mut().map_or(Ok(()), |value| replace(place, value))?;
        }
        for word in &mut self.healthcheck.test.0 {
            replace("healthcheck.test", word)?;
        }
        for address in &mut self.networks.0 {
            replace("networks.ipv4_address", address)?;
        }
        for volume in &mut self.volumes {
            replace("volumes", &mut volume.target)?;
            volume.source.as_mut().map_or(Ok(()), |source| replace("volumes", source))?;
        }
        self.uses = interpolation.into_uses();
        Ok(())
    }

    /// The role that the service is: the argument `ROLE` of its build, or else the last word of
    /// its image's name; none for an image that is not ours.
    pub(crate) fn role(&self) -> Option<&str> {
        let image = self.image.as_deref().and_then(role_of_image);
        self.build.role.as_deref().or(image)
    }

    /// The addresses that the service has for itself.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.networks.0
    }

    /// The service whose network this one shares.
    pub(crate) fn network_of(&self) -> Option<&str> {
        self.network_mode.as_deref()?.strip_prefix("service:")
    }

    pub(crate) fn restart(&self) -> Result<Restart> {
        match self.restart.as_deref() {
            None | Some("no" | "false") => Ok(Restart::No),
            Some("always" | "unless-stopped") => Ok(Restart::Always),
            Some("on-failure") => Ok(Restart::OnFailure(None)),
            Some(other) => other
                .strip_prefix("on-failure:")
                .and_then(|times| times.parse().ok())
                .map(|times| Restart::OnFailure(Some(times)))
                .ok_or_else(|| {
                    anyhow!("restart `{other}`: use no, always, unless-stopped or on-failure[:N]")
                }),
        }
    }

    pub(crate) fn stop_grace_period(&self) -> Result<Duration> {
        duration_or(self.stop_grace_period.as_deref(), STOP_GRACE_PERIOD)
            .context("stop_grace_period")
    }

    /// The gRPC service that the health check of a role asks for, as in
    /// `[CMD, /role, health, SERVICE]`; empty when it asks for the process as a whole.
    pub(crate) fn health_service(&self) -> &str {
        match self.healthcheck.test.0.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["CMD", _, "health", service] => service,
            _ => "",
        }
    }

    pub(crate) fn health_interval(&self) -> Result<Duration> {
        duration_or(self.healthcheck.interval.as_deref(), HEALTH_INTERVAL)
            .context("healthcheck.interval")
    }

    /// How many failed checks in a row make the service unhealthy.
    pub(crate) fn health_retries(&self) -> u32 {
        self.healthcheck.retries.unwrap_or(HEALTH_RETRIES).max(1)
    }

    /// What the service's environment may call by a path inside its container.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let mounts = self.volumes.iter().filter_map(|volume| {
            let source = volume.source.clone()?;
            let source = if source.starts_with(['.', '/', '~']) {
                Source::Path(source)
            } else {
                Source::Named(source)
            };
            Some(Mount { source, target: volume.target.clone() })
        });
        mounts.collect()
    }
}

/// The role in `[REGISTRY/]ensemble/ROLE[:TAG]`.
fn role_of_image(image: &str) -> Option<&str> {
    let (image, name) = image.rsplit_once('/')?;
    let ours = image == OUR_IMAGES || image.ends_with(&format!("/{OUR_IMAGES}"));
    ours.then(|| name.split([':', '@']).next()).flatten()
}

fn duration_or(text: Option<&str>, otherwise: Duration) -> Result<Duration> {
    text.map_or(Ok(otherwise), duration)
}

/// A duration as compose writes it: `500ms`, `10s`, `1m30s`, `2h`.
fn duration(text: &str) -> Result<Duration> {
    let wrong = || anyhow!("`{text}` is no duration such as 500ms, 10s or 1m30s");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        rest = after;
    }
    if total.is_zero() {
        bail!(wrong());
    }
    Ok(total)
}

/// Deserializes a value that may be written as a list or as a mapping; scalars keep their text.
struct ListOrMap<T, L, M, V> {
    expecting: &'static str,
    /// Takes one item of a list.
    item: L,
    /// Takes one entry of a mapping.
    entry: M,
    value: T,
    entries: PhantomData<V>,
}

impl<'de, T, L, M, V> Visitor<'de> for ListOrMap<T, L, M, V>
where
    L: FnMut(&mut T, String),
    M: FnMut(&mut T, String, V),
    V: Deserialize<'de>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<T, A::Error> {
        while let Some(item) = items.next_element()? {
            (self.item)(&mut self.value, item);
        }
        Ok(self.value)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<T, A::Error> {
        while let Some((key, value)) = entries.next_entry()? {
            (self.entry)(&mut self.value, key, value);
        }
        Ok(self.value)
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(self.value)
    }
}

fn list_or_map<'de, D: Deserializer<'de>, T: Default, V: Deserialize<'de>>(
    deserializer: D,
    expecting: &'static str,
    item: impl FnMut(&mut T, String),
    entry: impl FnMut(&mut T, String, V),
) -> Result<T, D::Error> {
    let (value, entries) = (T::default(), PhantomData);
    deserializer.deserialize_any(ListOrMap { expecting, item, entry, value, entries })
}

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list_or_map(
            deserializer,
            "variables as a mapping or a list of NAME=value",
            |all: &mut BTreeMap<_, _>, item: String| {
                let (name, value) = match item.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (item, None),
                };
                all.insert(name, value);
            },
            |all, name, value: Option<String>| {
                all.insert(name, value);
            },
        )
        .map(Self)
    }
}

impl<'de> Deserialize<'de> for Dependencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list_or_map(
            deserializer,
            "services as a mapping or a list of names",
            |all: &mut BTreeMap<_, _>, name| {
                let dependency = Dependency { condition: Condition::default(), required: true };
                all.insert(name, dependency);
            },
            |all, name, dependency: Dependency| {
                all.insert(name, dependency);
            },
        )
        .map(Self)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Attachment {
            ipv4_address: Option<String>,
        }
        list_or_map(
            deserializer,
            "networks as a mapping or a list of names",
            |_: &mut Vec<_>, _| (),
            |all, _, attachment: Option<Attachment>| {
                all.extend(attachment.unwrap_or_default().ipv4_address);
            },
        )
        .map(Self)
    }
}

impl<'de> Deserialize<'de> for Build {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Mapping {
            args: Environment,
        }
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Build;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder, or a mapping with context and args")
            }

            fn visit_str<E>(self, _: &str) -> Result<Build, E> {
                Ok(Build::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Build, A::Error> {
                let entries = serde::de::value::MapAccessDeserializer::new(entries);
                let mut mapping = Mapping::deserialize(entries)?;
                Ok(Build { role: mapping.args.0.remove("ROLE").flatten() })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Test;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command as a list of words, or a line of shell")
            }

            fn visit_str<E>(self, _: &str) -> Result<Test, E> {
                Ok(Test::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Test, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = items.next_element()? {
                    words.push(word);
                }
                Ok(Test(words))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Volume;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a volume as SOURCE:TARGET[:MODE], or a mapping")
            }

            fn visit_str<E>(self, text: &str) -> Result<Volume, E> {
                Ok(short_volume(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Volume, A::Error> {
                let (mut source, mut target) = (None, None);
                while let Some(key) = entries.next_key::<String>()? {
                    match key.as_str() {
                        "source" => source = entries.next_value()?,
                        "target" => target = Some(entries.next_value()?),
                        _ => drop(entries.next_value::<IgnoredAny>()?),
                    }
                }
                let target = target.ok_or_else(|| A::Error::missing_field("target"))?;
                Ok(Volume { source, target })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// `SOURCE:TARGET[:MODE]` or `TARGET`; colons inside `${…}` do not separate.
fn short_volume(text: &str) -> Volume {
    let mut parts = vec![String::new()];
    let mut braces = 0;
    for c in text.chars() {
        match c {
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => (),
        }
        match parts.last_mut() {
            Some(part) if c != ':' || braces > 0 => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    let mut parts = parts.into_iter();
    match (parts.next().unwrap_or_default(), parts.next()) {
        (source, Some(target)) => Volume { source: Some(source), target },
        (target, None) => Volume { source: None, target },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Compose {
        Compose::parse(text).expect(text)
    }

    fn environment(service: &Service) -> Vec<(&str, Option<&str>)> {
        service.environment.0.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect()
    }

    #[test]
    fn merge_keys_nest_and_what_stands_beside_them_wins() {
        let compose = parse(
            "x-a: &a { A: 1, B: 1, C: 1 }\n\
             x-b: &b\n  <<: *a\n  B: 2\n  C: 2\n\
             x-role: &role\n  restart: always\n  profiles: [p]\n  stop_grace_period: 3s\n\
             x-kind: &kind\n  <<: *role\n  profiles: [q]\n  build: { args: { ROLE: r } }\n\
             services:\n  s:\n    <<: *kind\n    restart: 'no'\n    environment: { <<: *b, C: 3 }\n\
             \x20 t:\n    <<: [*kind, { network_mode: none }]\n",
        );
        let service = &compose.services["s"];
        let expected = [("A", Some("1")), ("B", Some("2")), ("C", Some("3"))];
        assert_eq!(environment(service), expected);
        assert_eq!(service.profiles, ["q"]);
        assert_eq!(service.role(), Some("r"));
        assert_eq!(service.restart().expect("known"), Restart::No);
        assert_eq!(service.stop_grace_period().expect("well formed"), Duration::from_secs(3));
        assert_eq!(compose.services["t"].network_mode.as_deref(), Some("none"));
        assert_eq!(compose.services["t"].restart().expect("known"), Restart::Always);
    }

    #[test]
    fn scalars_of_the_environment_keep_their_text() {
        let compose = parse(
            "services:\n  s:\n    environment: \
             { A: 1.10, B: on, C: 007, D: 0x10, E: , F: ~, G: '', H: true, I: 1e3 }\n",
        );
        let expected = [
            ("A", Some("1.10")),
            ("B", Some("on")),
            ("C", Some("007")),
            ("D", Some("0x10")),
            ("E", None),
            ("F", None),
            ("G", Some("")),
            ("H", Some("true")),
            ("I", Some("1e3")),
        ];
        assert_eq!(environment(&compose.services["s"]), expected);
    }

    #[test]
    fn lists_and_mappings_are_both_understood() {
        let compose = parse(
            "services:\n\
             \x20 s:\n    build: .\n    environment: [A=1, B, 'C=x=y']\n    depends_on: [t]\n\
             \x20   networks: [n]\n\
             \x20   volumes: ['./a:/b:ro', 'data:/d', '/anonymous', '${X:-./y}:/z']\n\
             \x20   ports: ['1:2']\n    unknown: { x: [1] }\n\
             \x20 t:\n    depends_on: { s: { condition: service_healthy, required: false } }\n\
             \x20   networks: { n: { ipv4_address: 10.0.0.1 }, m: }\n\
             \x20   volumes: [{ type: bind, source: ./a, target: /b, read_only: true }]\n",
        );
        let (s, t) = (&compose.services["s"], &compose.services["t"]);
        assert_eq!(environment(s), [("A", Some("1")), ("B", None), ("C", Some("x=y"))]);
        assert_eq!(s.depends_on.0["t"].condition, Condition::Started);
        let mount = |source, target: &str| Mount { source, target: target.to_owned() };
        let path = |path: &str| Source::Path(path.to_owned());
        let named = Source::Named("data".to_owned());
        // Before interpolation the third looks like a name.
        let late = Source::Named("${X:-./y}".to_owned());
        let expected = [mount(path("./a"), "/b"), mount(named, "/d"), mount(late, "/z")];
        assert_eq!(s.mounts(), expected);
        assert_eq!(t.depends_on.0["s"].condition, Condition::Healthy);
        assert!(!t.depends_on.0["s"].required);
        assert_eq!(t.addresses(), ["10.0.0.1"]);
        assert_eq!(t.mounts(), [mount(path("./a"), "/b")]);
    }

    #[test]
    fn bad_yaml_is_named_with_line_and_column() {
        for (text, expected) in [
            ("services:\n  s:\n    environment: {A: 1\n  t: 1\n", "line 4, column 4"),
            ("services:\n  s:\n    <<: *nothing\n", "line 3, column 9"),
            ("services:\n  s: {}\n  s: {}\n", "line 3, column 3"),
            ("services:\n  s:\n    environment: 3\n", "line 3, column 5"),
            ("services:\n  s:\n    depends_on: { t: { condition: never } }\n", "line 3"),
        ] {
            let error = Compose::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_role_is_the_last_word_of_an_image_of_ours() {
        for (image, role) in [
            ("ensemble/overlay-worker", Some("overlay-worker")),
            ("registry.example.org:5000/ensemble/raft-node:1.2", Some("raft-node")),
            ("ensemble/host@sha256:0123", Some("host")),
            ("prom/prometheus:v3.7.3", None),
            ("notensemble/host", None),
            ("host", None),
        ] {
            assert_eq!(role_of_image(image), role, "{image}");
        }
        let both = parse("services:\n  s: { image: ensemble/a, build: { args: { ROLE: b } } }\n");
        assert_eq!(both.services["s"].role(), Some("b"));
    }

    #[test]
    fn a_health_check_asks_for_the_service_that_it_names() {
        for (test, service) in [
            ("[CMD, /role, health, '${S:-p.v1.T}']", "p.v1.T"),
            ("[CMD, /role, health]", ""),
            ("[CMD-SHELL, /role health x]", ""),
            ("/role health x", ""),
        ] {
            let text = format!("services:\n  s:\n    healthcheck: {{ test: {test} }}\n");
            let mut compose = parse(&text);
            compose.interpolate(&|_| None).expect(&text);
            assert_eq!(compose.services["s"].health_service(), service, "{test}");
        }
        assert_eq!(Service::default().health_service(), "");
    }

    #[test]
    fn durations_are_those_of_compose() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("1m30s", 90_000), ("1.5s", 1_500)] {
            assert_eq!(duration(text).expect(text), Duration::from_millis(ms));
        }
        for text in ["", "10", "s", "10x", "1m-3s", "0s"] {
            duration(text).expect_err(text);
        }
    }

    #[test]
    fn restart_policies_are_those_of_compose() {
        let policy = |text: &str| Service { restart: Some(text.to_owned()), ..Service::default() };
        assert_eq!(policy("on-failure:3").restart().expect("known"), Restart::OnFailure(Some(3)));
        assert_eq!(policy("on-failure").restart().expect("known"), Restart::OnFailure(None));
        assert_eq!(policy("unless-stopped").restart().expect("known"), Restart::Always);
        assert_eq!(Service::default().restart().expect("known"), Restart::No);
        let error = policy("sometimes").restart().expect_err("unknown").to_string();
        assert!(error.contains("`sometimes`"), "{error}");
    }

    #[test]
    fn a_bad_expression_is_named_with_its_service_and_value() {
        let mut compose = parse("services:\n  s:\n    environment: { A: '${B' }\n");
        let error = compose.interpolate(&|_| None).expect_err("bad");
        assert_eq!(format!("{error:#}"), "service s: environment A: `${B`: has no closing brace");
    }
}
