//! The certificate that the servers of a comparison show: made for the run, signed by itself, ECDSA on P-256, as most
//! servers have it.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};

/// Whom it is for; clients do not look.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Leaves `cert.pem`, `key.pem` and, for servers that want one file, `both.pem` in `folder`.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(NAMES.map(str::to_owned)).map_err(io::Error::other)?;
    let (cert, key) = (cert.pem(), signing_key.serialize_pem());
    fs::create_dir_all(folder)?;
    for (name, text) in [("cert.pem", &cert), ("key.pem", &key), ("both.pem", &format!("{cert}{key}"))] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
