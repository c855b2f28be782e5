//! From flags and files to the keys that tokens are verified with.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{ConfigFaults, Purpose};
use crate::auth::{AuthConfig, AuthSetupError, PublicKey, Secret, Verifier, secret_file};
use crate::cli::{OperatorArgs, SecretArgs, SecretText, ServeArgs, TokenArgs};

/// Most bytes of a key file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Name of the generated secret inside the data directory.
const DEV_SECRET: &str = "dev-secret";

/// What `serve` verifies tokens with; `None` after a fault.
pub(super) fn auth(args: &ServeArgs, purpose: Purpose, faults: &mut ConfigFaults) -> Option<AuthConfig> {
    let mut auth = AuthConfig {
        secret: jwt_secret(&args.secret).read(faults),
        public_keys: Vec::new(),
        issuer: claim("--jwt-issuer", args.claims.jwt_issuer.as_deref(), faults),
        audience: claim("--jwt-audience", args.claims.jwt_audience.as_deref(), faults),
    };
    if let Some(path) = &args.keys.jwt_public_key {
        auth.public_keys.extend(key_file("--jwt-public-key", path, PublicKey::from_pem, faults));
    }
    if let Some(path) = &args.keys.jwks {
        auth.public_keys.extend(key_file("--jwks", path, PublicKey::from_jwks, faults).unwrap_or_default());
    }
    let any_key_given = is_secret_given(&args.secret) || args.keys.jwt_public_key.is_some() || args.keys.jwks.is_some();
    if !any_key_given && !args.development.dev {
        let remedy = "give --jwt-secret-file, --jwt-public-key or --jwks; or --dev to try it out";
        faults.add("--jwt-secret", "there is no key to verify tokens with", remedy);
    }
    // The generated secret comes last, so that a configuration with faults leaves nothing behind.
    if !faults.is_empty() {
        return None;
    }
    if !any_key_given {
        auth.secret = dev_secret(&args.data.data, purpose, faults);
    }
    auth.secret.as_ref().map(drop).or_else(|| auth.public_keys.first().map(drop))?;
    match Verifier::new(&auth) {
        Ok(_) => Some(auth),
        Err(error) => {
            add(faults, "--jwks", "", &error);
            None
        }
    }
}

/// The secret that `parlor token` signs with: the one given, else the generated one of a server with `--dev`.
///
/// # Errors
/// When there is neither, or the one given cannot be used.
pub fn secret_for_tokens(args: &TokenArgs) -> Result<Secret, ConfigFaults> {
    let mut faults = ConfigFaults::default();
    let secret = if is_secret_given(&args.secret) {
        jwt_secret(&args.secret).read(&mut faults)
    } else {
        let path = args.data.data.join(DEV_SECRET);
        match secret_file::load(&path) {
            Ok(Some(bytes)) => usable_dev_secret(&bytes, &mut faults),
            Ok(None) => {
                let remedy = "start `parlor serve --dev` first, or give the server's secret with --jwt-secret-file";
                faults.add("--data", format!("there is no secret in {}", path.display()), remedy);
                None
            }
            Err(error) => {
                unreadable("--data", &path, &error, &mut faults);
                None
            }
        }
    };
    secret.ok_or(faults)
}

fn is_secret_given(args: &SecretArgs) -> bool {
    args.jwt_secret.is_some() || args.jwt_secret_file.is_some()
}

/// The operator's token; `None` when there is none, or after a fault.
pub(super) fn operator_token(args: &OperatorArgs, faults: &mut ConfigFaults) -> Option<Secret> {
    let (text, file) = (args.operator_token.as_ref(), args.operator_token_file.as_deref());
    GivenSecret { text, text_flag: "--operator-token", file, file_flag: "--operator-token-file" }.read(faults)
}

fn jwt_secret(args: &SecretArgs) -> GivenSecret<'_> {
    let (text, file) = (args.jwt_secret.as_ref(), args.jwt_secret_file.as_deref());
    GivenSecret { text, text_flag: "--jwt-secret", file, file_flag: "--jwt-secret-file" }
}

/// A secret that can be given as it is or by the name of a file, but not both.
struct GivenSecret<'a> {
    text: Option<&'a SecretText>,
    text_flag: &'static str,
    file: Option<&'a Path>,
    file_flag: &'static str,
}

impl GivenSecret<'_> {
    fn read(&self, faults: &mut ConfigFaults) -> Option<Secret> {
        match (self.text, self.file) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                let problem = format!("the secret is given twice, with {} (or their variables) too", self.file_flag);
                faults.add(self.text_flag, problem, "keep the file and take the other out");
                None
            }
            (Some(text), None) => {
                let made = Secret::new(text.expose().as_bytes());
                made.map_err(|error| add(faults, self.text_flag, "", &error)).ok()
            }
            (None, Some(path)) => key_file(self.file_flag, path, |bytes| Secret::new(trim_line_feed(bytes)), faults),
        }
    }
}

/// Editors and `echo` end a file with a line feed that is no part of the secret.
fn trim_line_feed(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn claim(flag: &'static str, value: Option<&str>, faults: &mut ConfigFaults) -> Option<String> {
    if value.is_some_and(|value| value.trim().is_empty()) {
        faults.add(flag, "is empty", "write what the tokens say, or leave it out, with its variable, to take any");
    }
    value.map(str::to_owned)
}

fn dev_secret(data: &Path, purpose: Purpose, faults: &mut ConfigFaults) -> Option<Secret> {
    let path = data.join(DEV_SECRET);
    let bytes = match purpose {
        Purpose::Serve => secret_file::load_or_create(&path),
        Purpose::Check => secret_file::load(&path).and_then(|found| found.map_or_else(secret_file::random, Ok)),
    };
    match bytes {
        Ok(bytes) => usable_dev_secret(&bytes, faults),
        Err(error) => {
            unreadable("--dev", &path, &error, faults);
            None
        }
    }
}

/// The secret is the text of the file, so that the file can be given to `--jwt-secret-file` as well.
fn usable_dev_secret(bytes: &[u8], faults: &mut ConfigFaults) -> Option<Secret> {
    let made = Secret::new(secret_file::to_hex(bytes).as_bytes());
    made.map_err(|error| add(faults, "--dev", "", &error)).ok()
}

fn key_file<T>(
    flag: &'static str,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, AuthSetupError>,
    faults: &mut ConfigFaults,
) -> Option<T> {
    match read_bounded(path) {
        Ok(bytes) => {
            let prefix = format!("{}: ", path.display());
            parse(&bytes).map_err(|error| add(faults, flag, &prefix, &error)).ok()
        }
        Err(error) => {
            unreadable(flag, path, &error, faults);
            None
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}

fn unreadable(flag: &'static str, path: &Path, error: &io::Error, faults: &mut ConfigFaults) {
    let remedy = "see that the file is there, is what it should be, and can be read by the user that the server runs as";
    faults.add(flag, format!("{}: {error}", path.display()), remedy);
}

fn add(faults: &mut ConfigFaults, flag: &'static str, prefix: &str, error: &AuthSetupError) {
    faults.add(flag, format!("{prefix}{}", error.problem()), error.remedy());
}
