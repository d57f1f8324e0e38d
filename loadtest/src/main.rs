//! Load generator and cost meter for SOCKS5 servers.

fn main() {}
