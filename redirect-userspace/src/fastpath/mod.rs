//! The fast path: where requests are answered.
