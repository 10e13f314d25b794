//! The image, built from docker/Dockerfile with the binary under test, and containers of it against real servers. Takes
//! podman, which needs no engine; says so where there is none, or where it can't run a container.

#![allow(clippy::unwrap_used, missing_docs)]

mod containers {
    mod container;
    mod image;
    mod kube;
    #[allow(dead_code)] // Shared with the tests of the manifests, which use the rest.
    #[path = "../kubernetes/manifests.rs"]
    mod manifests;
    mod memory;
    mod podman;
    mod pods;
    mod process;
    mod sinks;
    #[allow(dead_code)] // Shared with the tests of the bare binary, which use the rest.
    #[path = "../end_to_end/support.rs"]
    mod support;
}
