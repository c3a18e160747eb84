//! Words shared by CLB, the fast path and the operator's command.
