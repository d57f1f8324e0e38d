//! Users files written without the server's help.

use std::path::{Path, PathBuf};

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};

/// An argon2id PHC string at the least cost that is allowed: the tests hash, they do not guard.
pub(crate) fn argon2id(password: &[u8]) -> String {
    argon2id_with(password, Params::new(Params::MIN_M_COST, 1, 1, None).expect("least parameters"))
}

/// An argon2id PHC string at a cost of the caller's choice.
pub(crate) fn argon2id_with(password: &[u8], params: Params) -> String {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password)
        .expect("hash a password")
        .to_string()
}

/// A bcrypt string as `htpasswd -B` writes it, at the least cost.
pub(crate) fn bcrypt(password: &str) -> String {
    bcrypt::hash(password, 4).expect("hash a password")
}

/// Writes `NAME:HASH` lines and gives the path.
pub(crate) fn write_file(directory: &Path, users: &[(String, String)]) -> PathBuf {
    let path = directory.join("users.passwd");
    let lines: String = users.iter().map(|(name, hash)| format!("{name}:{hash}\n")).collect();
    std::fs::write(&path, lines).expect("write the users file");
    path
}
