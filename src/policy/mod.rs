//! Whether an identity may reach an address.
