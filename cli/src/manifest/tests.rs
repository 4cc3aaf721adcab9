#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(Path::new("/app/manifest.yml"), text, &Variables::default())
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn every_key_is_understood() {
    let manifest = parse(
        r#"---
applications:
- name: shop
  path: ./site
  memory: 256M
  disk_quota: 1G
  instances: 2
  buildpack: staticfile
  command: "run --fast"
  stack: cupola
  timeout: 90
  health-check-type: http
  health-check-http-endpoint: /health
  env:
    GREETING: hello
    COUNT: 3
    RATIO: 1.5
    SWITCH: true
    EMPTY:
    ZEROES: "007"
  routes:
  - route: shop.example.com/v2
  - route: www.example.com
  services:
  - db
  - name: cache
"#,
    )
    .unwrap();
    let [app] = manifest.apps.as_slice() else {
        panic!("one app")
    };
    assert_eq!(app.name.as_deref(), Some("shop"));
    assert_eq!(app.path.as_deref(), Some(Path::new("/app/./site")));
    assert_eq!(app.memory.unwrap().0, 256);
    assert_eq!(app.disk.unwrap().0, 1024);
    assert_eq!((app.instances, app.health_timeout), (Some(2), Some(90)));
    assert_eq!(app.buildpack.as_deref(), Some("staticfile"));
    assert_eq!(app.command.as_deref(), Some("run --fast"));
    assert_eq!(app.health, Some(Health::Http));
    assert_eq!(app.routes, ["shop.example.com/v2", "www.example.com"]);
    assert_eq!(app.services, ["db", "cache"]);
    let env: Vec<_> = app
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        env,
        [
            ("COUNT", "3"),
            ("EMPTY", ""),
            ("GREETING", "hello"),
            ("RATIO", "1.5"),
            ("SWITCH", "true"),
            ("ZEROES", "007"),
        ]
    );
}

#[test]
fn defaults_at_the_top_go_into_every_app_and_maps_are_merged() {
    let manifest = parse(
        "memory: 64M\nenv:\n  A: top\n  B: top\napplications:\n- name: one\n  env:\n    B: own\n- name: two\n  memory: 1G\n",
    )
    .unwrap();
    let [one, two] = manifest.apps.as_slice() else {
        panic!("two apps")
    };
    assert_eq!((one.memory.unwrap().0, two.memory.unwrap().0), (64, 1024));
    assert_eq!(
        (one.env["A"].as_str(), one.env["B"].as_str()),
        ("top", "own")
    );
    assert_eq!(two.env["B"], "top");
}

#[test]
fn anchors_and_merge_keys_work_and_their_holders_are_no_apps() {
    let manifest = parse(
        "small: &small\n  memory: 32M\n  instances: 3\napplications:\n- <<: *small\n  name: a\n  instances: 1\n",
    )
    .unwrap();
    assert_eq!(manifest.apps.len(), 1);
    assert_eq!(manifest.apps[0].memory.unwrap().0, 32);
    assert_eq!(manifest.apps[0].instances, Some(1));
}

#[test]
fn a_manifest_without_a_list_is_one_app() {
    let manifest = parse("name: solo\nmemory: 64M\n").unwrap();
    assert_eq!(manifest.apps[0].name.as_deref(), Some("solo"));
}

#[test]
fn null_and_default_ask_the_platform_to_choose_again() {
    for value in ["null", "default", "~", "\"\"", "\"null\""] {
        let manifest = parse(&format!("name: a\nbuildpack: {value}\ncommand: {value}\n")).unwrap();
        assert_eq!(manifest.apps[0].buildpack.as_deref(), Some(""), "{value}");
        assert_eq!(manifest.apps[0].command.as_deref(), Some(""), "{value}");
    }
}

#[test]
fn complaints_name_file_line_and_key() {
    for (text, expected) in [
        (
            "applications:\n- name: a\n  memroy: 64M\n",
            "/app/manifest.yml:3: memroy: there is no such key; did you mean 'memory'?",
        ),
        (
            "applications:\n- name: a\n  memory: lots\n",
            "/app/manifest.yml:3: memory: \"lots\" is not a size: write a whole number with M, MB, G or GB, such as 256M or 1G",
        ),
        (
            "applications:\n- name: a\n  instances: -1\n",
            "/app/manifest.yml:3: instances: \"-1\" is not a whole number from 0 to 10000",
        ),
        (
            "applications:\n- name: a\n  env:\n    X: [1]\n",
            "/app/manifest.yml:4: env: the value of X is a list",
        ),
        (
            "applications:\n- name: a\n  routes:\n  - rute: x\n",
            "/app/manifest.yml:4: routes: expected '- route: host.domain/path'",
        ),
        (
            "applications:\n- name: a\n  host: b\n  routes:\n  - route: x.y\n",
            "/app/manifest.yml:4: routes: cannot be used together with 'host'",
        ),
        (
            "applications: []\n",
            "/app/manifest.yml:1: applications: the list is empty",
        ),
        (
            "applications:\n  a: b\n",
            "/app/manifest.yml:2: applications: expected a list of apps",
        ),
        (
            "applicatoins:\n",
            "/app/manifest.yml:1: applicatoins: there is no such key; did you mean 'applications'?",
        ),
        (
            "applications:\n- name: a\n  no-route: maybe\n",
            "/app/manifest.yml:3: no-route: expected true or false, found text",
        ),
        (
            "applications:\n- name: a\n  path: ((where))\n",
            "/app/manifest.yml:3: ((where)): no value is given for it; use --var NAME=VALUE or --vars-file FILE",
        ),
    ] {
        assert_eq!(complaint(text), expected, "for {text:?}");
    }
}

#[test]
fn broken_yaml_is_reported_with_its_line() {
    let words = complaint("applications:\n- name: a\n   memory: [\n");
    assert!(words.starts_with("/app/manifest.yml:"), "{words}");
    let twice = complaint("name: a\nname: b\n");
    assert!(twice.starts_with("/app/manifest.yml:2"), "{twice}");
}

#[test]
fn aliases_cannot_multiply_without_end() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let row = vec![below; 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    bomb.push_str("applications:\n- name: a\n");
    assert!(parse(&bomb).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_tree_makes_the_parser_panic(
        key in "[a-z_-]{1,12}",
        value in "[-a-z0-9:{}\\[\\]&*!|>'\"%@`#, .()]{0,30}",
    ) {
        let _ = parse(&format!("applications:\n- name: a\n  {key}: {value}\n"));
    }

    #[test]
    fn environment_values_survive_quoting(value in "[ -~]{0,60}") {
        let quoted = serde_json::to_string(&value).unwrap();
        prop_assume!(!value.contains("(("));
        let manifest = parse(&format!("name: a\nenv:\n  KEY: {quoted}\n")).unwrap();
        prop_assert_eq!(&manifest.apps[0].env["KEY"], &value);
    }

    #[test]
    fn sizes_are_kept(megabytes in 1u32..100_000) {
        let manifest = parse(&format!("name: a\nmemory: {megabytes}MB\n")).unwrap();
        prop_assert_eq!(manifest.apps[0].memory.unwrap().0, megabytes);
    }
}
