//! What is in the image, and what a container of it may do.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use testbed::guard::wait_until;

use super::podman::{HARDENING, Podman, podman, said, tell};
use super::support::PATIENCE;

/// The image's limit, in bytes; the binary under test has no optimization and is larger than a release's.
const MAX_BYTES: u64 = 60_000_000;

#[test]
fn the_image_is_small_and_says_who_runs_it_how_it_is_asked_and_what_it_is() {
    let Some(podman) = podman() else { return };
    let text = podman.must(&["image", "inspect", &podman.newer]);
    let image: Value = serde_json::from_str(&text).unwrap();
    let (image, config) = (&image[0], &image[0]["Config"]);
    let size = image["Size"].as_u64().unwrap();
    tell(&format!(
        "the image has {} MB (debug build)",
        size / 1_000_000
    ));
    assert!(size < MAX_BYTES, "{size}");
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(
        config["Entrypoint"],
        serde_json::json!(["/usr/bin/outflow"])
    );
    let command = serde_json::json!(["run", "--config", "/etc/outflow/outflow.toml"]);
    assert_eq!(config["Cmd"], command);
    assert_eq!(config["StopSignal"], "SIGTERM");
    let check = serde_json::json!([
        "CMD",
        "/usr/bin/outflow",
        "health",
        "--live",
        "--config",
        "/etc/outflow/outflow.toml"
    ]);
    assert_eq!(image["Healthcheck"]["Test"].as_array(), check.as_array());
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], "0.0.2");
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    // Nothing is declared as a volume, since nothing must be written.
    assert!(config["Volumes"].as_object().is_none_or(|v| v.is_empty()));
}

#[test]
fn the_image_lists_what_it_is_made_of_the_c_libraries_too() {
    let Some(podman) = podman() else { return };
    let folder = tempfile::tempdir().unwrap();
    let list = extracted(podman, "/usr/share/sbom/outflow.cdx.json", folder.path());
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["bomFormat"], "CycloneDX");
    let components = list["components"].as_array().unwrap();
    let is_listed = |prefix: &str| {
        let purl = |c: &Value| c["purl"].as_str().is_some_and(|p| p.starts_with(prefix));
        components.iter().any(purl)
    };
    for library in [
        "pkg:cargo/tokio@1.",
        "pkg:cargo/hdfs-native@0.",
        "pkg:github/confluentinc/librdkafka@v2.",
        "pkg:github/facebook/zstd@v1.",
        "pkg:github/lz4/lz4@v1.",
        "pkg:github/madler/zlib@v1.",
    ] {
        assert!(is_listed(library), "{library}");
    }
    // The Debian packages of the files that are in it: OpenSSL and Kerberos at least.
    for package in ["libssl3", "libgssapi-krb5-2", "libc6"] {
        let named = |c: &Value| {
            c["name"]
                .as_str()
                .is_some_and(|name| name.starts_with(package))
        };
        assert!(components.iter().any(named), "{package}");
    }
    // Each is needed by somebody.
    let needed: HashSet<_> = list["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|edges| edges["dependsOn"].as_array().unwrap())
        .collect();
    for component in components {
        assert!(needed.contains(&component["bom-ref"]), "{component}");
    }
}

#[test]
fn a_container_finds_all_libraries_and_has_no_shell() {
    let Some(podman) = podman() else { return };
    // The loader of the image shows what the program gets; Kerberos, which is opened by name, as the first to load.
    let kerberos = "libgssapi_krb5.so.2";
    let loader = loader();
    let flags = [&HARDENING[..], &["--entrypoint", &loader]].concat();
    let output = podman.once(
        &flags,
        &["--preload", kerberos, "--list", "/usr/bin/outflow"],
    );
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for library in [kerberos, "libkrb5.so.3", "libssl.so.3", "libc.so.6"] {
        assert!(
            text.contains(&format!("{library} => /")) || text.contains(&format!("{library} (0x")),
            "{library}: {text}"
        );
    }
    assert!(
        !text.contains("not found") && !text.contains("cannot be preloaded"),
        "{text}"
    );
    for shell in ["/bin/sh", "/bin/bash", "/bin/busybox"] {
        let flags = [&HARDENING[..], &["--entrypoint", shell]].concat();
        assert!(
            !podman.once(&flags, &["-c", "exit 0"]).status.success(),
            "{shell}"
        );
    }
}

/// Only a sink that keeps its positions itself must write. A fresh volume belongs to whom the folder in the image does.
#[test]
fn a_container_that_must_write_says_so_and_does_with_a_volume() {
    let Some(podman) = podman() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outflow.toml");
    let text = "name = \"x\"\nstate_dir = \"/var/lib/outflow\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n\
                assign = [\"t:0\"]\n[elasticsearch]\nurls = [\"http://127.0.0.1:1\"]\nindex = \"x\"\n\
                [admin]\nlisten = \"off\"\n";
    std::fs::write(&file, text).unwrap();
    let mount = format!("{}:/etc/outflow/outflow.toml:ro", file.display());
    let name = format!("outflow-test-volume-{}", std::process::id());
    let volume = format!("{name}:/var/lib/outflow");
    let start = |more: &[&str]| {
        let flags = [
            &HARDENING[..],
            &["--detach", "--name", &name, "--volume", &mount],
            more,
        ];
        let args = podman.run_args(&flags.concat(), &podman.older, &[]);
        podman.launch(&args);
    };
    let remove = || podman.must(&["rm", "--force", "--time", "0", &name]);

    start(&[]);
    wait_until("it says what it misses", PATIENCE, || {
        let log = said(&podman.command(&["logs", &name]));
        let says =
            log.contains("x.positions.lock can't be written and locked: Read-only file system");
        says.then_some(()).ok_or(log)
    })
    .unwrap();
    remove();

    start(&["--volume", &volume]);
    let place = podman.must(&["volume", "inspect", "--format", "{{.Mountpoint}}", &name]);
    let lock = Path::new(&place).join("x.positions.lock");
    let held = wait_until("it holds its lock", PATIENCE, || match lock.exists() {
        true => Ok(()),
        false => Err(said(&podman.command(&["logs", &name]))),
    });
    remove();
    podman.must(&["volume", "rm", &name]);
    held.unwrap();
}

/// A file of the image.
fn extracted(podman: &Podman, path: &str, folder: &Path) -> String {
    let container = podman.must(&["create", &podman.newer]);
    let target = folder.join("file");
    let source = format!("{container}:{path}");
    podman.must(&["cp", &source, target.to_str().unwrap()]);
    podman.must(&["rm", &container]);
    std::fs::read_to_string(target).unwrap()
}

/// Where the program's loader is, by the machine's own names.
fn loader() -> String {
    match std::env::consts::ARCH {
        "aarch64" => "/lib/ld-linux-aarch64.so.1".to_owned(),
        _ => "/lib64/ld-linux-x86-64.so.2".to_owned(),
    }
}
