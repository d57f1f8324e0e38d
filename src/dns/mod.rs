//! A sans-IO stub resolver: bytes and time in, queries and answers out.
