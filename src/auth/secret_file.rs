//! Small files that hold one generated secret each: made once, readable by their owner only, never overwritten.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Random bytes of a generated secret; the file holds them as hexadecimal digits and a line feed.
pub(crate) const SECRET_BYTES: usize = 32;
/// Most bytes read, so that a wrong path costs no memory.
const MAX_FILE_BYTES: u64 = 4096;

/// Reads the secret at `path`, or `None` when there is no such file.
///
/// # Errors
/// `PermissionDenied` when others than its owner may read or write it, `InvalidData` when it is not what [`create`] writes.
pub(crate) fn load(path: &Path) -> io::Result<Option<[u8; SECRET_BYTES]>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.mode() & 0o077 != 0 {
        let text = "others than its owner may read or write this file: make a new secret, or `chmod 600` it";
        return Err(io::Error::new(ErrorKind::PermissionDenied, text));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    let damaged = || io::Error::new(ErrorKind::InvalidData, "not 64 hexadecimal digits: restore it from a backup, or delete it");
    from_hex(text.trim_end()).ok_or_else(damaged).map(Some)
}

/// Makes a secret and writes it to `path` with mode 0600, durably and all at once; a missing directory is made with 0700.
///
/// # Errors
/// `AlreadyExists` when another process was faster; what the file system says.
pub(crate) fn create(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let secret = random()?;
    let mut partial_name = path.file_name().unwrap_or_default().to_owned();
    partial_name.push(format!(".{}.partial", to_hex(&random()?[..8])));
    let partial = dir.join(partial_name);
    // A link appears with its whole contents or not at all, and fails where something is already: a crash leaves no half secret,
    // and of two processes that start together both use the same one.
    let written = write_new(&partial, &secret).and_then(|()| std::fs::hard_link(&partial, path));
    let removed = std::fs::remove_file(&partial);
    written?;
    removed?;
    File::open(dir)?.sync_all()?;
    Ok(secret)
}

/// Reads the secret at `path`, or makes one.
///
/// # Errors
/// As [`load`] and [`create`].
pub(crate) fn load_or_create(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    if let Some(secret) = load(path)? {
        return Ok(secret);
    }
    match create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load(path)?.ok_or(error),
        outcome => outcome,
    }
}

/// Random bytes from the system's generator.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn random() -> io::Result<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| io::Error::other("the system gave no random bytes"))?;
    Ok(secret)
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    if text.len() != 2 * SECRET_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; SECRET_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn write_new(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(to_hex(secret).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("secret");
        assert_eq!(load(&path).unwrap(), None);
        let secret = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), secret);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing partial is left");
        assert_eq!(create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(load(&path).unwrap(), Some(secret));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(load_or_create(&path).unwrap_err().kind(), ErrorKind::PermissionDenied, "{mode:o}");
        }
    }

    #[test]
    fn a_damaged_secret_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path).unwrap();
        for damaged in ["", "abc\n", &"+f".repeat(32), &"0".repeat(65)] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(load_or_create(&path).unwrap_err().kind(), ErrorKind::InvalidData, "{damaged:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }
}
