//! What was typed becomes a validated, immutable Config.
