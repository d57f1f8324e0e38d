//! Every bound of the program, each with its reason; relations between bounds are asserted below.
//!
//! A queue, pool, table or loop whose bound is not here has no bound, and that is a defect.

// ---- proto: sizes that the wire formats fix

// ---- auth: users, caches, throttling

// ---- dns: queries, cache

// ---- policy: guard

// ---- config: file size, list lengths

// ---- session: handshake

// ---- relay: buffers, pipes, budgets

// ---- worker: slots, timers, batches

// ---- control: queues to the threads

// ---- relations that must hold
