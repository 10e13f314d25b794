//! Certificates for servers on the loopback address, made with the JDK's own `keytool`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::Artifacts;
use crate::error::{Context, Error, Result};

/// The password of the key store. It protects nothing: the store is thrown away.
pub const STORE_PASSWORD: &str = "testbed-store";

const ALTERNATIVE_NAMES: &str = "san=dns:localhost,ip:127.0.0.1";

/// A certificate authority and a server certificate that it has signed.
#[derive(Clone, Debug)]
pub struct Certs {
    /// The authority's certificate (PEM), for clients to trust.
    pub ca_file: PathBuf,
    /// The server's key and certificate (PKCS #12).
    pub store: PathBuf,
}

impl Certs {
    /// Makes both in `dir`, for `localhost` and 127.0.0.1.
    pub fn make(dir: &Path) -> Result<Self> {
        let keytool = Artifacts::get()?.java_home.join("bin/keytool");
        let run = |args: &[&str], store: &Path| -> Result<Vec<u8>> {
            let mut command = Command::new(&keytool);
            command
                .args(args)
                .args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD]);
            command.arg("-keystore").arg(store).current_dir(dir);
            let output = command.output().context("can't run keytool")?;
            if output.status.success() {
                return Ok(output.stdout);
            }
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            Err(Error::new(format!("keytool {}: {said}", args.join(" "))))
        };
        let (ca, store) = (dir.join("ca.p12"), dir.join("http.p12"));
        let pair = |alias: &'static str, name: &'static str| {
            let key = [
                "-keyalg",
                "EC",
                "-groupname",
                "secp256r1",
                "-validity",
                "3650",
            ];
            [
                &["-genkeypair", "-alias", alias, "-dname", name][..],
                &key[..],
            ]
            .concat()
        };
        let own = ["-ext", "bc:c=ca:true", "-ext", "ku=keyCertSign,cRLSign"];
        run(
            &[&pair("ca", "CN=testbed authority")[..], &own[..]].concat(),
            &ca,
        )?;
        run(&pair("http", "CN=localhost"), &store)?;
        let ca_pem = run(&["-exportcert", "-rfc", "-alias", "ca"], &ca)?;
        run(&["-certreq", "-alias", "http", "-file", "http.csr"], &store)?;
        let sign = ["-gencert", "-rfc", "-alias", "ca", "-infile", "http.csr"];
        let rest = [
            "-ext",
            ALTERNATIVE_NAMES,
            "-ext",
            "eku=serverAuth",
            "-validity",
            "3650",
        ];
        let signed = run(&[&sign[..], &rest[..]].concat(), &ca)?;

        let ca_file = dir.join("ca.pem");
        let chain = dir.join("chain.pem");
        fs::write(&ca_file, &ca_pem).context("can't write ca.pem")?;
        fs::write(&chain, [signed, ca_pem].concat()).context("can't write chain.pem")?;
        run(
            &[
                "-importcert",
                "-noprompt",
                "-alias",
                "ca",
                "-file",
                "ca.pem",
            ],
            &store,
        )?;
        run(
            &[
                "-importcert",
                "-noprompt",
                "-alias",
                "http",
                "-file",
                "chain.pem",
            ],
            &store,
        )?;
        Ok(Self { ca_file, store })
    }
}
