//! The sans-IO control plane, one file per phase.
