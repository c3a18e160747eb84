//! Additional key exchanges (`RFC 9370`).

use crate::ike::wire::{AdditionalIndex, KeyExchangeMethod, Transform};

/// The additional key exchanges of a suite: at most seven, which are done one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Additional([KeyExchangeMethod; Self::COUNT]);

impl Additional {
    /// How many there may be.
    pub const COUNT: usize = AdditionalIndex::COUNT as usize;
    /// None of them.
    pub const NONE: Self = Self([KeyExchangeMethod::None; Self::COUNT]);

    /// The methods, in the order in which they are used.
    pub fn methods(&self) -> impl DoubleEndedIterator<Item = KeyExchangeMethod> {
        self.0.into_iter().filter(|method| *method != KeyExchangeMethod::None)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.methods().count()
    }

    /// The method in each of the seven places, NONE where there is none.
    pub(crate) fn places(&self) -> impl Iterator<Item = (AdditionalIndex, KeyExchangeMethod)> {
        (0..).map_while(AdditionalIndex::new).zip(self.0)
    }

    /// Puts a method into its place.
    pub(crate) fn set(&mut self, index: AdditionalIndex, method: KeyExchangeMethod) {
        if let Some(place) = self.0.get_mut(usize::from(index.value())) {
            *place = method;
        }
    }

    /// As transforms.
    pub(crate) fn transforms(&self) -> impl Iterator<Item = Transform> {
        let is_there =
            |(_, method): &(AdditionalIndex, KeyExchangeMethod)| *method != KeyExchangeMethod::None;
        self.places().filter(is_there).map(|(index, method)| Transform::AdditionalKeyExchange(index, method))
    }
}
