//! One password hash: parsed once, bounded in what it may cost, compared in constant time.
//!
//! It must never show its text: `Debug` and the errors speak of formats and parameters alone.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::limits::{
    ARGON2_LANES, ARGON2_LANES_MAX, ARGON2_MEMORY_KIB, ARGON2_MEMORY_KIB_MAX, ARGON2_OUTPUT_MIN,
    ARGON2_PASSES, ARGON2_WORK_KIB_MAX, BCRYPT_COST_MAX,
};

/// bcrypt reads 72 bytes of a password and no more.
const BCRYPT_PASSWORD_MAX: usize = 72;

/// Lowest cost that bcrypt defines.
const BCRYPT_COST_MIN: u32 = 4;

/// A password hash of the users file, ready to be compared with a password.
pub(super) enum Secret {
    Argon2id { params: Params, salt: Vec<u8>, output: Zeroizing<Vec<u8>> },
    Bcrypt { cost: u32, hash: Zeroizing<String> },
}

/// The memory that comparisons compute in. It is kept from one password to the next, as the allocator may keep what it is
/// given back.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Memory {
    /// Gives `count` blocks of a KiB, with whatever is in them.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            // Before the new one is there, and without a copy of what is in it.
            self.0 = Vec::new();
            self.0 = vec![Block::new(); count];
        }
        &mut self.0[..count]
    }

    /// Frees the memory if it is more than the hashes of `user add` need.
    pub(super) fn shrink(&mut self) {
        if self.0.len() > ARGON2_MEMORY_KIB as usize {
            self.0 = Vec::new();
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} KiB)", self.0.len())
    }
}

/// The work of one comparison, whatever the password: equal work takes equal time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Argon2id { memory_kib: u32, passes: u32, lanes: u32, output: usize },
    Bcrypt { cost: u32 },
}

impl Work {
    /// Rough CPU time in microseconds: about 1 a KiB and pass of argon2id, 50 a round of bcrypt.
    pub(super) fn estimate_us(self) -> u64 {
        match self {
            Work::Argon2id { memory_kib, passes, .. } => u64::from(memory_kib) * u64::from(passes),
            Work::Bcrypt { cost } => 50 << cost,
        }
    }
}

/// Why a hash is not taken; never holds any part of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretError {
    /// A format that this program does not verify, by its usual name.
    Unsupported(&'static str),
    /// The format is known, its text is broken.
    Malformed(&'static str),
    /// A parameter is outside of what `limits` allows.
    Bound(&'static str),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::Unsupported(format) => {
                write!(f, "{format} is not accepted: use an argon2id PHC string or bcrypt (htpasswd -B)")
            }
            SecretError::Malformed(format) => write!(f, "this {format} hash is malformed"),
            SecretError::Bound(bound) => write!(f, "this hash asks for too much or too little: {bound}"),
        }
    }
}

