//! Certificates for servers on the loopback address, made with the JDK's own `keytool`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::Artifacts;
use crate::error::{Context, Error, Result};

/// The password of the key store. It protects nothing: the store is thrown away.
pub const STORE_PASSWORD: &str = "testbed-store";

/// The names that a server here has.
pub const ALTERNATIVE_NAMES: &str = "san=dns:localhost,ip:127.0.0.1";

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
        keytool(
            dir,
            &[&pair("ca", "CN=testbed authority")[..], &own[..]].concat(),
            &ca,
        )?;
        keytool(dir, &pair("http", "CN=localhost"), &store)?;
        let ca_pem = keytool(dir, &["-exportcert", "-rfc", "-alias", "ca"], &ca)?;
        let ca_file = dir.join("ca.pem");
        fs::write(&ca_file, &ca_pem).context("can't write ca.pem")?;
        let import = [
            "-importcert",
            "-noprompt",
            "-alias",
            "ca",
            "-file",
            "ca.pem",
        ];
        keytool(dir, &import, &store)?;
        let certs = Self { ca_file, store };
        certs.sign(dir, ALTERNATIVE_NAMES, &["-validity", "3650"])?;
        Ok(certs)
    }

    /// Gives the server another certificate of the same authority: these names, this validity (as keytool's
    /// options). `dir` is where [`Certs::make`] made them. A server that runs notices within a few seconds.
    pub fn sign(&self, dir: &Path, names: &str, validity: &[&str]) -> Result<()> {
        // Aside, and then at once: a server must not read half a store.
        let (ca, store) = (dir.join("ca.p12"), dir.join("next.p12"));
        fs::copy(&self.store, &store).context("can't copy the server's store")?;
        let run = |args: &[&str], store: &Path| keytool(dir, args, store);
        let ca_pem = fs::read(&self.ca_file).context("can't read ca.pem")?;
        run(&["-certreq", "-alias", "http", "-file", "http.csr"], &store)?;
        let sign = ["-gencert", "-rfc", "-alias", "ca", "-infile", "http.csr"];
        let extensions = ["-ext", names, "-ext", "eku=serverAuth"];
        let signed = run(&[&sign[..], &extensions[..], validity].concat(), &ca)?;
        let chain = dir.join("chain.pem");
        fs::write(&chain, [signed, ca_pem].concat()).context("can't write chain.pem")?;
        let import = [
            "-importcert",
            "-noprompt",
            "-alias",
            "http",
            "-file",
            "chain.pem",
        ];
        run(&import, &store)?;
        fs::rename(&store, &self.store).context("can't replace the server's store")
    }
}

fn keytool(dir: &Path, args: &[&str], store: &Path) -> Result<Vec<u8>> {
    let keytool = Artifacts::get()?.java_home.join("bin/keytool");
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
}
