//! Which gateways there are, and the table the fast path uses.
