//! Vendor ID payload (`RFC 7296 §3.12`).

use std::borrow::Cow;

use crate::codec::Writer;

/// Octets that name an implementation or one of its extensions. Those unknown are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorId<'a>(pub Cow<'a, [u8]>);

impl VendorId<'_> {
    /// Appends a payload's body.
    pub fn encode(&self, out: &mut Writer) {
        out.octets(&self.0);
    }
}
