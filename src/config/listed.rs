//! What a list is kept as.

/// What a list of `T` is kept as.
pub(super) trait AsList<T>: Sized {
    /// Makes it of the values in the order in which they were typed; `None` where there must be more of them.
    fn of(values: Vec<T>) -> Option<Self>;

    /// The values, in the order in which they are printed.
    fn values(&self) -> Vec<T>;
}

impl<T: Clone> AsList<T> for Vec<T> {
    fn of(values: Vec<T>) -> Option<Vec<T>> {
        Some(values)
    }

    fn values(&self) -> Vec<T> {
        self.clone()
    }
}
