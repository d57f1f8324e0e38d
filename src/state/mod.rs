//! What outlives the process: the directory that it is kept in, the store of what was used of quotas, and how that fares.
//!
//! Nothing here knows a session, a clock or a thread. Whoever keeps something here decides when it is written, and on which
//! thread: every call may wait for a disk.

mod directory;
mod health;
mod quotas;

pub use directory::{StateDir, StateDirError};
pub use health::{StoreHealth, StoreTold};
pub use quotas::{KeptUse, QuotaStore, QuotaStoreError, SetAside, StoreOpened};