impl Secret {
    /// Reads an argon2id PHC string or a bcrypt hash (`$2a$`, `$2b$`, `$2y$`).
    pub(super) fn parse(text: &str) -> Result<Secret, SecretError> {
        if text.starts_with("$argon2id$") {
            parse_argon2id(text)
        } else if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            parse_bcrypt(text)
        } else {
            Err(SecretError::Unsupported(foreign_format(text)))
        }
    }

    /// A hash that costs `work` to compare with and that stands for no password.
    pub(super) fn dummy(work: Work) -> Secret {
        match work {
            Work::Argon2id { memory_kib, passes, lanes, output } => Secret::Argon2id {
                params: Params::new(memory_kib, passes, lanes, Some(output)).unwrap_or_default(),
                salt: rand::random::<[u8; 16]>().to_vec(),
                output: Zeroizing::new((0..output).map(|_| rand::random()).collect()),
            },
            Work::Bcrypt { cost } => {
                Secret::Bcrypt { cost, hash: Zeroizing::new(format!("$2b${cost:02}${}", ".".repeat(53))) }
            }
        }
    }

    /// Whether both stand for the same password, by the same hash. Not constant in time: neither comes from a client.
    pub(super) fn is(&self, other: &Secret) -> bool {
        match (self, other) {
            (
                Secret::Argon2id { params, salt, output },
                Secret::Argon2id { params: others, salt: other_salt, output: other_output },
            ) => params == others && salt == other_salt && output == other_output,
            (Secret::Bcrypt { hash, .. }, Secret::Bcrypt { hash: other, .. }) => hash == other,
            _ => false,
        }
    }

    /// The work of a comparison with this hash.
    pub(super) fn work(&self) -> Work {
        match self {
            Secret::Argon2id { params, output, .. } => Work::Argon2id {
                memory_kib: params.m_cost(),
                passes: params.t_cost(),
                lanes: params.p_cost(),
                output: output.len(),
            },
            Secret::Bcrypt { cost, .. } => Work::Bcrypt { cost: *cost },
        }
    }

    /// Whether `password` is the one that was hashed, byte for byte. Slow on purpose; the work does
    /// not depend on the password.
    pub(super) fn matches(&self, password: &[u8], memory: &mut Memory) -> bool {
        #[cfg(test)]
        count::note(self.work());
        match self {
            Secret::Argon2id { params, salt, output } => {
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut computed = Zeroizing::new(vec![0; output.len()]);
                let blocks = memory.blocks(params.block_count());
                match argon2.hash_password_into_with_memory(password, salt, &mut computed, blocks) {
                    Ok(()) => computed.ct_eq(output).into(),
                    Err(error) => {
                        tracing::error!(%error, "a password could not be verified");
                        false
                    }
                }
            }
            Secret::Bcrypt { hash, .. } => {
                // bcrypt drops what follows byte 72, and its key is the password with a NUL, repeated:
                // "a" and "a\0a" give one key. Such passwords pay for the comparison and never match.
                let representable = password.len() <= BCRYPT_PASSWORD_MAX && !password.contains(&0);
                let same = bcrypt::verify(password, hash).unwrap_or_default();
                same & representable
            }
        }
    }
}

impl Default for Work {
    /// The work of a hash that `outflow user add` writes.
    fn default() -> Work {
        Work::Argon2id {
            memory_kib: ARGON2_MEMORY_KIB,
            passes: ARGON2_PASSES,
            lanes: ARGON2_LANES,
            output: Params::DEFAULT_OUTPUT_LEN,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").field(&self.work()).finish()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        if let Secret::Argon2id { salt, .. } = self {
            salt.zeroize();
        }
    }
}

fn parse_argon2id(text: &str) -> Result<Secret, SecretError> {
    const MALFORMED: SecretError = SecretError::Malformed("argon2id");
    let phc = PasswordHash::new(text).map_err(|_| MALFORMED)?;
    if phc.algorithm != ARGON2ID_IDENT {
        return Err(MALFORMED);
    }
    if phc.version != Some(Version::V0x13.into()) {
        return Err(SecretError::Unsupported("argon2id of another version than v=19"));
    }
    // A key would have to come from elsewhere, and nobody writes associated data: exactly m, t and p.
    if phc.params.iter().count() != 3 || ["m", "t", "p"].iter().any(|name| phc.params.get(*name).is_none()) {
        return Err(SecretError::Unsupported("argon2id with other parameters than m, t and p"));
    }
    let (Some(salt), Some(output)) = (&phc.salt, &phc.hash) else { return Err(MALFORMED) };
    let params = Params::try_from(&phc).map_err(|_| MALFORMED)?;
    if params.m_cost() > ARGON2_MEMORY_KIB_MAX {
        return Err(SecretError::Bound("argon2id memory (m) is over 256 MiB"));
    }
    if u64::from(params.m_cost()) * u64::from(params.t_cost()) > ARGON2_WORK_KIB_MAX {
        return Err(SecretError::Bound("argon2id memory times passes (m, t) is over 2 GiB"));
    }
    if params.p_cost() > ARGON2_LANES_MAX {
        return Err(SecretError::Bound("argon2id lanes (p) are over 16"));
    }
    if output.len() < ARGON2_OUTPUT_MIN {
        return Err(SecretError::Bound("argon2id output is under 16 bytes"));
    }
    if salt.len() < argon2::MIN_SALT_LEN {
        return Err(SecretError::Bound("argon2id salt is under 8 bytes"));
    }
    let (salt, output) = (salt.to_vec(), Zeroizing::new(output.as_bytes().to_vec()));
    Ok(Secret::Argon2id { params, salt, output })
}

