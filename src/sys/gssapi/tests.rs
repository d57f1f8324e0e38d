use std::fmt;
use std::fs;

use super::*;

/// The system's library, where it has one; a run without says so.
fn library() -> Option<&'static Library> {
    Library::load().inspect_err(|why| eprintln!("skipped: {why}")).ok()
}

fn refusal<T: fmt::Debug>(result: Result<T, GssError>) -> GssError {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    error
}

#[test]
fn each_library_that_was_looked_for_is_named() {
    let names = [(c"libgssapi_none.so.2", "one"), (c"libgssapi_none.so.3", "other")];
    let why = Library::first_of(&names).unwrap_err();
    for (name, _) in names {
        assert!(why.contains(name.to_str().unwrap()), "{why}");
    }
}

#[test]
fn a_library_without_the_interface_is_not_taken() {
    let why = Library::first_of(&[(c"libc.so.6", "none")]).unwrap_err();
    assert!(why.contains("gss_accept_sec_context"), "{why}");
}

#[test]
fn a_library_is_loaded_once() {
    let Some(library) = library() else { return };
    assert!(std::ptr::eq(library, Library::load().unwrap()));
    assert!(["MIT", "Heimdal"].contains(&library.vendor()));
    assert!(!format!("{library:?}").contains("0x"));
}

#[test]
fn a_keytab_that_cannot_be_used_is_found_out_at_once() {
    if library().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = refusal(ServiceCredentials::acquire("rcmd", &folder.path().join("none")));
    assert!(missing.to_string().contains("No such file"), "{missing}");
    let a_folder = refusal(ServiceCredentials::acquire("rcmd", folder.path()));
    assert!(a_folder.to_string().contains("folder"), "{a_folder}");
    // The two bytes at the head are the format's version; no key follows.
    for content in [&b""[..], b"\x05\x02", b"no keytab\n"] {
        let file = folder.path().join("keytab");
        fs::write(&file, content).unwrap();
        refusal(ServiceCredentials::acquire("rcmd", &file));
    }
}

#[test]
fn a_context_that_does_not_stand_seals_nothing() {
    let Some(library) = library() else { return };
    let mut context = Context::new(library);
    let mut out = b"before".to_vec();
    refusal(context.wrap(b"plain", true, &mut out));
    refusal(context.unwrap(b"token", &mut out));
    refusal(context.wrap_size_limit(true, 65_535));
    assert_eq!(out, b"before");
    assert_eq!(format!("{context:?}"), "Context { begun: false, .. }");
}

#[test]
fn the_gravest_bit_decides() {
    // RFC 2744 section 3.9.1: the bits 1 to 4 of the supplementary information.
    for (major, order) in [
        (0, MessageOrder::InSequence),
        (0b00010, MessageOrder::Duplicate),
        (0b00100, MessageOrder::Late),
        (0b01000, MessageOrder::Unsequenced),
        (0b10000, MessageOrder::Gap),
        (0b11110, MessageOrder::Duplicate),
        (0b11000, MessageOrder::Unsequenced),
    ] {
        assert_eq!(MessageOrder::of(major), order, "{major:#b}");
    }
}

#[test]
fn a_replayed_first_token_that_is_no_error_is_refused() {
    let Some(library) = library() else { return };
    for fine in [0, ffi::CONTINUE_NEEDED] {
        assert_eq!(status::check_round(library, fine, 0), Ok(fine));
    }
    for bit in [ffi::DUPLICATE_TOKEN, ffi::OLD_TOKEN] {
        let said = refusal(status::check_round(library, bit, 0));
        assert_eq!(said.major, bit);
        assert!(said.to_string().to_lowercase().contains("token"), "{said}");
    }
    assert_eq!(refusal(status::check_round(library, ffi::BAD_NAME, 0)).major, ffi::BAD_NAME);
}
