//! Secrets, by the place where each is, and certificates.

use std::path::PathBuf;

use secrecy::SecretString;

use super::super::kinds::Kind;
use super::super::problem::printable;
use super::Validator;

impl Validator<'_> {
    /// The secret that `<key>_file` or `<key>_env` names.
    pub(super) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let (file_key, env_key) = (format!("{key}_file"), format!("{key}_env"));
        let file = self.values.text(&file_key);
        let variable = self.values.text(&env_key);
        match (file, variable) {
            (Some(_), Some(_)) => {
                self.error(&env_key, format!("stands beside {file_key}"))
                    .push("name one place for a secret, and leave the other out".into());
                None
            }
            (Some(path), None) => self.secret_from_file(&file_key, &path),
            (None, Some(name)) => self.secret_from_variable(&env_key, &name),
            (None, None) => None,
        }
    }

    /// The secret of an entry of `secret_properties` or `secret_headers`: `file` or `env`, and where.
    pub(super) fn secret_of_entry(
        &mut self,
        key: &str,
        source: &str,
        at: &str,
    ) -> Option<SecretString> {
        match source {
            "file" => self.secret_from_file(key, at),
            "env" => self.secret_from_variable(key, at),
            _ => {
                self.error(key, "there is no such key")
                    .push(Kind::SecretProperties.help());
                None
            }
        }
    }

    /// A CA certificate's file.
    pub(super) fn pem_file(&mut self, key: &str, help: &str) -> Option<PathBuf> {
        let path = self.values.text(key)?;
        match self.surroundings.read_file(path.as_ref()) {
            Ok(text) if !text.contains("-----BEGIN CERTIFICATE-----") => {
                self.error(key, "there is no certificate in this file")
                    .push("it must hold PEM: -----BEGIN CERTIFICATE----- …".into());
            }
            Ok(_) => {}
            Err(error) => {
                self.error(key, format!("the file can't be read: {error}"))
                    .push(help.into());
            }
        }
        Some(path.into())
    }

    pub(super) fn secret_from_file(&mut self, key: &str, path: &str) -> Option<SecretString> {
        // Somebody may have written the secret itself instead of a file's name.
        let shown = if path.contains('/') {
            format!("the file {:?}", printable(path))
        } else {
            "the file".into()
        };
        match self.surroundings.read_secret(path.as_ref()) {
            Ok(secret) => {
                if secret.is_open_to_others {
                    self.warning(key, format!("{shown} can be read by other users"))
                        .push("take their right away: chmod 600".into());
                }
                if secret.text.is_empty() {
                    self.error(key, format!("{shown} is empty"))
                        .push("put the secret into it".into());
                    return None;
                }
                Some(SecretString::from(secret.text))
            }
            Err(error) => {
                self.error(key, format!("{shown} can't be read: {error}"))
                    .push("it must exist, be UTF-8 text, and be readable by the user that outflow runs as".into());
                None
            }
        }
    }

    pub(super) fn secret_from_variable(&mut self, key: &str, name: &str) -> Option<SecretString> {
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let shown = if is_name {
            format!("the variable {name}")
        } else {
            "the variable".into()
        };
        match self
            .surroundings
            .variable(name)
            .map(|value| value.trim_end_matches(['\r', '\n']).to_owned())
        {
            Some(value) if !value.is_empty() => Some(SecretString::from(value)),
            found => {
                let state = if found.is_some() {
                    "is empty"
                } else {
                    "isn't set"
                };
                self.error(key, format!("{shown} {state}"))
                    .push("set it in outflow's environment; the key holds the variable's name, not the secret".into());
                None
            }
        }
    }
}