fn parse_bcrypt(text: &str) -> Result<Secret, SecretError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| SecretError::Malformed("bcrypt"))?;
    let cost = parts.get_cost();
    if cost > BCRYPT_COST_MAX {
        return Err(SecretError::Bound("bcrypt cost is over 15"));
    }
    if cost < BCRYPT_COST_MIN {
        return Err(SecretError::Malformed("bcrypt"));
    }
    Ok(Secret::Bcrypt { cost, hash: Zeroizing::new(text.to_owned()) })
}

/// The usual name of a hash format that is not taken, from its prefix.
fn foreign_format(text: &str) -> &'static str {
    const FORMATS: [(&str, &str); 14] = [
        ("$argon2i$", "argon2i"),
        ("$argon2d$", "argon2d"),
        ("$2x$", "bcrypt of the defective $2x$ kind"),
        ("$2$", "bcrypt of the first $2$ kind"),
        ("$apr1$", "MD5 (htpasswd's apr1)"),
        ("$1$", "MD5 (crypt)"),
        ("$5$", "SHA-256 (crypt)"),
        ("$6$", "SHA-512 (crypt)"),
        ("$y$", "yescrypt"),
        ("$7$", "scrypt"),
        ("$scrypt$", "scrypt"),
        ("$pbkdf2", "PBKDF2"),
        ("{SHA}", "SHA-1 (htpasswd -s)"),
        ("{SSHA}", "salted SHA-1"),
    ];
    let known = FORMATS.iter().find(|(prefix, _)| text.starts_with(prefix));
    match known {
        Some((_, name)) => name,
        None if text.starts_with('$') => "a hash of an unknown format",
        None => "plain text (or DES crypt)",
    }
}

#[cfg(test)]
pub(super) mod count {
    //! The comparisons that this thread has computed, for tests that count work rather than time.

    use super::Work;
    use std::cell::RefCell;

