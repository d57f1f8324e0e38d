//! The data plane: one Half per direction over a transport that varies.
