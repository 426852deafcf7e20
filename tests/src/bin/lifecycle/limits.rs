//! Not yet.
use crate::Setup;

pub(crate) fn limit(s: &Setup<'_>) {
    s.unknown()
}
