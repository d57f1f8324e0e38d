//! Who a client is: the users file, verification and its cost.