    thread_local! {
        static DONE: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(work: Work) {
        DONE.with_borrow_mut(|done| done.push(work));
    }

    /// The work since the last call.
    pub(in crate::auth) fn take() -> Vec<Work> {
        DONE.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_published_vectors() {
        // From the test suite of the reference implementation of argon2 and of crypt_blowfish.
        let vectors: [(&str, &[u8]); 3] = [
            (
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                b"password",
            ),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U"),
            ("$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", b"myPassword"),
        ];
        for (hash, password) in vectors {
            let secret = Secret::parse(hash).unwrap();
            assert!(secret.matches(password, &mut Memory::default()), "{secret:?}");
            assert!(!secret.matches(b"other", &mut Memory::default()), "{secret:?}");
        }
    }

    #[test]
    fn says_which_format_it_does_not_take() {
        for (hash, name) in [
            ("$apr1$xQqxTcPj$U5RJ7Pr7aYVXzBX4pbbW./", "MD5"),
            ("$1$xQqxTcPj$U5RJ7Pr7aYVXzBX4pbbW./", "MD5"),
            ("$5$salt$hash", "SHA-256"),
            ("$6$salt$hash", "SHA-512"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
            ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAA", "argon2i "),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2x$"),
            ("hunter2", "plain text"),
            ("", "plain text"),
            ("$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "v=19"),
            ("$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "v=19"),
            (
                "$argon2id$v=19$m=256,t=2$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                "m, t and p",
            ),
        ] {
            let error = Secret::parse(hash).unwrap_err();
            assert!(matches!(error, SecretError::Unsupported(_)), "{hash}: {error:?}");
            let text = error.to_string();
            assert!(text.contains(name), "{hash}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn refuses_parameters_that_cost_too_much_or_protect_too_little() {
        let argon2id = |params: &str, tail: &str| Secret::parse(&format!("$argon2id$v=19${params}${tail}"));
        let tail = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for params in [
            "m=4194304,t=1,p=1",
            "m=262145,t=1,p=1",
            "m=65536,t=33,p=1",
            "m=8,t=4294967295,p=1",
            "m=256,t=1,p=17",
        ] {
            assert!(matches!(argon2id(params, tail), Err(SecretError::Bound(_))), "{params}");
        }
        for params in ["m=7,t=1,p=1", "m=256,t=0,p=1", "m=256,t=1,p=0", "m=x,t=1,p=1"] {
            assert_eq!(argon2id(params, tail).unwrap_err(), SecretError::Malformed("argon2id"), "{params}");
        }
        assert!(matches!(
            argon2id("m=256,t=1,p=1", "c29tZXNhbHQ$AAAAAAAAAAAAAAAA"),
            Err(SecretError::Bound(_))
        ));
        assert_eq!(argon2id("m=256,t=1,p=1", "c29tZXNhbHQ").unwrap_err(), SecretError::Malformed("argon2id"));

        let bcrypt = |cost: &str| {
            Secret::parse(&format!("$2b${cost}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
        };
        assert!(bcrypt("15").is_ok());
        assert!(matches!(bcrypt("16"), Err(SecretError::Bound(_))));
        assert!(matches!(bcrypt("31"), Err(SecretError::Bound(_))));
        assert!(bcrypt("03").is_err());
        assert_eq!(Secret::parse("$2b$05$short").unwrap_err(), SecretError::Malformed("bcrypt"));
    }

    #[test]
    fn a_dummy_costs_what_it_stands_for() {
        for work in [
            Work::Argon2id { memory_kib: 64, passes: 3, lanes: 2, output: 24 },
            Work::Bcrypt { cost: 4 },
            Work::default(),
        ] {
            let dummy = Secret::dummy(work);
            assert_eq!(dummy.work(), work);
            assert!(!dummy.matches(b"", &mut Memory::default()), "{dummy:?}");
        }
    }

    #[test]
    fn one_memory_serves_hashes_of_every_size_and_shrinks_again() {
        let hash = |kib: u32, password: &[u8]| {
            use argon2::PasswordHasher;
            let params = Params::new(kib, 1, 1, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            Secret::parse(&argon2.hash_password(password).unwrap().to_string()).unwrap()
        };
        let large = ARGON2_MEMORY_KIB + 8;
        let mut memory = Memory::default();
        for kib in [64, large, 8, 1024, large] {
            let secret = hash(kib, b"right");
            assert!(secret.matches(b"right", &mut memory) && !secret.matches(b"wrong", &mut memory), "{kib}");
        }
        let held = memory.0.as_ptr();
        assert!(hash(64, b"right").matches(b"right", &mut memory));
        assert_eq!((memory.0.as_ptr(), memory.0.len()), (held, large as usize), "another block was taken");
        memory.shrink();
        assert_eq!(memory.0.capacity(), 0);
        assert!(hash(64, b"right").matches(b"right", &mut memory));
        memory.shrink();
        assert_eq!(memory.0.len(), 64, "what is in use all the time stays");
    }

    #[test]
    fn debug_shows_parameters_alone() {
        let secret = Secret::parse("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(Bcrypt { cost: 5 })");
    }
}
